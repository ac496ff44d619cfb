//! Policies of a web server of the tests' own, kept in rows in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::clock::Clock;
use crate::cluster::memory::MemoryReplica;
use crate::delivery::routing::Learnt;
use crate::delivery::trust::dane::Dane;
use crate::delivery::trust::tests::{Ca, Shown, ca};
use crate::dns::{Bounds, Resolver, Tlsa};
use crate::state::authorities::NewAuthority;

/// Says the same to everybody, over TLS.
struct Web {
    port: u16,
    says: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Web {
    async fn start(shown: Shown) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(shown.chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (says, asked) = (Arc::<Mutex<String>>::default(), Arc::<AtomicUsize>::default());
        let web = Self { port, says: says.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let Ok(mut socket) = acceptor.accept(socket).await else { continue };
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n") && socket.read_buf(&mut heard).await.unwrap() > 0 {}
                let heard = String::from_utf8(heard).unwrap();
                assert!(
                    heard.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.test\r\n")
                );
                let text = says.lock().unwrap().clone();
                socket.write_all(text.as_bytes()).await.unwrap();
                socket.shutdown().await.unwrap();
            }
        });
        web
    }

    fn says(&self, code: u16, mode: &str, age: u64) {
        let policy = format!("version: STSv1\r\nmode: {mode}\r\nmx: *.a.test\r\nmax_age: {age}\r\n");
        let length = policy.len();
        let head = format!("HTTP/1.1 {code} X\r\nContent-Type: text/plain\r\nContent-Length: {length}");
        *self.says.lock().unwrap() = format!("{head}\r\n\r\n{policy}");
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Scene {
    replica: MemoryReplica,
    dns: fixture_dns::Server,
    web: Web,
    policies: Policies,
}

fn run(replica: &MemoryReplica, command: Command) {
    assert_eq!(replica.run(command).unwrap(), Outcome::Done);
}

async fn scene(trusted: &Ca, shown: Shown) -> Scene {
    let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
    let (dns, web) = (fixture_dns::Server::start(""), Web::start(shown).await);
    let servers = Some(dns.address().to_string());
    run(&replica, Command::SetSettings { changes: vec![("dns.servers".to_owned(), servers)] });
    let (name, certificate) = ("own".to_owned(), trusted.der.to_vec());
    run(&replica, Command::AddAuthority(Box::new(NewAuthority { name, hosts: None, certificate })));
    web.says(200, "enforce", 200_000);
    let policies = Policies::at_port(web.port);
    Scene { replica, dns, web, policies }
}

impl Scene {
    fn publish(&self, record: &str) {
        self.dns.set(&format!("_mta-sts.a.test TXT \"{record}\"\nmta-sts.a.test A 127.0.0.1\n"));
    }

    /// Of a resolver that remembers nothing yet: the id and mode that hold.
    async fn holds(&self) -> Option<(String, StsMode)> {
        let resolver = Resolver::new(self.replica.watch_directory(), Bounds::default());
        let policy = self.policies.of("a.test", &self.replica, &resolver).await.unwrap().policy;
        policy.map(|policy| (policy.id, policy.mode))
    }
}

fn enforced(id: &str) -> Option<(String, StsMode)> {
    Some((id.to_owned(), StsMode::Enforce))
}

#[tokio::test]
async fn a_policy_is_fetched_kept_and_holds_until_its_end_whatever_is_said_no_longer() {
    let own = ca("own");
    let scene = scene(&own, own.leaf(&["mta-sts.a.test"], 2100)).await;
    assert_eq!(scene.holds().await, None, "there is no record");
    assert_eq!(scene.web.asked(), 0);
    scene.publish("v=STSv1; id=1;");
    assert_eq!(scene.holds().await, enforced("1"));
    assert_eq!(scene.holds().await, enforced("1"));
    assert_eq!(scene.web.asked(), 1, "it was kept");
    // Its record is gone, or the web server.
    scene.dns.set("_mta-sts.a.test SERVFAIL");
    assert_eq!(scene.holds().await, enforced("1"));
    scene.dns.set("");
    assert_eq!(scene.holds().await, enforced("1"));
    scene.publish("v=STSv1; id=2;");
    scene.web.says(404, "none", 1);
    assert_eq!(scene.holds().await, enforced("1"));
    assert_eq!(scene.holds().await, enforced("1"));
    assert_eq!(scene.web.asked(), 2, "one that could not be had is not asked for again at once");
    // A new one, in place of the old.
    scene.publish("v=STSv1; id=3;");
    scene.web.says(200, "testing", 200_000);
    assert_eq!(scene.holds().await, Some(("3".to_owned(), StsMode::Testing)));
    assert_eq!(scene.web.asked(), 3);
    // Fetched anew each day, so that it does not end while it is published.
    scene.replica.clock().advance_ms(REFRESH_MS - 1);
    scene.holds().await;
    assert_eq!(scene.web.asked(), 3);
    scene.replica.clock().advance_ms(1);
    scene.web.says(200, "enforce", 200_000);
    assert_eq!(scene.holds().await, enforced("3"));
    assert_eq!(scene.web.asked(), 4);
    scene.dns.set("");
    scene.replica.clock().advance_ms(200_000_000 - 1);
    assert_eq!(scene.holds().await, enforced("3"));
    scene.replica.clock().advance_ms(1);
    assert_eq!(scene.holds().await, None, "it is over");
}

#[tokio::test]
async fn a_policy_of_a_host_that_proves_no_name_is_none() {
    let (own, other) = (ca("own"), ca("other"));
    for shown in [
        own.leaf(&["mta-sts.b.test"], 2100),
        own.leaf(&["mta-sts.a.test"], 2010),
        other.leaf(&["mta-sts.a.test"], 2100),
    ] {
        let scene = scene(&own, shown).await;
        scene.publish("v=STSv1; id=1;");
        assert_eq!((scene.holds().await, scene.web.asked()), (None, 1));
    }
}

#[tokio::test]
async fn where_the_setting_says_so_nobody_is_asked() {
    let own = ca("own");
    let scene = scene(&own, own.leaf(&["mta-sts.a.test"], 2100)).await;
    scene.publish("v=STSv1; id=1;");
    assert_eq!(scene.holds().await, enforced("1"));
    let changes = vec![("delivery.mta_sts".to_owned(), Some("false".to_owned()))];
    run(&scene.replica, Command::SetSettings { changes });
    assert_eq!(scene.holds().await, None);
    assert_eq!(scene.dns.count("_mta-sts.a.test", "TXT"), 1);
}

#[test]
fn a_policy_leaves_the_servers_that_it_names_and_dane_comes_before_it() {
    let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
    let dane = Demand::Dane(Arc::new(Dane::of("mx.else.test", &[], vec![record]).unwrap()));
    let hop = |host: &str, demand: &Demand| Hop {
        learnt: Learnt::Somehow,
        host: host.to_owned(),
        address: "192.0.2.1:25".parse().unwrap(),
        demand: demand.clone(),
    };
    let policy = |mode| StsPolicy {
        id: "1".to_owned(),
        mode,
        mx: vec!["*.a.test".to_owned()],
        fetched: Timestamp(0),
        until: Timestamp(1),
    };
    let (any, unusable) = (Demand::Opportunistic, Demand::DaneUnusable);
    let hops = vec![
        hop("mx.a.test", &any),
        hop("mx.else.test", &any),
        hop("mx.else.test", &dane),
        hop("mx.a.test", &dane),
        hop("mx.a.test", &unusable),
        hop("mx.else.test", &unusable),
    ];
    let held = |policy: Option<&StsPolicy>, hops: &[Hop]| held_to(policy, "a.test", hops.to_vec());
    let by_policy = [
        hop("mx.a.test", &Demand::Sts),
        hop("mx.else.test", &dane),
        hop("mx.a.test", &dane),
        hop("mx.a.test", &Demand::Sts),
    ];
    assert_eq!(held(Some(&policy(StsMode::Enforce)), &hops).unwrap(), by_policy);
    let refused = held(Some(&policy(StsMode::Enforce)), &hops[1..2]).unwrap_err().to_string();
    assert_eq!(refused, "451 4.7.1 no mail server of a.test is one that its MTA-STS policy names");
    for policy in [None, Some(&policy(StsMode::None))] {
        assert_eq!(held(policy, &hops).unwrap(), hops);
    }
    let tested = |hop: &Hop| match hop.demand {
        Demand::Opportunistic => Hop { demand: Demand::StsTesting, ..hop.clone() },
        _ => hop.clone(),
    };
    let all_tested: Vec<Hop> = hops.iter().map(tested).collect();
    assert_eq!(held(Some(&policy(StsMode::Testing)), &hops).unwrap(), all_tested, "none is left out");
}
