//! One order, from the account to the chain (RFC 8555 7.4).

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier,
    NewAccount, NewOrder, Order as Placed, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tracing::{info, warn};

use super::hook::{self, Verb};
use super::read::{self, Facts};
use super::web::{Client, Web};
use crate::state::certificate::{AcmeAccount, AcmeAnswer, AcmeWhat, NewCertificate};
use crate::state::secret::Secret;
use crate::state::settings::AcmeTerms;

/// Until the server has looked at all names, and until it has made the certificate.
const LOOKED_MS_MAX: u64 = 180_000;
const MADE_MS_MAX: u64 = 180_000;

/// What is ordered, and with what.
pub struct Order<W> {
    pub terms: AcmeTerms,
    /// With that server, if there is one yet.
    pub account: Option<AcmeAccount>,
    /// The private key in PEM that the certificate is to be for; `None`: a new one.
    pub private: Option<Secret>,
    pub proof: Proof,
    pub web: Arc<W>,
}

/// How names are shown to be ours.
pub enum Proof {
    Http,
    /// By the operator's program.
    Dns(PathBuf),
}

/// A record that the operator's program has made.
struct Presented {
    name: String,
    value: String,
}

impl<W: Web> Order<W> {
    /// `note` tells the cluster of a step, and fails once another order has begun. `Err` is one line for the operator.
    pub async fn run<N, F>(self, note: N) -> Result<NewCertificate, String>
    where
        N: Fn(AcmeWhat) -> F,
        F: Future<Output = Result<(), String>>,
    {
        self.made(note).await.map_err(|why| why.chars().filter(|c| !c.is_control()).collect())
    }

    async fn made<F: Future<Output = Result<(), String>>>(
        self,
        note: impl Fn(AcmeWhat) -> F,
    ) -> Result<NewCertificate, String> {
        let mut placed = self.place(&note).await?;
        let mut presented = Vec::new();
        let proved = self.prove(&mut placed, &mut presented, &note).await;
        self.clean_up(presented).await;
        proved?;
        let key = self.key()?;
        let request = signing_request(&self.terms.names, &key)?;
        placed.finalize_csr(&request).await.map_err(told)?;
        let patience = RetryPolicy::new().timeout(Duration::from_millis(MADE_MS_MAX));
        let chain = placed.poll_certificate(&patience).await.map_err(told)?;
        checked(&chain, &key, &self.terms.names)
    }

    async fn place<F: Future<Output = Result<(), String>>>(
        &self,
        note: &impl Fn(AcmeWhat) -> F,
    ) -> Result<Placed, String> {
        let names: Vec<Identifier> = self.terms.names.iter().cloned().map(Identifier::Dns).collect();
        let wanted = NewOrder::new(&names);
        if let Some(account) = self.known_account().await? {
            match account.new_order(&wanted).await {
                Err(Error::Api(fault)) if is_forgotten(&fault) => {
                    info!("the ACME server does not know our account any longer: another one is made");
                }
                placed => return placed.map_err(told),
            }
        }
        self.new_account(note).await?.new_order(&wanted).await.map_err(told)
    }

    /// What cannot be read is as good as none.
    async fn known_account(&self) -> Result<Option<Account>, String> {
        let read = |account: &AcmeAccount| serde_json::from_str(&account.credentials.0).ok();
        let Some(known) = self.account.as_ref().and_then(read) else { return Ok(None) };
        let known: AccountCredentials = known;
        self.builder().from_credentials(known).await.map(Some).map_err(told)
    }

    fn builder(&self) -> AccountBuilder {
        Account::builder_with_http(Box::new(Client(Arc::clone(&self.web))))
    }

