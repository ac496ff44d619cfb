//! Brings nodes into step: waits until each shows the same mailboxes in the same state.
//!
//! Only IMAP is asked. EXAMINE answers from the very view that sessions of that node read, and claims nothing.

use std::io;

use super::connection::Connection;
use crate::wait::eventually;

/// A connection of its own on each node, logged in as the script's user.
pub struct Observers(Vec<Connection>);

impl Observers {
    pub fn new(connections: Vec<Connection>) -> Observers {
        Observers(connections)
    }

    /// Returns when all nodes show the same. Bounded by [`crate::wait::PATIENCE`].
    pub fn wait(&mut self, mailbox: &str) -> io::Result<()> {
        let mut failed = None;
        eventually("the nodes show the same", || {
            match self.0.iter_mut().map(|node| shown(node, mailbox)).collect::<io::Result<Vec<_>>>() {
                Ok(shown) => shown.windows(2).all(|pair| pair[0] == pair[1]).then_some(()),
                Err(error) => {
                    failed = Some(error);
                    Some(())
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

/// All that a node shows of the test's mailboxes.
fn shown(node: &mut Connection, mailbox: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut shown = node.must(format!("LIST \"\" {mailbox}*").as_bytes())?;
    shown.extend(node.must(format!("LSUB \"\" {mailbox}*").as_bytes())?);
    let names: Vec<Vec<u8>> = shown.iter().filter_map(|reply| name_of(reply)).collect();
    for name in names {
        let examine = [b"EXAMINE ".as_slice(), &name].concat();
        let (status, replies) = node.run(&examine)?;
        if !status.starts_with("OK") {
            continue;
        }
        // What is \Recent differs from session to session.
        shown.extend(replies.into_iter().filter(|reply| !reply.ends_with(b" RECENT")));
        if !shown.last().is_some_and(|last| last.starts_with(b"0 ")) {
            let (_, flags) = node.run(b"FETCH 1:* (UID FLAGS)")?;
            shown.extend(flags.into_iter().map(without_recent));
        }
        node.must(b"UNSELECT")?;
    }
    Ok(shown)
}

fn without_recent(reply: Vec<u8>) -> Vec<u8> {
    String::from_utf8_lossy(&reply).replace(" \\Recent", "").replace("\\Recent", "").into_bytes()
}

/// The name at the end of a LIST or LSUB reply, as it was written.
pub fn name_of(reply: &[u8]) -> Option<Vec<u8>> {
    if !reply.starts_with(b"LIST ") && !reply.starts_with(b"LSUB ") {
        return None;
    }
    super::value::parse(reply).ok()?.get(3).map(super::value::Value::to_wire)
}
