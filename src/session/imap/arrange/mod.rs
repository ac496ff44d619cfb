//! SORT and THREAD (RFC 5256, RFC 5957, RFC 5267) as pure functions over what is known of messages.

pub mod facts;
pub mod sort;
pub mod thread;

pub use facts::Facts;
pub use sort::{Criterion, SortField};
pub use thread::Algorithm;
