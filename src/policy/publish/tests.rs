//! What is printed, and what is found where a zone says otherwise.

use std::sync::Arc;

use fixture_dns::Server;
use tokio::sync::watch;

use super::*;
use crate::dns::{Bounds, Resolver};
use crate::mail::ids::Timestamp;
use crate::state::dkim::{DkimAlgorithm, DkimKey, DkimKeys};
use crate::state::relays::{Relay, RelayTls, Relays};

/// RFC 8032's first secret, as an operator would paste it; not one to use.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";

fn directory(settings: &[(&str, &str)]) -> Directory {
    let (_, private) = signing::read(KEY).unwrap();
    let key = |domain: &str| DkimKey {
        domain: domain.to_owned(),
        selector: "s1".to_owned(),
        algorithm: DkimAlgorithm::Ed25519Sha256,
        private: private.clone(),
        signs: true,
        created: Timestamp(0),
    };
    let with_name = [("hostname", "mx.a.test")];
    let settings = with_name.iter().chain(settings).map(|(key, value)| (key.to_string(), value.to_string()));
    Directory {
        settings: settings.collect(),
        dkim: Arc::new(DkimKeys::new(vec![key("a.test"), key("b.test")])),
        ..Directory::default()
    }
}

#[test]
fn a_zone_has_all_that_others_look_for() {
    let settings = [("listener.https.enabled", "true"), ("mta_sts.publish", "enforce")];
    let directory = directory(&settings);
    assert_eq!(
        zone(&records(&directory, "a.test"), "mx.a.test"),
        include_str!("zone.txt"),
        "compare src/policy/publish/zone.txt"
    );
}

#[test]
fn a_record_is_cut_into_strings_at_their_bound() {
    for (octets, parts) in [(255, 1), (256, 2), (510, 2), (511, 3)] {
        let text = strings(&"x".repeat(octets));
        assert_eq!((text.split(' ').count(), text.matches('x').count()), (parts, octets));
    }
}

#[test]
fn what_is_not_offered_is_not_published() {
    let settings = [
        ("listener.pop3.enabled", "false"),
        ("listener.pop3s.enabled", "false"),
        ("listener.imap.tls", "off"),
        ("listener.managesieve.port", "2000"),
    ];
    let zone = zone(&records(&directory(&settings), "c.test"), "mx.a.test");
    for absent in ["_pop3", "_imap._tcp", "mta-sts", "autoconfig", "_autodiscover", "_domainkey"] {
        assert!(!zone.contains(absent), "{absent}: {zone}");
    }
    assert!(zone.contains("_sieve._tcp.c.test. SRV 0 1 2000 mx.a.test.\n"), "{zone}");
    assert!(!zone.contains("mx.a.test. TXT"), "its name is in the zone of another domain: {zone}");
}

#[test]
fn spf_lets_the_relay_send_that_takes_all_mail() {
    let with = |settings: &[(&str, &str)], relays: &[(&str, RelayFor)]| {
        let relay = |(host, applies): &(&str, RelayFor)| Relay {
            name: "r".to_owned(),
            applies: applies.clone(),
            host: host.to_string(),
            port: 587,
            tls: RelayTls::Off,
            login: None,
            created: Timestamp(0),
        };
        let relays = Arc::new(Relays::new(relays.iter().map(relay).collect()));
        spf(&Directory { relays, ..directory(settings) })
    };
    let some = RelayFor::Recipient("@b.test".to_owned());
    for (settings, relays, record) in [
        (vec![], vec![], "v=spf1 mx -all"),
        (vec![("relay.host", "out.isp.test:587")], vec![], "v=spf1 mx a:out.isp.test -all"),
        (vec![("relay.host", "192.0.2.9")], vec![], "v=spf1 mx ip4:192.0.2.9 -all"),
        (
            vec![("relay.host", "out.isp.test")],
            vec![("big.test", RelayFor::All)],
            "v=spf1 mx a:big.test -all",
        ),
        (vec![], vec![("[2001:db8::9]", RelayFor::All)], "v=spf1 mx ip6:2001:db8::9 -all"),
        (vec![], vec![("branch.test", some)], "v=spf1 mx -all"),
    ] {
        assert_eq!(with(&settings, &relays), record);
    }
}

#[test]
fn another_policy_has_another_id() {
    let policy = |settings: &[(&str, &str)]| sts::policy(&directory(settings));
    assert_eq!(policy(&[]), None);
    let enforce = policy(&[("mta_sts.publish", "enforce")]).unwrap();
    assert_eq!(enforce, "version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 604800\r\n");
    let testing = policy(&[("mta_sts.publish", "testing")]).unwrap();
    assert_ne!(sts::id(&enforce), sts::id(&testing));
    assert_eq!(sts::id(&enforce), sts::id(&enforce));
    assert!(sts::id(&enforce).len() <= 32 && sts::id(&enforce).bytes().all(|it| it.is_ascii_alphanumeric()));
}

