//! `pollux ca`: certificates that are believed of other servers.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::Plan;
use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::mail::ids::Timestamp;
use crate::state::authorities::{Authority, NewAuthority};
use crate::state::command::Command;
use crate::state::directory::Directory;

/// A certificate as an operator hands it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedAuthority {
    pub name: String,
    /// A host or domain; it and those below it alone.
    pub hosts: Option<String>,
    pub pem: String,
}

pub fn add(wanted: WantedAuthority) -> Result<Plan, Failure> {
    let WantedAuthority { name, hosts, pem } = wanted;
    let certificate = read(&pem).map_err(Failure::refused)?;
    let whom = hosts.as_deref().unwrap_or("all hosts");
    let done = format!("{name} is believed of {whom}: {}", subject(&certificate).0);
    let new = NewAuthority { name, hosts, certificate };
    Ok(Plan::Propose { commands: vec![Command::AddAuthority(Box::new(new))], done })
}

/// One that a chain can end in.
fn read(pem: &str) -> Result<Vec<u8>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|error| format!("no certificate in PEM ({error})"))?;
    let [certificate] = all.as_slice() else {
        let count = all.len();
        return Err(format!("one certificate at a time, each by its own name; {count} are in the file"));
    };
    let kept = RootCertStore::empty().add(certificate.clone());
    kept.map_err(|error| format!("no certificate that can be believed ({error})"))?;
    Ok(certificate.to_vec())
}

pub fn remove(name: String) -> Plan {
    let done = format!("{name} is no longer believed");
    Plan::Propose { commands: vec![Command::RemoveAuthority { name }], done }
}

pub fn list(directory: &Directory) -> Plan {
    Plan::Show(directory.authorities.all().iter().map(shown).collect())
}

fn shown(authority: &Authority) -> serde_json::Value {
    let (subject, until) = subject(&authority.certificate);
    json!({
        "name": authority.name,
        "for": authority.hosts,
        "subject": subject,
        "until": until,
        "created": rfc3339(authority.created),
    })
}

/// Whose it is, and how long it is good; what cannot be read is not known.
fn subject(certificate: &[u8]) -> (String, String) {
    match x509_parser::parse_x509_certificate(certificate) {
        Ok((_, it)) => {
            let seconds = u64::try_from(it.validity().not_after.timestamp()).unwrap_or(0);
            (it.subject().to_string(), rfc3339(Timestamp(seconds.saturating_mul(1_000))))
        }
        Err(_) => ("unknown".to_owned(), "unknown".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn made() -> String {
        let CertifiedKey { cert, .. } = generate_simple_self_signed(["mx.corp.test".to_owned()]).unwrap();
        cert.pem()
    }

    fn wanted(pem: String) -> WantedAuthority {
        WantedAuthority { name: "corp".to_owned(), hosts: Some("corp.test".to_owned()), pem }
    }

    #[test]
    fn what_is_one_certificate_is_taken_and_nothing_else() {
        assert!(add(wanted(made())).is_ok());
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let cut = made().replacen("MII", "MIJ", 1);
        let zeros = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        for (pem, said) in [
            (String::new(), "0 are in the file"),
            ("certificate".to_owned(), "0 are in the file"),
            (key, "0 are in the file"),
            (made() + &made(), "2 are in the file"),
            (cut, "can be believed"),
            (zeros, "can be believed"),
        ] {
            let failure = add(wanted(pem.clone())).unwrap_err().to_string();
            assert!(failure.contains(said), "{pem}: {failure}");
        }
    }

    #[test]
    fn a_listing_says_whose_and_until_when() {
        let authority = |certificate| Authority {
            name: "corp".to_owned(),
            hosts: None,
            certificate,
            created: Timestamp(0),
        };
        let value = shown(&authority(read(&made()).unwrap()));
        assert_eq!(value["subject"], "CN=rcgen self signed cert");
        assert_eq!(value["until"], "4096-01-01T00:00:00Z");
        assert_eq!(value["for"], serde_json::Value::Null);
        assert_eq!(shown(&authority(vec![1]))["subject"], "unknown");
    }
}
