//! An account on another server, read by IMAP. Nothing there is changed, not even what is marked as read.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_imap::types::NameAttribute;
use async_imap::{Client, Session};
use futures_util::TryStreamExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::item::{At, Item, Problem, inbox_first};
use super::ours::{flags_of, from_chrono, key_of};
use crate::mail::utf7::decode_utf7;

/// The longest that a server may take for one command.
const ANSWER_MAX: Duration = Duration::from_secs(300);
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// Whose mail, and where it is.
pub struct Account {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub login: String,
    pub password: String,
    /// Believed instead of what the system trusts.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Security {
    /// TLS from the first octet; port 993.
    Tls,
    /// STARTTLS, without which nothing is said; port 143.
    Starttls,
    /// None: the password goes in the clear. For a server on this box.
    Off,
}

impl Security {
    pub fn port(self) -> u16 {
        match self {
            Security::Tls => 993,
            Security::Starttls | Security::Off => 143,
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Debug + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Debug + Send> Wire for T {}

pub struct Remote {
    host: String,
    session: Session<Box<dyn Wire>>,
    /// Our name of a folder to theirs.
    names: BTreeMap<String, String>,
    /// The one that is examined.
    examined: Option<String>,
}

impl Remote {
    pub async fn open(account: Account) -> Result<Self, Problem> {
        let Account { host, port, security, login, password, ca } = account;
        let tls = match security {
            Security::Off => None,
            Security::Tls | Security::Starttls => Some(connector(ca)?),
        };
        let refused = |why: String| format!("{host}:{port}: {why}");
        let connected = timeout(CONNECT_MAX, connect((&host, port), security, tls)).await;
        let mut client = match connected {
            Ok(connected) => connected.map_err(refused)?,
            Err(_) => return Err(refused(format!("no answer in {} s", CONNECT_MAX.as_secs()))),
        };
        if security == Security::Tls || security == Security::Off {
            // The greeting; behind STARTTLS there is none.
            answered(&host, client.read_response()).await?;
        }
        match timeout(ANSWER_MAX, client.login(&login, &password)).await {
            Ok(Ok(session)) => Ok(Self { host, session, names: BTreeMap::new(), examined: None }),
            Ok(Err((error, _))) => Err(format!("{host} does not let {login} in: {error}")),
            Err(_) => Err(format!("{host} did not answer in {} s", ANSWER_MAX.as_secs())),
        }
    }

    /// Folders that show what lies in others (all mail, what is flagged) are left out: each message comes once.
    pub async fn folders(&mut self) -> Result<Vec<String>, Problem> {
        let listing = async { self.session.list(Some(""), Some("*")).await?.try_collect::<Vec<_>>().await };
        let listed = answered(&self.host, listing).await?;
        let virtual_ = [NameAttribute::NoSelect, NameAttribute::All, NameAttribute::Flagged];
        let real = listed.iter().filter(|name| !name.attributes().iter().any(|one| virtual_.contains(one)));
        let theirs: Vec<(String, Option<char>)> = real
            .map(|name| {
                (name.name().to_owned(), name.delimiter().and_then(|delimiter| delimiter.chars().next()))
            })
            .collect();
        self.names = our_names(&theirs);
        let folders: Vec<String> = self.names.keys().cloned().collect();
        Ok(inbox_first(folders))
    }

    pub async fn list(&mut self, folder: &str) -> Result<Vec<Item>, Problem> {
        let Some(theirs) = self.names.get(folder).cloned() else { return Ok(Vec::new()) };
        let mailbox = answered(&self.host, self.session.examine(&theirs)).await?;
        self.examined = Some(folder.to_owned());
        if mailbox.exists == 0 {
            return Ok(Vec::new());
        }
        let fetching = async {
            let wanted = "(UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE)";
            self.session.fetch("1:*", wanted).await?.try_collect::<Vec<_>>().await
        };
        let fetched = answered(&self.host, fetching).await?;
        let item = |fetch: &async_imap::types::Fetch| {
            let at = At::Uid(fetch.uid?);
            let date = fetch.internal_date().map(|date| from_chrono(&date));
            Some(Item { key: key_of(fetch), date, flags: flags_of(fetch.flags()), at })
        };
        Ok(fetched.iter().filter_map(item).collect())
    }

    /// By one question: the server may be far away.
    pub async fn contents(&mut self, items: &[&Item]) -> Result<Vec<Option<Vec<u8>>>, Problem> {
        let uid = |item: &Item| if let At::Uid(uid) = item.at { Some(uid) } else { None };
        let uids: Vec<String> = items.iter().filter_map(|item| Some(uid(item)?.to_string())).collect();
        if uids.is_empty() {
            return Ok(vec![None; items.len()]);
        }
        let fetching = async {
            let wanted = "(UID BODY.PEEK[])";
            self.session.uid_fetch(uids.join(","), wanted).await?.try_collect::<Vec<_>>().await
        };
        let fetched = answered(&self.host, fetching).await?;
        let content = |fetch: &async_imap::types::Fetch| Some((fetch.uid?, fetch.body()?.to_vec()));
        let mut there: BTreeMap<u32, Vec<u8>> = fetched.iter().filter_map(content).collect();
        Ok(items.iter().map(|item| there.remove(&uid(item)?)).collect())
    }
}

async fn connect(
    (host, port): (&str, u16),
    security: Security,
    tls: Option<TlsConnector>,
) -> Result<Client<Box<dyn Wire>>, String> {
    let socket = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let Some(tls) = tls else { return Ok(Client::new(Box::new(socket))) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let socket = match security {
        Security::Starttls => {
            let mut client = Client::new(socket);
            client.read_response().await.map_err(|error| error.to_string())?;
            client.run_command_and_check_ok("STARTTLS", None).await.map_err(|error| error.to_string())?;
            client.into_inner()
        }
        Security::Tls | Security::Off => socket,
    };
    let secured = tls.connect(name, socket).await.map_err(|error| {
        format!("TLS: {error}; give --ca FILE for a server with a certificate of its own")
    })?;
    Ok(Client::new(Box::new(secured)))
}

fn connector(ca: Option<PathBuf>) -> Result<TlsConnector, Problem> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match ca {
        Some(path) => {
            let fault = |why: String| format!("{}: {why}", path.display());
            let mut roots = RootCertStore::empty();
            for certificate in
                CertificateDer::pem_file_iter(&path).map_err(|error| fault(error.to_string()))?
            {
                let certificate = certificate.map_err(|error| fault(error.to_string()))?;
                roots.add(certificate).map_err(|error| fault(error.to_string()))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => {
            let verifier =
                rustls_platform_verifier::Verifier::new(provider).map_err(|error| error.to_string())?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What their folders are called here. `INBOX.` before all others (Courier, cPanel) is no folder of its own.
fn our_names(theirs: &[(String, Option<char>)]) -> BTreeMap<String, String> {
    let is_inbox = |name: &str| name.eq_ignore_ascii_case("INBOX");
    let below_inbox = |(name, delimiter): &(String, Option<char>)| {
        let prefix = delimiter.map(|delimiter| format!("INBOX{delimiter}"));
        prefix.is_some_and(|prefix| {
            name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(&prefix))
        })
    };
    let others = || theirs.iter().filter(|(name, _)| !is_inbox(name));
    let all_below = others().count() > 0 && others().all(below_inbox);
    let mut names = BTreeMap::new();
    for (name, delimiter) in theirs {
        let level =
            |level: &str| decode_utf7(level.as_bytes()).unwrap_or_else(|| level.to_owned()).replace('/', "_");
        let mut levels: Vec<String> = match delimiter {
            Some(delimiter) => name.split(*delimiter).map(level).collect(),
            None => vec![level(name)],
        };
        if is_inbox(&levels[0]) {
            "INBOX".clone_into(&mut levels[0]);
            if all_below && levels.len() > 1 {
                levels.remove(0);
            }
        }
        names.insert(levels.join("/"), name.clone());
    }
    names
}

async fn answered<T, E: std::fmt::Display>(
    host: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    match timeout(ANSWER_MAX, work).await {
        Ok(done) => done.map_err(|error| {
            format!("{host}: {error}; run the command again, what has come is not fetched twice")
        }),
        Err(_) => Err(format!("{host} did not answer in {} s; run the command again", ANSWER_MAX.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(theirs: &[&str], delimiter: char) -> Vec<(String, String)> {
        let theirs: Vec<_> = theirs.iter().map(|name| ((*name).to_owned(), Some(delimiter))).collect();
        our_names(&theirs).into_iter().collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned())).collect()
    }

    #[test]
    fn folders_get_our_names() {
        assert_eq!(
            named(&["Inbox", "Sent.2024", "Entw&APw-rfe", "a/b"], '.'),
            pairs(&[
                ("Entw\u{fc}rfe", "Entw&APw-rfe"),
                ("INBOX", "Inbox"),
                ("Sent/2024", "Sent.2024"),
                ("a_b", "a/b")
            ])
        );
        assert_eq!(
            named(&["INBOX", "INBOX.Sent", "INBOX.Work.2024"], '.'),
            pairs(&[("INBOX", "INBOX"), ("Sent", "INBOX.Sent"), ("Work/2024", "INBOX.Work.2024")])
        );
        assert_eq!(
            named(&["INBOX", "INBOX/Sub", "Sent"], '/'),
            pairs(&[("INBOX", "INBOX"), ("INBOX/Sub", "INBOX/Sub"), ("Sent", "Sent")])
        );
    }
}
