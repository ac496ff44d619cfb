//! What other domains demand of those who send them mail (MTA-STS), as operators see it.

use serde_json::{Value, json};

use super::request::Failure;
use super::server::fault;
use crate::admin::status::rfc3339;
use crate::cluster::replica::Replica;
use crate::state::rows::Rows;
use crate::state::sts::{self, StsMode, StsPolicy};

/// Policies looked at for one answer, so that it fits a line; a listing goes on from there.
const POLICIES_PER_ANSWER_MAX: usize = 100;

/// Some of those that hold, by domain; `next` is where to go on, if that was not all.
pub async fn list<R: Replica>(after: Option<String>, replica: &R) -> Result<Value, Failure> {
    let load = move |rows: &dyn Rows| sts::all_kept(rows, after.as_deref(), POLICIES_PER_ANSWER_MAX);
    let kept = replica.read_queue(load).await.map_err(fault)?;
    let is_full = kept.len() == POLICIES_PER_ANSWER_MAX;
    let next = kept.last().filter(|_| is_full).map(|(domain, _)| domain.clone());
    let now = replica.clock().now();
    let holds = kept.iter().filter(|(_, policy)| now < policy.until);
    let policies: Vec<Value> = holds.map(|(domain, policy)| shown(domain, policy)).collect();
    Ok(json!({ "policies": policies, "next": next }))
}

fn shown(domain: &str, policy: &StsPolicy) -> Value {
    let mode = match policy.mode {
        StsMode::None => "none",
        StsMode::Testing => "testing",
        StsMode::Enforce => "enforce",
    };
    json!({
        "domain": domain,
        "mode": mode,
        "mx": policy.mx,
        "id": policy.id,
        "fetched": rfc3339(policy.fetched),
        "until": rfc3339(policy.until),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::control::request::LINE_BYTES_MAX;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::mail::ids::Timestamp;
    use crate::state::command::Command;
    use crate::state::sts::{KeepStsPolicy, PATTERNS_BYTES_MAX, PATTERNS_MAX};

    const NOW: u64 = 1_700_000_000_000;

    fn keep(replica: &MemoryReplica, domain: String, (mx, seconds): (Vec<String>, u64)) {
        let (id, fetched, until) = ("1".to_owned(), Timestamp(NOW), Timestamp(NOW + seconds * 1_000));
        let policy = StsPolicy { id, mode: StsMode::Enforce, mx, fetched, until };
        replica.run(Command::KeepStsPolicy(Box::new(KeepStsPolicy { domain, policy }))).unwrap();
    }

    #[tokio::test]
    async fn policies_are_shown_while_they_hold() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(NOW)));
        keep(&replica, "b.test".to_owned(), (vec!["*.b.test".to_owned()], 60));
        keep(&replica, "a.test".to_owned(), (vec!["mx.a.test".to_owned()], 3_600));
        let shown = |domain: &str, mx: &str, until: &str| json!({ "domain": domain, "mode": "enforce", "mx": [mx], "id": "1", "fetched": "2023-11-14T22:13:20Z", "until": until });
        let (a, b) = (
            shown("a.test", "mx.a.test", "2023-11-14T23:13:20Z"),
            shown("b.test", "*.b.test", "2023-11-14T22:14:20Z"),
        );
        assert_eq!(list(None, &replica).await.unwrap(), json!({ "policies": [a, b], "next": null }));
        replica.clock().advance_ms(60_000);
        assert_eq!(list(None, &replica).await.unwrap()["policies"], json!([a]), "one is over");
    }

    #[tokio::test]
    async fn the_longest_listing_comes_in_portions_that_fit_a_line() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(NOW)));
        let mx = vec!["x".repeat(PATTERNS_BYTES_MAX / PATTERNS_MAX); PATTERNS_MAX];
        for at in 0..=POLICIES_PER_ANSWER_MAX {
            keep(&replica, format!("{at:03}.test"), (mx.clone(), 60));
        }
        let first = list(None, &replica).await.unwrap();
        assert!(first.to_string().len() < LINE_BYTES_MAX * 3 / 4);
        assert_eq!(first["next"], "099.test");
        let second = list(first["next"].as_str().map(str::to_owned), &replica).await.unwrap();
        assert_eq!((second["policies"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    }
}
