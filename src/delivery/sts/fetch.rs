//! Fetches a policy (RFC 8461 3.3): one GET over TLS from a host that proves its name, bounded in size and time. Redirects are
//! not followed, nothing is sent but the question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::response::{BYTES_MAX, body};
use crate::delivery::routing::Resolve;
use crate::delivery::trust::{Demand, trust};
use crate::state::authorities::Authorities;

/// RFC 8461 3.3: a minute.
const FETCH_MS_MAX: u64 = 60_000;
const CONNECT_MS_MAX: u64 = 15_000;
/// Addresses of the host that are tried.
const ADDRESSES_MAX: usize = 4;

/// The text; `Err` says why it cannot be had.
pub async fn fetch(
    domain: &str,
    port: u16,
    resolver: &impl Resolve,
    authorities: &Authorities,
) -> Result<String, String> {
    let fetching = async {
        let host = format!("mta-sts.{domain}");
        let found = resolver.addresses(&host).await.map_err(|error| format!("{host}: {error}"))?.found;
        let mut why = format!("{host} has no address");
        for address in found.into_iter().take(ADDRESSES_MAX) {
            match ask((&host, address, port), authorities).await {
                Ok(text) => return Ok(text),
                Err(error) => why = format!("{host} ({address}): {error}"),
            }
        }
        Err(why)
    };
    let late = |_| Err("it does not come in time".to_owned());
    timeout(Duration::from_millis(FETCH_MS_MAX), fetching).await.unwrap_or_else(late)
}

async fn ask(
    (host, address, port): (&str, IpAddr, u16),
    authorities: &Authorities,
) -> Result<String, String> {
    let connect = TcpStream::connect(SocketAddr::new(address, port));
    let socket = match timeout(Duration::from_millis(CONNECT_MS_MAX), connect).await {
        Ok(socket) => socket.map_err(|error| error.to_string())?,
        Err(_) => return Err("no connection in time".to_owned()),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| "it is no name for TLS".to_owned())?;
    let trust = trust(&Demand::Verified, host, authorities).await?;
    let connected = TlsConnector::from(trust.config).connect(name, socket).await;
    let mut socket = connected.map_err(|error| format!("TLS: {error}"))?;
    let question = format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Pollux\r\nAccept: text/plain\r\n\
         Connection: close\r\n\r\n"
    );
    let asked = async {
        socket.write_all(question.as_bytes()).await?;
        socket.flush().await
    };
    asked.await.map_err(|error| error.to_string())?;
    let mut heard = Vec::new();
    loop {
        // An end without TLS's farewell is an error: what is cut off is never taken for the whole.
        let read = match socket.read_buf(&mut heard).await {
            Ok(read) => read,
            Err(error) => return Err(error.to_string()),
        };
        if let Some(body) = body(&heard, read == 0)? {
            return String::from_utf8(body).map_err(|_| "it is no text".to_owned());
        }
        if heard.len() >= BYTES_MAX {
            return Err(format!("it is longer than {BYTES_MAX} octets"));
        }
    }
}
