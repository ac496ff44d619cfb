//! An operator who gives users other names, and those who write to them by these, through either node, at once.

use std::io;

use super::{Desk, Door, mail};
use crate::cluster::{DOMAIN, USERS};
use crate::history::{Op, Seen, Session};
use crate::smtp::Smtp;

/// Mails to each name, at most.
const MAILS_MAX: usize = 6;
/// Turns that are let pass where a node does not take the name.
const PAUSE_TURNS: usize = 20;

pub fn work(mut desk: Desk, doors: &[Door]) {
    let mut made = 0;
    while desk.goes_on() {
        made += 1;
        let alias = format!("{}-{made}", desk.name);
        let user = USERS[desk.dice.usize(..USERS.len())].to_string();
        if name(&desk, &alias, Some(user.clone())).is_err() {
            desk.rest(PAUSE_TURNS);
            continue;
        }
        for at in 0..desk.dice.usize(1..=MAILS_MAX) {
            if desk.goes_on() {
                write(&mut desk, &doors[at % doors.len()], &alias, &user);
            }
        }
        // Some stay.
        if desk.dice.u8(..4) > 0 {
            let _ = name(&desk, &alias, None);
        }
    }
}

/// By the operator's command. `None`: it is taken away.
fn name(desk: &Desk, alias: &str, user: Option<String>) -> io::Result<()> {
    let op = Op::Name { alias: alias.to_string(), user: user.clone() };
    let command = match &user {
        Some(user) => vec!["alias", "add", alias, user],
        None => vec!["alias", "remove", alias],
    };
    desk.operate(op, &command, |_| Some(Seen::Nothing))
}

/// Through the one node or the other, which has to know of the name by then, or say that it does not know.
fn write(desk: &mut Desk, door: &Door, alias: &str, user: &str) {
    let (token, filler, content) = desk.compose();
    let session = Session { host: door.host(), current_us: 0 };
    let Ok(mut smtp) = Smtp::connect(door.smtp) else { return };
    if door.host() != session.host {
        return;
    }
    let op = Op::Deliver { token, filler, to: vec![user.to_string()] };
    let _ = desk.call(&session, op, || mail::send(&mut smtp, &[format!("{alias}@{DOMAIN}")], &content));
}
