//! What somebody should look after, and since when: rows, so that both nodes tell the same and nobody is mailed twice.
//!
//! A node raises what it sees and clears it when it sees that it is over; apply only remembers. What is worth an alarm,
//! and for how long it must last, is the affair of `admin::alarms`.

use bincode::{Decode, Encode};

use super::keys;
use super::queue::Submit;
use super::reading::visit;
use super::rows::{Rows, RowsError};
use super::stored::AlarmRow;
use crate::mail::ids::{NodeId, Timestamp};

/// Alarms at once: more than ten nodes can have.
pub const ALARMS_MAX: usize = 100;
/// Octets of a note.
pub const NOTE_BYTES_MAX: usize = 300;

/// Append-only: rows and commands name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum AlarmKind {
    /// A data node is away or behind: there are fewer copies.
    Degraded,
    WitnessAway,
    DiskNearlyFull,
    SyncSlow,
    /// The node's clock differs from that of the one who raised it.
    ClockSkew,
    CertificateEnds,
    QueueLarge,
    QueueOld,
    /// What lies on the node's disk is not what should, and nobody could mend it.
    Damaged,
    /// From cluster version 2 on.
    BackupOld,
}

impl AlarmKind {
    pub const ALL: [AlarmKind; 10] = [
        Self::Degraded,
        Self::WitnessAway,
        Self::DiskNearlyFull,
        Self::SyncSlow,
        Self::ClockSkew,
        Self::CertificateEnds,
        Self::QueueLarge,
        Self::QueueOld,
        Self::Damaged,
        Self::BackupOld,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::WitnessAway => "witness-away",
            Self::DiskNearlyFull => "disk-nearly-full",
            Self::SyncSlow => "sync-slow",
            Self::ClockSkew => "clock-skew",
            Self::CertificateEnds => "certificate-ends",
            Self::QueueLarge => "queue-large",
            Self::QueueOld => "queue-old",
            Self::Damaged => "damaged",
            Self::BackupOld => "backup-old",
        }
    }

    /// As it stands in keys.
    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// There is one alarm of a kind about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AlarmId {
    pub kind: AlarmKind,
    /// `None`: about the cluster as a whole.
    pub about: Option<NodeId>,
}

/// Where the alarm is raised already it stays as it is, but for a mail that it lacks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RaiseAlarm {
    pub alarm: AlarmId,
    /// The node that sees it.
    pub by: NodeId,
    /// For people, one line.
    pub note: String,
    /// What tells the postmaster; submitted unless one was before.
    pub mail: Option<Submit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClearAlarm {
    pub alarm: AlarmId,
    /// What tells the postmaster; submitted if he was told of the alarm, and it still was raised.
    pub mail: Option<Submit>,
}

/// One that is raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub id: AlarmId,
    /// By the clock of the node that raised it.
    pub since: Timestamp,
    pub by: NodeId,
    pub note: String,
    /// The postmaster was told.
    pub mailed: bool,
}

/// Ascending by kind.
pub fn alarms(rows: &dyn Rows) -> Result<Vec<Alarm>, RowsError> {
    let mut alarms = Vec::new();
    visit::<AlarmRow>(rows, &keys::table(keys::ALARM), |key, row| {
        let AlarmRow { since, by, note, mailed } = row;
        alarms.extend(keys::alarm_of(key).map(|id| Alarm { id, since, by, note, mailed }));
    })?;
    Ok(alarms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_word_and_a_code_of_its_own() {
        for (at, kind) in AlarmKind::ALL.into_iter().enumerate() {
            assert_eq!((usize::from(kind.code()), AlarmKind::of_code(kind.code())), (at, Some(kind)));
            assert!(AlarmKind::ALL[..at].iter().all(|other| other.word() != kind.word()));
        }
        assert_eq!(AlarmKind::of_code(AlarmKind::ALL.len() as u8), None);
    }
}
