//! Bounded CRLF lines and literals out of a byte buffer.
