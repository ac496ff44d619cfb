//! A mail that is checked before it is taken: it waits in the spool while it is read, then it is judged.

use std::io;

use bytes::Bytes;
use tracing::{info, warn};

use super::delays::Delays;
use super::spool::{Spool, Spooled};
use crate::cluster::replica::Fault;
use crate::dns::Resolver;
use crate::mail::ids::Timestamp;
use crate::policy::facts::Opening;
use crate::policy::gather::{Bounds, HEAD_BYTES_MAX, Read, Wanted};
use crate::policy::{
    Arrival, Facts, Reading, Refusal, Rules, Skip, Verdict, gather, judge, results, sealing,
};
use crate::state::directory::Directory;
use crate::state::dkim::DkimKey;

/// What checks need. Cheap to clone.
#[derive(Clone)]
pub struct Checks {
    pub dns: Resolver,
    pub spool: Spool,
    pub delays: Delays,
}

/// A mail on its way in.
pub struct Checked {
    arrival: Arrival,
    opening: Option<Opening>,
    reading: Reading,
    spooled: Spooled,
    head_too_long: bool,
}

/// What was decided of it, and what of it is to be kept.
pub struct Judged {
    pub verdict: Verdict,
    /// The setting that decided; empty where none had anything against it.
    pub rule: &'static str,
    /// What the checks found: each by itself, and as header fields.
    pub found: Vec<String>,
    pub fields: String,
    pub spooled: Spooled,
}

impl Checked {
    /// `opening`: what was found of it before.
    pub fn new(arrival: Arrival, opening: Option<Opening>, checks: &Checks) -> Self {
        let (reading, spooled) = (Reading::new(&arrival.receiver), checks.spool.open());
        Self { arrival, opening, reading, spooled, head_too_long: false }
    }

    pub async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        if self.head_too_long {
            return Ok(());
        }
        let Ok(kept) = self.reading.take(bytes) else {
            self.head_too_long = true;
            return Ok(());
        };
        for part in kept {
            self.spooled.push(part).await.map_err(fault)?;
        }
        Ok(())
    }

    /// Asks and judges. Takes as long as the bounds of the questions allow. `sealer`: where the mail goes on to other
    /// servers if it is taken.
    pub async fn judge(
        self,
        (directory, skip): (&Directory, Skip),
        (sealer, now): (Option<DkimKey>, Timestamp),
        checks: &Checks,
    ) -> Result<Judged, Fault> {
        let Self { arrival, opening, reading, mut spooled, head_too_long } = self;
        if head_too_long {
            let verdict = Verdict::Refuse(Refusal {
                code: 554,
                enhanced: "5.6.0",
                text: format!("The header is longer than {HEAD_BYTES_MAX} octets"),
            });
            return Ok(Judged { verdict, rule: "", found: Vec::new(), fields: String::new(), spooled });
        }
        let (read, rest) = reading.finish();
        spooled.push(rest).await.map_err(fault)?;
        let settings = directory.settings();
        let wanted = Wanted {
            spf: settings.spf_verify(),
            dkim: settings.dkim_verify(),
            dmarc: settings.dmarc_verify(),
        };
        let facts: Facts = gather(&arrival, &read, wanted, (&checks.dns, Bounds::default())).await;
        let judgement = judge(&facts, &Rules::new(directory).without(skip));
        if judgement.verdict != Verdict::Accept {
            let Arrival { address, sender, .. } = &arrival;
            let sender = sender.as_deref().unwrap_or("<>");
            info!(
                "{} decides of a mail by {sender:?} from {address}: {:?}",
                judgement.rule, judgement.verdict
            );
        }
        spooled.rewind().await.map_err(fault)?;
        let found = results::results(&arrival, opening.as_ref(), &facts);
        let mut fields = results::fields(&arrival, &facts, &found);
        if let Some(key) = sealer.filter(|_| judgement.is_taken()) {
            fields = seal((read, facts), (arrival.receiver, found.clone()), (key, now)).await + &fields;
        }
        Ok(Judged { verdict: judgement.verdict, rule: judgement.rule, found, fields, spooled })
    }
}

/// What cannot be sealed goes without.
async fn seal(
    about: (Read, Facts),
    (receiver, found): (String, Vec<String>),
    (key, now): (DkimKey, Timestamp),
) -> String {
    let domain = key.domain.clone();
    // Large keys take the processor for long.
    let sealing = tokio::task::spawn_blocking(move || {
        sealing::seal(&about.0, &about.1, (&receiver, &found), (&key, now))
    });
    let why = match sealing.await {
        Ok(Ok(fields)) => return fields.unwrap_or_default(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    warn!("a mail that {domain} passes on goes unsealed: {why}");
    String::new()
}

/// Of this node's disk.
pub fn fault(error: io::Error) -> Fault {
    Fault::Disk(format!("the spool: {error}"))
}
