//! The listener: one request a connection, bounded in octets, in time and in number.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Vitals;
use super::text::{CONTENT_TYPE, render};
use crate::http::{Document, Method, Request, Response, Status, parse};

/// Connections at a time; a further one waits to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// From the connection to the end of the answer.
const EXCHANGE_MS_MAX: u64 = 10_000;
/// After accept failed: time for descriptors to come free.
const ACCEPT_RETRY_MS: u64 = 100;

/// The bound socket.
pub struct Listener(TcpListener);

impl Listener {
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `stop` turns true.
    pub async fn serve<V: Vitals>(self, vitals: V, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = self.0.accept() => accepted,
            };
            let Ok((socket, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                continue;
            };
            let vitals = vitals.clone();
            tokio::spawn(async move {
                let _place = place;
                // Who is too slow is cut off; who breaks off hears nothing.
                let _ = timeout(Duration::from_millis(EXCHANGE_MS_MAX), exchange(socket, &vitals)).await;
            });
        }
    }
}

async fn exchange<V: Vitals>(mut socket: TcpStream, vitals: &V) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(1024);
    let parsed = loop {
        match parse(&input) {
            Ok(None) => {}
            Ok(Some((request, _))) => break Ok(request),
            Err(status) => break Err(status),
        }
        input.reserve(1024);
        // A head beyond its bound is refused before it fills more.
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    };
    let (asked, response) = match parsed {
        Ok(request) => (request.method, answer(&request, vitals).await),
        Err(status) => (Method::Other, Response::refused(status)),
    };
    let mut out = BytesMut::new();
    response.write(asked, vitals.clock().now(), &mut out);
    socket.write_all(&out).await?;
    socket.shutdown().await?;
    // What the client still sends is read, or a reset would overtake the answer.
    while socket.read_buf(&mut input).await? > 0 {
        input.clear();
    }
    Ok(())
}

async fn answer<V: Vitals>(request: &Request, vitals: &V) -> Response {
    match (request.method, request.path.as_str()) {
        (Method::Post | Method::Other, "/metrics" | "/healthz" | "/readyz") => {
            Response::refused(Status::MethodNotAllowed("GET, HEAD"))
        }
        (_, "/metrics") => {
            let text = render(&vitals.figures().await);
            Response::ok(Document { kind: CONTENT_TYPE, text })
        }
        (_, "/healthz") => {
            let health = vitals.health().await;
            json(&health, &health.because)
        }
        (_, "/readyz") => {
            let readiness = vitals.readiness().await;
            json(&readiness, &readiness.because)
        }
        _ => Response::refused(Status::NotFound),
    }
}

/// 503 where anything is said against it.
fn json(said: &impl Serialize, against: &[String]) -> Response {
    let mut text = serde_json::to_string(said).unwrap_or_default();
    text.push('\n');
    let document = Document { kind: "application/json", text };
    let status = if against.is_empty() { "200 OK" } else { Status::Unavailable.line() };
    Response { status, fields: String::new(), document }
}
