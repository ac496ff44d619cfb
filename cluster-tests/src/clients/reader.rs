//! Only looks: what SELECT says of mailboxes in which others write, and their last messages.

use std::io;

use super::Desk;
use crate::cluster::{USERS, password};
use crate::history::{Numbers, Op, Seen, Session};
use crate::imap::Imap;

const MAILBOXES: [&str; 4] = ["INBOX", "Sent", "Archive", "Trash"];
/// Messages listed, from the last.
const ROWS: u32 = 6;

pub fn work(mut desk: Desk) {
    while desk.goes_on() {
        desk.user = USERS[desk.dice.usize(..USERS.len())].to_string();
        let connect = || Imap::login(desk.door.imap, &desk.user, &password(&desk.user));
        let Some((mut imap, session)) = desk.log_in(connect) else { continue };
        for _ in 0..desk.dice.u8(10..60) {
            let mailbox = MAILBOXES[desk.dice.usize(..MAILBOXES.len())];
            if !desk.goes_on() || tail(&desk, &mut imap, &session, mailbox).is_err() {
                break;
            }
        }
    }
}

fn tail(desk: &Desk, imap: &mut Imap, session: &Session, mailbox: &str) -> io::Result<()> {
    let op = Op::Tail { user: desk.user.clone(), mailbox: mailbox.to_string() };
    desk.call(session, op, || {
        let selected = imap.examine(mailbox)?;
        let numbers = Numbers {
            exists: selected.exists,
            validity: selected.uid_validity,
            next: selected.uid_next,
            modseq: selected.highest_modseq,
        };
        let from = selected.uid_next.saturating_sub(ROWS).max(1);
        let mut rows = imap.rows(&format!("{from}:*"))?;
        rows.retain(|row| row.uid >= from);
        Ok(Seen::Mailbox { numbers, rows })
    })?;
    Ok(())
}
