//! Brings nodes into step: waits until each shows the same mailboxes in the same state.
//!
//! Only IMAP is asked. EXAMINE answers from the very view that sessions of that node read, and claims nothing.

use std::io;

use super::connection::Connection;
use super::run::Place;
use crate::wait::eventually;

/// How a node parts with a session whose mailbox another session deleted.
const DELETED_MEANWHILE: &str = "The selected mailbox was deleted";

/// A connection of its own on each node, logged in as the script's user.
pub struct Observers {
    place: Place,
    connections: Vec<Connection>,
}

impl Observers {
    pub fn new(place: &Place) -> io::Result<Observers> {
        let connections = place.nodes.iter().map(|node| place.login(*node)).collect::<io::Result<_>>()?;
        Ok(Observers { place: place.clone(), connections })
    }

    /// The untagged replies of a command, on the first node.
    pub fn must(&mut self, command: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.connections[0].must(command)
    }

    /// Returns when all nodes show the same. Bounded by [`crate::wait::PATIENCE`].
    pub fn wait(&mut self, mailbox: &str) -> io::Result<()> {
        let mut failed = None;
        eventually("the nodes show the same", || match self.look(mailbox) {
            Ok(shown) => shown.iter().all(|node| node.is_some() && *node == shown[0]).then_some(()),
            Err(error) => {
                failed = Some(error);
                Some(())
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// What each node shows; `None`: a mailbox was deleted while it was looked at.
    fn look(&mut self, mailbox: &str) -> io::Result<Vec<Option<Vec<Vec<u8>>>>> {
        let mut all = Vec::new();
        for (connection, node) in self.connections.iter_mut().zip(&self.place.nodes) {
            all.push(match shown(connection, mailbox) {
                Ok(shown) => Some(shown),
                Err(_) if connection.bye.as_deref() == Some(DELETED_MEANWHILE) => {
                    *connection = self.place.login(*node)?;
                    None
                }
                Err(error) => return Err(error),
            });
        }
        Ok(all)
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
