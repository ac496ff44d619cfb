//! Adapts `store::log` to openraft.
