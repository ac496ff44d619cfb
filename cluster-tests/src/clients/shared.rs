//! Messages whose flags all clients of an account change at once, on both nodes.

use std::io;
use std::sync::{Arc, Mutex};

use super::Desk;
use super::lives::{expunge, look, store};
use crate::history::{Change, Key, Session};
use crate::imap::Imap;

const MAILBOX: &str = "Sent";
/// Shared at a time.
const POOL_MAX: usize = 3;
/// Calls about one message, so that its history stays short enough to be judged.
const TURNS_MAX: u32 = 24;

/// The messages that an account's clients share.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Shared>>>);

#[derive(Clone)]
struct Shared {
    key: Key,
    token: String,
    turns: u32,
}

pub fn work(mut desk: Desk, pool: &Pool) {
    while desk.goes_on() {
        let Some((mut imap, session)) = desk.imap() else { continue };
        if imap.select(MAILBOX).is_err() {
            continue;
        }
        while desk.goes_on() {
            if one_turn(&mut desk, pool, &mut imap, &session).is_err() {
                break;
            }
        }
    }
}

fn one_turn(desk: &mut Desk, pool: &Pool, imap: &mut Imap, session: &Session) -> io::Result<()> {
    let Some(shared) = pool.choose(&mut desk.dice) else {
        let flags = desk.some_flags();
        let (token, validity, uid) = desk.append(imap, session, MAILBOX, &flags)?;
        pool.add(Shared { key: Key { user: desk.user.clone(), validity, uid }, token, turns: 0 });
        return Ok(());
    };
    // The session learns of what others appended.
    imap.command("NOOP")?;
    if shared.turns >= TURNS_MAX {
        // Chosen for the last time, and by this client alone.
        return match desk.dice.bool() {
            true => expunge(desk, imap, session, &shared.key, &shared.token),
            false => Ok(()),
        };
    }
    if desk.dice.u8(..5) < 2 {
        return look(desk, imap, session, &shared.key);
    }
    let change = [Change::Add, Change::Remove, Change::Replace][desk.dice.usize(..3)];
    let flags = desk.some_flags();
    store(desk, imap, session, (&shared.key, &shared.token), (change, &flags))
}

impl Pool {
    /// One of them, if there are enough. Whoever hears of its last turn has it alone for new calls.
    fn choose(&self, dice: &mut fastrand::Rng) -> Option<Shared> {
        let mut pool = self.0.lock().expect("nobody panics while choosing");
        if pool.len() < POOL_MAX {
            return None;
        }
        let at = dice.usize(..pool.len());
        pool[at].turns += 1;
        let shared = pool[at].clone();
        if shared.turns >= TURNS_MAX {
            pool.swap_remove(at);
        }
        Some(shared)
    }

    fn add(&self, shared: Shared) {
        self.0.lock().expect("nobody panics while choosing").push(shared);
    }
}
