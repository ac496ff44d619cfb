//! sweeping.
