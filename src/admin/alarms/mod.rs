//! The watch that a data node keeps over itself and, while it leads, over the cluster: what is worth an alarm is raised,
//! what is over is cleared, and the postmaster is mailed of both, once.
//!
//! `judge` says what is wrong now, `hold` what has been for long enough (both pure); an alarm and its mail are one entry,
//! and apply submits no second mail for it, whichever nodes see the same. Nothing here is part of what is promised to
//! clients: where the cluster cannot commit, alarms wait.

mod hold;
mod judge;
mod letter;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use self::hold::{Holds, Step};
pub use self::judge::{NodeSeen, Seen, Whole};
use self::judge::{Terms, judge};
use self::letter::{Letter, News};
use crate::cluster::replica::{Fault, Placing, Replica};
use crate::mail::ids::NodeId;
use crate::state::alarms::{Alarm, AlarmId, ClearAlarm, RaiseAlarm, alarms};
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::queue::Submit;
use crate::state::queue::way_back::to_postmaster;

/// How often the node looks.
const LOOK_MS: u64 = 2_000;

/// What there is to see; the composition root binds it.
pub trait Sight: Send + Sync + 'static {
    fn look(&mut self) -> impl Future<Output = Seen> + Send;
}

/// Until the runtime ends.
pub async fn watch<R: Replica>(replica: R, mut sight: impl Sight) {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(LOOK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut holds = Holds::default();
    loop {
        ticks.tick().await;
        let seen = sight.look().await;
        // Rows that cannot be read are told of elsewhere.
        let Ok(raised) = replica.read_queue(alarms).await else { continue };
        let ids: BTreeSet<AlarmId> = raised.iter().map(|alarm| alarm.id).collect();
        let wrong = judge(&seen, &Terms::of(replica.directory().settings()), &ids);
        let raised: BTreeMap<AlarmId, Alarm> = raised.into_iter().map(|alarm| (alarm.id, alarm)).collect();
        let mail = wants_mail(&replica);
        let now_ms = began.elapsed().as_millis() as u64;
        for step in holds.steps(now_ms, &wrong, &raised, (|id| seen.is_mine(id), mail)) {
            match take(&replica, &seen, &step, raised.get(&step.id())).await {
                Ok(()) => {}
                Err(Fault::ShuttingDown) => return,
                Err(fault) => info!("an alarm waits: {fault}"),
            }
        }
    }
}

/// Whether mail about alarms goes to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mail {
    Wanted,
    Unwanted,
}

fn wants_mail<R: Replica>(replica: &R) -> Mail {
    let directory = replica.directory();
    let settings = directory.settings();
    match settings.alarm_mail() && !settings.smtp_postmaster().is_empty() {
        true => Mail::Wanted,
        false => Mail::Unwanted,
    }
}

async fn take<R: Replica>(replica: &R, seen: &Seen, step: &Step, known: Option<&Alarm>) -> Result<(), Fault> {
    let command = match step {
        Step::Raise(alarm, note) => {
            if known.is_none() {
                warn!("alarm {}: {note}", alarm.kind.word());
            }
            let mail = mail(replica, seen, (alarm, News::Raised { note })).await;
            let (by, note) = (replica.node(), note.clone());
            Command::RaiseAlarm(Box::new(RaiseAlarm { alarm: *alarm, by, note, mail }))
        }
        Step::Clear(alarm) => {
            info!("alarm {} is over: {}", alarm.kind.word(), known.map_or("", |known| &known.note));
            let mail = match known.filter(|known| known.mailed) {
                Some(known) => mail(replica, seen, (alarm, News::Over { known })).await,
                None => None,
            };
            Command::ClearAlarm(Box::new(ClearAlarm { alarm: *alarm, mail }))
        }
    };
    match replica.propose(command).await? {
        Outcome::Refused(refusal) => Err(Fault::Busy(refusal.to_string())),
        _ => Ok(()),
    }
}

/// `None`: nobody is to be told, or the mail cannot be stored now: then the alarm is raised without it, and mailed later.
async fn mail<R: Replica>(replica: &R, seen: &Seen, (alarm, news): (&AlarmId, News<'_>)) -> Option<Submit> {
    if wants_mail(replica) == Mail::Unwanted {
        return None;
    }
    let directory = replica.directory();
    let (to, queue) = to_postmaster(&directory, replica.node())?;
    let mut dice = [0; 8];
    replica.clock().fill(&mut dice);
    let letter = Letter {
        hostname: directory.settings().hostname(),
        to: &directory.settings().smtp_postmaster(),
        now: replica.clock().now(),
        dice: u64::from_le_bytes(dice),
        alarm: *alarm,
        about: alarm.about.map(|node| seen.name_of(node)),
        by: &seen.name_of(seen.own),
    };
    let placed = async {
        let mut placing = replica.place().await?;
        placing.push(letter.text(&news)).await?;
        placing.finish().await
    };
    match placed.await {
        Ok(body) => Some(Submit { body, to, queue }),
        Err(fault) => {
            info!("the mail about an alarm waits: {fault}");
            None
        }
    }
}

impl Seen {
    fn name_of(&self, node: NodeId) -> String {
        if node == self.own {
            return self.own_name.clone();
        }
        let known = self.whole.iter().flat_map(|whole| &whole.nodes).find(|it| it.id == node);
        known.map_or_else(|| format!("node {node}"), |it| it.name.clone())
    }
}
