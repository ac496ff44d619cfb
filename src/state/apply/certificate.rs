//! The services' certificate, and the orders for one.

use super::accounts::directory_changed;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::Timestamp;
use crate::mail::lines::beginning;
use crate::state::certificate::{
    AcmeAccount, AcmeAnswer, AcmeOrder, AcmeStep, AcmeWhat, CERTIFICATE_BYTES_MAX, CHAIN_MAX,
    CREDENTIALS_BYTES_MAX, DIRECTORY_BYTES_MAX, FAILURE_BYTES_MAX, NAMES_MAX, NewCertificate,
    PRIVATE_BYTES_MAX, Renewal, TOKEN_BYTES_MAX,
};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::secret::Secret;
use crate::state::stored::{AcmeAnswersRow, AcmeRow, CertificateRow, ChainRow};

pub fn set(tx: &mut Transaction, new: &NewCertificate) -> Result<Outcome, Stop> {
    put(tx, new, None)?;
    directory_changed(tx)
}

pub fn remove(tx: &mut Transaction) -> Result<Outcome, Stop> {
    let Some(row) = tx.get::<CertificateRow>(&keys::certificate())? else {
        return Err(Refusal::NotFound("the certificate".to_owned()).into());
    };
    for place in 0..row.chain {
        tx.delete(keys::chain(place));
    }
    tx.delete(keys::certificate());
    directory_changed(tx)
}

/// Ends what is known of a failed order, so that nothing is waited for.
pub fn renew(tx: &mut Transaction, renewal: Renewal) -> Result<Outcome, Stop> {
    let mut row = acme(tx)?;
    row.renewal = Some(renewal);
    row.failures = 0;
    row.order = row.order.filter(|order| order.failed.is_none());
    tx.put(keys::acme(), &row)?;
    directory_changed(tx)
}

pub fn step(tx: &mut Transaction, step: &AcmeStep) -> Result<Outcome, Stop> {
    let mut row = acme(tx)?;
    let known = row.order.as_ref();
    match &step.what {
        AcmeWhat::Begin { before, .. } => {
            let began = known.map(|order| order.began);
            if began != *before || began == Some(step.began) {
                return Err(Refusal::Changed.into());
            }
        }
        _ if known.is_some_and(|order| order.began == step.began && order.failed.is_none()) => {}
        _ => return Err(Refusal::Changed.into()),
    }
    match &step.what {
        AcmeWhat::Begin { by, .. } => {
            row.order = Some(AcmeOrder { by: *by, began: step.began, failed: None });
            tx.delete(keys::acme_answers());
        }
        AcmeWhat::Account(account) => {
            check_account(account)?;
            row.account = Some(account.clone());
        }
        AcmeWhat::Answers(answers) => {
            check_answers(answers)?;
            tx.put(keys::acme_answers(), &AcmeAnswersRow { answers: answers.clone() })?;
        }
        AcmeWhat::Failed(why) => {
            row.order = row.order.map(|order| AcmeOrder {
                failed: Some(beginning(why, FAILURE_BYTES_MAX).to_owned()),
                ..order
            });
            row.failures = row.failures.saturating_add(1);
            tx.delete(keys::acme_answers());
        }
        AcmeWhat::Issued { directory, certificate } => {
            check_directory(directory)?;
            put(tx, certificate, Some(directory.clone()))?;
            (row.order, row.failures, row.renewal) = (None, 0, None);
            tx.delete(keys::acme_answers());
        }
    }
    tx.put(keys::acme(), &row)?;
    directory_changed(tx)
}

fn acme(tx: &mut Transaction) -> Result<AcmeRow, Stop> {
    let nothing = AcmeRow { account: None, order: None, failures: 0, renewal: None };
    Ok(tx.get::<AcmeRow>(&keys::acme())?.unwrap_or(nothing))
}

fn put(tx: &mut Transaction, new: &NewCertificate, from: Option<String>) -> Result<(), Stop> {
    let NewCertificate { chain, private } = new;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(Refusal::Limit(format!("a chain has 1 to {CHAIN_MAX} certificates")).into());
    }
    if chain.iter().any(|one| one.is_empty() || one.len() > CERTIFICATE_BYTES_MAX) {
        return Err(Refusal::Limit(format!("a certificate has 1 to {CERTIFICATE_BYTES_MAX} bytes")).into());
    }
    if private.0.is_empty() || private.0.len() > Secret::sealed_bytes(PRIVATE_BYTES_MAX) {
        return Err(Refusal::Limit(format!("a private key has 1 to {PRIVATE_BYTES_MAX} bytes")).into());
    }
    let former = tx.get::<CertificateRow>(&keys::certificate())?.map_or(0, |row| row.chain);
    for (place, certificate) in (0..).zip(chain) {
        tx.put(keys::chain(place), &ChainRow { certificate: certificate.clone() })?;
    }
    for place in chain.len() as u8..former {
        tx.delete(keys::chain(place));
    }
    let (private, taken): (_, Timestamp) = (private.clone(), tx.at);
    tx.put(keys::certificate(), &CertificateRow { chain: chain.len() as u8, private, from, taken })?;
    Ok(())
}

fn check_directory(directory: &str) -> Result<(), Refusal> {
    match directory.len() {
        1..=DIRECTORY_BYTES_MAX => Ok(()),
        _ => Err(Refusal::Limit(format!("an ACME server's address has 1 to {DIRECTORY_BYTES_MAX} bytes"))),
    }
}

fn check_account(account: &AcmeAccount) -> Result<(), Refusal> {
    check_directory(&account.directory)?;
    match account.credentials.0.len() <= Secret::sealed_bytes(CREDENTIALS_BYTES_MAX) {
        true => Ok(()),
        false => Err(Refusal::Limit(format!("an account has {CREDENTIALS_BYTES_MAX} bytes"))),
    }
}

fn check_answers(answers: &[AcmeAnswer]) -> Result<(), Refusal> {
    let fits = |text: &str| !text.is_empty() && text.len() <= TOKEN_BYTES_MAX;
    let fit = |answer: &AcmeAnswer| fits(&answer.token) && fits(&answer.authorization);
    match answers.len() <= NAMES_MAX && answers.iter().all(fit) {
        true => Ok(()),
        false => Err(Refusal::Limit(format!("{NAMES_MAX} answers of {TOKEN_BYTES_MAX} bytes"))),
    }
}
