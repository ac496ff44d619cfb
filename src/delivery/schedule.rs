//! When what waits is tried again, told of, and given up (row 19). Pure; all times are the proposer's.

use super::reply::{Class, Reply};
use crate::mail::ids::Timestamp;
use crate::state::directory::Directory;
use crate::state::queue::reading::Parcel;
use crate::state::queue::{ParcelReport, RecipientResult};
use crate::state::stored::RecipientRow;

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub retry_min: u64,
    pub retry_max: u64,
    pub lifetime: u64,
    pub delay_notice: u64,
}

impl Rules {
    pub fn of(directory: &Directory) -> Self {
        let settings = directory.settings();
        let ms = |seconds: u64| seconds.saturating_mul(1_000);
        Self {
            retry_min: ms(settings.delivery_retry_seconds_min()),
            retry_max: ms(settings.delivery_retry_seconds_max()),
            lifetime: ms(settings.delivery_lifetime_seconds()),
            delay_notice: ms(settings.delivery_delay_notice_seconds()),
        }
    }

    /// Twice as long after each try, and never beyond the end of the mail's life, at which it is given up.
    pub fn next_attempt(&self, tries_before: u32, queued_at: Timestamp, now: Timestamp) -> Timestamp {
        let doubled = self.retry_min.saturating_mul(1 << tries_before.min(32));
        let next = now.0.saturating_add(doubled.min(self.retry_max.max(self.retry_min)));
        let end = queued_at.0.saturating_add(self.lifetime);
        Timestamp(if end > now.0 { next.min(end) } else { next })
    }
}

/// What came of a try with a parcel: what the queue is told, and what the sender is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub report: ParcelReport,
    pub delivered: usize,
    pub deferred: usize,
    /// Given up; of these the sender asked, or did not ask not, to be told.
    pub failed: Vec<(RecipientRow, Reply)>,
    /// How many were given up in all.
    pub failures: usize,
    /// Told of because it takes long.
    pub delayed: Vec<(RecipientRow, Reply)>,
    /// Taken by a server that tells nobody, of these the sender asked to be told.
    pub relayed: Vec<(RecipientRow, Reply)>,
}

