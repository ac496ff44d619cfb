//! Whether a mail is what it says it is, and what becomes of it.
//!
//! [`mod@gather`] asks the DNS and gives [`Facts`]; [`mod@judge`] is pure: facts and rules in, a [`Judgement`] out that names
//! the rule which decided. One file per check in each. What is not known at the moment never refuses a mail for good.

pub mod facts;
pub mod forged;
pub mod gather;
pub mod hits;
pub mod judge;
pub mod lists;
pub mod publish;
pub mod rehearsal;
pub mod results;
pub mod sealing;
pub mod signing;
pub mod skip;

pub use facts::{Arrival, Facts};
pub use gather::{Reading, gather};
pub use judge::{Judgement, Refusal, Rules, Verdict, judge};
pub use skip::Skip;
