//! Against a DNS server of the tests' own: answers, the kinds of there being none, servers that fail, and the bounds.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use fixture_dns::Server;
use tokio::sync::watch;

use super::*;
use crate::state::directory::Directory;

const ZONES: &str = "
    example.test       MX    20 mx2.example.test
    example.test       MX    10 MX1.example.test
    mx1.example.test   A     192.0.2.1
    mx1.example.test   A     192.0.2.2
    mx1.example.test   AAAA  2001:db8::1
    mx2.example.test   A     192.0.2.3
    example.test       TXT   \"v=spf1 \" \"mx -all\"
    example.test       TXT   other
    none.test          MX    0 .
    1.2.0.192.in-addr.arpa  PTR  mx1.example.test
    1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa  PTR  MX1.example.test
    www.example.test   CNAME mx1.example.test
    a.loop.test        CNAME b.loop.test
    b.loop.test        CNAME a.loop.test
    gone.test          CNAME nowhere.test
    bare.test          CNAME mx2.example.test
    broken.test        SERVFAIL
    closed.test        REFUSED
    silent.test        SILENT
    under_score.test   A     192.0.2.7
    half.test          A     192.0.2.9
    half.test          SERVFAIL AAAA
    big.test           TRUNCATED
    big.test           TXT   whole
";

/// Where answers come quickly or never do.
const BOUNDS: Bounds = Bounds { attempt_ms_max: 300, lookup_ms_max: 5_000, lookups_max: 256 };

fn directory(servers: &[SocketAddr]) -> Arc<Directory> {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let settings = [("dns.servers".to_owned(), servers.join(","))].into();
    Arc::new(Directory { settings, ..Directory::default() })
}

/// The sender is dropped: the receiver keeps the last value.
fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(watch::channel(directory(servers)).1, BOUNDS)
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn temporary<T: std::fmt::Debug>(answer: Result<T, DnsError>) -> String {
    match answer {
        Err(DnsError::Temporary(why)) => why,
        other => panic!("not temporary: {other:?}"),
    }
}

