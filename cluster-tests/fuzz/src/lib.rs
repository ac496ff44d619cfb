//! Hostile bytes for every decoder and every protocol machine of Pollux.
//!
//! A target is a function of bytes that panics when a promise is broken. The fuzzer (`fuzz_targets/`) calls it with
//! bytes of its own making; `tests/fuzz_corpus.rs` of the product calls it with every file kept under `corpus/`, so
//! that a find stays found. Targets reach the product by its public modules alone, some of them `doc(hidden)`.

pub mod apply;
pub mod dice;
pub mod drive;
pub mod house;
pub mod imap;
pub mod imap_grammar;
pub mod managesieve;
pub mod mime;
pub mod notices;
pub mod pop3;
pub mod records;
pub mod responses;
pub mod settings;
pub mod sieve;
pub mod smtp;
pub mod smtp_bodies;
pub mod smtp_commands;
pub mod smtp_desk;
pub mod storage;
pub mod sts;
pub mod text;
pub mod wire;

/// Panics when the bytes show a promise broken.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("apply", apply::run),
    ("imap", imap::run),
    ("imap_grammar", imap_grammar::run),
    ("managesieve", managesieve::run),
    ("mime", mime::run),
    ("notices", notices::run),
    ("pop3", pop3::run),
    ("records", records::run),
    ("settings", settings::run),
    ("sieve", sieve::run),
    ("smtp", smtp::run),
    ("smtp_bodies", smtp_bodies::run),
    ("smtp_commands", smtp_commands::run),
    ("storage", storage::run),
    ("sts", sts::run),
    ("text", text::run),
    ("wire", wire::run),
];
