//! SMTP towards the next server (RFC 5321 3 and 4), as a pure machine: bytes in, bytes out, one mail after another.
//!
//! EHLO, else HELO; STARTTLS as wished; PIPELINING, SIZE, 8BITMIME, SMTPUTF8, DSN and REQUIRETLS where they are offered. What a
//! mail needs and the server does not offer refuses the mail before a word of it is sent.

mod hello;
pub mod login;
#[cfg(test)]
mod tests;
mod transaction;

use bytes::{Bytes, BytesMut};

use self::hello::Offers;
use self::login::Login;
use self::transaction::Transaction;
use super::reply::{Heard, Reply, ReplyReader};
use super::text::Needs;
use crate::mail::dsn::{Notify, Ret};
use crate::state::queue::TlsWish;

/// Octets of replies that are held until they make a line: what the driver may gather before it calls `step`.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Whether the bytes are to be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Where it is offered (RFC 7435).
    Opportunistic,
    /// Or nothing is sent at all.
    Forced,
}

/// One mail for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Without its angle brackets; empty is the null sender.
    pub sender: String,
    pub to: Vec<Addressee>,
    pub envid: Option<String>,
    pub ret: Option<Ret>,
    /// The sender said so (RFC 6531). Without need it is not asked of the next server.
    pub smtputf8: bool,
    pub tls: TlsWish,
    /// Lines end in CRLF.
    pub text: Bytes,
    pub needs: Needs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    pub address: String,
    pub notify: Option<Notify>,
    pub orcpt: Option<String>,
}

/// What the machine wants next. What it wrote is to be sent first.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    NeedInput,
    /// A part of the text is in the output: send it, then step again.
    Flush,
    /// Start TLS, then call [`Client::tls_started`].
    StartTls,
    /// Give it a mail, or let it quit.
    Ready,
    /// What became of the mail: a reply for each recipient. Then as `Ready`.
    Settled(Vec<Reply>),
    /// Nothing more can be done with this server now. What was said of a mail under way: [`Client::abandon`].
    Lost(Reply),
    /// The same, as it does not begin TLS.
    NoTls(Reply),
    /// The farewell was heard.
    Closed,
}

pub struct Client {
    own_name: String,
    tls: Tls,
    login: Option<Login>,
    tls_up: bool,
    replies: ReplyReader,
    offers: Offers,
    phase: Phase,
    /// MAIL was taken and its transaction did not come to its end.
    open_transaction: bool,
}

enum Phase {
    Greeting,
    Ehlo,
    Helo,
    AskedForTls,
    Handshake,
    /// What is still to be said, the next at the end.
    LoggingIn(Vec<String>),
    Ready,
    Sending(Box<Transaction>),
    Quitting,
    Over,
}

impl Client {
    /// `own_name` is what it says in EHLO.
    pub fn new(own_name: &str, tls: Tls, login: Option<Login>) -> Self {
        Self {
            own_name: own_name.to_owned(),
            tls,
            login,
            tls_up: false,
            replies: ReplyReader::default(),
            offers: Offers::default(),
            phase: Phase::Greeting,
            open_transaction: false,
        }
    }

    pub fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step {
        loop {
            if let Phase::Sending(transaction) = &mut self.phase {
                if let Some(step) = transaction.write(out) {
                    return step;
                }
                if let Some(settled) = transaction.settled() {
                    self.open_transaction = transaction.is_open();
                    self.phase = Phase::Ready;
                    return Step::Settled(settled);
                }
            }
            match self.phase {
                Phase::Ready => return Step::Ready,
                Phase::Over => return Step::Closed,
                _ => {}
            }
            let (reply, lines) = match self.replies.take(input) {
                Heard::Partial => return Step::NeedInput,
                Heard::Whole(reply, lines) => (reply, lines),
                Heard::Nonsense(what) => return Step::Lost(Reply::of_ours(451, (4, 5, 0), what)),
            };
            if let Some(step) = self.on_reply(reply, &lines, out) {
                return step;
            }
        }
    }

    fn on_reply(&mut self, reply: Reply, lines: &[String], out: &mut BytesMut) -> Option<Step> {
        if matches!(self.phase, Phase::Quitting) {
            self.phase = Phase::Over;
            return Some(Step::Closed);
        }
        // RFC 5321 3.8: it says that it closes; whatever was asked is not done.
        if reply.is(421) {
            return Some(Step::Lost(reply));
        }
        match &mut self.phase {
            Phase::Sending(transaction) => {
                if !transaction.on_reply(reply) {
                    let why = "the server answers what it was not asked";
                    return Some(Step::Lost(Reply::of_ours(451, (4, 5, 0), why)));
                }
                // Whoever drives is to know, before a word of the text is out, that it comes, and whether that is its end.
                transaction.is_sending().then_some(Step::Flush)
            }
            _ => self.on_greeted(reply, lines, out),
        }
    }

    /// Begins a mail; only when it is `Ready`.
    pub fn send(&mut self, mail: Mail) {
        let reset = self.open_transaction;
        self.phase = Phase::Sending(Box::new(Transaction::new(mail, &self.offers, reset)));
    }

    /// RFC 8689: whether it gives mail on as protected as it came.
    pub fn offers_require_tls(&self) -> bool {
        self.offers.require_tls
    }

    /// Whether it tells the sender of success itself (RFC 3461 5.2.1).
    pub fn offers_dsn(&self) -> bool {
        self.offers.dsn
    }

    pub fn quit(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"QUIT\r\n");
        self.phase = Phase::Quitting;
    }

    /// What was said before TLS counts for nothing (RFC 3207 4.2).
    pub fn tls_started(&mut self, out: &mut BytesMut) {
        self.tls_up = true;
        self.replies = ReplyReader::default();
        self.say_ehlo(out);
    }

    /// The connection is gone: what was said of each recipient, `why` where nothing was.
    pub fn abandon(&mut self, why: &Reply) -> Vec<Reply> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Sending(transaction) => transaction.abandon(why),
            _ => Vec::new(),
        }
    }

    /// The whole text was sent: whether the server took it may not be known.
    pub fn is_past_the_end(&self) -> bool {
        matches!(&self.phase, Phase::Sending(transaction) if transaction.is_past_the_end())
    }

    /// The next part of the output ends a text.
    pub fn ends_with_next_part(&self) -> bool {
        matches!(&self.phase, Phase::Sending(transaction) if transaction.ends_with_next_part())
    }
}
