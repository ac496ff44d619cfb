//! The greeting, EHLO or HELO, STARTTLS: what the server offers, and whether the bytes are protected.

use bytes::BytesMut;

use super::login::Ways;
use super::{Client, Phase, Step, Tls};
use crate::delivery::reply::{Class, Reply};

/// What EHLO's answer names, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    pub pipelining: bool,
    pub starttls: bool,
    pub eight_bit: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    /// Over TLS: in the clear it means nothing.
    pub require_tls: bool,
    pub auth: Ways,
    pub size: bool,
    /// Octets; 0 is no bound that it tells.
    pub size_max: u64,
}

impl Offers {
    /// The first line is the server's name.
    fn of(lines: &[String]) -> Self {
        let mut offers = Self::default();
        for line in lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "STARTTLS" => offers.starttls = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "DSN" => offers.dsn = true,
                "REQUIRETLS" => offers.require_tls = true,
                "AUTH" => offers.auth = Ways::of(words),
                "SIZE" => {
                    offers.size = true;
                    offers.size_max = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
        }
        offers
    }
}

impl Client {
    pub(super) fn say_ehlo(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(format!("EHLO {}\r\n", self.own_name).as_bytes());
        self.phase = Phase::Ehlo;
    }

    /// A reply before the first mail.
    pub(super) fn on_greeted(&mut self, reply: Reply, lines: &[String], out: &mut BytesMut) -> Option<Step> {
        match self.phase {
            Phase::Greeting if reply.is(220) => self.say_ehlo(out),
            Phase::Ehlo if reply.is(250) => {
                self.offers = Offers::of(lines);
                return self.on_offers(out);
            }
            // RFC 5321 3.2: a server that knows no EHLO; over TLS that would be odd, and HELO does no harm.
            Phase::Ehlo if reply.class() == Class::Permanent => {
                out.extend_from_slice(format!("HELO {}\r\n", self.own_name).as_bytes());
                self.phase = Phase::Helo;
            }
            Phase::Helo if reply.is(250) => {
                self.offers = Offers::default();
                return self.on_offers(out);
            }
            Phase::AskedForTls if reply.is(220) => {
                self.phase = Phase::Handshake;
                return Some(Step::StartTls);
            }
            Phase::AskedForTls if self.tls == Tls::Opportunistic => {
                self.phase = Phase::Ready;
                return Some(Step::Ready);
            }
            // In the clear anybody may say that: what is given up for good is not decided by it.
            Phase::AskedForTls if reply.class() == Class::Permanent => {
                let why = format!("STARTTLS is demanded of this server, and it says {reply}");
                return Some(Step::NoTls(Reply::of_ours(451, (4, 7, 4), why)));
            }
            Phase::LoggingIn(_) => return self.on_login(&reply, out),
            _ => return Some(Step::Lost(reply)),
        }
        None
    }

    fn on_offers(&mut self, out: &mut BytesMut) -> Option<Step> {
        self.offers.require_tls &= self.tls_up;
        let wanted = self.tls != Tls::Off && !self.tls_up;
        if wanted && self.offers.starttls {
            out.extend_from_slice(b"STARTTLS\r\n");
            self.phase = Phase::AskedForTls;
            return None;
        }
        if wanted && self.tls == Tls::Forced {
            let why = "STARTTLS is demanded of this server, and it does not offer it";
            return Some(Step::NoTls(Reply::of_ours(451, (4, 7, 4), why)));
        }
        self.log_in(out)
    }
}
