//! Requests against the pure machine, each whole and byte by byte.

use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::machine::{Autoconfig, Latest, Token};
use super::offer::Policy;
use crate::clock::Clock;
use crate::http::{BODY_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX};
use crate::mail::ids::Timestamp;
use crate::session::transcript::{Pace, Player};
use crate::state::certificate::TOKEN_BYTES_MAX;
use crate::state::directory::Directory;

fn directory(settings: &[(&str, &str)]) -> Arc<Directory> {
    let mut directory = Directory::default();
    directory.domains.insert("example.test".to_owned());
    directory.domains.insert("xn--mller-kva.example".to_owned());
    for (key, value) in [("hostname", "mx1.example.test")].iter().chain(settings) {
        directory.settings.insert((*key).to_owned(), (*value).to_owned());
    }
    Arc::new(directory)
}

/// What the machine says, however the request comes; it closes behind it.
fn ask_with(settings: &[(&str, &str)], tls: bool, request: &str) -> String {
    let answers = [Pace::Whole, Pace::ByteByByte].map(|pace| {
        let policy = Policy::new(directory(settings), 10_000, tls);
        // 2026-11-26 00:00:01 UTC
        let machine = Autoconfig::new(policy, Clock::fixed(Timestamp(1_795_651_201_000)));
        let mut player = Player::new(machine, |Token(token)| {
            Latest((token == "known_-1").then(|| "known_-1.thumb".to_owned()))
        });
        player.feed(request.as_bytes(), pace);
        assert!(player.closed, "{request:.60} is answered, {pace:?}");
        String::from_utf8(player.out.to_vec()).unwrap()
    });
    let [whole, by_byte] = answers;
    assert_eq!(whole, by_byte.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&by_byte));
    whole
}

fn ask(request: &str) -> String {
    ask_with(&[], true, request)
}

#[test]
fn an_acme_server_is_told_what_the_cluster_knows_of_its_token() {
    let ordering = [("acme.directory", "https://ca.test/d")];
    let ask = |settings: &[(&str, &str)], method: &str, path: &str| {
        ask_with(settings, false, &format!("{method} {path} HTTP/1.1\r\nHost: mx1.example.test\r\n\r\n"))
    };
    let path = "/.well-known/acme-challenge/known_-1";
    let answer = ask(&ordering, "GET", path);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Content-Type: application/octet-stream\r\n"), "{answer}");
    assert_eq!(document(&answer), "known_-1.thumb");
    let head = ask(&ordering, "HEAD", path);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let longest = format!("/.well-known/acme-challenge/{}", "x".repeat(TOKEN_BYTES_MAX + 1));
    for (settings, method, path) in [
        (&ordering[..], "GET", "/.well-known/acme-challenge/other"),
        (&ordering, "GET", "/.well-known/acme-challenge/"),
        (&ordering, "GET", "/.well-known/acme-challenge/../known_-1"),
        (&ordering, "GET", &longest),
        (&ordering, "POST", path),
        (&[], "GET", path),
    ] {
        let answer = ask(settings, method, path);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{method} {path:.60}: {answer}");
    }
}

