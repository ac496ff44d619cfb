//! Servers that mail for others goes through, each for some of it, with the login that it wants (rows 22 to 24).
//! Replicated rows; what delivery asks is [`Relays`], made of them.

use bincode::{Decode, Encode};

use super::secret::Secret;
use crate::mail::address::{Address, canonical_domain};
use crate::mail::ids::Timestamp;

/// Of the whole cluster.
pub const RELAYS_MAX: usize = 1_000;
pub const NAME_BYTES_MAX: usize = 64;
pub const PATTERN_BYTES_MAX: usize = 320;
pub const HOST_BYTES_MAX: usize = 255;
/// Of a user's name and of a password.
pub const LOGIN_BYTES_MAX: usize = 255;

/// Which mail goes there. A pattern is an address, or `@domain`. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum RelayFor {
    All,
    Recipient(String),
    Sender(String),
}

/// Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum RelayTls {
    Off,
    /// Where it is offered.
    Opportunistic,
    /// Or the mail waits; whoever answers is believed.
    Forced,
    /// Or the mail waits; the certificate must be for the host, by somebody the system trusts.
    Verified,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RelayLogin {
    pub user: String,
    pub password: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    pub name: String,
    pub applies: RelayFor,
    pub host: String,
    pub port: u16,
    pub tls: RelayTls,
    pub login: Option<RelayLogin>,
    pub created: Timestamp,
}

/// A relay that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewRelay {
    pub name: String,
    pub applies: RelayFor,
    pub host: String,
    pub port: u16,
    pub tls: RelayTls,
    pub login: Option<RelayLogin>,
}

impl RelayFor {
    /// As it is shown: `all`, `recipient @a.test`, `sender a@a.test`.
    pub fn words(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Recipient(pattern) => format!("recipient {pattern}"),
            Self::Sender(pattern) => format!("sender {pattern}"),
        }
    }
}

impl RelayTls {
    pub const ALL: [Self; 4] = [Self::Off, Self::Opportunistic, Self::Forced, Self::Verified];

    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Opportunistic => "opportunistic",
            Self::Forced => "forced",
            Self::Verified => "verified",
        }
    }

    /// Whether nothing is said in the clear, come what may.
    pub fn protects(self) -> bool {
        matches!(self, Self::Forced | Self::Verified)
    }
}

/// As it is to be kept. `Err` says what is wrong with it.
pub fn canonical(new: NewRelay) -> Result<NewRelay, String> {
    let applies = match new.applies {
        RelayFor::All => RelayFor::All,
        RelayFor::Recipient(pattern) => RelayFor::Recipient(canonical_pattern(&pattern)?),
        RelayFor::Sender(pattern) => RelayFor::Sender(canonical_pattern(&pattern)?),
    };
    let login = new.login.filter(|login| !login.user.is_empty());
    if login.is_some() && !new.tls.protects() {
        return Err("a password is never sent in the clear: --tls verified, or forced".to_owned());
    }
    // Before it is sealed, where its length is still its own.
    if login.as_ref().is_some_and(|login| login.password.0.len() > LOGIN_BYTES_MAX) {
        return Err(format!("a password has at most {LOGIN_BYTES_MAX} bytes"));
    }
    Ok(NewRelay { applies, login, host: new.host.to_ascii_lowercase(), ..new })
}

fn canonical_pattern(pattern: &str) -> Result<String, String> {
    let wrong = || format!("\"{pattern}\" is neither an address nor @domain");
    match pattern.strip_prefix('@') {
        Some(domain) => canonical_domain(domain).map(|domain| format!("@{domain}")).ok_or_else(wrong),
        None => Address::parse(pattern).map(|address| address.canonical()).map_err(|_| wrong()),
    }
}

/// All relays, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relays(Vec<Relay>);

impl Relays {
    pub fn new(relays: Vec<Relay>) -> Self {
        Self(relays)
    }

    pub fn all(&self) -> &[Relay] {
        &self.0
    }

    /// The closest: the sender's address, his domain, the recipient's address, his domain, all.
    pub fn of(&self, sender: &str, recipient: &str) -> Option<&Relay> {
        if self.0.is_empty() {
            return None;
        }
        self.closest(sender, RelayFor::Sender)
            .or_else(|| self.of_recipient(recipient))
            .or_else(|| self.find(&RelayFor::All))
    }

