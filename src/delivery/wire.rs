//! A connection to another server: socket, TLS and time around the pure client. Every wait has a bound.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{Client, INPUT_BYTES_MAX, Mail, Step, Tls};
use super::reply::Reply;
use super::routing::Way;

/// Waits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect_ms_max: u64,
    /// For any reply, and for a part of the text to be taken; for the reply to the whole text twice as long.
    pub answer_ms_max: u64,
}

/// The farewell is a courtesy.
const FAREWELL_MS_MAX: u64 = 2_000;

/// Why nothing came of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reply: Reply,
    /// TLS was offered and came to nothing: without it there may be a way.
    pub in_tls: bool,
}

/// A mail was under way when the connection broke.
#[derive(Debug)]
pub struct Broken {
    /// What was said of each recipient, the trouble where nothing was.
    pub said: Vec<Reply>,
    /// The server may have taken the mail.
    pub past_the_end: bool,
}

enum Wire {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

pub struct Connection {
    wire: Wire,
    client: Client,
    input: BytesMut,
    out: BytesMut,
    patience: Patience,
    tls: Tls,
}

impl Connection {
    /// Connects, greets, starts TLS as wished. `host` is the name that TLS asks for.
    pub async fn open(
        address: SocketAddr,
        host: &str,
        (way, tls): (&Way, Tls),
        patience: Patience,
    ) -> Result<Self, Trouble> {
        let connect = timeout(Duration::from_millis(patience.connect_ms_max), TcpStream::connect(address));
        let socket = match connect.await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(trouble(format!("{address}: {error}"))),
            Err(_) => return Err(trouble(format!("{address}: no connection in time"))),
        };
        // Small commands follow one another; whether this works only costs time.
        let _ = socket.set_nodelay(true);
        let mut connection = Self {
            wire: Wire::Clear(socket),
            client: Client::new(&way.own_name, tls, way.login.clone()),
            input: BytesMut::new(),
            out: BytesMut::new(),
            patience,
            tls,
        };
        loop {
            match connection.next(&|| true).await.map_err(|why| trouble(format!("{address}: {why}")))? {
                Step::Ready => return Ok(connection),
                Step::StartTls => connection
                    .start_tls(host)
                    .await
                    .map_err(|why| Trouble { in_tls: true, ..trouble(format!("{address}: TLS: {why}")) })?,
                Step::Lost(reply) => return Err(Trouble { reply, in_tls: false }),
                _ => return Err(trouble(format!("{address}: it closed"))),
            }
        }
    }

    /// A reply for each recipient. `may_end` is asked before the end of the text is sent: from there on the server may
    /// take the mail.
    pub async fn send(
        &mut self,
        mail: Mail,
        may_end: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Reply>, Broken> {
        self.client.send(mail);
        let why = match self.next(may_end).await {
            Ok(Step::Settled(replies)) => return Ok(replies),
            Ok(Step::Lost(reply)) => reply,
            Ok(_) => Reply::of_ours(451, (4, 4, 2), "the server closed the connection"),
            Err(why) => Reply::of_ours(451, (4, 4, 2), why),
        };
        let past_the_end = self.client.is_past_the_end();
        Err(Broken { said: self.client.abandon(&why), past_the_end })
    }

    pub async fn quit(mut self) {
        self.client.quit(&mut self.out);
        let _ = timeout(Duration::from_millis(FAREWELL_MS_MAX), self.next(&|| true)).await;
    }

    /// Until there is something to decide. `Err` says what became of the connection.
    async fn next(&mut self, may_end: &(dyn Fn() -> bool + Sync)) -> Result<Step, String> {
        loop {
            let ends = self.client.ends_with_next_part();
            if ends && !may_end() {
                return Err("the mail is no longer this node's".to_owned());
            }
            let step = self.client.step(&mut self.input, &mut self.out);
            self.write_out().await?;
            match step {
                Step::NeedInput => self.read_more().await?,
                Step::Flush => {}
                other => return Ok(other),
            }
        }
    }

    async fn write_out(&mut self) -> Result<(), String> {
        let within = Duration::from_millis(self.patience.answer_ms_max);
        while !self.out.is_empty() {
            let written = match &mut self.wire {
                Wire::Clear(socket) => timeout(within, socket.write_buf(&mut self.out)).await,
                Wire::Tls(socket) => timeout(within, socket.write_buf(&mut self.out)).await,
                Wire::Gone => return Err("the connection is gone".to_owned()),
            };
            match written {
                Ok(Ok(0)) => return Err("the server closed the connection".to_owned()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(lost(&error)),
                Err(_) => return Err("the server does not read".to_owned()),
            }
        }
        if let Wire::Tls(socket) = &mut self.wire {
            match timeout(within, socket.flush()).await {
                Ok(flushed) => flushed.map_err(|error| lost(&error))?,
                Err(_) => return Err("the server does not read".to_owned()),
            }
        }
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), String> {
        let times = if self.client.is_past_the_end() { 2 } else { 1 };
        let within = Duration::from_millis(self.patience.answer_ms_max * times);
        if self.input.len() >= INPUT_BYTES_MAX {
            return Err("the server says too much".to_owned());
        }
        let read = match &mut self.wire {
            Wire::Clear(socket) => timeout(within, socket.read_buf(&mut self.input)).await,
            Wire::Tls(socket) => timeout(within, socket.read_buf(&mut self.input)).await,
            Wire::Gone => return Err("the connection is gone".to_owned()),
        };
        match read {
            Ok(Ok(0)) => Err("the server closed the connection".to_owned()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err("the server does not answer in time".to_owned()),
        }
    }

    async fn start_tls(&mut self, host: &str) -> Result<(), String> {
        let Wire::Clear(socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err("it is there already".to_owned());
        };
        // Behind the 220 there is nothing: what came with it was put in by somebody else (RFC 3207 4.2).
        self.input.advance(self.input.len());
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name for TLS"))?;
        let handshake = TlsConnector::from(config(self.tls)?).connect(name, socket);
        let within = Duration::from_millis(self.patience.answer_ms_max);
        let socket = match timeout(within, handshake).await {
            Ok(socket) => socket.map_err(|error| error.to_string())?,
            Err(_) => return Err("no handshake in time".to_owned()),
        };
        self.wire = Wire::Tls(Box::new(socket));
        self.client.tls_started(&mut self.out);
        Ok(())
    }
}

fn trouble(why: String) -> Trouble {
    Trouble { reply: Reply::of_ours(451, (4, 4, 1), why), in_tls: false }
}

fn lost(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

/// One of a kind for all connections, so that sessions are resumed.
fn config(tls: Tls) -> Result<Arc<ClientConfig>, String> {
    static BELIEVING: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static VERIFYING: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let kept = if tls == Tls::Verified { &VERIFYING } else { &BELIEVING };
    if let Some(config) = kept.get() {
        return Ok(Arc::clone(config));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .dangerous();
    let verifier: Arc<dyn ServerCertVerifier> = match tls {
        // By what the system trusts.
        Tls::Verified => Arc::new(Verifier::new(provider).map_err(|error| error.to_string())?),
        Tls::Off | Tls::Opportunistic | Tls::Forced => Arc::new(Unauthenticated(provider)),
    };
    let config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(Arc::clone(kept.get_or_init(|| Arc::new(config))))
}

/// RFC 7435: mail servers show certificates for other names, or of their own making. Without DANE or MTA-STS there is
/// nothing to hold them against; encryption alone keeps out those who only listen.
#[derive(Debug)]
struct Unauthenticated(Arc<CryptoProvider>);

impl ServerCertVerifier for Unauthenticated {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
