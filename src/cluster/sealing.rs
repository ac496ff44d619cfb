//! Secrets of the replicated state (passwords at relays, keys for signing, that of return addresses) as they lie in logs, rows and snapshots:
//! sealed, by a key that data nodes make of the cluster's CA key. The witness holds sealed ones alone.
//!
//! A proposer seals, each node opens as it loads its directory; apply never looks inside. What was not sealed by this
//! cluster stays as it is, and opens nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::pki::ClusterCa;
use crate::clock::Clock;
use crate::state::certificate::{Acme, AcmeAccount, AcmeWhat, Certificate};
use crate::state::codec::{Record, decode_row, encode_row};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::dkim::{DkimKey, DkimKeys};
use crate::state::keys;
use crate::state::relays::{Relay, Relays};
use crate::state::secret::{SEALED_PREFIX, Secret};
use crate::state::srs::{SrsSecret, SrsSecrets};
use crate::state::stored::{AcmeRow, CertificateRow, DkimKeyRow, RelayRow, SrsRow};
use crate::store::tables::Row;

/// Separates this key from others that may be made of the CA's (BLAKE3's key derivation).
const PURPOSE: &str = "pollux 2026-11-27 secrets of the replicated state";
/// What a secret is for; one that was put elsewhere does not open.
const RELAY: &str = "relay";
const DKIM: &str = "dkim";
const SRS: &str = "srs";
const CERTIFICATE: &str = "certificate";
const ACME: &str = "acme";

pub struct Sealer(LessSafeKey);

impl Sealer {
    pub fn new(ca: &ClusterCa) -> Self {
        let key = blake3::derive_key(PURPOSE, &ca.key_der());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("the key has the algorithm's length");
        Self(LessSafeKey::new(key))
    }

    /// The secrets in a command that is to be proposed.
    pub fn seal(&self, mut command: Command, clock: &Clock) -> Command {
        match &mut command {
            Command::AddRelay(new) => {
                if let Some(login) = &mut new.login {
                    login.password = self.sealed(&login.password, RELAY, clock);
                }
            }
            Command::AddDkimKey(new) => new.private = self.sealed(&new.private, DKIM, clock),
            Command::KeepSrsSecret(new) => new.secret = self.sealed(&new.secret, SRS, clock),
            Command::SetCertificate(new) => new.private = self.sealed(&new.private, CERTIFICATE, clock),
            Command::StepAcme(step) => match &mut step.what {
                AcmeWhat::Account(account) => {
                    account.credentials = self.sealed(&account.credentials, ACME, clock);
                }
                AcmeWhat::Issued { certificate, .. } => {
                    certificate.private = self.sealed(&certificate.private, CERTIFICATE, clock);
                }
                AcmeWhat::Begin { .. } | AcmeWhat::Answers(_) | AcmeWhat::Failed(_) => {}
            },
            _ => {}
        }
        command
    }

    /// The directory with its secrets as they were before they were sealed.
    pub fn open(&self, directory: &mut Directory) {
        let opened = |relay: &Relay| {
            let mut relay = relay.clone();
            if let Some(login) = &mut relay.login {
                login.password = self.opened(&login.password, RELAY);
            }
            relay
        };
        directory.relays = Relays::new(directory.relays.all().iter().map(opened).collect()).into();
        let opened = |key: &DkimKey| DkimKey { private: self.opened(&key.private, DKIM), ..key.clone() };
        directory.dkim = DkimKeys::new(directory.dkim.all().iter().map(opened).collect()).into();
        let opened =
            |known: &SrsSecret| SrsSecret { secret: self.opened(&known.secret, SRS), made: known.made };
        directory.srs = directory.srs.take().map(|known| {
            let SrsSecrets { current, previous } = &*known;
            SrsSecrets { current: opened(current), previous: previous.as_ref().map(opened) }.into()
        });
        directory.certificate = directory.certificate.take().map(|known| {
            let private = self.opened(&known.private, CERTIFICATE);
            Certificate { private, ..Certificate::clone(&known) }.into()
        });
        if let Some(account) = &directory.acme.account {
            let credentials = self.opened(&account.credentials, ACME);
            let account = Some(AcmeAccount { credentials, ..account.clone() });
            directory.acme = Acme { account, ..Acme::clone(&directory.acme) }.into();
        }
    }

