//! Applies one proposal to the rows. Total and deterministic.
