//! What is asked before a mail is read: each answer, each kind of there being none, and how much is asked.

use super::*;
use crate::policy::gather::opening::{
    self, Known, LIST_TEXT_BYTES_MAX, NAMES_MAX, QUESTIONS_MAX, Wanted as Asked,
};
use crate::state::settings::DNSBL_ZONES_MAX;

const ROOMY: opening::Bounds = opening::Bounds { opening_ms_max: 20_000 };

fn wanted(zones: &[&str]) -> Asked {
    let zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
    Asked { zones, client_name: true, helo: true, sender_domain: true }
}

async fn opened(server: &Server, from: &Arrival, wanted: &Asked) -> Opening {
    Known::default().ask(from, wanted, (&resolver(&[server]), ROOMY)).await
}

fn listed(zone: &str, text: &str) -> Listed {
    Listed::Yes { zone: zone.to_owned(), text: text.to_owned() }
}

#[tokio::test]
async fn a_list_is_asked_for_the_reversed_address_and_its_error_codes_list_nobody() {
    let long = "x".repeat(LIST_TEXT_BYTES_MAX + 1);
    let zones = format!(
        "2.0.0.127.bl.test       A    127.0.0.2
        9.2.0.192.bl.test        A    127.0.0.4
        9.2.0.192.bl.test        TXT  \"Listed\r: \" \"\u{e9}see https://bl.test/9\"
        8.2.0.192.bl.test        A    127.0.0.10
        8.2.0.192.bl.test        TXT  {long}
        7.2.0.192.bl.test        A    127.255.255.254
        6.2.0.192.bl.test        A    198.51.100.1
        5.2.0.192.bl.test        SERVFAIL
        4.2.0.192.bl.test        CNAME a.loop.test
        a.loop.test              CNAME b.loop.test
        b.loop.test              CNAME a.loop.test
        3.2.0.192.bl.test        A    127.255.254.1
        3.2.0.192.bl.test        SERVFAIL TXT
        2.2.0.192.bl.test        A    127.255.255.1
        2.2.0.192.bl.test        A    127.0.0.3
        1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test A 127.0.0.2"
    );
    let server = Server::start(&zones);
    for (address, expected) in [
        ("127.0.0.2", listed("bl.test", "")),
        ("192.0.2.9", listed("bl.test", "Listed: see https://bl.test/9")),
        ("::ffff:192.0.2.9", listed("bl.test", "Listed: see https://bl.test/9")),
        ("192.0.2.8", listed("bl.test", &long[1..])),
        ("192.0.2.7", Listed::Unknown),
        ("192.0.2.6", Listed::Unknown),
        ("192.0.2.5", Listed::Unknown),
        ("192.0.2.4", Listed::Unknown),
        ("192.0.2.3", listed("bl.test", "")),
        ("192.0.2.2", listed("bl.test", "")),
        ("192.0.2.1", Listed::No),
        ("2001:db8::1", listed("bl.test", "")),
        ("2001:db8::2", Listed::No),
    ] {
        let from = arrival(address, "[192.0.2.1]", "");
        let zones = Asked { client_name: false, ..wanted(&["bl.test"]) };
        let opening = opened(&server, &from, &zones).await;
        assert_eq!(opening.listed, expected, "{address}");
        assert_eq!(opening.client_name, None, "nobody wanted it");
    }
}

