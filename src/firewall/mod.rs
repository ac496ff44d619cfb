//! This box's firewall, made of the replicated rules (row 72), in an nftables table of the node's own.
//!
//! What it must never do: touch a table that is not this node's, leave a moment in which half of the rules hold, shut
//! the ports of the cluster itself, or stop the node where it may not do what it should: then it says so.

mod keeper;
mod nft;
mod ruleset;
mod script;

pub use keeper::{Firewall, Standing, State};
pub use ruleset::{Connection, Place, Ruleset};
pub use script::script;