    /// The one for this recipient alone, whatever there is for senders or for all mail.
    pub fn of_recipient(&self, recipient: &str) -> Option<&Relay> {
        self.closest(recipient, RelayFor::Recipient)
    }

    fn closest(&self, address: &str, applies: fn(String) -> RelayFor) -> Option<&Relay> {
        let address = Address::parse(address).ok()?.canonical();
        let domain = || address.rsplit_once('@').map(|(_, domain)| format!("@{domain}"));
        self.find(&applies(address.clone())).or_else(|| self.find(&applies(domain()?)))
    }

    fn find(&self, wanted: &RelayFor) -> Option<&Relay> {
        self.0.iter().find(|relay| relay.applies == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(applies: RelayFor, tls: RelayTls, user: &str) -> NewRelay {
        let login = RelayLogin { user: user.to_owned(), password: Secret("p".to_owned()) };
        let (name, host) = ("r".to_owned(), "Relay.test".to_owned());
        NewRelay { name, applies, host, port: 587, tls, login: Some(login) }
    }

    #[test]
    fn patterns_are_made_alike_and_passwords_never_go_in_the_clear() {
        for (pattern, kept) in [
            ("@B\u{fc}cher.Test", Some("@xn--bcher-kva.test")),
            ("Joe@A.Test", Some("joe@a.test")),
            ("a.test", None),
            ("@", None),
            ("", None),
        ] {
            let made = canonical(new(RelayFor::Sender(pattern.to_owned()), RelayTls::Off, ""));
            assert_eq!(
                made.ok().map(|made| made.applies),
                kept.map(|kept| RelayFor::Sender(kept.to_owned()))
            );
        }
        for tls in RelayTls::ALL {
            assert_eq!(canonical(new(RelayFor::All, tls, "u")).is_ok(), tls.protects(), "{tls:?}");
            let without = canonical(new(RelayFor::All, tls, "")).unwrap();
            assert_eq!((without.login, without.host.as_str()), (None, "relay.test"));
        }
        for (bytes, taken) in [(LOGIN_BYTES_MAX, true), (LOGIN_BYTES_MAX + 1, false)] {
            let password = Secret("p".repeat(bytes));
            let login = Some(RelayLogin { user: "u".to_owned(), password });
            let long = NewRelay { login, ..new(RelayFor::All, RelayTls::Forced, "u") };
            assert_eq!(canonical(long).is_ok(), taken, "{bytes}");
        }
        assert!(!format!("{:?}", new(RelayFor::All, RelayTls::Forced, "u")).contains("\"p\""));
    }

    #[test]
    fn the_closest_relay_takes_the_mail() {
        let relay = |name: &str, applies: RelayFor| Relay {
            name: name.to_owned(),
            applies,
            host: "h".to_owned(),
            port: 25,
            tls: RelayTls::Off,
            login: None,
            created: Timestamp(0),
        };
        let sender = |pattern: &str| RelayFor::Sender(pattern.to_owned());
        let recipient = |pattern: &str| RelayFor::Recipient(pattern.to_owned());
        let relays = Relays::new(vec![
            relay("all", RelayFor::All),
            relay("to", recipient("b@b.test")),
            relay("to-domain", recipient("@b.test")),
            relay("from", sender("a@a.test")),
            relay("from-domain", sender("@a.test")),
        ]);
        for (from, to, name) in [
            ("A@a.test", "b@b.test", "from"),
            ("x@A.test", "b@b.test", "from-domain"),
            ("x@x.test", "B@b.test", "to"),
            ("x@x.test", "c@B.test", "to-domain"),
            ("x@x.test", "c@sub.b.test", "all"),
            ("", "b@b.test", "to"),
            ("", "c@c.test", "all"),
        ] {
            assert_eq!(relays.of(from, to).map(|relay| relay.name.as_str()), Some(name), "{from} {to}");
        }
        assert_eq!(Relays::default().of("a@a.test", "b@b.test"), None);
    }
}
