//! A connection to another server: socket, TLS and time around the pure client. Every wait has a bound.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{Client, INPUT_BYTES_MAX, Mail, Step};
use super::reply::Reply;
use super::routing::{Hop, Way};
use super::trust::failure::TlsFailure;
use super::trust::{self, Demand};
use crate::state::authorities::Authorities;

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
    /// It was TLS that came to nothing.
    pub tls: Option<TlsFailure>,
    /// The address of this node that the server saw, if it saw one.
    pub from: Option<IpAddr>,
}

impl Trouble {
    /// Nobody took the connection.
    pub fn is_silence(&self) -> bool {
        self.from.is_none()
    }
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
    /// How it is protected, for logs.
    protection: &'static str,
    doubt: Option<(TlsFailure, String)>,
    from: Option<IpAddr>,
}

/// Whom to call, and what is demanded of him.
pub struct Call<'a> {
    pub hop: &'a Hop,
    pub way: &'a Way,
    pub demand: &'a Demand,
    pub authorities: &'a Authorities,
    pub patience: Patience,
}

impl Connection {
    /// Connects, greets, starts TLS as it is demanded.
    pub async fn open(call: &Call<'_>) -> Result<Self, Trouble> {
        let Call { hop: Hop { host, address, .. }, way, demand, patience, .. } = call;
        let connect = timeout(Duration::from_millis(patience.connect_ms_max), TcpStream::connect(address));
        let socket = match connect.await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(silence(format!("{address}: {error}"))),
            Err(_) => return Err(silence(format!("{address}: no connection in time"))),
        };
        // Small commands follow one another; whether this works only costs time.
        let _ = socket.set_nodelay(true);
        let from = socket.local_addr().ok().map(|own| own.ip());
        let lost = |reply, tls| Trouble { reply, tls, from };
        let broken = |why| lost(Reply::of_ours(451, (4, 4, 1), why), None);
        let mut connection = Self {
            wire: Wire::Clear(socket),
            client: Client::new(&way.own_name, demand.tls(), way.login.clone()),
            input: BytesMut::new(),
            out: BytesMut::new(),
            patience: *patience,
            protection: trust::CLEAR,
            doubt: None,
            from,
        };
        loop {
            match connection.next(&|| true).await.map_err(|why| broken(format!("{address}: {why}")))? {
                Step::Ready => return Ok(connection),
                Step::StartTls => connection.start_tls(call).await.map_err(|(failure, why)| {
                    // RFC 3463 3.8: a cryptographic failure.
                    let why = format!("{host} ({address}): TLS: {why}");
                    lost(Reply::of_ours(451, (4, 7, 5), why), Some(failure))
                })?,
                Step::NoTls(reply) => return Err(lost(reply, Some(TlsFailure::NotOffered))),
                Step::Lost(reply) => return Err(lost(reply, None)),
                _ => return Err(broken(format!("{address}: it closed"))),
            }
        }
    }

    /// How the server's TLS was judged: as [`Demand::word`].
    pub fn protection(&self) -> &'static str {
        self.protection
    }

    /// What speaks against the server, although it is believed.
    pub fn doubt(&self) -> Option<&(TlsFailure, String)> {
        self.doubt.as_ref()
    }

    /// The address of this node that the server sees.
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// Whether the server gives mail on as protected as it came.
    pub fn offers_require_tls(&self) -> bool {
        self.client.offers_require_tls()
    }

    /// Whether the server tells the sender of success itself.
    pub fn offers_dsn(&self) -> bool {
        self.client.offers_dsn()
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

    async fn start_tls(&mut self, call: &Call<'_>) -> Result<(), (TlsFailure, String)> {
        let ours = |why: String| (TlsFailure::Ours, why);
        let Wire::Clear(socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(ours("it is there already".to_owned()));
        };
        // Behind the 220 there is nothing: what came with it was put in by somebody else (RFC 3207 4.2).
        self.input.advance(self.input.len());
        let host = call.demand.name(&call.hop.host);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| ours(format!("{host} is no name for TLS")))?;
        let trust = trust::trust(call.demand, host, call.authorities).await.map_err(ours)?;
        let handshake = TlsConnector::from(Arc::clone(&trust.config)).connect(name, socket);
        let within = Duration::from_millis(self.patience.answer_ms_max);
        let socket = match timeout(within, handshake).await {
            Ok(socket) => socket.map_err(|error| (TlsFailure::of(&error), error.to_string()))?,
            Err(_) => return Err((TlsFailure::Handshake, "no handshake in time".to_owned())),
        };
        self.wire = Wire::Tls(Box::new(socket));
        (self.protection, self.doubt) = (trust.word(), trust.doubt());
        self.client.tls_started(&mut self.out);
        Ok(())
    }
}

fn silence(why: String) -> Trouble {
    Trouble { reply: Reply::of_ours(451, (4, 4, 1), why), tls: None, from: None }
}

fn lost(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}