#[tokio::test]
async fn lists_are_asked_side_by_side_and_the_first_that_lists_speaks() {
    let server = Server::start(
        "1.2.0.192.two.test A 127.0.0.2\n1.2.0.192.three.test A 127.0.0.2\n1.2.0.192.late.test SILENT",
    );
    let from = arrival("192.0.2.1", "[192.0.2.1]", "");
    for (zones, expected) in [
        (&["one.test", "two.test", "three.test"][..], listed("two.test", "")),
        (&["three.test", "two.test"], listed("three.test", "")),
        (&["late.test", "two.test"], listed("two.test", "")),
        (&["late.test", "one.test"], Listed::Unknown),
        (&["one.test"], Listed::No),
        (&[], Listed::Unasked),
    ] {
        let opening = opened(&server, &from, &wanted(zones)).await;
        assert_eq!(opening.listed, expected, "{zones:?}");
    }
    let many: Vec<String> = (0..=DNSBL_ZONES_MAX).map(|number| format!("z{number}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    opened(&server, &from, &wanted(&many)).await;
    let asked_of = |number: usize| server.count(&format!("1.2.0.192.z{number}.test"), "A");
    assert_eq!(
        (asked_of(DNSBL_ZONES_MAX - 1), asked_of(DNSBL_ZONES_MAX)),
        (1, 0),
        "no more than there may be"
    );
}

#[tokio::test]
async fn a_clients_name_leads_back_to_it_or_is_broken_in_one_of_three_ways() {
    use ClientName::{Missing, OfAnother, Right, Unknown, WithoutAddress};
    let server = Server::start(
        "1.2.0.192.in-addr.arpa PTR mail.a.test
        mail.a.test             A   192.0.2.1
        mail.a.test             AAAA 2001:db8::1
        1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mail.a.test
        2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR v4.a.test
        v4.a.test               A   192.0.2.77
        2.2.0.192.in-addr.arpa  PTR mail.a.test
        3.2.0.192.in-addr.arpa  PTR nowhere.a.test
        4.2.0.192.in-addr.arpa  PTR nowhere.a.test
        4.2.0.192.in-addr.arpa  PTR four.a.test
        four.a.test             A   192.0.2.4
        5.2.0.192.in-addr.arpa  SERVFAIL
        6.2.0.192.in-addr.arpa  PTR broken.a.test
        broken.a.test           SERVFAIL
        7.2.0.192.in-addr.arpa  PTR a.loop.test
        a.loop.test             CNAME b.loop.test
        b.loop.test             CNAME a.loop.test
        8.2.0.192.in-addr.arpa  PTR broken.a.test
        8.2.0.192.in-addr.arpa  PTR v4.a.test",
    );
    for (address, expected) in [
        ("192.0.2.1", Right),
        ("::ffff:192.0.2.1", Right),
        ("2001:db8::1", Right),
        ("2001:db8::2", WithoutAddress),
        ("192.0.2.2", OfAnother),
        ("192.0.2.3", WithoutAddress),
        ("192.0.2.4", Right),
        ("192.0.2.5", Unknown),
        ("192.0.2.6", Unknown),
        ("192.0.2.7", Unknown),
        ("192.0.2.8", Unknown),
        ("192.0.2.99", Missing),
    ] {
        let opening = opened(&server, &arrival(address, "[192.0.2.1]", ""), &wanted(&[])).await;
        assert_eq!(opening.client_name, Some(expected), "{address}");
    }
}

#[tokio::test]
async fn the_names_in_helo_and_of_the_sender_are_looked_up_where_they_are_full() {
    use Domain::{Absent, Found, Full, Missing, NotFull, NullMx, Unknown};
    let server = Server::start(
        "host.test       A    192.0.2.1
        six.test         AAAA 2001:db8::1
        mx.test          MX   10 host.test
        text.test        TXT  hello
        null.test        MX   0 .
        broken.test      SERVFAIL
        under_score.test A    192.0.2.1
        xn--bcher-kva.test MX 10 host.test
        half.test        SERVFAIL MX
        half.test        A    192.0.2.1
        a.loop.test      CNAME b.loop.test
        b.loop.test      CNAME a.loop.test",
    );
    let long = format!("{}.test", "x".repeat(64));
    for (name, as_helo, as_sender) in [
        ("host.test", Found, Found),
        ("HOST.test.", Found, Found),
        ("six.test", Found, Found),
        ("mx.test", Found, Found),
        ("text.test", Missing, Found),
        ("null.test", Found, NullMx),
        ("none.test", Missing, Missing),
        ("broken.test", Unknown, Unknown),
        ("half.test", Found, Unknown),
        ("a.loop.test", Unknown, Unknown),
        ("under_score.test", Found, Found),
        ("b\u{fc}cher.test", Found, Found),
        ("[192.0.2.1]", Absent, Absent),
        ("[IPv6:2001:db8::1]", Absent, Absent),
        ("localhost", NotFull, NotFull),
        ("localhost.", NotFull, NotFull),
        ("192.0.2.1", NotFull, NotFull),
        ("a..test", NotFull, NotFull),
        (".host.test", NotFull, NotFull),
        ("a/b.test", NotFull, NotFull),
        (&long, NotFull, NotFull),
    ] {
        let from = arrival("192.0.2.1", name, &format!("joe@{name}"));
        let opening = opened(&server, &from, &wanted(&[])).await;
        assert_eq!((opening.helo, opening.sender_domain), (as_helo, as_sender), "{name}");
        let nothing = opened(&server, &from, &Asked::default()).await;
        let unasked = |domain| if matches!(domain, Absent | NotFull) { domain } else { Full };
        assert_eq!((nothing.helo, nothing.sender_domain), (unasked(as_helo), unasked(as_sender)), "{name}");
    }
    let notice = opened(&server, &arrival("192.0.2.1", "host.test", ""), &wanted(&[])).await;
    assert_eq!(notice.sender_domain, Absent);
}

#[tokio::test]
async fn all_questions_have_one_bound_in_time_and_what_is_late_is_unknown() {
    let server = Server::start(
        "1.2.0.192.bl.test SILENT\n1.2.0.192.in-addr.arpa SILENT\nhelo.test SILENT\nsender.test SILENT",
    );
    let from = arrival("192.0.2.1", "helo.test", "joe@sender.test");
    let unknown = Opening {
        listed: Listed::Unknown,
        client_name: Some(ClientName::Unknown),
        helo: Domain::Unknown,
        sender_domain: Domain::Unknown,
    };
    for opening_ms_max in [0, 50, 20_000] {
        let bounds = opening::Bounds { opening_ms_max };
        let dns = resolver(&[&server]);
        let opening = Known::default().ask(&from, &wanted(&["bl.test"]), (&dns, bounds)).await;
        assert_eq!(opening, unknown, "{opening_ms_max}");
    }
}

/// The most that one mail can make us ask, by a client that has prepared for it.
#[tokio::test]
async fn questions_for_one_mail_are_bounded_in_number() {
    let mut zones: String = (0..2 * NAMES_MAX)
        .map(|number| format!("1.2.0.192.in-addr.arpa PTR n{number}.a.test\nn{number}.a.test A 192.0.2.2\n"))
        .collect();
    let lists: Vec<String> = (0..DNSBL_ZONES_MAX).map(|number| format!("z{number}.test")).collect();
    for list in &lists {
        zones += &format!("1.2.0.192.{list} A 127.0.0.2\n1.2.0.192.{list} TXT {list}\n");
    }
    zones += "helo.test TXT x\nsender.test TXT x\n";
    let server = Server::start(&zones);
    let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
    let from = arrival("192.0.2.1", "helo.test", "joe@sender.test");
    let opening = opened(&server, &from, &wanted(&lists)).await;
    assert_eq!(
        (opening.listed, opening.client_name),
        (listed("z0.test", "z0.test"), Some(ClientName::OfAnother))
    );
    assert_eq!(server.asked().len(), QUESTIONS_MAX, "{:?}", server.asked());
}

#[tokio::test]
async fn what_does_not_change_in_a_session_is_asked_once_in_it() {
    // SERVFAIL is remembered by nobody below.
    let server = Server::start(
        "1.2.0.192.bl.test SERVFAIL\n1.2.0.192.in-addr.arpa SERVFAIL\nhelo.test SERVFAIL\nsender.test SERVFAIL\nother.test SERVFAIL",
    );
    let dns = resolver(&[&server]);
    let (mut known, lists) = (Known::default(), wanted(&["bl.test"]));
    let from = arrival("192.0.2.1", "helo.test", "joe@sender.test");
    let first = known.ask(&from, &lists, (&dns, ROOMY)).await;
    let asked = server.asked();
    assert_eq!(known.ask(&from, &lists, (&dns, ROOMY)).await, first);
    assert_eq!(server.asked(), asked, "nothing new to ask");
    known.ask(&arrival("192.0.2.1", "helo.test", "joe@other.test"), &lists, (&dns, ROOMY)).await;
    let anew = server.asked().split_off(asked.len());
    assert!(!anew.is_empty() && anew.iter().all(|it| it.name == "other.test"), "{anew:?}");
    // The settings have changed meanwhile.
    server.set("1.2.0.192.new.test A 127.0.0.2");
    let opening = known.ask(&from, &wanted(&["bl.test", "new.test"]), (&dns, ROOMY)).await;
    assert_eq!(opening.listed, listed("new.test", ""));
    let none = Asked { client_name: false, ..wanted(&[]) };
    assert_eq!(known.ask(&from, &none, (&dns, ROOMY)).await.client_name, None);
}
