//! The services' certificate, and orders for one.

use super::*;
use crate::state::certificate::*;
use crate::state::directory::Directory;
use crate::state::secret::Secret;

fn new(chain: usize, private: &str) -> NewCertificate {
    NewCertificate { chain: vec![vec![0x30; 9]; chain], private: Secret(private.into()) }
}

fn step(began: u64, what: AcmeWhat) -> Command {
    Command::StepAcme(Box::new(AcmeStep { began: Timestamp(began), what }))
}

fn begin(began: u64, before: Option<u64>) -> Command {
    step(began, AcmeWhat::Begin { by: NodeId(2), before: before.map(Timestamp) })
}

fn answers(count: usize, bytes: usize) -> AcmeWhat {
    let text = "t".repeat(bytes);
    let answer = AcmeAnswer { token: text.clone(), authorization: text };
    AcmeWhat::Answers(vec![answer; count])
}

fn issued(private: &str) -> AcmeWhat {
    AcmeWhat::Issued { directory: "https://ca.test/d".into(), certificate: new(2, private) }
}

fn directory(world: &World) -> Directory {
    Directory::load(&world.rows).unwrap()
}

#[test]
fn a_certificate_is_set_replaced_and_removed() {
    let mut world = World::new();
    assert!(matches!(world.refusal(Command::RemoveCertificate), Refusal::NotFound(_)));
    world.done(Command::SetCertificate(Box::new(new(3, "one"))));
    world.done(Command::SetCertificate(Box::new(new(1, "two"))));
    let known = directory(&world).certificate.unwrap();
    assert_eq!((known.chain.len(), known.private.0.as_str(), &known.from), (1, "two", &None));
    world.done(Command::RemoveCertificate);
    assert_eq!(directory(&world).certificate, None);
    world.done(Command::SetCertificate(Box::new(new(2, "three"))));
    assert_eq!(directory(&world).certificate.unwrap().chain.len(), 2, "nothing of the first one is left");
}

#[test]
fn a_certificate_has_its_bounds() {
    let mut world = World::new();
    let (longest, key) = (CERTIFICATE_BYTES_MAX, Secret::sealed_bytes(PRIVATE_BYTES_MAX));
    let of = |chain: usize, bytes: usize, key: usize| {
        let private = Secret("k".repeat(key));
        Command::SetCertificate(Box::new(NewCertificate { chain: vec![vec![0x30; bytes]; chain], private }))
    };
    world.done(of(CHAIN_MAX, longest, key));
    for beyond in [
        of(CHAIN_MAX + 1, 1, 1),
        of(0, 1, 1),
        of(1, longest + 1, 1),
        of(1, 0, 1),
        of(1, 1, key + 1),
        of(1, 1, 0),
    ] {
        assert!(matches!(world.refusal(beyond), Refusal::Limit(_)));
    }
    // The longest of all that lies in one row.
    world.done(begin(1, None));
    let url = "u".repeat(DIRECTORY_BYTES_MAX);
    let credentials = Secret("c".repeat(Secret::sealed_bytes(CREDENTIALS_BYTES_MAX)));
    let account = |directory: &str, more: &str| {
        AcmeWhat::Account(AcmeAccount {
            directory: directory.into(),
            credentials: Secret(format!("{}{more}", credentials.0)),
        })
    };
    world.done(step(1, account(&url, "")));
    world.done(step(1, answers(NAMES_MAX, TOKEN_BYTES_MAX)));
    let certificate =
        NewCertificate { chain: vec![vec![0x30; longest]; CHAIN_MAX], private: Secret("k".repeat(key)) };
    for beyond in [
        account(&url, "x"),
        account(&format!("{url}x"), ""),
        account("", ""),
        answers(NAMES_MAX + 1, 1),
        answers(1, TOKEN_BYTES_MAX + 1),
        answers(1, 0),
        AcmeWhat::Issued { directory: format!("{url}x"), certificate: certificate.clone() },
    ] {
        assert!(matches!(world.refusal(step(1, beyond)), Refusal::Limit(_)));
    }
    world.done(step(1, AcmeWhat::Issued { directory: url, certificate }));
    world.done(begin(2, None));
    world.done(step(2, AcmeWhat::Failed("\u{fc}".repeat(FAILURE_BYTES_MAX))));
    let failed = directory(&world).acme.order.clone().unwrap().failed.unwrap();
    assert_eq!(failed.len(), FAILURE_BYTES_MAX);
}

/// A node that led, and hears of its order when another one has begun anew, changes nothing.
#[test]
fn one_order_at_a_time() {
    let mut world = World::new();
    assert_eq!(world.refusal(step(1, issued("early"))), Refusal::Changed);
    world.done(begin(1, None));
    assert_eq!(world.refusal(begin(2, None)), Refusal::Changed, "it looked before the first one began");
    assert_eq!(world.refusal(begin(1, Some(1))), Refusal::Changed, "the same moment parts nothing");
    world.done(step(1, answers(1, 5)));
    assert_eq!(directory(&world).acme.answer("ttttt"), Some("ttttt"));
    world.done(begin(2, Some(1)));
    assert_eq!(directory(&world).acme.answer("ttttt"), None);
    for late in [answers(1, 5), issued("late"), AcmeWhat::Failed("late".into())] {
        assert_eq!(world.refusal(step(1, late)), Refusal::Changed);
    }
    world.done(step(2, AcmeWhat::Failed("why".into())));
    assert_eq!(world.refusal(step(2, issued("late"))), Refusal::Changed, "it has failed");
    let known = directory(&world).acme;
    let failed = AcmeOrder { by: NodeId(2), began: Timestamp(2), failed: Some("why".into()) };
    assert_eq!((known.order.as_ref(), known.failures), (Some(&failed), 1));
    world.done(begin(3, Some(2)));
    world.done(step(3, AcmeWhat::Failed("again".into())));
    assert_eq!(directory(&world).acme.failures, 2);
    world.done(Command::RenewCertificate(Renewal::NewKey));
    let known = directory(&world).acme;
    assert_eq!((&known.order, known.failures, known.renewal), (&None, 0, Some(Renewal::NewKey)));
    world.done(begin(4, None));
    world.done(Command::RenewCertificate(Renewal::SameKey));
    world.done(step(4, answers(2, 5)));
    world.done(step(4, issued("key")));
    let known = directory(&world);
    assert_eq!(*known.acme, Acme { account: None, ..Acme::default() });
    let kept = known.certificate.unwrap();
    assert_eq!((kept.private.0.as_str(), kept.from.as_deref()), ("key", Some("https://ca.test/d")));
}