#[test]
fn the_tls_policy_is_shown_at_its_own_name_where_there_is_one() {
    let ask = |settings: &[(&str, &str)], host: &str, method: &str| {
        let request = format!("{method} /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\n\r\n");
        ask_with(settings, true, &request)
    };
    let enforce = [("mta_sts.publish", "enforce")];
    let answer = ask(&enforce, "mta-sts.example.test", "GET");
    assert!(answer.contains("Content-Type: text/plain"), "{answer}");
    assert_eq!(
        document(&answer),
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmax_age: 604800\r\n"
    );
    for (settings, host, method, status) in [
        (&enforce[..], "mta-sts.elsewhere.test", "GET", "404"),
        (&enforce[..], "example.test", "GET", "404"),
        (&enforce[..], "mta-sts.example.test", "POST", "405"),
        (&[][..], "mta-sts.example.test", "GET", "404"),
    ] {
        let answer = ask(settings, host, method);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

fn get(target: &str) -> String {
    ask(&format!("GET {target} HTTP/1.1\r\nHost: autoconfig.example.test\r\n\r\n"))
}

fn post(body: &str) -> String {
    let length = body.len();
    ask(&format!(
        "POST /Autodiscover/Autodiscover.xml HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// The document of a 200, which must be well-formed and as long as was said.
fn document(answer: &str) -> &str {
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", text.len())), "{head}");
    let mut reader = Reader::from_str(text);
    while reader.read_event().expect("well-formed") != Event::Eof {}
    text
}

fn status(answer: &str) -> &str {
    &answer["HTTP/1.1 ".len()..][..3]
}

#[test]
fn thunderbird_is_told_what_listens_best_first() {
    let answer = get("/mail/config-v1.1.xml?emailaddress=alice%40example.test");
    let text = document(&answer);
    let ports: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("<port>")?.strip_suffix("</port>")).collect();
    assert_eq!(ports, ["10993", "10143", "10995", "10110", "10465", "10587"]);
    assert!(text.contains(
        "<incomingServer type=\"imap\">\n      <hostname>mx1.example.test</hostname>\n      <port>10993</port>\n      \
         <socketType>SSL</socketType>\n      <username>%EMAILADDRESS%</username>"
    ));
    assert!(text.contains("<domain>example.test</domain>"));
    assert!(answer.contains("\r\nDate: Thu, 26 Nov 2026 00:00:01 GMT\r\n"), "{answer}");
    let by_host = get("/.well-known/autoconfig/mail/config-v1.1.xml");
    assert_eq!(document(&by_host), text, "without an address the host says which domain");
}

#[test]
fn what_is_off_or_cannot_be_used_is_not_offered() {
    let request = "GET /mail/config-v1.1.xml?emailaddress=a@example.test HTTP/1.1\r\nHost: x\r\n\r\n";
    let off: Vec<(String, &str)> = ["imap", "pop3", "pop3s", "smtps"]
        .map(|name| (format!("listener.{name}.enabled"), "false"))
        .into_iter()
        .chain([("listener.imaps.port".to_owned(), "60000"), ("listener.submission.port".to_owned(), "26")])
        .collect();
    let off: Vec<(&str, &str)> = off.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let answer = ask_with(&off, true, request);
    let text = document(&answer);
    assert!(text.contains("<port>10026</port>") && text.contains("<socketType>STARTTLS</socketType>"));
    assert_eq!(text.matches("<port>").count(), 1, "a port beyond 65535 is none: {text}");

    assert_eq!(
        status(&ask_with(&[], false, request)),
        "503",
        "no certificate, and no passwords in the clear"
    );
    let clear = ask_with(&[("auth.plaintext_without_tls", "true")], false, request);
    assert_eq!(document(&clear).matches("<socketType>plain</socketType>").count(), 3);
}

#[test]
fn outlook_is_told_one_of_each_kind() {
    let body = |address: &str| {
        format!(
            "<?xml version=\"1.0\"?><Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/\
             requestschema/2006\"><Request><EMailAddress>{address}</EMailAddress><AcceptableResponseSchema>x\
             </AcceptableResponseSchema></Request></Autodiscover>"
        )
    };
    let answer = post(&body("a&amp;b@Example.TEST"));
    let text = document(&answer);
    let kinds: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("<Type>")?.strip_suffix("</Type>")).collect();
    assert_eq!(kinds, ["IMAP", "POP3", "SMTP"]);
    assert!(text.contains("<LoginName>a&amp;b@Example.TEST</LoginName>"), "{text}");
    assert_eq!(status(&post(&body("alice@elsewhere.test"))), "404");
    for nonsense in ["", "hello", "<a><b></a>", &body("nobody"), "<EMailAddress>a@example.test"] {
        assert_eq!(status(&post(nonsense)), "400", "{nonsense}");
    }
    assert!(get("/autodiscover/autodiscover.xml").contains("\r\nAllow: POST\r\n"));
}

#[test]
fn apple_gets_a_profile_that_replaces_itself() {
    let [one, two] = ["Alice%40example.test", "alice@example.test"]
        .map(|address| get(&format!("/mail.mobileconfig?emailaddress={address}")));
    let identifiers = |text: &str| {
        text.lines().filter(|line| line.starts_with("<string>pollux.")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(identifiers(document(&one)), identifiers(document(&two)));
    assert_eq!(identifiers(&one).len(), 2);
    assert!(one.contains("<key>IncomingMailServerPortNumber</key>\n<integer>10993</integer>"), "{one}");
    assert!(one.contains("<key>OutgoingMailServerUseSSL</key>\n<true/>"));
    assert_eq!(status(&get("/mail.mobileconfig")), "400");
    assert_eq!(status(&get("/mail.mobileconfig?emailaddress=a@b.test")), "404");
}

#[test]
fn domains_are_known_in_every_spelling_and_others_not_at_all() {
    for known in ["M%C3%BCller.Example", "xn--mller-kva.example", ".example.test"] {
        document(&get(&format!("/mail/config-v1.1.xml?emailaddress=x@{known}")));
    }
    for other in ["x@other.test", "x", "", "x@", "%ff@example.test%00"] {
        assert_eq!(status(&get(&format!("/mail/config-v1.1.xml?emailaddress={other}"))), "404", "{other}");
    }
    assert_eq!(status(&ask("GET /mail/config-v1.1.xml HTTP/1.0\r\n\r\n")), "404", "no address and no host");
}

#[test]
fn methods_and_targets() {
    let head = ask(
        "HEAD http://autoconfig.example.test/mail/config-v1.1.xml HTTP/1.1\r\nHost: autoconfig.example.test:80\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(status(&get("/")), "404");
    assert_eq!(status(&ask("DELETE /mail/config-v1.1.xml HTTP/1.1\r\n\r\n")), "405");
    assert_eq!(status(&ask("GET /mail/config-v1.1.xml HTTP/2.5\r\n\r\n")), "505");
    assert_eq!(status(&ask("EHLO example.test\r\n\r\n")), "400");
    let waiting = "POST /autodiscover/autodiscover.xml HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(status(&ask(waiting)), "400");
}

#[test]
fn every_bound_holds() {
    let with_fields = |count: usize| {
        let fields: String = (0..count).map(|at| format!("X-{at}: y\r\n")).collect();
        status(&ask(&format!("GET / HTTP/1.1\r\n{fields}\r\n"))).to_owned()
    };
    assert_eq!([with_fields(FIELDS_MAX), with_fields(FIELDS_MAX + 1)], ["404", "431"]);
    let with_head = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        status(&ask(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(bytes - rest)))).to_owned()
    };
    assert_eq!([with_head(HEAD_BYTES_MAX), with_head(HEAD_BYTES_MAX + 1)], ["404", "431"]);
    let with_body = |bytes: usize| status(&post(&" ".repeat(bytes))).to_owned();
    assert_eq!([with_body(BODY_BYTES_MAX), with_body(BODY_BYTES_MAX + 1)], ["400", "413"]);
    for fields in [
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: +1",
        "Content-Length:",
    ] {
        assert_eq!(status(&ask(&format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nxx"))), "400", "{fields}");
    }
    let endless = format!("Content-Length: {}", "9".repeat(40));
    assert_eq!(status(&ask(&format!("POST / HTTP/1.1\r\n{endless}\r\n\r\n"))), "413");
    assert_eq!(status(&ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")), "501");
}
