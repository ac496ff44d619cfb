//! A user says that a mail is to be protected all the way (REQUIRETLS). It goes to servers that prove to be the domain's and
//! promise the same, from whichever node, and else comes back, without its text. Another is not to wait for TLS at all.

use cluster_tests::certificates::{Ca, of_its_own, tlsa};
use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;
use cluster_tests::sink::{Sink, Taken};
use cluster_tests::smtp::Smtp;
use cluster_tests::smtps::Smtps;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;

const REQUIRED: &str = " REQUIRETLS";

fn zones(pinned: &[u8]) -> String {
    format!(
        "
        far.test                 SECURE
        far.test                 MX 10 mx.far.test
        mx.far.test              A 127.0.0.9
        pinned.far.test          MX 10 mx.pinned.far.test
        mx.pinned.far.test       A 127.0.0.9
        _25._tcp.mx.pinned.far.test TLSA {}
        open.test                MX 10 mx.far.test
        ",
        tlsa(3, pinned)
    )
}

fn submit(node: &Node, wish: &str, to: &str, field: &str) {
    let mut smtp = Smtps::login(node.port(465), "alice").expect("alice logs in");
    let text = format!("From: alice@example.test\r\n{field}Subject: {to}\r\n\r\nsecret of {to}");
    smtp.submit("alice", wish, to, &text).expect("it is queued");
}

fn taken(sink: &Sink, to: &str) -> Taken {
    eventually("it is taken", || sink.taken().into_iter().find(|mail| mail.to == [to]))
}

/// What comes back to alice, of the mail to `to`.
fn bounced(cluster: &Cluster, to: &str) -> String {
    let mut imap = session(cluster, 0, "alice");
    eventually("it comes back", || {
        let exists = imap.select("INBOX").ok()?.exists;
        let (told, _) = imap.command(&format!("FETCH 1:{} BODY.PEEK[]", exists.max(1))).ok()?;
        let literals = told.iter().flat_map(|untagged| &untagged.literals);
        let mut texts = literals.map(|literal| String::from_utf8_lossy(literal).into_owned());
        texts.find(|text| text.contains(&format!("Final-Recipient: rfc822; {to}")))
    })
}

#[test]
fn a_mail_that_requires_tls_goes_to_servers_that_prove_and_promise_it() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (own, pinned) = (Ca::new("Public"), of_its_own("mx.pinned.far.test", 2100));
    let dns = fixture_dns::Server::start(&zones(&pinned.chain[0]));
    let sink = Sink::start("127.0.0.9:25");
    cluster.tell(0, &["policy", "set", "dns.servers", &dns.address().to_string()]);
    cluster.tell(0, &["policy", "set", "dns.servers_validate", "true"]);
    cluster.tell_with(0, &["ca", "add", "public", "-"], Some(&own.pem()));

    let mut clear = Smtp::connect(cluster.nodes[0].smtp()).expect("SMTP serves");
    let refused =
        clear.command("MAIL FROM:<a@far.test> REQUIRETLS", "250").expect_err("not here").to_string();
    assert!(refused.contains("555 5.5.4"), "it came unprotected: {refused}");

    // By DNSSEC and a certificate for the name, and by DANE.
    sink.promise_tls(true);
    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    submit(&cluster.nodes[1], REQUIRED, "proven@far.test", "");
    let mail = taken(&sink, "proven@far.test");
    assert!(mail.over_tls && mail.required);
    let told = cluster.nodes[0].must(&["trace", "proven@far.test"], None);
    assert!(told.contains("(TLS: verified)"), "{told}");
    submit(&cluster.nodes[1], "", "plain@far.test", "");
    assert!(!taken(&sink, "plain@far.test").required, "nobody asked");
    sink.show(Some(&pinned));
    submit(&cluster.nodes[0], REQUIRED, "a@pinned.far.test", "");
    assert!(taken(&sink, "a@pinned.far.test").required);

    // Another's certificate, no TLS, no promise, nobody who says whose server it is.
    submit(&cluster.nodes[0], REQUIRED, "other@far.test", "");
    assert!(bounced(&cluster, "other@far.test").contains("Status: 5.7.10"));
    sink.show(None);
    submit(&cluster.nodes[1], REQUIRED, "clear@far.test", "");
    let text = bounced(&cluster, "clear@far.test");
    assert!(text.contains("Status: 5.7.10") && !text.contains("secret of"), "{text}");
    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    sink.promise_tls(false);
    submit(&cluster.nodes[1], REQUIRED, "alone@far.test", "");
    assert!(bounced(&cluster, "alone@far.test").contains("Status: 5.7.30"));
    sink.promise_tls(true);
    submit(&cluster.nodes[0], REQUIRED, "a@open.test", "");
    assert!(bounced(&cluster, "a@open.test").contains("neither DNSSEC nor MTA-STS says for certain"));

    // Not to wait for what the domain demands.
    sink.show(None);
    submit(&cluster.nodes[0], "", "demanding@pinned.far.test", "");
    eventually("it waits", || {
        let listed = cluster.nodes[0].must(&["queue", "list", "--recipient", "demanding"], None);
        listed.contains("waiting: 451 4.7.4 STARTTLS is demanded").then_some(())
    });
    submit(&cluster.nodes[0], "", "easy@pinned.far.test", "TLS-Required: No\r\n");
    assert!(!taken(&sink, "easy@pinned.far.test").over_tls);

    // What one node took the other one sends, as it is wanted.
    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    submit(&cluster.nodes[1], REQUIRED, "later@far.test", "");
    eventually("it waits", || {
        let listed = cluster.nodes[0].must(&["queue", "list", "--recipient", "later@"], None);
        listed.contains("waiting: 450").then_some(())
    });
    let id = cluster.nodes[0].must(&["queue", "list", "--recipient", "later@"], None);
    let id = id.split(' ').next().expect("an id comes first").to_owned();
    let shown = cluster.nodes[0].must(&["queue", "show", &id], None);
    assert!(shown.contains("requires TLS all the way (REQUIRETLS)"), "{shown}");
    cluster.nodes[1].kill();
    sink.relent();
    cluster.nodes[0].must(&["queue", "retry", &id], None);
    let mail = taken(&sink, "later@far.test");
    assert!(mail.over_tls && mail.required);
}
