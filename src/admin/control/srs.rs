//! `pollux srs`: the secret of return addresses.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::Plan;
use crate::admin::status::rfc3339;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::secret::Secret;
use crate::state::srs::NewSrsSecret;

/// The next secret, in hexadecimal.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedSecret(pub String);

/// Not shown in any log.
impl std::fmt::Debug for WantedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WantedSecret(…)")
    }
}

pub fn rotate(wanted: WantedSecret, directory: &Directory) -> Plan {
    let lost = directory.srs.as_ref().and_then(|known| known.previous.as_ref());
    let done = match (&directory.srs, lost) {
        (_, Some(lost)) => format!(
            "a new secret is in use; return addresses by the one made at {} are refused from now on",
            rfc3339(lost.made)
        ),
        (Some(_), None) => "a new secret is in use; return addresses by the last one stay good".to_owned(),
        (None, None) => "a secret is in use".to_owned(),
    };
    let new = NewSrsSecret { secret: Secret(wanted.0), replaces: true };
    Plan::Propose { commands: vec![Command::KeepSrsSecret(Box::new(new))], done }
}

/// When they were made; not what they are.
pub fn show(directory: &Directory) -> Plan {
    let secrets = directory.srs.as_deref();
    let made = |made| rfc3339(made);
    Plan::Show(json!({
        "current_made": secrets.map(|known| made(known.current.made)),
        "previous_made": secrets.and_then(|known| known.previous.as_ref()).map(|known| made(known.made)),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mail::ids::Timestamp;
    use crate::state::srs::{SrsSecret, SrsSecrets};

    #[test]
    fn what_is_lost_by_a_rotation_is_said_and_no_secret_is_shown() {
        let secret = |text: &str| SrsSecret { secret: Secret(text.to_owned()), made: Timestamp(0) };
        let known = |previous: Option<SrsSecret>| Directory {
            srs: Some(Arc::new(SrsSecrets { current: secret("one"), previous })),
            ..Directory::default()
        };
        for (directory, told) in [
            (Directory::default(), "a secret is in use"),
            (known(None), "stay good"),
            (known(Some(secret("zero"))), "made at 1970-01-01T00:00:00Z are refused"),
        ] {
            let wanted = WantedSecret("next".to_owned());
            assert!(!format!("{wanted:?}").contains("next"));
            let plan = rotate(wanted, &directory);
            let Plan::Propose { done, .. } = &plan else { panic!("{plan:?}") };
            assert!(done.contains(told), "{done}");
            assert!(!format!("{plan:?}").contains("next"), "{plan:?}");
            let Plan::Show(shown) = show(&directory) else { panic!("it is shown") };
            assert!(!shown.to_string().contains("one"), "{shown}");
            assert_eq!(shown["current_made"].is_null(), directory.srs.is_none());
        }
    }
}
