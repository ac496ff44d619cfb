//! Pollux: a mail server for two boxes that behave as one.
//!
//! A mail's way is one visible straight line:
//! receive -> gather -> judge -> place body -> propose -> apply -> feed -> IDLE.
//!
//! Rooms, top to bottom. Each uses only rooms below it (`tests/layering.rs` holds that);
//! [`admin`], [`session`] and [`delivery`] never see each other.
//!
//! | room | what it is for |
//! |---|---|
//! | [`node`] | composition root: builds bottom-up, stops top-down; alone knows everyone |
//! | [`admin`] | operators: command line, control socket, demo |
//! | [`session`] | clients: one driver feeding pure machines: SMTP, LMTP, IMAP, POP3 |
//! | [`delivery`] | mail to other servers: due mail, routing, the SMTP client, notices |
//! | [`policy`] | verdicts: gather asks, judge is pure; mail-auth ends here |
//! | [`backup`] | exact copies of everything in a folder, and the way back |
//! | [`firewall`] | who may connect where, kept in this box's nftables |
//! | [`address`] | virtual addresses on this box, for a moment at a time; knows nothing of Raft |
//! | [`certificate`] | the services' certificate: read, judged, ordered of an ACME server |
//! | [`asking`] | HTTP questions to servers that the operator named; hyper ends here |
//! | [`dns`] | what name servers know; hickory-resolver ends here |
//! | [`maillog`] | what became of each mail on this node, for operators |
//! | [`cluster`] | replication: propose, place, read, watch; openraft ends here |
//! | [`store`] | this disk: the only fsync and rename |
//! | [`state`] | the replicated truth: commands, apply, views; pure |
//! | [`http`] | one HTTP request in, one answer out, and what others answer; pure |
//! | [`sieve`] | what users' scripts say of a mail: compiled, run; pure |
//! | [`mail`] | vocabulary: ids, addresses, flags, MIME, bounded lines |
//! | [`config`], [`clock`] | what a box knows before it joins; the only clock and dice |
//! | [`meters`] | what this process counts, for whoever watches over it |
//!
//! Modules that are public and hidden from these docs are open to the fuzzer (`cluster-tests/fuzz`) alone.

pub mod address;
pub mod admin;
pub mod asking;
pub mod backup;
pub mod certificate;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod delivery;
pub mod dns;
pub mod firewall;
pub mod http;
pub mod mail;
pub mod maillog;
pub mod meters;
pub mod node;
pub mod policy;
pub mod session;
pub mod sieve;
pub mod state;
pub mod store;
