//! Seals (RFC 8617): what we put on holds, for others as for us, and goes on with a chain that holds.

use super::*;
use crate::mail::ids::Timestamp;
use crate::policy::sealing::{key, seal};
use crate::policy::signing;
use crate::state::dkim::{DkimAlgorithm, DkimKey, DkimKeys};

fn made(domain: &str, algorithm: DkimAlgorithm) -> (DkimKey, String) {
    let private = signing::generate(algorithm).unwrap();
    let record = signing::record(&private).unwrap();
    let (domain, selector, created) = (domain.to_owned(), "s".to_owned(), Timestamp(0));
    let zone = format!("s._domainkey.{domain} TXT \"{record}\"\n");
    (DkimKey { domain, selector, algorithm, private, signs: true, created }, zone)
}

/// The message as it is passed on: with the seal, and what else is put above it.
fn sealed(message: &str, facts: &Facts, key: &DkimKey) -> Option<String> {
    let from = arrival("192.0.2.1", "mail.elsewhere.test", "\"a  b\"@elsewhere.test");
    let results = crate::policy::results::results(&from, None, facts);
    let fields = seal(&read(message), facts, (&from.receiver, &results), (key, Timestamp(1_700_000_000_000)))
        .unwrap()?;
    assert!(fields.split("\r\n").all(|line| line.len() <= 998), "{fields}");
    assert_eq!(
        fields.matches("\r\n").count(),
        fields.matches("\r\n\t").count() + 3,
        "three fields: {fields}"
    );
    let trace = "Delivered-To: x@our.test\nReceived: from a by b\n";
    Some(fields.replace("\r\n", "\n") + trace + message)
}

fn arc(facts: &Facts) -> (ArcResult, &str) {
    let arc = facts.arc.as_ref().expect("it was wanted");
    (arc.result, &arc.sealer)
}

#[tokio::test]
async fn a_chain_begins_with_us_and_goes_on_with_the_next() {
    for (one, other) in [
        (DkimAlgorithm::RsaSha256, DkimAlgorithm::Ed25519Sha256),
        (DkimAlgorithm::Ed25519Sha256, DkimAlgorithm::RsaSha256),
    ] {
        let ((first, first_zone), (second, second_zone)) = (made("one.test", one), made("two.test", other));
        let zones = [KEYS, &first_zone, &second_zone].concat();
        let once = sealed(SIGNED, &found(&zones, SIGNED).await, &first).unwrap();
        assert!(once.starts_with("ARC-Authentication-Results: i=1; mx.example.net;\n\t"), "{once}");
        assert!(once.contains("dkim=pass header.d=football.example.com"), "{once}");
        let facts = found(&zones, &once).await;
        assert_eq!(arc(&facts), (ArcResult::Pass, "one.test"), "{once}");
        assert_eq!(results(&facts), [DkimResult::Pass, DkimResult::Pass], "the author's own still hold");
        let twice = sealed(&once, &facts, &second).unwrap();
        assert!(twice.contains("ARC-Seal: i=2;") && twice.contains("cv=pass"), "{twice}");
        let facts = found(&zones, &twice).await;
        assert_eq!(arc(&facts), (ArcResult::Pass, "two.test"), "{twice}");
        let added = found(&zones, &format!("DKIM-Signature: v=1; of another\n{twice}")).await;
        assert_eq!(arc(&added).0, ArcResult::Pass, "the next one may sign");
    }
}

#[tokio::test]
async fn what_is_changed_breaks_the_seal_and_a_broken_chain_gets_none() {
    let (first, zone) = made("one.test", DkimAlgorithm::RsaSha256);
    let zones = [KEYS, &zone].concat();
    let once = sealed(SIGNED, &found(&zones, SIGNED).await, &first).unwrap();
    for (changed, why) in [
        (once.replace("We lost", "We won"), "the body"),
        (once.replace("Is dinner", "Is lunch"), "what is signed of the header"),
        (once.replace("dkim=pass", "dkim=fail"), "what was found"),
        (once.replacen("ARC-Message-Signature", "X-Gone", 1), "a part of the set"),
        (once.replace("Subject:", "Subject: another\nSubject:"), "a field that is added"),
    ] {
        let facts = found(&zones, &changed).await;
        assert_eq!(arc(&facts).0, ArcResult::Fail, "{why}");
        assert_eq!(sealed(&changed, &facts, &first), None, "{why}");
    }
    let silent =
        found("football.example.com A 192.0.2.1\none.test SERVFAIL\ns._domainkey.one.test SERVFAIL", &once)
            .await;
    assert_eq!(arc(&silent).0, ArcResult::TempError);
    assert_eq!(sealed(&once, &silent, &first), None, "nobody knows whether it holds");
    let unasked = Facts { arc: None, ..silent };
    assert_eq!(sealed(SIGNED, &unasked, &first), None);
}

#[tokio::test]
async fn mail_without_any_signature_is_sealed_whatever_its_body() {
    let (first, zone) = made("one.test", DkimAlgorithm::RsaSha256);
    for message in [
        "From: a@b.test\n\nHi. \t there\n\n\n",
        "From: a@b.test\n\n",
        "Subject: x\n",
        "From: a@b.test\n\nno end",
    ] {
        let once = sealed(message, &found(&zone, message).await, &first).unwrap();
        let facts = found(&zone, &once).await;
        assert_eq!(arc(&facts), (ArcResult::Pass, "one.test"), "{once}");
    }
    assert_eq!(sealed("", &found(&zone, "").await, &first), None, "there is nothing to seal");
}

#[test]
fn the_key_to_seal_with_is_one_that_signs_and_rsa_where_there_is_one() {
    let key_of = |selector: &str, algorithm, signs| {
        let (key, _) = made("our.test", DkimAlgorithm::Ed25519Sha256);
        DkimKey { selector: selector.to_owned(), algorithm, signs, ..key }
    };
    let (rsa, ed25519) = (DkimAlgorithm::RsaSha256, DkimAlgorithm::Ed25519Sha256);
    let all = vec![key_of("a", ed25519, true), key_of("b", rsa, false), key_of("c", rsa, true)];
    let chosen = |keys: &[DkimKey], domain: &str| {
        key(&DkimKeys::new(keys.to_vec()), domain).map(|key| key.selector.clone())
    };
    assert_eq!(chosen(&all, "our.test").as_deref(), Some("c"));
    assert_eq!(chosen(&all[..2], "our.test").as_deref(), Some("a"));
    assert_eq!(chosen(&all[1..2], "our.test"), None);
    assert_eq!(chosen(&all, "other.test"), None);
}
