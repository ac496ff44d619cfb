//! HTTP/1.1 questions to servers that the operator named: by hyper, TLS by rustls as the system trusts, connections kept between
//! questions. hyper ends here. (What servers are asked that others name, by our own resolver and with the cluster's authorities,
//! is `delivery`'s.)

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::client::legacy::{Client, Error as AskError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, Sleep, sleep, timeout};

const CONNECT_MS_MAX: u64 = 15_000;
/// Between two pieces of an answer.
const PIECE: Duration = Duration::from_millis(60_000);
const IDLE_MS_MAX: u64 = 30_000;

/// What is said in a question.
pub type Said = BoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Why nothing was heard; all that led to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    #[error("{0}")]
    Connect(String),
    #[error("it does not come in time")]
    Late,
    #[error("{0}")]
    BrokenOff(String),
    /// It is no HTTP.
    #[error("{0}")]
    Unreadable(String),
    #[error("{0}")]
    Other(String),
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Asking(Client<HttpsConnector<Tcp>, Said>);

impl Asking {
    /// `authorities`: whom to trust beside the system, in PEM. Reads what the system trusts, and so may wait for a disk.
    pub fn new(authorities: Option<&str>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pem = authorities.map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes()));
        let roots = pem.into_iter().flatten().collect::<Result<Vec<_>, _>>();
        let roots = roots.map_err(|error| format!("a certificate cannot be read: {error}"))?;
        if authorities.is_some() && roots.is_empty() {
            return Err("there is no certificate".to_owned());
        }
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
        let verifier = verifier.map_err(|error| format!("nobody is trusted here: {error}"))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_MS_MAX))
            .pool_timer(TokioTimer::new())
            .build(https);
        Ok(Self(client))
    }

    /// The head of the answer comes within so long, or none.
    pub async fn ask(&self, question: Request<Said>, within: Duration) -> Result<Response<Answer>, Unheard> {
        let asked = timeout(within, self.0.request(question)).await;
        let answer = asked.map_err(|_| Unheard::Late)?.map_err(|error| Unheard::of(&error))?;
        Ok(answer.map(Answer::new))
    }
}

impl Unheard {
    fn of(error: &AskError) -> Self {
        let (mut told, mut source) = (error.to_string(), error.source());
        while let Some(error) = source {
            told.push_str(&format!(": {error}"));
            source = error.source();
        }
        if error.is_connect() {
            return Self::Connect(told);
        }
        match error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) {
            Some(error) if error.is_timeout() => Self::Late,
            Some(error) if error.is_parse() => Self::Unreadable(told),
            Some(_) => Self::BrokenOff(told),
            None => Self::Other(told),
        }
    }
}

/// What is heard: each piece comes in time, or none any longer.
pub struct Answer {
    body: Incoming,
    late: Pin<Box<Sleep>>,
}

impl Answer {
    fn new(body: Incoming) -> Self {
        Self { body, late: Box::pin(sleep(PIECE)) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.late.as_mut().reset(Instant::now() + PIECE);
            let broken = |error| io::Error::new(io::ErrorKind::ConnectionAborted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        self.late.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
