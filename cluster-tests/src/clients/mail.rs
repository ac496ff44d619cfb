//! Senders: one mail after the other, to one user or to several.

use std::io;

use super::Desk;
use crate::cluster::{DOMAIN, USERS};
use crate::history::{Op, Seen};
use crate::smtp::{Sent, Smtp};
use crate::wire::refused;

/// Begins what is recorded of a mail that failed before its text was sent.
pub const BEFORE_THE_TEXT: &str = "before the final dot: ";

pub fn work(mut desk: Desk) {
    while desk.goes_on() {
        let Some((mut smtp, session)) = desk.connect(|| Smtp::connect(desk.door.smtp)) else { continue };
        while desk.goes_on() {
            let (token, filler, content) = desk.compose();
            let mut to: Vec<String> = USERS.iter().map(|user| (*user).to_string()).collect();
            desk.dice.shuffle(&mut to);
            to.truncate(if desk.dice.u8(..4) == 0 { desk.dice.usize(2..=3) } else { 1 });
            let op = Op::Deliver { token, filler, to: to.clone() };
            let addresses: Vec<String> = to.iter().map(|user| format!("{user}@{DOMAIN}")).collect();
            if desk.call(&session, op, || send(&mut smtp, &addresses, &content)).is_err() {
                break;
            }
        }
    }
}

pub fn send(smtp: &mut Smtp, addresses: &[String], content: &[u8]) -> io::Result<Seen> {
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    match smtp.send(&addresses, content) {
        (Sent::Acknowledged, _) => Ok(Seen::Nothing),
        // Nothing was sent: that is as sure as a refusal.
        (Sent::Refused, Err(error)) => Err(refused(format!("{BEFORE_THE_TEXT}{error}"))),
        (_, Err(error)) => Err(error),
        (sent, Ok(reply)) => unreachable!("{sent:?} with {reply}"),
    }
}
