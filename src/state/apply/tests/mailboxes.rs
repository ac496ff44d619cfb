//! mailboxes.
