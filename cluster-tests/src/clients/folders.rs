//! Mailboxes that one client alone makes, fills, renames, deletes and makes again.

use std::io;

use super::Desk;
use crate::history::{Op, Seen, Session};
use crate::imap::Imap;

pub fn work(mut desk: Desk) {
    let mut count = 0;
    while desk.goes_on() {
        let Some((mut imap, session)) = desk.imap() else { continue };
        while desk.goes_on() {
            count += 1;
            let name = format!("{}-{count}", desk.name);
            if one_folder(&mut desk, &mut imap, &session, &name).is_err() {
                break;
            }
        }
    }
}

/// Ends early, with the error, when a call did not go well: nobody touches the mailbox again.
fn one_folder(desk: &mut Desk, imap: &mut Imap, session: &Session, name: &str) -> io::Result<()> {
    let mut name = name.to_string();
    create(desk, imap, session, &name)?;
    fill(desk, imap, session, &name)?;
    if desk.dice.bool() {
        let to = format!("{name}-renamed");
        let op = Op::Rename { user: desk.user.clone(), from: name.clone(), to: to.clone() };
        let line = format!("RENAME \"{name}\" \"{to}\"");
        desk.call(session, op, || imap.command(&line).map(|_| Seen::Nothing))?;
        name = to;
        fill(desk, imap, session, &name)?;
    }
    // Few stay: each check reads them all.
    if desk.dice.u8(..8) == 0 {
        return Ok(());
    }
    let line = format!("DELETE \"{name}\"");
    let op = Op::Delete { user: desk.user.clone(), mailbox: name.clone() };
    desk.call(session, op, || imap.command(&line).map(|_| Seen::Nothing))?;
    if desk.dice.u8(..8) == 0 {
        create(desk, imap, session, &name)?;
        fill(desk, imap, session, &name)?;
    }
    Ok(())
}

fn create(desk: &Desk, imap: &mut Imap, session: &Session, name: &str) -> io::Result<()> {
    let op = Op::Create { user: desk.user.clone(), mailbox: name.to_string() };
    desk.call(session, op, || imap.command(&format!("CREATE \"{name}\"")).map(|_| Seen::Nothing))?;
    Ok(())
}

fn fill(desk: &mut Desk, imap: &mut Imap, session: &Session, name: &str) -> io::Result<()> {
    for _ in 0..desk.dice.u8(..3) {
        desk.append(imap, session, name, &[])?;
    }
    Ok(())
}
