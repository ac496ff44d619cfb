//! One question to a web server, over TLS, from a host that proves its name; bounded in size and time. Redirects are not
//! followed, nothing is sent but the question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::routing::Resolve;
use super::trust::failure::TlsFailure;
use super::trust::{Demand, trust};
use crate::state::authorities::Authorities;

/// RFC 8461 3.3: a minute.
const ASK_MS_MAX: u64 = 60_000;
const CONNECT_MS_MAX: u64 = 15_000;
/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why nothing was heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// The host does not prove its name.
    #[error("{0}")]
    Unproven(String),
    #[error("{0}")]
    Broken(String),
}

/// What to say, and how an answer is read: what came so far goes in, and whether nothing more comes.
pub struct Question<'a, A> {
    pub host: &'a str,
    pub port: u16,
    pub text: &'a [u8],
    pub read: fn(&[u8], bool) -> Result<Option<A>, String>,
    /// Octets of an answer.
    pub answer_bytes_max: usize,
}

impl<A> Question<'_, A> {
    pub async fn ask(&self, resolver: &impl Resolve, authorities: &Authorities) -> Result<A, Unheard> {
        let host = self.host;
        let asking = async {
            let found = resolver.addresses(host).await;
            let found = found.map_err(|error| Unheard::Broken(format!("{host}: {error}")))?.found;
            let mut why = Unheard::Broken(format!("{host} has no address"));
            for address in found.into_iter().take(ADDRESSES_MAX) {
                match self.ask_at(address, authorities).await {
                    Ok(answer) => return Ok(answer),
                    Err(Unheard::Broken(error)) => {
                        why = Unheard::Broken(format!("{host} ({address}): {error}"));
                    }
                    Err(Unheard::Unproven(error)) => {
                        why = Unheard::Unproven(format!("{host} ({address}): {error}"));
                    }
                }
            }
            Err(why)
        };
        let late = |_| Err(Unheard::Broken("it does not come in time".to_owned()));
        timeout(Duration::from_millis(ASK_MS_MAX), asking).await.unwrap_or_else(late)
    }

    async fn ask_at(&self, address: IpAddr, authorities: &Authorities) -> Result<A, Unheard> {
        let broken = |error: String| Unheard::Broken(error);
        let connect = TcpStream::connect(SocketAddr::new(address, self.port));
        let socket = match timeout(Duration::from_millis(CONNECT_MS_MAX), connect).await {
            Ok(socket) => socket.map_err(|error| broken(error.to_string()))?,
            Err(_) => return Err(broken("no connection in time".to_owned())),
        };
        let name = ServerName::try_from(self.host.to_owned());
        let name = name.map_err(|_| broken("it is no name for TLS".to_owned()))?;
        let trust = trust(&Demand::Verified, self.host, authorities).await.map_err(broken)?;
        let connected = TlsConnector::from(trust.config).connect(name, socket).await;
        let mut socket = connected.map_err(|error| match TlsFailure::of(&error) {
            TlsFailure::OtherName | TlsFailure::Expired | TlsFailure::NotTrusted => {
                Unheard::Unproven(format!("TLS: {error}"))
            }
            TlsFailure::NotOffered | TlsFailure::Handshake | TlsFailure::Ours => {
                Unheard::Broken(format!("TLS: {error}"))
            }
        })?;
        let asked = async {
            socket.write_all(self.text).await?;
            socket.flush().await
        };
        asked.await.map_err(|error| broken(error.to_string()))?;
        let mut heard = Vec::new();
        loop {
            // An end without TLS's farewell is an error: what is cut off is never taken for the whole.
            let read = match socket.read_buf(&mut heard).await {
                Ok(read) => read,
                Err(error) => return Err(broken(error.to_string())),
            };
            if let Some(answer) = (self.read)(&heard, read == 0).map_err(broken)? {
                return Ok(answer);
            }
            if heard.len() >= self.answer_bytes_max {
                return Err(broken(format!("it is longer than {} octets", self.answer_bytes_max)));
            }
        }
    }
}
