//! What the machine cannot know: what another node has just noted.

use super::machine::{Autoconfig, Latest, Token};
use crate::cluster::replica::Replica;
use crate::session::driver::Backend;

pub struct AutoconfigBackend<R> {
    replica: R,
}

impl<R> AutoconfigBackend<R> {
    pub fn new(replica: R) -> Self {
        Self { replica }
    }
}

impl<R: Replica> Backend<Autoconfig> for AutoconfigBackend<R> {
    async fn answer(&mut self, Token(token): Token) -> Latest {
        let known = || self.replica.directory().acme.answer(&token).map(str::to_owned);
        if let Some(answer) = known() {
            return Latest(Some(answer));
        }
        // The node that orders had it noted before the server was told to ask; this one may have yet to hear of it.
        match self.replica.refresh().await {
            Ok(()) => Latest(known()),
            Err(_) => Latest(None),
        }
    }
}
