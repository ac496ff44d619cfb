//! One mail with one server: MAIL, RCPT, DATA, pipelined where that is offered (RFC 2920), the text, and what became
//! of each recipient.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::hello::Offers;
use super::{Addressee, Mail, Step};
use crate::delivery::reply::{Class, Reply};
use crate::delivery::text::{CHUNK_BYTES, Stuffing};
use crate::mail::address::{Address, canonical_domain};
use crate::state::queue::TlsWish;

pub(super) struct Transaction {
    mail: Mail,
    pipelining: bool,
    /// Commands that are not yet sent.
    to_send: VecDeque<(Expected, String)>,
    /// Replies that are not yet heard.
    awaited: VecDeque<Expected>,
    /// What was said of each recipient; `None`: taken so far, or not asked for.
    said: Vec<Option<Reply>>,
    asked_for: Vec<bool>,
    text: Text,
    mail_taken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    End,
}

enum Text {
    NotYet,
    Sending(Stuffing, usize),
    Sent,
    /// The server wants none, or nobody is left to send it to.
    Spared,
    Answered,
}

impl Transaction {
    pub fn new(mail: Mail, offers: &Offers, reset: bool) -> Self {
        let count = mail.to.len();
        let mut transaction = Self {
            pipelining: offers.pipelining,
            to_send: VecDeque::new(),
            awaited: VecDeque::new(),
            said: vec![None; count],
            asked_for: vec![false; count],
            text: Text::NotYet,
            mail_taken: reset,
            mail,
        };
        match transaction.refused_by_offers(offers) {
            Some(refused) => transaction.give_up(&refused),
            None => transaction.plan(offers, reset),
        }
        transaction
    }

    /// What this mail needs and the server does not have.
    fn refused_by_offers(&self, offers: &Offers) -> Option<Reply> {
        let bytes = self.mail.text.len() as u64;
        if offers.size && offers.size_max > 0 && bytes > offers.size_max {
            let why = format!("the message has {bytes} octets, and the server takes {}", offers.size_max);
            return Some(Reply::of_ours(552, (5, 3, 4), why));
        }
        if self.needs_utf8() && !offers.smtputf8 {
            let why = "the message or an address needs SMTPUTF8, which the server does not offer";
            return Some(Reply::of_ours(553, (5, 6, 7), why));
        }
        if self.mail.needs.eight_bit && !offers.eight_bit {
            let why = "the message needs 8BITMIME, which the server does not offer";
            return Some(Reply::of_ours(554, (5, 6, 3), why));
        }
        if self.requires_tls() && !self.mail.sender.is_empty() && !offers.require_tls {
            let why = "the message requires TLS all the way, and the server does not offer REQUIRETLS";
            return Some(Reply::of_ours(550, (5, 7, 30), why));
        }
        None
    }

    fn requires_tls(&self) -> bool {
        self.mail.tls == TlsWish::Required
    }

    /// A domain beyond ASCII has its A-labels; what else is beyond ASCII has nothing.
    fn needs_utf8(&self) -> bool {
        let addresses = self.mail.to.iter().map(|to| &to.address).chain([&self.mail.sender]);
        let beyond = addresses.into_iter().any(|address| !wire(address).is_ascii());
        // A header with octets beyond ASCII of which its sender did not say so is only eight bits wide.
        beyond || (self.mail.smtputf8 && self.mail.needs.utf8_header)
    }

    fn plan(&mut self, offers: &Offers, reset: bool) {
        if reset {
            self.to_send.push_back((Expected::Reset, "RSET".to_owned()));
        }
        let mut line = format!("MAIL FROM:<{}>", wire(&self.mail.sender));
        if offers.size {
            line.push_str(&format!(" SIZE={}", self.mail.text.len()));
        }
        if offers.eight_bit && self.mail.needs.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if self.needs_utf8() {
            line.push_str(" SMTPUTF8");
        }
        if self.requires_tls() && offers.require_tls {
            line.push_str(" REQUIRETLS");
        }
        if offers.dsn {
            if let Some(ret) = self.mail.ret {
                line.push_str(&format!(" RET={ret}"));
            }
            if let Some(envid) = &self.mail.envid {
                line.push_str(&format!(" ENVID={envid}"));
            }
        }
        self.to_send.push_back((Expected::Mail, line));
        for (at, to) in self.mail.to.iter().enumerate() {
            self.to_send.push_back((Expected::Rcpt(at), rcpt(to, offers)));
        }
        self.to_send.push_back((Expected::Data, "DATA".to_owned()));
    }

