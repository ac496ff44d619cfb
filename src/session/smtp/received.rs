//! The trace fields put before a message: Return-Path and Received (RFC 5321 4.4).

use std::net::IpAddr;

use super::envelope::{Envelope, Recipient, show_recipient, show_sender};
use super::{Flavor, Policy};
use crate::mail::address::ForwardPath;
use crate::mail::date::rfc5322_date;
use crate::mail::ids::Timestamp;
use crate::session::machine::Peer;

/// When and under which name a message was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub at: Timestamp,
    pub id: String,
}

/// Two fields, between which stands what the checks found (RFC 8601 4, RFC 7208 9.1: above Received).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub return_path: String,
    pub received: String,
}

impl Trace {
    pub fn with(&self, between: &str) -> String {
        [&self.return_path, between, &self.received].concat()
    }
}

/// How the client presented itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub name: String,
    /// EHLO or LHLO.
    pub extended: bool,
}

/// One body serves all recipients, so Return-Path, the same for all, is written here and not at delivery.
pub fn trace_fields(policy: &Policy, peer: &Peer, hello: &Hello, about: (&Envelope, &Stamp, bool)) -> Trace {
    let (envelope, stamp, authenticated) = about;
    let recipient = match envelope.to.as_slice() {
        // More than one would tell each who else got a blind copy.
        [only] => format!("\r\n\tfor {}", show_recipient(&only.path)),
        _ => String::new(),
    };
    // So that it is known should it come round. As above: where there is one recipient.
    let delivered_to = match envelope.to.as_slice() {
        [Recipient { path: ForwardPath::Address(address), .. }] if envelope.to[0].is_passed_on() => {
            format!("Delivered-To: {address}\r\n")
        }
        _ => String::new(),
    };
    let return_path = format!("Return-Path: {}\r\n", show_sender(&envelope.from));
    let received = format!(
        "{delivered_to}Received: from {}{}\r\n\tby {} (Pollux {}) with {} id {}{};\r\n\t{}\r\n",
        hello.name,
        peer.address.map_or(String::new(), |address| format!(" ({})", address_literal(address.ip()))),
        policy.hostname,
        policy.node_name,
        protocol(policy.flavor, hello.extended, (peer.tls, authenticated, envelope.params.smtputf8)),
        stamp.id,
        recipient,
        rfc5322_date(stamp.at),
    );
    Trace { return_path, received }
}

fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// RFC 3848 and RFC 6531 4.3: the registered names of what was spoken.
fn protocol(flavor: Flavor, extended: bool, (tls, authenticated, utf8): (bool, bool, bool)) -> String {
    let base = match (flavor, utf8, extended) {
        (Flavor::Lmtp, true, _) => "UTF8LMTP",
        (Flavor::Lmtp, false, _) => "LMTP",
        (_, true, _) => "UTF8SMTP",
        (_, false, true) => "ESMTP",
        (_, false, false) => return "SMTP".to_owned(),
    };
    format!("{base}{}{}", if tls { "S" } else { "" }, if authenticated { "A" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_was_spoken() {
        assert_eq!(protocol(Flavor::Mx, false, (true, false, false)), "SMTP");
        assert_eq!(protocol(Flavor::Mx, true, (false, false, false)), "ESMTP");
        assert_eq!(protocol(Flavor::Submission, true, (true, true, false)), "ESMTPSA");
        assert_eq!(protocol(Flavor::Submission, true, (true, true, true)), "UTF8SMTPSA");
        assert_eq!(protocol(Flavor::Lmtp, true, (false, false, false)), "LMTP");
    }

    #[test]
    fn address_literals_name_their_family() {
        assert_eq!(address_literal("::ffff:192.0.2.1".parse().unwrap()), "[192.0.2.1]");
        assert_eq!(address_literal("2001:db8::1".parse().unwrap()), "[IPv6:2001:db8::1]");
    }
}
