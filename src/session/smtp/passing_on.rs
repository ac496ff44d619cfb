//! Mail of strangers that goes on to other servers: under which return address, with whose seal, and where it stays.
//!
//! What is passed on goes in the name of whoever's address passes it on. A mail that was judged to be junk does not: whoever
//! gets it from us would blame us for it.

use super::backend::SmtpBackend;
use super::delivering::Bound;
use super::machine::{NoReturn, Verdict};
use crate::cluster::replica::{Fault, Replica};
use crate::mail::address::{Address, ForwardPath, ReversePath, canonical_domain};
use crate::policy::{self, sealing};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::dkim::DkimKey;
use crate::state::routing::{Route, home, is_ours, route, route_postmaster};
use crate::state::srs::{NewSrsSecret, SECRET_BYTES, TooLong};

impl<R: Replica> SmtpBackend<R> {
    /// Where mail for the recipient goes. `Err`: it is a return address that leads nowhere.
    pub(super) fn way(&self, path: &ForwardPath, directory: &Directory) -> Result<Route, Verdict> {
        let ForwardPath::Address(address) = path else { return Ok(route_postmaster(directory)) };
        let now = self.replica.clock().now();
        let home = home(directory, address, Some(now)).map_err(|why| Verdict::NoReturn(why.into()))?;
        if home == *address {
            return Ok(match route(directory, address) {
                Route::NotOurs if is_inbound(directory, address) => {
                    Route::Ours { local: Vec::new(), remote: vec![home] }
                }
                route => route,
            });
        }
        if self.from != ReversePath::Null {
            return Err(Verdict::NoReturn(NoReturn::NotANotice));
        }
        Ok(match route(directory, &home) {
            Route::NotOurs => Route::Ours { local: Vec::new(), remote: vec![home] },
            route => route,
        })
    }

    /// The sender as the next server sees him, where `through` passes on his mail. Our own are what they are, notices
    /// have none, and servers of a domain for which we stand in (RFC 5321 5.1) know that we do.
    pub(super) async fn return_address(
        &mut self,
        from: &ReversePath,
        through: &ForwardPath,
    ) -> Result<Result<String, TooLong>, Fault> {
        let mut directory = self.replica.directory();
        let stands_in = is_for_another(through, &directory);
        let sender = match from {
            ReversePath::Address(sender) if !stands_in && !is_ours(&directory, sender) => sender,
            ReversePath::Address(_) | ReversePath::Null => return Ok(Ok(from.bare())),
        };
        if directory.srs.is_none() {
            let mut dice = [0; SECRET_BYTES];
            self.replica.clock().fill(&mut dice);
            let first = Command::KeepSrsSecret(Box::new(NewSrsSecret::of(dice, false)));
            self.replica.propose(first).await?;
            directory = self.replica.directory();
        }
        let Some(secrets) = &directory.srs else {
            return Err(Fault::Busy("there is no secret for return addresses".to_owned()));
        };
        let made = secrets.rewrite(sender, &domain(through, &directory), self.replica.clock().now());
        Ok(made.map(|address| address.to_string()))
    }

    /// A mail has one sender: those who get it under another are named in a transaction of their own, which the client
    /// begins at once (RFC 5321 4.5.3.1.10).
    pub(super) fn apart(&mut self, path: &ForwardPath, verdict: &Verdict) -> bool {
        if !matches!(verdict, Verdict::Relay { .. }) {
            return false;
        }
        let stands_in = is_for_another(path, &self.replica.directory());
        *self.stands_in.get_or_insert(stands_in) != stands_in
    }

    /// Who seals a mail that is judged, should it go on; `None` where nothing of it does, or nobody can.
    pub(super) fn sealer(&self, bound: &Bound) -> Option<DkimKey> {
        let names = &bound.names;
        let through = match names.first_elsewhere() {
            Some(path) => path,
            None if self.filters.may_redirect() => &names.to.first()?.path,
            None => return None,
        };
        let directory = self.replica.directory();
        sealing::key(&directory.dkim, &domain(through, &directory)).cloned()
    }

    /// Of junk. What stays here is kept; the client hears where nothing would.
    pub(super) fn without_others(&self, mut bound: Bound) -> Result<Bound, policy::Refusal> {
        let is_passed_on = self.replica.directory().settings().forward_junk();
        if is_passed_on || bound.outgoing.is_none() {
            return Ok(bound);
        }
        let mut each = bound.to.iter().zip(&bound.names.to);
        if each.any(|(here, named)| named.elsewhere > 0 && here.is_empty()) {
            let text = "This looks like spam, and spam is not passed on to other servers".to_owned();
            return Err(policy::Refusal { code: 550, enhanced: "5.7.1", text });
        }
        bound.outgoing = None;
        Ok(bound)
    }
}

impl Bound {
    /// What is told of each recipient, where it would have gone on and does not.
    pub(super) fn stays(&self) -> Vec<Vec<String>> {
        let names = &self.names.to;
        let stays = |at: usize| names.get(at).is_some_and(|named| named.elsewhere > 0);
        let told = |at: usize| match self.outgoing.is_none() && stays(at) {
            true => vec![STAYS.to_owned()],
            false => Vec::new(),
        };
        (0..self.to.len()).map(told).collect()
    }
}

const STAYS: &str = "not passed on: it was judged to be junk";

fn is_inbound(directory: &Directory, address: &Address) -> bool {
    canonical_domain(address.domain()).is_some_and(|domain| directory.settings().is_inbound(&domain))
}

/// It is an address of a domain that is not ours.
fn is_for_another(path: &ForwardPath, directory: &Directory) -> bool {
    matches!(path, ForwardPath::Address(address) if !is_ours(directory, address))
}

/// The domain of ours in whose name the mail goes on.
fn domain(through: &ForwardPath, directory: &Directory) -> String {
    let named = match through {
        ForwardPath::Address(address) => canonical_domain(address.domain()),
        ForwardPath::Postmaster => None,
    };
    let first = || directory.domains.first().cloned();
    named.or_else(first).unwrap_or_else(|| directory.settings().hostname().to_owned())
}
