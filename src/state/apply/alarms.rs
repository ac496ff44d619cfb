//! Alarms: raised once, mailed once, cleared once, whichever nodes see them.

use super::names::invalid;
use super::queue;
use super::transaction::{Stop, Transaction};
use crate::state::alarms::{ALARMS_MAX, ClearAlarm, NOTE_BYTES_MAX, RaiseAlarm};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::TlsWish;
use crate::state::stored::AlarmRow;

pub fn raise(tx: &mut Transaction, raised: &RaiseAlarm) -> Result<Outcome, Stop> {
    let RaiseAlarm { alarm, by, note, mail } = raised;
    if note.len() > NOTE_BYTES_MAX || note.contains(char::is_control) {
        return Err(invalid("note of an alarm", note).into());
    }
    let key = keys::alarm(*alarm);
    let known = tx.get::<AlarmRow>(&key)?;
    if known.is_none() {
        let span = keys::table(keys::ALARM);
        if tx.first::<AlarmRow>(&span, ALARMS_MAX)?.len() >= ALARMS_MAX {
            return Err(Refusal::Limit(format!("{ALARMS_MAX} alarms")).into());
        }
    }
    let mut row =
        known.unwrap_or_else(|| AlarmRow { since: tx.at, by: *by, note: note.clone(), mailed: false });
    if let (Some(mail), false) = (mail, row.mailed) {
        queue::notice(tx, mail, TlsWish::Usual)?;
        row.mailed = true;
    }
    tx.put(key, &row)?;
    Ok(Outcome::Done)
}

pub fn clear(tx: &mut Transaction, cleared: &ClearAlarm) -> Result<Outcome, Stop> {
    let key = keys::alarm(cleared.alarm);
    let Some(row) = tx.get::<AlarmRow>(&key)? else { return Ok(Outcome::Done) };
    if let (Some(mail), true) = (&cleared.mail, row.mailed) {
        queue::notice(tx, mail, TlsWish::Usual)?;
    }
    tx.delete(key);
    Ok(Outcome::Done)
}
