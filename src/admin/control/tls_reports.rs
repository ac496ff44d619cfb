//! `pollux queue tls-reports`: what was counted of TLS with other domains' servers and not yet reported, and its reports now.

use serde_json::{Value, json};

use super::request::Failure;
use super::server::{Operator, fault};
use crate::admin::status::rfc3339;
use crate::cluster::replica::Replica;
use crate::state::rows::{Rows, RowsError};
use crate::state::tls_reports::{self, Day, DayCounts};

/// Domains times days that one answer shows, the oldest first.
const SHOWN_MAX: usize = 1_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    List,
    Send,
}

/// A report that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub domain: String,
    pub day: Day,
    pub to: Vec<String>,
}

pub async fn answer<R: Replica, O: Operator>(
    wish: Wish,
    replica: &R,
    operator: &O,
) -> Result<Value, Failure> {
    match wish {
        Wish::List => replica.read_queue(|rows| list(rows)).await.map_err(fault),
        Wish::Send if !replica.directory().settings().delivery_tls_reports() => Err(Failure::refused(
            "reports are off; 'pollux policy set delivery.tls_reports true' turns them on",
        )),
        Wish::Send => {
            let sent = operator.report_tls().await;
            let sent = sent.ok_or_else(|| Failure::unavailable("mail is not sent here yet; try again"))?;
            let shown = |it: &Sent| json!({ "domain": it.domain, "day": date(it.day), "to": it.to });
            Ok(sent.iter().map(shown).collect())
        }
    }
}

fn list(rows: &dyn Rows) -> Result<Value, RowsError> {
    let mut shown = Vec::new();
    for DayCounts { day, domain, row } in tls_reports::open(rows, Day(u32::MAX), None, SHOWN_MAX)? {
        let policies = tls_reports::counts(rows, day, &domain)?.map_or(Vec::new(), |(_, policies)| policies);
        // Of what was reported a moment ago there may be no more yet.
        if !policies.is_empty() {
            shown.push(json!({
                "domain": domain,
                "day": date(day),
                "since": rfc3339(row.since),
                "successful": policies.iter().map(|it| it.successful).sum::<u64>(),
                "failed": policies.iter().map(|it| it.failed).sum::<u64>(),
            }));
        }
    }
    Ok(Value::Array(shown))
}

fn date(day: Day) -> String {
    rfc3339(day.begins()).chars().take(10).collect()
}