/// Compares what domain `a.test` should say with these zones; of each purpose the first verdict.
async fn compared(zones: &str) -> Vec<(Purpose, Verdict)> {
    let server = Server::start(zones);
    let address = server.address().to_string();
    let directory = directory(&[
        ("dns.servers", &address),
        ("listener.https.enabled", "true"),
        ("mta_sts.publish", "enforce"),
    ]);
    let wanted = records(&directory, "a.test");
    let (_keep, directory) = watch::channel(Arc::new(directory));
    let bounds = Bounds { attempt_ms_max: 500, lookup_ms_max: 5_000, lookups_max: 64 };
    let dns = Resolver::new(directory, bounds);
    let compared = compare(&dns, wanted, "mx.a.test").await;
    let mut first: Vec<(Purpose, Verdict)> = Vec::new();
    for Compared { record, verdict } in compared {
        if first.iter().all(|(purpose, _)| *purpose != record.purpose) {
            first.push((record.purpose, verdict));
        }
    }
    first
}

/// What `pollux dns records` printed is all right once it is published.
#[tokio::test]
async fn what_is_printed_is_right_once_it_is_published() {
    let directory = directory(&[("listener.https.enabled", "true"), ("mta_sts.publish", "enforce")]);
    let mut zones = "mx.a.test A 192.0.2.1\nmx.a.test AAAA 2001:db8::1\n".to_owned();
    for record in records(&directory, "a.test") {
        zones.push_str(&format!("{} {}\n", record.name, record.data.words().trim_end_matches('.')));
    }
    for (purpose, verdict) in compared(&zones).await {
        assert_eq!(verdict, Verdict::Right, "{purpose:?} in\n{zones}");
    }
}

#[tokio::test]
async fn nothing_published_is_all_missing() {
    for (purpose, verdict) in compared("mx.a.test A 192.0.2.1\na.test A 192.0.2.1\n").await {
        assert_eq!(verdict, Verdict::Missing, "{purpose:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    use Purpose::{Dkim, Dmarc, MtaSts, Mx, Spf, TlsRpt};
    let eleven: String = (0..11).map(|n| format!("a:h{n}.a.test ")).collect();
    let hosts: String = (0..11).map(|n| format!("h{n}.a.test A 198.51.100.{n}\n")).collect();
    let mine = "mx.a.test A 192.0.2.1\n";
    for (zones, purpose, said) in [
        ("a.test MX 10 mx.b.test".to_owned(), Mx, "mail goes to mx.b.test"),
        ("a.test MX 0 .".to_owned(), Mx, "null MX"),
        ("a.test SERVFAIL".to_owned(), Mx, "Unknown"),
        ("a.test TXT \"v=spf1 mx -all\"\na.test TXT \"v=spf1 -all\"".to_owned(), Spf, "2 SPF records"),
        ("a.test TXT \"v=spf1 ip4:192.0.2.77 -all\"".to_owned(), Spf, "does not let 192.0.2.1 send"),
        ("a.test TXT \"v=spf1 ip4:192.0.2.1 +all\"".to_owned(), Spf, "everybody"),
        ("a.test TXT \"v=spf1 foo -all\"".to_owned(), Spf, "broken"),
        (format!("a.test TXT \"v=spf1 {eleven}ip4:192.0.2.1 -all\"\n{hosts}"), Spf, "more than 10 look-ups"),
        ("s1._domainkey.a.test TXT \"v=DKIM1; k=ed25519; p=AAAA\"".to_owned(), Dkim, "another key"),
        ("s1._domainkey.a.test TXT \"v=DKIM1; p=\"".to_owned(), Dkim, "revoked"),
        (
            "s1._domainkey.a.test TXT \"v=DKIM1; t=y; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\""
                .to_owned(),
            Dkim,
            "t=y",
        ),
        ("_dmarc.a.test TXT \"v=DMARC1; p=none\"".to_owned(), Dmarc, "p=none"),
        ("_dmarc.a.test TXT \"v=DMARC1; p=reject; t=y\"".to_owned(), Dmarc, "t=y"),
        ("_dmarc.a.test TXT \"v=DMARC1\"".to_owned(), Dmarc, "no policy"),
        ("_mta-sts.a.test TXT \"v=STSv1; id=1\"".to_owned(), MtaSts, "id=1"),
        ("_smtp._tls.a.test TXT \"v=TLSRPTv1\"".to_owned(), TlsRpt, "nobody"),
    ] {
        let zones = format!("{mine}{zones}\n");
        let verdicts = compared(&zones).await;
        let verdict = &verdicts.iter().find(|(it, _)| *it == purpose).expect("it is among the records").1;
        assert!(format!("{verdict:?}").contains(said), "{zones}{verdict:?}");
        assert_ne!(*verdict, Verdict::Right);
    }
}
