//! `pollux relay`: servers that mail for others goes through.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::Plan;
use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::relays::{NewRelay, RelayFor, RelayLogin, RelayTls};
use crate::state::secret::Secret;

/// Of submission (RFC 6409), where a relay that wants a login listens.
const SUBMISSION_PORT: u16 = 587;

/// A relay as an operator hands it in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedRelay {
    pub name: String,
    /// `host`, `host:port`, `[IPv6 address]:port`.
    pub host: String,
    /// An address, or `@domain`; of neither: all mail.
    pub for_recipient: Option<String>,
    pub for_sender: Option<String>,
    pub tls: String,
    pub user: Option<String>,
    pub password: Option<String>,
}

/// Not shown in any log.
impl std::fmt::Debug for WantedRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WantedRelay({} {})", self.name, self.host)
    }
}

pub fn add(wanted: WantedRelay) -> Result<Plan, Failure> {
    let WantedRelay { name, host, for_recipient, for_sender, tls, user, password } = wanted;
    let wrong_host = || Failure::refused(format!("\"{host}\" is no host, nor host:port"));
    let (host, port) = server(&host).ok_or_else(wrong_host)?;
    let tls = RelayTls::ALL.into_iter().find(|it| it.word() == tls);
    let tls = tls.ok_or_else(|| Failure::refused("--tls is off, opportunistic, forced or verified"))?;
    let applies = match (for_recipient, for_sender) {
        (None, None) => RelayFor::All,
        (Some(pattern), None) => RelayFor::Recipient(pattern),
        (None, Some(pattern)) => RelayFor::Sender(pattern),
        (Some(_), Some(_)) => return Err(Failure::refused("a relay is for recipients or for senders")),
    };
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(RelayLogin { user, password: Secret(password) }),
        (None, None) => None,
        _ => return Err(Failure::refused("a login is a user and a password")),
    };
    let done = format!("relay {name} takes mail for {}", applies.words());
    let new = NewRelay { name, applies, host, port, tls, login };
    Ok(Plan::Propose { commands: vec![Command::AddRelay(Box::new(new))], done })
}

fn server(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, SUBMISSION_PORT),
    };
    let bare = host.trim_matches(['[', ']']);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    (!bare.is_empty() && bare.chars().all(fits) && port != 0).then(|| (host.to_owned(), port))
}

pub fn remove(name: String) -> Plan {
    let done = format!("relay {name} removed");
    Plan::Propose { commands: vec![Command::RemoveRelay { name }], done }
}

/// Without passwords.
pub fn list(directory: &Directory) -> Plan {
    let shown = directory.relays.all().iter().map(|relay| {
        json!({
            "name": relay.name,
            "for": relay.applies.words(),
            "host": format!("{}:{}", relay.host, relay.port),
            "tls": relay.tls.word(),
            "user": relay.login.as_ref().map(|login| login.user.clone()),
            "created": rfc3339(relay.created),
        })
    });
    Plan::Show(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_have_a_port() {
        for (text, server_of) in [
            ("relay.test", Some(("relay.test", 587))),
            ("relay.test:25", Some(("relay.test", 25))),
            ("192.0.2.1:2525", Some(("192.0.2.1", 2525))),
            ("[2001:db8::1]:25", Some(("[2001:db8::1]", 25))),
            ("[2001:db8::1]", Some(("[2001:db8::1]", 587))),
            ("relay.test:0", None),
            ("relay.test:x", None),
            ("relay test", None),
            (":25", None),
            ("", None),
        ] {
            assert_eq!(server(text), server_of.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn a_password_is_neither_shown_nor_half_a_login() {
        let wanted = |user: Option<&str>, password: Option<&str>| WantedRelay {
            name: "r".to_owned(),
            host: "relay.test".to_owned(),
            for_recipient: None,
            for_sender: None,
            tls: "verified".to_owned(),
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
        };
        assert!(add(wanted(Some("u"), None)).is_err() && add(wanted(None, Some("p"))).is_err());
        assert!(!format!("{:?}", wanted(Some("u"), Some("secret"))).contains("secret"));
        let plan = add(wanted(Some("u"), Some("secret"))).unwrap();
        assert!(!format!("{plan:?}").contains("secret"), "{plan:?}");
        let both = WantedRelay {
            for_recipient: Some("@a.test".into()),
            for_sender: Some("@b.test".into()),
            ..wanted(None, None)
        };
        assert!(add(both).is_err());
    }
}
