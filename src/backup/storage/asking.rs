//! How an object store is asked: HTTP/1.1 by hyper, TLS by rustls, connections kept between questions.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::client::legacy::{Client, Error as AskError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, Sleep, sleep, timeout};

const CONNECT_MS_MAX: u64 = 15_000;
/// From the question to the head of the answer: 8 MiB up a line of 128 kbit/s.
const ANSWER_MS_MAX: u64 = 600_000;
/// Between two pieces of an answer.
const PIECE: Duration = Duration::from_millis(60_000);
const IDLE_MS_MAX: u64 = 30_000;

/// Whom to trust beside the system, in PEM. Fails where that cannot be read.
pub fn connector(authorities: Option<&str>) -> Result<Asking, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = Vec::new();
    for certificate in
        authorities.map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes())).into_iter().flatten()
    {
        roots.push(certificate.map_err(|error| format!("AWS_CA_BUNDLE: {error}"))?);
    }
    if authorities.is_some() && roots.is_empty() {
        return Err("AWS_CA_BUNDLE: it holds no certificate".to_owned());
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
    Ok(Asking(client))
}

#[derive(Debug, Clone)]
pub struct Asking(Client<HttpsConnector<Tcp>, HttpRequestBody>);

impl HttpConnector for Asking {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Asking {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = timeout(Duration::from_millis(ANSWER_MS_MAX), self.0.request(request)).await;
        let answer = asked.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
        let answer = answer.map_err(|error| HttpError::new(kind_of(&error), Told::of(&error)))?;
        Ok(answer.map(|body| HttpResponseBody::new(Patient::new(body))))
    }
}

/// All that led to an error: what is shown of one is the first alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl Told {
    fn of(error: &AskError) -> Self {
        let (mut told, mut source) = (error.to_string(), error.source());
        while let Some(error) = source {
            told.push_str(&format!(": {error}"));
            source = error.source();
        }
        Self(told)
    }
}

/// An answer of which each piece comes in time, or none any longer.
struct Patient {
    body: Incoming,
    late: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming) -> Self {
        Self { body, late: Box::pin(sleep(PIECE)) }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.late.as_mut().reset(Instant::now() + PIECE);
            let broken = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(broken)));
        }
        let late = || HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut));
        self.late.as_mut().poll(context).map(|()| Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Most of what breaks a connection is worth another try.
fn kind_of(error: &AskError) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    match error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_timeout() => HttpErrorKind::Timeout,
        Some(error) if error.is_parse() => HttpErrorKind::Decode,
        Some(_) => HttpErrorKind::Interrupted,
        None => HttpErrorKind::Unknown,
    }
}
