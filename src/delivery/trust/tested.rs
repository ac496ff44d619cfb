//! A server is held to its name, and believed whatever comes of it (MTA-STS in testing mode, RFC 8461 5).

use std::sync::OnceLock;

use rustls::Error;

use super::failure::TlsFailure;
use super::named::Named;
use super::verifier::{Judge, Shown};

#[derive(Debug)]
pub struct Tested {
    named: Named,
    doubt: OnceLock<Error>,
}

impl Tested {
    pub fn new(named: Named) -> Self {
        Self { named, doubt: OnceLock::new() }
    }

    /// Why it would not have been believed.
    pub fn doubt(&self) -> Option<(TlsFailure, String)> {
        self.doubt.get().map(|error| (TlsFailure::of_tls(error), error.to_string()))
    }
}

impl Judge for Tested {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        if let Err(error) = self.named.judge(shown) {
            self.doubt.get_or_init(|| error);
        }
        Ok(())
    }
}
