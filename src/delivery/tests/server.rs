//! A server on loopback that keeps what it takes, and fails as it is told. Recipients called `no` are refused for
//! good, those called `later` for now.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// `whole`, `broken` (the handshake comes to nothing) or `none`.
    pub tls: &'static str,
    pub drop_after_text: bool,
    /// Over TLS nothing is taken before this login, `user secret`.
    pub login: &'static str,
    /// RCPT to this domain is never answered.
    pub stall_for: &'static str,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { tls: "whole", drop_after_text: false, login: "", stall_for: "" }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
    pub tls: bool,
}

pub struct Server {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Server {
    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), behaviour)
    }

    pub fn start_on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let (address, taken) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Taken>>>::default());
        let (acceptor, keep) = (acceptor(), taken.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, keep) = (acceptor.clone(), keep.clone());
                tokio::spawn(async move {
                    let Some(socket) = converse(socket, behaviour, &keep, false).await else { return };
                    match behaviour.tls {
                        "broken" => drop(socket),
                        _ => {
                            let Ok(socket) = acceptor.accept(socket).await else { return };
                            converse(socket, behaviour, &keep, true).await;
                        }
                    }
                });
            }
        });
        Self { address, taken }
    }

    pub fn mails(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

fn acceptor() -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["elsewhere.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// `Some`: STARTTLS was asked for.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    behaviour: Behaviour,
    keep: &Mutex<Vec<Taken>>,
    tls: bool,
) -> Option<S> {
    let mut socket = BufReader::new(socket);
    let mut mail = Taken { from: String::new(), to: vec![], text: String::new(), tls };
    let mut is_in = behaviour.login.is_empty();
    let proof = format!("AUTH PLAIN {}", STANDARD.encode(format!(" {}", behaviour.login).replace(' ', "\0")));
    if !tls {
        socket.write_all(b"220 elsewhere.test\r\n").await.ok()?;
    }
    loop {
        let line = line(&mut socket).await?;
        let path = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer = match line.split(' ').next().unwrap_or_default() {
            "EHLO" if tls && !is_in => "250-elsewhere.test\r\n250-AUTH PLAIN\r\n250 PIPELINING",
            "AUTH" if line == proof => {
                is_in = true;
                "235 2.7.0 welcome"
            }
            "AUTH" => "535 5.7.8 no",
            "MAIL" if tls && !is_in => "530 5.7.0 log in",
            "EHLO" if tls || behaviour.tls == "none" => "250-elsewhere.test\r\n250 PIPELINING",
            "EHLO" => "250-elsewhere.test\r\n250-PIPELINING\r\n250 STARTTLS",
            "STARTTLS" => {
                socket.write_all(b"220 go\r\n").await.ok()?;
                return Some(socket.into_inner());
            }
            "MAIL" => {
                mail = Taken { from: path(), to: vec![], text: String::new(), tls };
                "250 2.1.0 ok"
            }
            "RCPT" if path().starts_with("no@") => "550 5.1.1 no such user",
            "RCPT" if path().starts_with("later@") => "450 4.2.0 later",
            "RCPT" if path().ends_with(&format!("@{}", behaviour.stall_for)) => {
                std::future::pending::<()>().await;
                return None;
            }
            "RCPT" => {
                mail.to.push(path());
                "250 2.1.5 ok"
            }
            "DATA" if mail.to.is_empty() => "554 5.5.1 no recipients",
            "DATA" => {
                socket.write_all(b"354 go\r\n").await.ok()?;
                loop {
                    let line = self::line(&mut socket).await?;
                    if line == "." {
                        break;
                    }
                    mail.text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    mail.text.push_str("\r\n");
                }
                if behaviour.drop_after_text {
                    return None;
                }
                keep.lock().unwrap().push(mail.clone());
                "250 2.0.0 taken"
            }
            "RSET" => "250 2.0.0 ok",
            "QUIT" => "221 2.0.0 bye",
            _ => "502 5.5.1 what",
        };
        socket.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

async fn line<S: AsyncRead + Unpin>(socket: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    let read = socket.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}