    /// A row of the state, with what `from` sealed in it sealed by this key instead. `Err` holds the row as it was: it was sealed
    /// by neither.
    pub fn sealed_anew(&self, from: &Sealer, row: Row, clock: &Clock) -> Result<Row, Row> {
        let anew = |secret: &mut Secret, about: &str| {
            let clear = match secret.0.strip_prefix(SEALED_PREFIX) {
                Some(sealed) => from.clear(sealed, about)?,
                None => secret.clone(),
            };
            *secret = self.sealed(&clear, about, clock);
            Some(())
        };
        let (key, value) = &row;
        let changed = match key.first() {
            Some(&keys::RELAY) => changed::<RelayRow>(key, value, |relay| match &mut relay.login {
                Some(login) => anew(&mut login.password, RELAY),
                None => Some(()),
            }),
            Some(&keys::DKIM_KEY) => {
                changed::<DkimKeyRow>(key, value, |known| anew(&mut known.private, DKIM))
            }
            Some(&keys::SRS) => changed::<SrsRow>(key, value, |known| {
                anew(&mut known.current.secret, SRS)?;
                known.previous.as_mut().map_or(Some(()), |previous| anew(&mut previous.secret, SRS))
            }),
            Some(&keys::CERTIFICATE) => {
                changed::<CertificateRow>(key, value, |known| anew(&mut known.private, CERTIFICATE))
            }
            Some(&keys::ACME) if *key == keys::acme() => {
                changed::<AcmeRow>(key, value, |known| match &mut known.account {
                    Some(account) => anew(&mut account.credentials, ACME),
                    None => Some(()),
                })
            }
            _ => return Ok(row),
        };
        match changed {
            Some(value) => Ok((row.0, value)),
            None => Err(row),
        }
    }

