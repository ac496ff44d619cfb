//! The bytes of commands, outcomes and rows: versioned, bounded, frozen by golden tests.
