//! A user with a small quota who fills it through both nodes, and two operators who change that quota and a setting.

use std::io;

use super::Desk;
use crate::history::{Key, Op, Seen, Session};
use crate::imap::Imap;

/// Whose quota is small.
pub const LIMITED: &str = "dora";
/// What operators set, by the names that the history has for it: a user's quota, in octets…
pub const QUOTA: &str = "quota of dora";
/// …and a setting that the crowd does not notice.
pub const SETTING: &str = "imap.idle_seconds_max";
const MAILBOX: &str = "INBOX";
/// A value's last four digits are its own, so that each is given once.
const VALUES: u64 = 10_000;
const SETTING_MIN: u64 = 2_000;
/// Turns between two commands of an operator.
const PAUSE_TURNS: usize = 10;

/// A message that this client alone may expunge.
struct Own {
    key: Key,
    token: String,
}

/// Appends until the quota is reached, and makes room.
pub fn fill(mut desk: Desk) {
    let mut own = Vec::new();
    while desk.goes_on() {
        let Some((mut imap, session)) = desk.imap() else { continue };
        if imap.select(MAILBOX).is_err() {
            continue;
        }
        while desk.goes_on() {
            if one_turn(&mut desk, &mut imap, &session, &mut own).is_err() {
                break;
            }
        }
    }
}

/// What is expunged is forgotten before the answer: nobody touches it again.
fn one_turn(desk: &mut Desk, imap: &mut Imap, session: &Session, own: &mut Vec<Own>) -> io::Result<()> {
    let is_full = match desk.append(imap, session, MAILBOX, &[]) {
        Ok((token, validity, uid)) => {
            own.push(Own { key: Key { user: desk.user.clone(), validity, uid }, token });
            false
        }
        Err(error) if is_over_quota(&error.to_string()) => true,
        Err(error) => return Err(error),
    };
    let gone = if is_full { desk.dice.usize(1..=3) } else { usize::from(desk.dice.u8(..8) == 0) };
    for _ in 0..gone.min(own.len()) {
        let Own { key, token } = own.swap_remove(desk.dice.usize(..own.len()));
        super::lives::expunge(desk, imap, session, &key, &token)?;
    }
    Ok(())
}

/// RFC 9208, section 4.3: the refusal that this crowd asks for.
pub fn is_over_quota(why: &str) -> bool {
    why.contains("[OVERQUOTA]")
}

/// `at`: which of the operators this is.
pub fn set(mut desk: Desk, at: usize) {
    let mut made = 0;
    while desk.goes_on() {
        made += 1;
        let own = (made * 2 + at as u64) % VALUES;
        let _ = match desk.dice.u8(..4) {
            0 => {
                let value = VALUES * desk.dice.u64(2..8) + own;
                let op = Op::Set { name: QUOTA.into(), value };
                let command = ["user", "set", LIMITED, "--quota", &value.to_string()];
                desk.operate(op, &command, |_| Some(Seen::Nothing))
            }
            1 => {
                let value = SETTING_MIN + own;
                let op = Op::Set { name: SETTING.into(), value };
                desk.operate(op, &["policy", "set", SETTING, &value.to_string()], |_| Some(Seen::Nothing))
            }
            2 => get(&desk, QUOTA),
            _ => get(&desk, SETTING),
        };
        desk.rest(PAUSE_TURNS);
    }
}

fn get(desk: &Desk, name: &str) -> io::Result<()> {
    desk.operate(Op::Get { name: name.into() }, &question(name), |said| answer(name, said))
}

/// The command that shows the value of `name`.
pub fn question(name: &str) -> [&str; 4] {
    match name {
        QUOTA => ["user", "show", LIMITED, "--json"],
        setting => ["policy", "show", setting, "--json"],
    }
}

/// Of what that prints.
pub fn answer(name: &str, said: &str) -> Option<Seen> {
    let said: serde_json::Value = serde_json::from_str(said).ok()?;
    let value = if name == QUOTA { &said["quota_bytes"] } else { &said["value"] };
    let value = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    // A default is nobody's value.
    Some(Seen::Value(value.filter(|value| name == QUOTA || *value >= SETTING_MIN)))
}