    fn sealed(&self, secret: &Secret, about: &str, clock: &Clock) -> Secret {
        let mut nonce = [0; NONCE_LEN];
        clock.fill(&mut nonce);
        let mut text = secret.0.clone().into_bytes();
        let aad = Aad::from(about.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .expect("a secret is shorter than the algorithm's bound of 256 GiB");
        Secret(format!("{SEALED_PREFIX}{}", STANDARD_NO_PAD.encode([&nonce[..], &text].concat())))
    }

    fn opened(&self, secret: &Secret, about: &str) -> Secret {
        let Some(sealed) = secret.0.strip_prefix(SEALED_PREFIX) else { return secret.clone() };
        self.clear(sealed, about).unwrap_or_else(|| {
            tracing::error!(
                "a secret ({about}) was sealed with another CA key than this node's: give it anew"
            );
            secret.clone()
        })
    }

    fn clear(&self, sealed: &str, about: &str) -> Option<Secret> {
        let bytes = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let clear = self.0.open_in_place(nonce, Aad::from(about.as_bytes()), &mut text).ok()?;
        String::from_utf8(clear.to_vec()).ok().map(Secret)
    }
}

/// The row's bytes once `change` was made to it; `None`: it cannot be made.
fn changed<R: Record>(
    key: &[u8],
    value: &[u8],
    change: impl FnOnce(&mut R) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut row = decode_row::<R>(key, value).ok()?;
    change(&mut row)?;
    encode_row(key, &row).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::pki::ClusterId;
    use crate::mail::ids::Timestamp;
    use crate::state::dkim::{DkimAlgorithm, NewDkimKey, PRIVATE_BYTES_MAX};
    use crate::state::relays::{RelayFor, RelayLogin, RelayTls};

    fn ca(cluster: u8) -> ClusterCa {
        ClusterCa::create(ClusterId([cluster; 16]), Timestamp(1_800_000_000_000)).unwrap()
    }

    fn key(private: &str) -> Command {
        Command::AddDkimKey(Box::new(NewDkimKey {
            domain: "a.test".to_owned(),
            selector: "s".to_owned(),
            algorithm: DkimAlgorithm::RsaSha256,
            private: Secret(private.to_owned()),
            signs: true,
        }))
    }

    fn private(command: Command) -> Secret {
        let Command::AddDkimKey(new) = command else { panic!("{command:?}") };
        new.private
    }

    /// A node that reads the key from its disk opens what another one sealed.
    #[test]
    fn a_secret_opens_on_every_node_that_has_the_cas_key_and_nowhere_else() {
        let (ca, clock) = (ca(1), Clock::system());
        let sealer = Sealer::new(&ca);
        let again = ClusterCa::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        let sealed = private(sealer.seal(key("pem"), &clock));
        assert!(sealed.0.starts_with(SEALED_PREFIX) && !sealed.0.contains("pem"), "{}", sealed.0);
        assert_eq!(Sealer::new(&again).opened(&sealed, DKIM).0, "pem");
        assert_ne!(
            private(sealer.seal(key("pem"), &clock)).0,
            sealed.0,
            "each is sealed by a nonce of its own"
        );
        // Not by another cluster, not as something else, not altered, not cut.
        let altered = Secret(sealed.0.replacen('A', "B", 1) + "AAAA");
        let cut = Secret(sealed.0[..sealed.0.len() - 4].to_owned());
        let prefix = Secret(SEALED_PREFIX.to_owned());
        assert_eq!(Sealer::new(&self::ca(1)).opened(&sealed, DKIM), sealed);
        assert_eq!(sealer.opened(&sealed, RELAY), sealed);
        for bad in [altered, cut, prefix] {
            assert_eq!(sealer.opened(&bad, DKIM), bad);
        }
        // One that was never sealed stays as it is; one that looks as if is sealed like any other.
        assert_eq!(sealer.opened(&Secret("plain".to_owned()), DKIM).0, "plain");
        let odd = format!("{SEALED_PREFIX}x");
        assert_eq!(sealer.opened(&private(sealer.seal(key(&odd), &clock)), DKIM).0, odd);
    }

    #[test]
    fn a_row_is_sealed_anew_for_another_cluster() {
        let (old, new, clock) = (Sealer::new(&ca(1)), Sealer::new(&ca(2)), Clock::system());
        let name = keys::dkim_key("a.test", "s");
        let row = |private: Secret| {
            let row = DkimKeyRow {
                algorithm: DkimAlgorithm::RsaSha256,
                private,
                signs: true,
                created: Timestamp(1),
            };
            (name.clone(), encode_row(&name, &row).unwrap())
        };
        let private = |row: &Row| decode_row::<DkimKeyRow>(&row.0, &row.1).unwrap().private;
        for kept in [old.sealed(&Secret("pem".to_owned()), DKIM, &clock), Secret("pem".to_owned())] {
            let anew = new.sealed_anew(&old, row(kept), &clock).unwrap();
            assert_eq!(new.opened(&private(&anew), DKIM).0, "pem");
        }
        let name = keys::srs();
        let made = |text: &str| SrsSecret {
            secret: old.sealed(&Secret(text.to_owned()), SRS, &clock),
            made: Timestamp(1),
        };
        let srs = SrsRow { current: made("now"), previous: Some(made("before")) };
        let (_, value) =
            new.sealed_anew(&old, (name.clone(), encode_row(&name, &srs).unwrap()), &clock).unwrap();
        let SrsRow { current, previous } = decode_row(&name, &value).unwrap();
        let opened = [current.secret, previous.unwrap().secret].map(|it| new.opened(&it, SRS).0);
        assert_eq!(opened, ["now", "before"]);
        let name = keys::relay("r");
        let login = RelayLogin {
            user: "me".to_owned(),
            password: old.sealed(&Secret("pw".to_owned()), RELAY, &clock),
        };
        let relay = RelayRow {
            applies: RelayFor::All,
            host: "relay.test".to_owned(),
            port: 25,
            tls: RelayTls::Off,
            login: Some(login),
            created: Timestamp(1),
        };
        let (_, value) =
            new.sealed_anew(&old, (name.clone(), encode_row(&name, &relay).unwrap()), &clock).unwrap();
        let login = decode_row::<RelayRow>(&name, &value).unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), new.opened(&login.password, RELAY).0.as_str()), ("me", "pw"));

        let name = keys::certificate();
        let private = old.sealed(&Secret("key".to_owned()), CERTIFICATE, &clock);
        let row_of = CertificateRow { chain: 1, private, from: None, taken: Timestamp(1) };
        let (_, value) =
            new.sealed_anew(&old, (name.clone(), encode_row(&name, &row_of).unwrap()), &clock).unwrap();
        let private = decode_row::<CertificateRow>(&name, &value).unwrap().private;
        assert_eq!(new.opened(&private, CERTIFICATE).0, "key");
        let name = keys::acme();
        let credentials = old.sealed(&Secret("account".to_owned()), ACME, &clock);
        let account = Some(AcmeAccount { directory: "https://ca.test/d".to_owned(), credentials });
        let row_of = AcmeRow { account, order: None, failures: 0, renewal: None };
        let (_, value) =
            new.sealed_anew(&old, (name.clone(), encode_row(&name, &row_of).unwrap()), &clock).unwrap();
        let account = decode_row::<AcmeRow>(&name, &value).unwrap().account.unwrap();
        assert_eq!(new.opened(&account.credentials, ACME).0, "account");

        let strange = row(new.sealed(&Secret("pem".to_owned()), DKIM, &clock));
        assert_eq!(new.sealed_anew(&old, strange.clone(), &clock), Err(strange));
        let other = (keys::meta(), vec![1, 2]);
        assert_eq!(new.sealed_anew(&old, other.clone(), &clock), Ok(other));
    }

    #[test]
    fn the_longest_secret_is_as_long_as_is_allowed_for_once_it_is_sealed() {
        let (sealer, clock) = (Sealer::new(&ca(1)), Clock::system());
        for bytes in [0, 1, 2, 255, PRIVATE_BYTES_MAX] {
            let sealed = private(sealer.seal(key(&"x".repeat(bytes)), &clock));
            assert_eq!(sealed.0.len(), Secret::sealed_bytes(bytes), "{bytes}");
        }
    }
}
