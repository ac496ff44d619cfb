//! Which key holds which row. Big-endian, so that order of bytes is order of meaning.
