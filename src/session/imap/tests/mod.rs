//! The machine and its backend over a replica in memory: transcripts, garbage, bounds.

mod bounds;
mod external;
mod garbage;
mod guest;
mod harness;
mod hostile;
mod notify;
mod pipelining;
mod portions;
mod recent;
mod scram;
mod transcripts;
