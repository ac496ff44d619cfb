//! Whole nodes in one process, on loopback ports and in directories of their own.

mod alone;
mod barrier;
mod bodies;
mod digests;
mod pair;
mod replaced;
mod scene;
mod sim;
mod suite;
mod three;
mod verify;
mod versions;
