//! `pollux certificate`: what the mail services of all nodes show, and how it is ordered.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::certificate::due::{not_before, renewed_at};
use crate::certificate::read::{self, Facts};
use crate::state::certificate::{Certificate, NewCertificate, Renewal};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::secret::Secret;

/// As an operator hands it in: a chain, the leaf first, and its key, in PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedCertificate {
    pub chain: String,
    pub private: String,
}

/// The key is not shown in any log.
impl std::fmt::Debug for WantedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WantedCertificate(…)")
    }
}

const ORDERED: &str = "acme.directory is set, so another one would be ordered; unset it first";

pub fn set(wanted: &WantedCertificate, directory: &Directory) -> Result<Plan, Failure> {
    if directory.settings().acme().is_some() {
        return Err(Failure::refused(ORDERED.to_owned()));
    }
    let chain = read::chain(wanted.chain.as_bytes());
    let chain = chain.map_err(|why| Failure::refused(format!("the certificate: {why}")))?;
    let private = read::private_key(wanted.private.as_bytes());
    let private = private.map_err(|why| Failure::refused(format!("the private key: {why}")))?;
    let facts = Facts::of(&chain[0]);
    let facts = facts.ok_or_else(|| Failure::refused("the certificate cannot be read".to_owned()))?;
    let misfit = read::server(chain.clone(), private).err();
    if let Some(error) = misfit {
        return Err(Failure::refused(format!("certificate and key do not fit: {error}")));
    }
    let new = NewCertificate {
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        private: Secret(wanted.private.clone()),
    };
    let (names, ends) = (facts.names.join(", "), rfc3339(facts.validity.ends));
    let done = format!("new connections get it, on all boxes: {names}; until {ends}");
    Ok(Plan::Propose { commands: vec![Command::SetCertificate(Box::new(new))], done })
}

pub fn remove(directory: &Directory) -> Result<Plan, Failure> {
    if directory.settings().acme().is_some() {
        return Err(Failure::refused(ORDERED.to_owned()));
    }
    let done = "each box shows the certificate in its pollux.toml, or offers no TLS".to_owned();
    Ok(Plan::Propose { commands: vec![Command::RemoveCertificate], done })
}

pub fn renew(new_key: bool, directory: &Directory) -> Result<Plan, Failure> {
    let Some(terms) = directory.settings().acme() else {
        return Err(Failure::refused("acme.directory is not set: there is nobody to order of".to_owned()));
    };
    let renewal = if new_key { Renewal::NewKey } else { Renewal::SameKey };
    let done = format!("it is ordered of {}; see 'pollux certificate show'", terms.directory);
    Ok(Plan::Propose { commands: vec![Command::RenewCertificate(renewal)], done })
}

pub fn show(directory: &Directory) -> Plan {
    Plan::Show(json!({
        "certificate": directory.certificate.as_deref().map(shown),
        "acme": ordered(directory),
    }))
}

fn shown(known: &Certificate) -> Value {
    let facts = Facts::of_leaf(known);
    let facts = facts.as_ref();
    json!({
        "names": facts.map(|facts| facts.names.clone()).unwrap_or_default(),
        "issuer": facts.map(|facts| facts.issuer.clone()),
        "begins": facts.map(|facts| rfc3339(facts.validity.begins)),
        "ends": facts.map(|facts| rfc3339(facts.validity.ends)),
        "from": known.from,
        "taken": rfc3339(known.taken),
        "renewed_at": known.from.as_ref().and(facts).map(|facts| rfc3339(renewed_at(facts))),
    })
}

fn ordered(directory: &Directory) -> Option<Value> {
    let (terms, acme) = (directory.settings().acme()?, &directory.acme);
    let (order, failed) = (acme.order.as_ref(), acme.failed());
    Some(json!({
        "directory": terms.directory,
        "names": terms.names,
        "order_began": order.map(|order| rfc3339(order.began)),
        "order_by": order.map(|order| order.by.0),
        "failed": failed,
        "failures": acme.failures,
        "not_before": failed.and_then(|_| not_before(acme)).map(rfc3339),
        "asked_for": acme.renewal.is_some(),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;
    use crate::mail::ids::{NodeId, Timestamp};
    use crate::state::certificate::{Acme, AcmeOrder};

    fn made() -> WantedCertificate {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["mx.a.test".to_owned()]).unwrap();
        WantedCertificate { chain: cert.pem(), private: signing_key.serialize_pem() }
    }

    fn ordering() -> Directory {
        let mut directory = Directory::default();
        directory.settings.insert("acme.directory".to_owned(), "https://ca.test/d".to_owned());
        directory.settings.insert("hostname".to_owned(), "mx.a.test".to_owned());
        directory
    }

    #[test]
    fn one_that_fits_its_key_is_taken() {
        let (one, other) = (made(), made());
        let plan = set(&one, &Directory::default()).unwrap();
        let Plan::Propose { commands, done } = &plan else { panic!("{plan:?}") };
        assert!(done.contains("mx.a.test"), "{done}");
        assert!(matches!(&commands[..], [Command::SetCertificate(new)] if new.chain.len() == 1));
        assert!(!format!("{plan:?}{one:?}").contains("PRIVATE"), "{plan:?}");
        let why = |wanted: WantedCertificate| set(&wanted, &Directory::default()).unwrap_err().message;
        let misfit = why(WantedCertificate { chain: one.chain.clone(), private: other.private });
        assert!(misfit.contains("do not fit"), "{misfit}");
        let swapped = why(WantedCertificate { chain: one.private.clone(), private: one.chain.clone() });
        assert!(swapped.contains("the certificate: no certificate"), "{swapped}");
        let keyless = why(WantedCertificate { chain: one.chain.clone(), private: one.chain.clone() });
        assert!(keyless.contains("the private key"), "{keyless}");
        for refused in [set(&one, &ordering()), remove(&ordering()), renew(true, &Directory::default())] {
            assert!(refused.unwrap_err().message.contains("acme.directory"));
        }
        assert!(renew(false, &ordering()).is_ok() && remove(&Directory::default()).is_ok());
    }

    #[test]
    fn what_is_shown_says_how_long_it_is_good_and_why_an_order_failed() {
        let Plan::Show(nothing) = show(&Directory::default()) else { panic!("it is shown") };
        assert_eq!(nothing, json!({ "certificate": null, "acme": null }));
        let WantedCertificate { chain, private } = made();
        let chain = read::chain(chain.as_bytes()).unwrap().iter().map(|one| one.to_vec()).collect();
        let (private, from) = (Secret(private), Some("https://ca.test/d".to_owned()));
        let certificate = Certificate { chain, private, from, taken: Timestamp(0) };
        let order = AcmeOrder { by: NodeId(2), began: Timestamp(0), failed: Some("no route".to_owned()) };
        let acme = Acme { order: Some(order), failures: 1, ..Acme::default() };
        let directory =
            Directory { certificate: Some(Arc::new(certificate)), acme: Arc::new(acme), ..ordering() };
        let Plan::Show(told) = show(&directory) else { panic!("it is shown") };
        assert_eq!(told["certificate"]["names"], json!(["mx.a.test"]));
        assert_eq!(told["acme"]["names"], json!(["mx.a.test"]));
        assert_eq!(told["acme"]["failed"], "no route");
        assert_eq!(told["acme"]["not_before"], "1970-01-01T00:15:00Z");
        assert!(told["certificate"]["renewed_at"].is_string());
        assert!(!told.to_string().contains("PRIVATE"), "{told}");
    }
}