/// `said` holds a reply for each of the parcel's recipients, in their order, and whether who said it tells of success himself.
pub fn judge(parcel: &Parcel, said: &[(Reply, bool)], now: Timestamp, rules: &Rules) -> Judged {
    let age = now.0.saturating_sub(parcel.mail.queued_at.0);
    let next_attempt = rules.next_attempt(parcel.row.attempts, parcel.mail.queued_at, now);
    let mut judged = Judged {
        report: ParcelReport { parcel: parcel.id, next_attempt, results: Vec::with_capacity(said.len()) },
        delivered: 0,
        deferred: 0,
        failed: Vec::new(),
        failures: 0,
        delayed: Vec::new(),
        relayed: Vec::new(),
    };
    // RFC 5321 6.1: never a notice of a notice.
    let answers = !parcel.mail.sender.is_empty();
    for ((number, recipient), (reply, tells_of_success)) in parcel.recipients.iter().zip(said) {
        let over_age = age >= rules.lifetime;
        let result = match reply.class() {
            Class::Done => {
                judged.delivered += 1;
                // RFC 3461 5.2.2.
                if answers && !tells_of_success && recipient.notify.is_some_and(|notify| notify.success) {
                    judged.relayed.push((recipient.clone(), reply.clone()));
                }
                RecipientResult::Over
            }
            Class::Temporary if !over_age => {
                judged.deferred += 1;
                let wanted = recipient.notify.is_none_or(|notify| notify.delay);
                let tell = answers && wanted && age >= rules.delay_notice && !recipient.delay_told;
                if tell {
                    judged.delayed.push((recipient.clone(), reply.clone()));
                }
                RecipientResult::Deferred { reply: reply.to_string(), delay_told: tell }
            }
            Class::Temporary | Class::Permanent => {
                judged.failures += 1;
                if answers && recipient.notify.is_none_or(|notify| notify.failure) {
                    judged.failed.push((recipient.clone(), reply.clone()));
                }
                RecipientResult::Over
            }
        };
        judged.report.results.push((*number, result));
    }
    judged
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::mail::dsn::Notify;
    use crate::mail::ids::{BodyId, NodeId, QueueId};
    use crate::state::queue::{ParcelId, TlsWish};
    use crate::state::stored::{ParcelRow, QueuedRow};

    pub const RULES: Rules =
        Rules { retry_min: 1_000_000, retry_max: 4_000_000, lifetime: 432_000_000, delay_notice: 14_400_000 };

    pub fn parcel(sender: &str, to: &[(&str, Option<Notify>)]) -> Parcel {
        let recipient = |(number, (address, notify)): (usize, &(&str, Option<Notify>))| {
            let address = address.to_string();
            (
                number as u16,
                RecipientRow { address, orcpt: None, notify: *notify, reply: None, delay_told: false },
            )
        };
        Parcel {
            id: ParcelId { message: QueueId(7), number: 0 },
            mail: QueuedRow {
                body: BodyId([0; 32]),
                size: 10,
                sender: sender.into(),
                account: None,
                envid: None,
                ret: None,
                smtputf8: false,
                queued_at: Timestamp(1_000),
                parcels: 1,
            },
            passed_on: false,
            tls: TlsWish::Usual,
            row: ParcelRow {
                destination: "x.test".into(),
                near: NodeId(1),
                attempts: 0,
                next_attempt: Timestamp(1_000),
                recipients: to.len() as u16,
                held: false,
                lease: None,
            },
            recipients: to.iter().enumerate().map(recipient).collect(),
        }
    }

    fn later() -> Reply {
        Reply::of_ours(450, (4, 2, 0), "later")
    }

    /// Five days of a host that is away, with a virtual clock: when it is tried, when the sender is told.
    #[test]
    fn a_mail_is_tried_for_its_life_and_no_longer() {
        let mut parcel = parcel("a@b.test", &[("x@x.test", None)]);
        let (mut now, mut told, mut waits) = (Timestamp(1_000), Vec::new(), Vec::new());
        let gave_up = loop {
            let judged = judge(&parcel, &[(later(), false)], now, &RULES);
            if !judged.delayed.is_empty() {
                told.push(now.0 - 1_000);
                parcel.recipients[0].1.delay_told = true;
            }
            if judged.failures > 0 {
                assert_eq!(judged.failed.len(), 1);
                break now.0 - 1_000;
            }
            waits.push((judged.report.next_attempt.0 - now.0) / 1_000);
            now = judged.report.next_attempt;
            parcel.row.attempts += 1;
        };
        assert_eq!(waits[..4], [1_000, 2_000, 4_000, 4_000]);
        assert_eq!((gave_up, told), (432_000_000, vec![15_000_000]), "the first try at or after four hours");
        assert_eq!(waits.len(), 110);
    }

    #[test]
    fn each_recipient_is_judged_by_its_own_reply() {
        let never = Some(Notify::NEVER);
        let to = [("a@x.test", None), ("b@x.test", None), ("c@x.test", never), ("d@x.test", None)];
        let no = Reply::of_ours(550, (5, 1, 1), "no");
        let said = [Reply::of_ours(250, (2, 0, 0), "ok"), no.clone(), no, later()].map(|said| (said, false));
        let judged = judge(&parcel("a@b.test", &to), &said, Timestamp(2_000), &RULES);
        assert_eq!((judged.delivered, judged.failures, judged.failed.len(), judged.deferred), (1, 2, 1, 1));
        assert_eq!(judged.failed[0].0.address, "b@x.test");
        let over = |at: usize| judged.report.results[at].1 == RecipientResult::Over;
        assert!(over(0) && over(1) && over(2) && !over(3));
        let bounced = judge(&parcel("", &to), &said, Timestamp(2_000), &RULES);
        assert_eq!((bounced.failures, bounced.failed.len()), (2, 0), "nobody is told of a notice");
        let old = Timestamp(1_000 + RULES.delay_notice);
        assert_eq!(judge(&parcel("", &to), &said, old, &RULES).delayed, []);
        assert_eq!(judge(&parcel("a@b.test", &to), &said, old, &RULES).delayed.len(), 1);
    }

    #[test]
    fn who_asked_is_told_that_a_mail_went_where_nobody_tells_of_it() {
        let success = |success| Some(Notify { success, failure: true, delay: false });
        let to = [
            ("a@x.test", success(true)),
            ("b@x.test", success(true)),
            ("c@x.test", success(false)),
            ("d@x.test", None),
        ];
        let taken = Reply::of_ours(250, (2, 0, 0), "ok");
        let said = [false, true, false, false].map(|tells| (taken.clone(), tells));
        let judged = judge(&parcel("a@b.test", &to), &said, Timestamp(2_000), &RULES);
        let relayed: Vec<_> = judged.relayed.iter().map(|(to, _)| to.address.as_str()).collect();
        assert_eq!((judged.delivered, relayed), (4, vec!["a@x.test"]));
        assert_eq!(judge(&parcel("", &to), &said, Timestamp(2_000), &RULES).relayed, []);
        let later = [(later(), false)];
        assert_eq!(judge(&parcel("a@b.test", &to[..1]), &later, Timestamp(2_000), &RULES).relayed, []);
    }
}
