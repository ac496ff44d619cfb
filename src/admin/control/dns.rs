//! `pollux dns`: what a domain's zone should say, and what it says.

use serde_json::{Value, json};

use super::plan::{Operation, Plan};
use super::request::Failure;
use crate::mail::address::canonical_domain;
use crate::policy::publish::{records, zone};
use crate::state::directory::Directory;

/// Each record with its type and data, and all as text for a zone file.
pub fn show(domain: &str, directory: &Directory) -> Result<Plan, Failure> {
    let domain = known(domain, directory)?;
    let records = records(directory, &domain);
    let text = zone(&records, directory.settings().hostname());
    let shown: Vec<Value> = records
        .iter()
        .map(|record| {
            let words = record.data.words();
            let (kind, data) = words.split_once(' ').unwrap_or((&words, ""));
            json!({ "purpose": record.purpose.word(), "name": record.name, "type": kind, "data": data })
        })
        .collect();
    Ok(Plan::Show(json!({ "domain": domain, "records": shown, "zone": text })))
}

pub fn check(domain: &str, directory: &Directory) -> Result<Plan, Failure> {
    Ok(Plan::Operate(Operation::DnsCheck { domain: known(domain, directory)? }))
}

fn known(domain: &str, directory: &Directory) -> Result<String, Failure> {
    let missing = || Failure::refused(format!("{domain} is no domain of ours; see 'pollux domain list'"));
    canonical_domain(domain).filter(|domain| directory.domains.contains(domain)).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_shown_of_domains_of_ours_alone() {
        let mut directory = Directory::default();
        directory.domains.insert("a.test".to_owned());
        let Ok(Plan::Show(shown)) = show("A.Test", &directory) else { panic!("it is ours") };
        assert_eq!(shown["domain"], "a.test");
        assert_eq!(shown["records"][0]["purpose"], "MX");
        assert_eq!(shown["records"][0]["type"], "MX");
        assert!(shown["zone"].as_str().is_some_and(|zone| zone.contains("a.test. MX 10 ")));
        assert!(show("b.test", &directory).is_err() && check("b.test", &directory).is_err());
    }
}
