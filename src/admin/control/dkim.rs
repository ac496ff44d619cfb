//! `pollux dkim`: keys that mail to other servers is signed with.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::Plan;
use super::request::Failure;
use crate::admin::status::rfc3339;
use crate::policy::publish::strings;
use crate::policy::signing;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::dkim::{DkimKey, NewDkimKey};

/// A key as an operator hands it in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedKey {
    pub domain: String,
    pub selector: String,
    /// PEM.
    pub private: String,
    pub signs: bool,
}

/// Not shown in any log.
impl std::fmt::Debug for WantedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WantedKey({}._domainkey.{})", self.selector, self.domain)
    }
}

pub fn add(wanted: WantedKey) -> Result<Plan, Failure> {
    let WantedKey { domain, selector, private, signs } = wanted;
    let (algorithm, private) =
        signing::read(&private).map_err(|error| Failure::refused(error.to_string()))?;
    let record = signing::record(&private).map_err(|error| Failure::refused(error.to_string()))?;
    let done = format!("{selector}._domainkey.{domain}. TXT {}", strings(&record));
    let key = NewDkimKey { domain, selector, algorithm, private, signs };
    Ok(Plan::Propose { commands: vec![Command::AddDkimKey(Box::new(key))], done })
}

pub fn put_to_use(domain: String, selector: String, signs: bool) -> Plan {
    let word = if signs {
        "signs from now on"
    } else {
        "no longer signs; keep its record until what it signed has arrived"
    };
    let done = format!("{selector}._domainkey.{domain} {word}");
    Plan::Propose { commands: vec![Command::UseDkimKey { domain, selector, signs }], done }
}

pub fn remove(domain: String, selector: String) -> Plan {
    let done = format!("{selector}._domainkey.{domain} removed");
    Plan::Propose { commands: vec![Command::RemoveDkimKey { domain, selector }], done }
}

pub fn list(directory: &Directory) -> Plan {
    let all = directory.dkim.all().iter();
    Plan::Show(all.map(|key| shown(key, &record_of(key))).collect())
}

/// With the private half, if that is asked for.
pub fn show(domain: &str, selector: &str, private: bool, directory: &Directory) -> Result<Plan, Failure> {
    let (domain, selector) = (domain.to_lowercase(), selector.to_lowercase());
    let key = directory.dkim.get(&domain, &selector).ok_or_else(|| {
        Failure::refused(format!("there is no key {selector}._domainkey.{domain}; see 'pollux dkim list'"))
    })?;
    let mut value = shown(key, &record_of(key));
    let public = signing::public_pem(&key.private).map_err(|error| Failure::refused(error.to_string()))?;
    value["public"] = json!(public);
    if private {
        value["private"] = json!(key.private.0);
    }
    Ok(Plan::Show(value))
}

fn record_of(key: &DkimKey) -> String {
    signing::record(&key.private).unwrap_or_else(|error| error.to_string())
}

fn shown(key: &DkimKey, record: &str) -> Value {
    json!({
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm.word(),
        "signs": key.signs,
        "created": rfc3339(key.created),
        "name": format!("{}._domainkey.{}", key.selector, key.domain),
        "record": record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_pem_is_refused_and_a_key_is_not_shown_by_accident() {
        let wanted = WantedKey {
            domain: "a.test".to_owned(),
            selector: "s".to_owned(),
            private: "secret".to_owned(),
            signs: true,
        };
        assert!(!format!("{wanted:?}").contains("secret"));
        let said = add(wanted).unwrap_err().message;
        assert!(said.contains("no private key in PEM"), "{said}");
    }
}
