//! One-time join tokens: CA fingerprint, address, secret, expiry.
