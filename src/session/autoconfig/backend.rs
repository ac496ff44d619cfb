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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::mail::ids::{NodeId, Timestamp};
    use crate::state::certificate::{AcmeAnswer, AcmeStep, AcmeWhat};
    use crate::state::command::Command;

    /// The server is told to ask as soon as a majority has the answer, and asks a node that may be behind.
    #[tokio::test]
    async fn a_node_that_has_not_heard_of_an_answer_asks_for_the_newest_state() {
        let replica = MemoryReplica::new(Clock::system());
        let mut backend = AutoconfigBackend::new(replica.clone());
        let token = || Token("t".to_owned());
        assert_eq!(backend.answer(token()).await, Latest(None));
        let step = |what| Command::StepAcme(Box::new(AcmeStep { began: Timestamp(1), what }));
        replica.run_elsewhere(step(AcmeWhat::Begin { by: NodeId(2), before: None }));
        let answer = AcmeAnswer { token: "t".to_owned(), authorization: "t.x".to_owned() };
        replica.run_elsewhere(step(AcmeWhat::Answers(vec![answer])));
        assert_eq!(replica.directory().acme.answers, []);
        assert_eq!(backend.answer(token()).await, Latest(Some("t.x".to_owned())));
        assert_eq!(backend.answer(Token("u".to_owned())).await, Latest(None));
    }
}
