//! Messages that one client alone appends, flags, copies, moves and expunges.

use std::io;

use super::Desk;
use crate::history::{Change, Flags, Key, Op, Seen, Session};
use crate::imap::Imap;

const HOME: &str = "Archive";
const COPIES: &str = "Drafts";
const MOVED: &str = "Trash";

pub fn work(mut desk: Desk) {
    while desk.goes_on() {
        let Some((mut imap, session)) = desk.imap() else { continue };
        if imap.select(HOME).is_err() {
            continue;
        }
        while desk.goes_on() {
            if one_life(&mut desk, &mut imap, &session).is_err() {
                break;
            }
        }
    }
}

/// Ends early, with the error, when a call did not go well: nobody touches the message again.
fn one_life(desk: &mut Desk, imap: &mut Imap, session: &Session) -> io::Result<()> {
    let mut flags = desk.some_flags();
    let (token, validity, uid) = desk.append(imap, session, HOME, &flags)?;
    let key = Key { user: desk.user.clone(), validity, uid };
    for _ in 0..desk.dice.u8(..4) {
        let change = [Change::Add, Change::Remove, Change::Replace][desk.dice.usize(..3)];
        let given = desk.some_flags();
        store(desk, imap, session, (&key, &token), (change, &given))?;
        flags = changed(&flags, change, &given);
        if desk.dice.bool() {
            look(desk, imap, session, &key)?;
        }
    }
    if desk.dice.u8(..4) == 0 {
        let (from, to) = (HOME.to_string(), COPIES.to_string());
        let op = Op::Copy { key: key.clone(), token: token.clone(), from, to, flags: flags.clone() };
        desk.call(session, op, || taken(imap.take("COPY", uid, COPIES)?))?;
    }
    match desk.dice.u8(..4) {
        0 => {
            let (from, to) = (HOME.to_string(), MOVED.to_string());
            let op = Op::Move { key: key.clone(), token, from, to, flags };
            desk.call(session, op, || taken(imap.take("MOVE", uid, MOVED)?))?;
            look(desk, imap, session, &key)
        }
        1 | 2 => {
            expunge(desk, imap, session, &key, &token)?;
            look(desk, imap, session, &key)
        }
        _ => Ok(()),
    }
}

/// An only writer's message cannot have gone.
fn taken(place: Option<(u32, u32)>) -> io::Result<Seen> {
    let (validity, uid) = place.ok_or_else(|| io::Error::other("no COPYUID"))?;
    Ok(Seen::At { validity, uid })
}

/// STORE of one message.
pub fn store(
    desk: &Desk,
    imap: &mut Imap,
    session: &Session,
    (key, token): (&Key, &str),
    (change, flags): (Change, &Flags),
) -> io::Result<()> {
    let sign = match change {
        Change::Add => "+",
        Change::Remove => "-",
        Change::Replace => "",
    };
    let line = format!("UID STORE {} {sign}FLAGS.SILENT ({})", key.uid, flags.join(" "));
    let op = Op::Store { key: key.clone(), token: token.to_string(), change, flags: flags.clone() };
    let named = format!("(UID {} ", key.uid);
    desk.call(session, op, || {
        let (untagged, _) = imap.command(&line)?;
        // With CONDSTORE even a silent STORE names each message that was there.
        let there = untagged.iter().any(|response| response.text.contains(&named));
        Ok(if there { Seen::Changed } else { Seen::Nothing })
    })?;
    Ok(())
}

/// \Deleted, and UID EXPUNGE.
pub fn expunge(desk: &Desk, imap: &mut Imap, session: &Session, key: &Key, token: &str) -> io::Result<()> {
    store(desk, imap, session, (key, token), (Change::Add, &vec!["\\Deleted".to_string()]))?;
    let op = Op::Expunge { key: key.clone(), token: token.to_string() };
    desk.call(session, op, || {
        let (untagged, _) = imap.command(&format!("UID EXPUNGE {}", key.uid))?;
        // A node that is behind, and does not know that the message is \Deleted, rightly finds nothing to do.
        let gone = untagged.iter().any(|response| response.text.ends_with(" EXPUNGE"));
        Ok(if gone { Seen::Changed } else { Seen::Nothing })
    })?;
    Ok(())
}

/// NOOP, so that the session knows what its node knows, and one message's flags.
pub fn look(desk: &Desk, imap: &mut Imap, session: &Session, key: &Key) -> io::Result<()> {
    desk.call(session, Op::Look { key: key.clone() }, || {
        imap.command("NOOP")?;
        let row = imap.rows(&key.uid.to_string())?.into_iter().find(|row| row.uid == key.uid);
        Ok(Seen::Message(row))
    })?;
    Ok(())
}

/// What STORE makes of `flags`.
pub fn changed(flags: &[String], change: Change, given: &[String]) -> Flags {
    let mut flags: Flags = match change {
        Change::Add => flags.iter().chain(given).cloned().collect(),
        Change::Remove => flags.iter().filter(|flag| !given.contains(flag)).cloned().collect(),
        Change::Replace => given.to_vec(),
    };
    flags.sort();
    flags.dedup();
    flags
}
