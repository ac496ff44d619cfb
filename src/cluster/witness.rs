//! The witness: log retention, hand-over, rescue of a stale survivor.
