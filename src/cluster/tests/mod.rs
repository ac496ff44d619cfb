//! Whole nodes in one process, on loopback ports and in directories of their own.

mod alone;
mod scene;
mod suite;
mod three;