    /// Writes what may be sent now. `Some` where the output is to go out before anything else.
    pub fn write(&mut self, out: &mut BytesMut) -> Option<Step> {
        if let Text::Sending(stuffing, left) = &mut self.text {
            *left = left.saturating_sub(CHUNK_BYTES);
            if stuffing.write(out) {
                self.text = Text::Sent;
                self.awaited.push_back(Expected::End);
            }
            return Some(Step::Flush);
        }
        while self.pipelining || self.awaited.is_empty() {
            let Some((expected, line)) = self.to_send.pop_front() else { break };
            // Nobody was taken: there is nothing to send the text for.
            if expected == Expected::Data && !self.pipelining && !self.anyone_taken() {
                self.text = Text::Spared;
                break;
            }
            if let Expected::Rcpt(at) = expected {
                self.asked_for[at] = true;
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
            self.awaited.push_back(expected);
        }
        None
    }

    fn anyone_taken(&self) -> bool {
        self.said.iter().zip(&self.asked_for).any(|(said, asked)| *asked && said.is_none())
    }

    /// False: nothing was asked. Whatever the server says from there on may be about something else.
    pub fn on_reply(&mut self, reply: Reply) -> bool {
        let done = reply.class() == Class::Done;
        match self.awaited.pop_front() {
            Some(Expected::Reset) => self.mail_taken = false,
            Some(Expected::Mail) if done => self.mail_taken = true,
            Some(Expected::Mail) => self.give_up(&reply),
            Some(Expected::Rcpt(at)) if !done => {
                self.said[at].get_or_insert(reply);
            }
            Some(Expected::Rcpt(_)) => {}
            Some(Expected::Data) if reply.is(354) => {
                // RFC 2920 3.1: the server waits for a text though it took nobody; an empty one ends it.
                let text = if self.anyone_taken() { self.mail.text.clone() } else { bytes::Bytes::new() };
                let left = text.len();
                self.text = Text::Sending(Stuffing::new(text), left);
            }
            Some(Expected::Data) => {
                self.give_up(&not_done(reply));
                self.text = Text::Spared;
            }
            Some(Expected::End) => {
                self.mail_taken = false;
                self.text = Text::Answered;
                self.give_up(&reply);
            }
            None => return false,
        }
        true
    }

    /// The same for everyone of whom nothing was said yet; what is not yet sent is not sent.
    fn give_up(&mut self, reply: &Reply) {
        self.said.iter_mut().for_each(|said| {
            said.get_or_insert_with(|| reply.clone());
        });
        self.to_send.clear();
    }

    /// A reply for each recipient, once nothing more is to be sent or heard.
    pub fn settled(&mut self) -> Option<Vec<Reply>> {
        let quiet = self.to_send.is_empty() && self.awaited.is_empty();
        if !quiet || self.is_sending() || self.said.iter().any(Option::is_none) {
            return None;
        }
        Some(self.said.drain(..).flatten().collect())
    }

    pub fn is_open(&self) -> bool {
        self.mail_taken
    }

    pub fn is_sending(&self) -> bool {
        matches!(self.text, Text::Sending(..))
    }

    pub fn is_past_the_end(&self) -> bool {
        matches!(self.text, Text::Sent) && self.anyone_taken()
    }

    pub fn ends_with_next_part(&self) -> bool {
        matches!(&self.text, Text::Sending(_, left) if *left <= CHUNK_BYTES)
    }

    pub fn abandon(mut self, why: &Reply) -> Vec<Reply> {
        self.give_up(why);
        self.said.into_iter().flatten().collect()
    }
}

/// A reply in the two hundreds to DATA promises nothing.
fn not_done(reply: Reply) -> Reply {
    match reply.class() {
        Class::Done => Reply::of_ours(451, (4, 5, 0), format!("the server answers DATA with {reply}")),
        Class::Temporary | Class::Permanent => reply,
    }
}

fn rcpt(to: &Addressee, offers: &Offers) -> String {
    let mut line = format!("RCPT TO:<{}>", wire(&to.address));
    if offers.dsn {
        if let Some(notify) = to.notify {
            line.push_str(&format!(" NOTIFY={notify}"));
        }
        if let Some(orcpt) = &to.orcpt {
            line.push_str(&format!(" ORCPT={orcpt}"));
        }
    }
    line
}

/// With the domain in A-labels where the local part is ASCII: a server without SMTPUTF8 understands it too.
fn wire(address: &str) -> String {
    match Address::parse(address) {
        Ok(parsed) if !parsed.domain().is_ascii() && parsed.local().is_ascii() => {
            let (local, _) = address.rsplit_once('@').unwrap_or((address, ""));
            canonical_domain(parsed.domain()).map_or(address.to_owned(), |domain| format!("{local}@{domain}"))
        }
        _ => address.to_owned(),
    }
}
