//! The replicated truth, as a function: `(rows, command) -> (rows, outcome, changes)`.
//!
//! Pure: no clock, dice, disk, network, float or unordered map. The proposer stamps time, ids and
//! randomness into the command. [`apply`](apply::apply) is total: a panicking entry would kill every
//! replica on every replay.

pub mod acl;
pub mod alarms;
pub mod apply;
pub mod authorities;
pub mod backups;
pub mod blocks;
pub mod certificate;
pub mod change;
pub mod codec;
pub mod command;
pub mod digest;
pub mod directory;
pub mod dkim;
pub mod firewall;
pub mod greylist;
pub mod holder;
pub mod keys;
pub mod limits;
pub mod lists;
pub mod messages;
pub mod metadata;
pub mod namespace;
pub mod naming;
pub mod news;
pub mod outcome;
pub mod password;
pub mod prepare;
pub mod queue;
pub mod reading;
pub mod record;
pub mod relays;
pub mod removed;
pub mod routing;
pub mod rows;
pub mod scram_keys;
pub mod seats;
pub mod secret;
pub mod settings;
pub mod sieve;
pub mod srs;
pub mod stored;
pub mod sts;
pub mod tls_reports;
pub mod versions;
pub mod view;
