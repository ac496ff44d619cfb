//! Replication. openraft ends here: the rooms above see [`replica::Replica`] and nothing of Raft.

mod blocking;
pub mod bodies;
pub mod clocks;
pub mod codec;
pub mod config;
pub mod copied;
pub mod drain;
pub mod feed;
pub mod figures;
mod greeting;
pub mod handle;
pub mod inquiries;
pub mod keeper;
pub mod lineage;
pub mod local;
pub mod log;
pub mod machine;
pub mod marks;
pub mod membership;
#[doc(hidden)]
pub mod memory;
pub mod network;
pub mod permit;
pub mod pki;
pub mod propose;
mod read_barrier;
pub mod replica;
mod rounds;
mod runtime;
pub mod sealing;
pub mod start;
pub mod status;
#[cfg(test)]
mod tests;
pub mod token;
pub mod transport;
pub mod types;
pub mod upgrade;
pub mod verify;
mod watch;
pub mod wire;
pub mod witness;
