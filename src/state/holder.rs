//! Which node holds the cluster's virtual addresses (`address.virtual`): a lock that nodes pass on by comparing and setting.
//! What it promises: whoever adds an address to its box had itself noted here before.

use bincode::{Decode, Encode};

use super::keys;
use super::reading::get;
use super::rows::{Rows, RowsError};
use super::stored::AddressHolderRow;
use crate::mail::ids::NodeId;

/// A node, and the term of Raft in which it led when it took the addresses: one that leads again takes them anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AddressHolder {
    pub node: NodeId,
    pub term: u64,
}

/// The addresses go from one to another; `None` is nobody. Refused as `Changed` unless `before` holds them still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PassAddresses {
    pub before: Option<AddressHolder>,
    pub after: Option<AddressHolder>,
}

/// `None`: whoever held them last has let go of them, or nobody ever did.
pub fn address_holder(rows: &dyn Rows) -> Result<Option<AddressHolder>, RowsError> {
    let row = get::<AddressHolderRow>(rows, &keys::address_holder())?;
    Ok(row.map(|AddressHolderRow { node, term }| AddressHolder { node, term }))
}
