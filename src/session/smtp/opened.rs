//! The mail that a stranger opens: what was asked of it at MAIL, and whether a recipient may be named for it. Kept for one
//! session; decides nothing by itself.

use tracing::info;

use super::checked::Checks;
use crate::mail::address::{Address, ForwardPath};
use crate::policy::facts::Opening;
use crate::policy::gather::opening::{Bounds, Known, Wanted};
use crate::policy::judge::opening::{Refused, Rules, admit};
use crate::policy::{Arrival, Refusal, Skip};
use crate::state::directory::Directory;

#[derive(Default)]
pub struct Opened {
    known: Known,
    mail: Option<(Arrival, Opening)>,
}

impl Opened {
    /// At MAIL; `None`: there is nothing to ask of this one. Takes as long as the bounds of the questions allow.
    pub async fn ask(&mut self, arrival: Option<Arrival>, directory: &Directory, checks: &Checks) {
        // Whatever comes of this, the mail before is over.
        self.mail = None;
        let Some(arrival) = arrival else { return };
        let wanted = Wanted::new(directory);
        let opening = self.known.ask(&arrival, &wanted, (&checks.dns, Bounds::default())).await;
        self.mail = Some((arrival, opening));
    }

    /// The mail that is under way, if it is a stranger's.
    pub fn arrival(&self) -> Option<&Arrival> {
        self.mail.as_ref().map(|(arrival, _)| arrival)
    }

    /// What was found at MAIL.
    pub fn findings(&self) -> Option<&Opening> {
        self.mail.as_ref().map(|(_, opening)| opening)
    }

    /// At RCPT. `None`: it may be named. `skip`: what the mail is let off for this recipient.
    pub fn refuse(&self, path: &ForwardPath, skip: Skip, directory: &Directory) -> Option<Refusal> {
        let refused = self.refused(path, skip, directory)?;
        let (arrival, _) = self.mail.as_ref()?;
        let Arrival { address, helo, sender, .. } = arrival;
        let (sender, refusal) = (sender.as_deref().unwrap_or("<>"), &refused.refusal);
        info!(
            "{} refuses a mail by {sender:?} to {path} from {address} ({helo}): {} {} {}",
            refused.rule, refusal.code, refusal.enhanced, refusal.text
        );
        Some(refused.refusal)
    }

    /// The same, with the setting that decides, and without a word of it in the log.
    pub fn refused(&self, path: &ForwardPath, skip: Skip, directory: &Directory) -> Option<Refused> {
        let (_, opening) = self.mail.as_ref().filter(|_| !is_postmaster(path))?;
        admit(opening, &Rules::new(directory), skip)
    }
}

/// Whom greylisting lets be written to at once: RFC 5321 4.5.1, RFC 2142 4.
pub fn is_left_alone(path: &ForwardPath) -> bool {
    let is_abuse = |address: &Address| address.local().eq_ignore_ascii_case("abuse");
    is_postmaster(path) || matches!(path, ForwardPath::Address(address) if is_abuse(address))
}

/// RFC 5321 4.5.1: whoever is refused can always ask why.
fn is_postmaster(path: &ForwardPath) -> bool {
    match path {
        ForwardPath::Postmaster => true,
        ForwardPath::Address(address) => address.local().eq_ignore_ascii_case("postmaster"),
    }
}
