//! POP3: takes some messages, deletes them, quits; another node's session may want the same.

use std::io;

use super::{Desk, content_of};
use crate::cluster::password;
use crate::history::{Op, Seen, Session};
use crate::ledger::token_of;
use crate::pop3::Pop3;

/// Messages taken in one session.
const TAKEN_MAX: usize = 4;

pub fn work(mut desk: Desk) {
    while desk.goes_on() {
        let login = || Pop3::login(desk.door.pop3, &desk.user, &password(&desk.user));
        let Some((mut pop3, session)) = desk.log_in(login) else { continue };
        // What went wrong is in the history; the next session begins anew.
        let _ = one_session(&mut desk, &mut pop3, &session);
    }
}

fn one_session(desk: &mut Desk, pop3: &mut Pop3, session: &Session) -> io::Result<()> {
    let stat = pop3.command("STAT")?;
    let count: usize = stat.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
    let mut tokens = Vec::new();
    for number in 1..=count.min(TAKEN_MAX) {
        let user = desk.user.clone();
        let seen = desk.call(session, Op::Retrieve { user }, || {
            let text = pop3.listing(&format!("RETR {number}"))?;
            let token = token_of(&text).unwrap_or_default();
            let whole = content_of(&token).is_some_and(|content| text.ends_with(&content));
            Ok(Seen::Text { token, whole })
        })?;
        if let Seen::Text { token, .. } = seen
            && desk.dice.bool()
        {
            pop3.command(&format!("DELE {number}"))?;
            tokens.push(token);
        }
    }
    let op = Op::Drop { user: desk.user.clone(), tokens };
    desk.call(session, op, || pop3.command("QUIT").map(|_| Seen::Nothing))?;
    Ok(())
}