#[tokio::test]
async fn answers() {
    let server = Server::start(ZONES);
    let dns = resolver(&[server.address()]);
    let mx = |preference, host: &str| Mx { preference, host: host.to_owned() };
    let both = vec![mx(10, "mx1.example.test"), mx(20, "mx2.example.test")];
    assert_eq!(dns.mx("Example.TEST").await, Ok(both));
    assert!(dns.mx("none.test").await.unwrap()[0].is_null());
    assert_eq!(dns.a("mx2.example.test.").await, Ok(ips(&["192.0.2.3"])));
    let mut addresses = dns.addresses("mx1.example.test").await.unwrap();
    addresses.sort();
    assert_eq!(addresses, ips(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
    let mut texts = dns.txt("example.test").await.unwrap();
    texts.sort();
    assert_eq!(texts, [b"other".to_vec(), b"v=spf1 mx -all".to_vec()]);
    for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
        assert_eq!(dns.ptr(address.parse().unwrap()).await, Ok(vec!["mx1.example.test".to_owned()]));
    }
    assert_eq!(dns.a("bare.test").await, Ok(ips(&["192.0.2.3"])), "an alias is followed");
    assert_eq!(dns.a("Under_Score.test").await, Ok(ips(&["192.0.2.7"])), "no host's name, and there");
    assert_eq!(dns.a("half.test").await, Ok(ips(&["192.0.2.9"])));
    assert_eq!(dns.addresses("half.test").await, Ok(ips(&["192.0.2.9"])), "what is known");
}

#[tokio::test]
async fn no_such_name_no_such_record_and_nobody_knows_are_three_things() {
    let server = Server::start(ZONES);
    let dns = resolver(&[server.address()]);
    let too_long = format!("{}.test", "x".repeat(64));
    for name in ["nowhere.test", "gone.test", "a b..test", &too_long] {
        assert_eq!(dns.addresses(name).await, Err(DnsError::NoSuchName), "{name}");
    }
    for name in ["example.test", "2.0.192.in-addr.arpa"] {
        assert_eq!(dns.addresses(name).await, Err(DnsError::NoData), "{name}");
    }
    assert_eq!(dns.mx("bare.test").await, Err(DnsError::NoData));
    let said = temporary(dns.addresses("broken.test").await);
    assert!(said.contains("Server Failure"), "{said}");
    let said = temporary(dns.txt("closed.test").await);
    assert!(said.contains("Query Refused"), "{said}");
    assert_eq!(temporary(dns.txt("silent.test").await), "no name server answers in time");
    assert_eq!(temporary(dns.a("a.loop.test").await), "its aliases do not come to an end");
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_by_tcp() {
    let server = Server::start(&format!("{ZONES}\nlong.test TXT {}\n", "x".repeat(5_000)));
    let dns = resolver(&[server.address()]);
    assert_eq!(dns.txt("big.test").await, Ok(vec![b"whole".to_vec()]));
    assert_eq!(dns.txt("long.test").await.map(|texts| texts[0].len()), Ok(5_000));
    let ways: Vec<bool> = server.asked().iter().map(|asked| asked.tcp).collect();
    assert_eq!(ways, [false, true, false, true]);
}

#[tokio::test]
async fn answers_are_remembered_those_that_say_no_too_and_failures_are_not() {
    let server = Server::start(ZONES);
    let dns = resolver(&[server.address()]);
    for _ in 0..3 {
        dns.mx("example.test").await.unwrap();
        assert_eq!(dns.mx("nowhere.test").await, Err(DnsError::NoSuchName));
        temporary(dns.mx("broken.test").await);
    }
    assert_eq!(server.count("example.test", "MX"), 1);
    assert_eq!(server.count("nowhere.test", "MX"), 1);
    server.set("broken.test MX 10 mx.broken.test");
    assert_eq!(dns.mx("broken.test").await.map(|found| found.len()), Ok(1));
}

#[tokio::test]
async fn the_alternative_is_asked_when_the_preferred_server_fails() {
    let preferred = Server::start("inside.test A 192.0.2.1\nboth.test A 192.0.2.1\nbroken.test SERVFAIL");
    let alternative =
        Server::start("both.test A 192.0.2.2\nbroken.test A 192.0.2.2\noutside.test A 192.0.2.2");
    let dns = resolver(&[preferred.address(), alternative.address()]);
    assert_eq!(dns.a("both.test").await, Ok(ips(&["192.0.2.1"])), "the preferred one's word holds");
    assert_eq!(dns.a("outside.test").await, Err(DnsError::NoSuchName), "also where it says no");
    assert_eq!(dns.a("broken.test").await, Ok(ips(&["192.0.2.2"])));
    assert_eq!(alternative.asked().len(), 1);
    drop(preferred);
}

#[tokio::test]
async fn a_server_that_did_not_answer_is_asked_last() {
    // It takes what it is sent and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let alternative = Server::start(ZONES);
    let dns = resolver(&[silent.local_addr().unwrap(), alternative.address()]);
    assert_eq!(dns.a("mx1.example.test").await.map(|found| found.len()), Ok(2));
    let asked = || {
        silent.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| silent.recv(&mut [0; 512]).ok()).count()
    };
    assert!(asked() > 0);
    assert_eq!(dns.a("mx2.example.test").await, Ok(ips(&["192.0.2.3"])));
    assert_eq!(asked(), 0, "the one that answers is asked first");
}

#[tokio::test]
async fn a_changed_setting_is_obeyed_from_the_next_question_on() {
    let (one, other) = (Server::start("x.test A 192.0.2.1"), Server::start("x.test A 192.0.2.2"));
    let (sender, receiver) = watch::channel(directory(&[one.address()]));
    let dns = Resolver::new(receiver, BOUNDS);
    assert_eq!(dns.a("x.test").await, Ok(ips(&["192.0.2.1"])));
    sender.send_replace(directory(&[other.address()]));
    assert_eq!(dns.a("x.test").await, Ok(ips(&["192.0.2.2"])), "nor is the old answer remembered");
    assert_eq!(one.asked().len(), 1);
}

#[tokio::test]
async fn no_more_than_so_many_questions_are_under_way() {
    // The silent one is asked for twice; the other waits for the end of that, or comes between.
    for (lookups_max, waits) in [(1, true), (2, false)] {
        let server = Server::start(ZONES);
        let settings = watch::channel(directory(&[server.address()])).1;
        let dns = Resolver::new(settings, Bounds { lookups_max, ..BOUNDS });
        let (silent, found) = tokio::join!(dns.a("silent.test"), dns.a("half.test"));
        temporary(silent);
        assert_eq!(found, Ok(ips(&["192.0.2.9"])));
        let asked: Vec<String> = server.asked().into_iter().map(|asked| asked.name).collect();
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert_eq!(
            asked.last().is_some_and(|last| last == "half.test"),
            waits,
            "with {lookups_max}: {asked:?}"
        );
    }
}

const SIGNED: &str = "
    signed.test             SECURE
    signed.test             MX    20 b.signed.test
    signed.test             MX    10 a.signed.test
    a.signed.test           A     192.0.2.1
    b.signed.test           CNAME a.signed.test
    c.signed.test           CNAME open.test
    sick.signed.test        A     192.0.2.1
    sick.signed.test        SERVFAIL AAAA
    _25._tcp.a.signed.test  TLSA  3 1 1 00ff
    _25._tcp.a.signed.test  TLSA  255 9 7 01
    _25._tcp.b.signed.test  CNAME _25._tcp.a.signed.test
    _25._tcp.s.signed.test  SERVFAIL
    open.test               MX    10 a.signed.test
    open.test               A     192.0.2.2
    open.test               AAAA  2001:db8::2
    _25._tcp.open.test      TLSA  3 1 1 00ff
";

fn validating(server: &Server, validates: bool) -> Resolver {
    let settings = [
        ("dns.servers".to_owned(), server.address().to_string()),
        ("dns.servers_validate".to_owned(), validates.to_string()),
    ];
    let directory = Directory { settings: settings.into(), ..Directory::default() };
    Resolver::new(watch::channel(Arc::new(directory)).1, BOUNDS)
}

#[tokio::test]
async fn the_word_of_servers_that_validate_is_heard() {
    let server = Server::start(SIGNED);
    let dns = validating(&server, true);
    let mx = dns.mx_vouched("signed.test").await.unwrap();
    assert_eq!((mx.found[0].host.as_str(), mx.found.len(), mx.secure), ("a.signed.test", 2, true));
    assert!(!dns.mx_vouched("open.test").await.unwrap().secure);
    for (host, found, secure, alias_of) in [
        ("a.signed.test", &["192.0.2.1"][..], true, None),
        ("B.Signed.Test.", &["192.0.2.1"], true, Some("a.signed.test")),
        ("c.signed.test", &["192.0.2.2", "2001:db8::2"], false, Some("open.test")),
        ("open.test", &["192.0.2.2", "2001:db8::2"], false, None),
        ("sick.signed.test", &["192.0.2.1"], true, None),
    ] {
        let alias_of = alias_of.map(str::to_owned);
        let vouched = Vouched { found: ips(found), secure, alias_of };
        assert_eq!(dns.addresses_vouched(host).await, Ok(vouched), "{host}");
    }
    for (host, secure) in [("b.signed.test", true), ("c.signed.test", true), ("a.signed.test", false)] {
        assert_eq!(dns.is_secure_alias(host).await, Ok(secure), "{host}");
    }
    let tlsa =
        |usage, selector, matching, data: &[u8]| Tlsa { usage, selector, matching, data: data.to_vec() };
    let both = [tlsa(3, 1, 1, &[0, 255]), tlsa(255, 9, 7, &[1])];
    for (host, secure) in [("a.signed.test", true), ("b.signed.test", true), ("open.test", false)] {
        let answer = dns.tlsa(25, host).await.unwrap();
        assert_eq!((answer.secure, &answer.found[0]), (secure, &both[0]), "{host}");
        assert_eq!(answer.found.get(1), secure.then_some(&both[1]), "{host}");
    }
    assert_eq!(dns.tlsa(25, "none.signed.test").await, Err(DnsError::NoSuchName));
    assert_eq!(dns.tlsa(25, "signed.test").await, Err(DnsError::NoSuchName));
    temporary(dns.tlsa(25, "s.signed.test").await);
    assert_eq!(dns.mx_vouched("a.signed.test").await, Err(DnsError::NoData));
}

#[tokio::test]
async fn nobodys_word_is_heard_where_the_setting_does_not_say_so() {
    let server = Server::start(SIGNED);
    let dns = validating(&server, false);
    assert!(!dns.mx_vouched("signed.test").await.unwrap().secure);
    assert!(!dns.addresses_vouched("a.signed.test").await.unwrap().secure);
    assert_eq!(dns.is_secure_alias("b.signed.test").await, Ok(false));
    assert_eq!(dns.tlsa(25, "a.signed.test").await, Err(DnsError::NoData));
    assert_eq!(server.count("_25._tcp.a.signed.test", "TLSA"), 0);
}
