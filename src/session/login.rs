//! Checks logins: argon2id off the runtime, a bounded cache of verified ones.
