//! Identifiers of mailboxes and messages that never change and never come back (RFC 8474).
//!
//! A mailbox's is its number, which RENAME keeps; a message's is of its bytes, so that copies share it. Threads have none.

use std::fmt::Write;

use crate::mail::ids::{BodyId, MailboxId};

/// Bytes of a body's digest that identify it: 160 bits.
const EMAIL_ID_BYTES: usize = 20;

pub fn mailbox_id(mailbox: MailboxId) -> String {
    format!("M{mailbox}")
}

pub fn email_id(body: BodyId) -> String {
    let mut id = String::from("E");
    for byte in &body.0[..EMAIL_ID_BYTES] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_of_few_characters() {
        // RFC 8474 7: 1 to 255 of letters, digits, `_` and `-`.
        assert_eq!(mailbox_id(MailboxId(7)), "M7");
        let id = email_id(BodyId([0xab; 32]));
        assert_eq!(id, format!("E{}", "ab".repeat(20)));
    }
}
