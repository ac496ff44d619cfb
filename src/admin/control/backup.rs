//! A backup that this node makes, as operators see it: begun by one request, asked after by others, since it may take hours.

use serde_json::{Value, json};

use crate::backup::BackupError;
use crate::backup::manifest::Manifest;
use crate::backup::progress::Step;
use crate::mail::ids::Timestamp;

/// How the last one that was begun stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Job {
    #[default]
    None,
    Running(Step),
    Ended(Box<Result<Manifest, BackupError>>),
}

/// The number tells one from those before and after.
pub fn shown(number: u64, job: &Job) -> Value {
    let of = |state: &str| json!({ "job": number, "state": state });
    match job {
        Job::None => of("none"),
        Job::Running(step) => {
            let mut shown = of("running");
            shown["phase"] = json!(step.phase.word());
            shown["rows"] = json!(step.rows);
            shown["messages"] = json!(step.bodies);
            shown["messages_wanted"] = json!(step.bodies_wanted);
            shown["bytes"] = json!(step.bytes);
            shown
        }
        Job::Ended(made) => match made.as_ref() {
            Ok(manifest) => {
                let mut shown = of("done");
                shown["backup"] = backup(manifest);
                shown
            }
            Err(error) => {
                let mut shown = of("failed");
                shown["message"] = json!(error.to_string());
                shown
            }
        },
    }
}

/// What is shown of one.
pub fn backup(manifest: &Manifest) -> Value {
    json!({
        "id": manifest.id,
        "at": crate::admin::status::rfc3339(Timestamp(manifest.at_ms)),
        "cluster": manifest.cluster,
        "node": manifest.node,
        "version": manifest.build,
        "index": manifest.index,
        "users": manifest.users,
        "messages": manifest.messages,
        "rows": manifest.rows,
        "bodies": manifest.bodies,
        "bodies_added": manifest.bodies_added,
        "bytes_added": manifest.bytes_added,
        "bodies_lost": manifest.bodies_lost.len(),
    })
}
