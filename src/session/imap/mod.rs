//! IMAP4rev1.
