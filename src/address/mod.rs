//! Virtual addresses (`address.virtual`) on this box's interfaces: added for a moment at a time, announced, taken away.
//! Knows nothing of Raft: it is handed moments until which this box may hold them.
//!
//! What keeps them from being on two boxes:
//! 1. Whoever adds them is noted in the replicated state first, and lets pass whom it reads there ([`rule`]).
//! 2. They are added by a process of its own ([`holder`]), which the kernel kills at the moment that it was given
//!    (`fence`): no add is begun after that, however long it is paused and whatever it believed before.
//! 3. The kernel takes each of them away again [`rule::LIFETIME_MS_MAX`] after it was added last, whoever is dead by then.
//!
//! What it must never do: add an address without the fence, or for longer than that.

mod announce;
mod fence;
pub mod holder;
mod keeper;
mod links;
mod netlink;
mod orders;
pub mod rule;

pub use keeper::Keeper;
pub use orders::Place;
