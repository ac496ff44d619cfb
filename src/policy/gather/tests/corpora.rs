//! The suites of others, where `../shared/corpora` (or `POLLUX_CORPORA`) has them: SPF (RFC 7208) and ARC.

use std::path::PathBuf;

use fixture_dns::{Behaviour, Data};

use super::yaml::{Section, block, get, list, scalar, sections};
use super::*;

/// Cases in which we differ on purpose, with the reason.
const ELSEWISE: &[(&str, &str)] = &[("macro-mania-in-domain", "a name with blanks in it is not asked for")];

fn corpus(path: &str) -> Option<String> {
    let corpora = std::env::var_os("POLLUX_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora"), PathBuf::from);
    let text = std::fs::read_to_string(corpora.join(path)).ok();
    if text.is_none() {
        eprintln!("skipped: no {path} in {}", corpora.display());
    }
    text
}

#[tokio::test]
async fn the_suite_of_spf() {
    let Some(text) = corpus("spf/rfc7208-half.yml") else { return };
    let (mut played, mut differ) = (0, Vec::new());
    for section in sections(&text) {
        let server = Server::serve(zones(&section));
        let dns = resolver(&[&server]);
        for (name, values) in &section.tests {
            let value = |key: &str| get(values, key).map(scalar).unwrap_or_default();
            let from = arrival(&value("host"), &value("helo"), &value("mailfrom"));
            let wanted = Wanted { spf: true, dkim: false, dmarc: false };
            let facts = gather(&from, &read("From: a@a.test\n\n"), wanted, (&dns, ROOMY)).await;
            let said = format!("{:?}", facts.spf.unwrap()).to_lowercase();
            let expected = list(get(values, "result").unwrap());
            if !expected.contains(&said) {
                differ.push(format!("{name}: {said}, not {}", expected.join(" or ")));
            }
            played += 1;
        }
    }
    assert!(played >= 70, "only {played} cases were found");
    let unexplained: Vec<_> = differ
        .iter()
        .filter(|it| !ELSEWISE.iter().any(|(name, _)| it.starts_with(&format!("{name}:"))))
        .collect();
    assert!(unexplained.is_empty(), "of {played}: {unexplained:#?}");
    assert_eq!(differ.len(), ELSEWISE.len(), "some differ no longer: {differ:#?}");
}

/// As the suite's own drivers: SPF records stand for TXT ones where there are none.
fn zones(section: &Section) -> Zones {
    let mut zones = Zones::default();
    for (name, records) in &section.records {
        let has_text = records.iter().any(|(kind, _)| kind == "TXT");
        for (kind, value) in records {
            let one = scalar(value);
            let data = match kind.as_str() {
                "A" => Data::A(one.parse().unwrap()),
                "AAAA" => Data::Aaaa(one.parse().unwrap()),
                "MX" => {
                    let parts = list(value);
                    Data::Mx(parts[0].parse().unwrap(), parts[1].clone())
                }
                "PTR" => Data::Ptr(one),
                "CNAME" => Data::Cname(one),
                "TXT" if one != "NONE" => {
                    Data::Txt(list(value).into_iter().map(String::into_bytes).collect())
                }
                "SPF" if !has_text => Data::Txt(list(value).into_iter().map(String::into_bytes).collect()),
                "TIMEOUT" => {
                    silence(&mut zones, name, records);
                    continue;
                }
                _ => continue,
            };
            zones.add(name, data);
        }
    }
    zones
}

/// To questions for what the name does not have. SERVFAIL says the same as silence, and sooner.
fn silence(zones: &mut Zones, name: &str, records: &[(String, String)]) {
    for (kind, number) in [("A", 1), ("AAAA", 28), ("MX", 15), ("TXT", 16), ("PTR", 12)] {
        if get(records, kind).is_none_or(|value| value == "NONE") {
            zones.misbehave(name, Some(number), Behaviour::ServFail);
        }
    }
}

#[tokio::test]
async fn what_the_suite_of_arc_seals_is_a_chain_that_holds() {
    let Some(text) = corpus("arc/arc-draft-sign-tests.yml") else { return };
    let mut played = 0;
    for section in sections(&text) {
        let mut keys = Zones::default();
        for (name, records) in &section.records {
            records.iter().for_each(|(_, value)| keys.add(name, Data::Txt(vec![joined(value)])));
        }
        let server = Server::serve(keys);
        let dns = resolver(&[&server]);
        for (name, values) in &section.tests {
            let field = |key: &str| get(values, key).map(block).unwrap_or_default();
            let (seal, signature, results) = (field("AS"), field("AMS"), field("AAR"));
            // Some say that a message must not be sealed.
            if seal.trim().is_empty() {
                continue;
            }
            let folded = |text: &str| text.trim().replace('\n', "\n  ");
            let message = format!(
                "ARC-Seal: {}\nARC-Message-Signature: {}\nARC-Authentication-Results: {}\n{}",
                folded(&whole(&seal)),
                folded(&whole(&signature)),
                folded(&results),
                field("message")
            );
            let from = arrival("192.0.2.1", "x.test", "");
            let wanted = Wanted { spf: false, dkim: true, dmarc: false };
            let facts = gather(&from, &read(&message), wanted, (&dns, ROOMY)).await;
            let arc = facts.arc.unwrap();
            // A chain that had failed is sealed as such.
            let sealed = if seal.contains("cv=fail") { ArcResult::Fail } else { ArcResult::Pass };
            assert_eq!(arc.result, sealed, "{name}\n{message}");
            assert_eq!(arc.sealer, "example.org", "{name}");
            let tampered = message.replace("Date: ", "Date: not ");
            let facts = gather(&from, &read(&tampered), wanted, (&dns, ROOMY)).await;
            assert_eq!(facts.arc.unwrap().result, ArcResult::Fail, "{name}, tampered with");
            played += 1;
        }
    }
    assert!(played >= 5, "only {played} cases were found");
}

/// The signature (`b=`) in one piece, as it was when it was sealed.
fn whole(field: &str) -> String {
    let is_signature = |tag: &&str| tag.trim_start().starts_with("b=");
    let joined = |tag: &str| format!(" {}", tag.split_whitespace().collect::<String>());
    let tags = field.split(';').map(|tag| if is_signature(&tag) { joined(tag) } else { tag.to_owned() });
    tags.collect::<Vec<_>>().join(";")
}

/// A key over several lines.
fn joined(value: &str) -> Vec<u8> {
    value.lines().skip(1).map(str::trim).collect::<String>().into_bytes()
}
