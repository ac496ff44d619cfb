//! The MIME structure of a raw message as byte ranges: total, bounded in depth and parts.