    async fn new_account<F: Future<Output = Result<(), String>>>(
        &self,
        note: &impl Fn(AcmeWhat) -> F,
    ) -> Result<Account, String> {
        let contact: Vec<String> = self.terms.contact.iter().map(|it| format!("mailto:{it}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.terms.directory.clone();
        let (account, credentials) =
            self.builder().create(&new, directory.clone(), None).await.map_err(told)?;
        let credentials = serde_json::to_string(&credentials).map_err(|error| error.to_string())?;
        // Before it is used: an account that nobody remembers is one more with the server.
        note(AcmeWhat::Account(AcmeAccount { directory, credentials: Secret(credentials) })).await?;
        Ok(account)
    }

    /// Shows the server that each name is ours.
    async fn prove<F: Future<Output = Result<(), String>>>(
        &self,
        placed: &mut Placed,
        presented: &mut Vec<Presented>,
        note: &impl Fn(AcmeWhat) -> F,
    ) -> Result<(), String> {
        let mut answers = Vec::new();
        let mut authorizations = placed.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(told)?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => return Err(format!("{name}: the server calls it {status:?} before it has looked")),
            }
            let kind = match self.proof {
                Proof::Http => ChallengeType::Http01,
                Proof::Dns(_) => ChallengeType::Dns01,
            };
            let offered = authorization.challenge(kind);
            let mut challenge =
                offered.ok_or_else(|| format!("{name}: the server does not offer acme.challenge"))?;
            let authorization = challenge.key_authorization();
            match &self.proof {
                Proof::Http => {
                    let token = challenge.token.clone();
                    answers.push(AcmeAnswer { token, authorization: authorization.as_str().to_owned() });
                    note(AcmeWhat::Answers(answers.clone())).await?;
                }
                Proof::Dns(program) => {
                    let record = Presented {
                        name: format!("_acme-challenge.{name}"),
                        value: authorization.dns_value(),
                    };
                    let (name, value) = (record.name.clone(), record.value.clone());
                    // What failed half way is cleaned up too.
                    presented.push(record);
                    hook::run(program, Verb::Present, &name, &value).await?;
                }
            }
            challenge.set_ready().await.map_err(told)?;
        }
        let patience = RetryPolicy::new().timeout(Duration::from_millis(LOOKED_MS_MAX));
        match placed.poll_ready(&patience).await.map_err(told)? {
            OrderStatus::Ready => Ok(()),
            status => {
                let why = refused(placed).await;
                Err(why.unwrap_or_else(|| format!("the server calls the order {status:?}")))
            }
        }
    }

    async fn clean_up(&self, presented: Vec<Presented>) {
        let Proof::Dns(program) = &self.proof else { return };
        for Presented { name, value } in presented {
            if let Err(why) = hook::run(program, Verb::Cleanup, &name, &value).await {
                warn!("a record of an order is left in the DNS: {why}");
            }
        }
    }

    fn key(&self) -> Result<KeyPair, String> {
        match &self.private {
            Some(private) => {
                KeyPair::from_pem(&private.0).map_err(|error| format!("the key cannot be kept ({error})"))
            }
            None => KeyPair::generate().map_err(|error| format!("no key can be made ({error})")),
        }
    }
}

/// What the server found wrong with a name.
async fn refused(placed: &mut Placed) -> Option<String> {
    let mut authorizations = placed.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let mut faults = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(fault) = faults.next() {
            return Some(format!("{name}: {fault}"));
        }
    }
    None
}

fn signing_request(names: &[String], key: &KeyPair) -> Result<Vec<u8>, String> {
    let fault = |error: rcgen::Error| format!("the request cannot be made ({error})");
    let mut params = CertificateParams::new(names).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key).map_err(fault)?.der().to_vec())
}

/// What the server gave, if it is what was ordered.
fn checked(pem: &str, key: &KeyPair, names: &[String]) -> Result<NewCertificate, String> {
    let chain = read::chain(pem.as_bytes()).map_err(|why| format!("the server's certificate: {why}"))?;
    let private = key.serialize_pem();
    let facts = Facts::of(&chain[0]).ok_or("the server's certificate cannot be read")?;
    if let Some(missing) = names.iter().find(|name| !facts.has(name)) {
        return Err(format!("the server's certificate is not for {missing}"));
    }
    let fits = read::server(chain.clone(), read::private_key(private.as_bytes())?);
    fits.map_err(|error| format!("the server's certificate does not fit ({error})"))?;
    let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
    Ok(NewCertificate { chain, private: Secret(private) })
}

/// RFC 8555 6.7.
fn is_forgotten(fault: &Problem) -> bool {
    fault.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist")
}

fn told(error: Error) -> String {
    match error {
        Error::Timeout(_) => "the ACME server takes too long".to_owned(),
        error => format!("the ACME server: {error}"),
    }
}
