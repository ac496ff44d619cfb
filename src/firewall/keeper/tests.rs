//! The keeper over a kernel of one table.

use std::sync::{Arc, Mutex};

use super::*;
use crate::state::firewall::{FirewallAction, FirewallPort, FirewallRule};
use crate::state::settings::ListenerName;

/// A kernel of one table.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    table: Option<String>,
    applied: usize,
    fails: Option<NftError>,
}

impl Tables for Fake {
    async fn list(&self, _: &str) -> Result<Option<String>, NftError> {
        let inner = self.0.lock().unwrap();
        inner.fails.clone().map_or_else(|| Ok(inner.table.clone()), Err)
    }

    async fn apply(&self, script: &str) -> Result<(), NftError> {
        let mut inner = self.0.lock().unwrap();
        if let Some(error) = inner.fails.clone() {
            return Err(error);
        }
        inner.applied += 1;
        inner.table = script.contains("chain input").then(|| script.to_owned());
        Ok(())
    }
}

impl Fake {
    fn table(&self) -> Option<String> {
        self.0.lock().unwrap().table.clone()
    }

    fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.lock().unwrap());
    }
}

fn keeper() -> (Keeper<Fake>, Fake) {
    let fake = Fake::default();
    let place = Place { port_offset: 0, cluster_ports: vec![7_401], table: "pollux_t".to_owned() };
    (Keeper { tables: fake.clone(), place, held: Held::Unknown, last: None, healed: 0 }, fake)
}

fn directory(settings: &[(&str, &str)]) -> Directory {
    let rule = FirewallRule {
        name: "office".to_owned(),
        ports: vec![FirewallPort::Service(ListenerName::Imap)],
        action: FirewallAction::Allow,
        sources: Vec::new(),
        interface: None,
        created: Timestamp(0),
    };
    Directory {
        firewall: Arc::new(vec![rule]),
        settings: settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        ..Directory::default()
    }
}

#[tokio::test]
async fn rules_are_put_in_force_and_follow_what_changes() {
    let (mut keeper, fake) = keeper();
    assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
    let first = fake.table().unwrap();
    assert!(first.contains("143"), "{first}");
    assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
    assert_eq!(fake.0.lock().unwrap().applied, 1, "what is right is left alone");
    let moved = directory(&[("listener.imap.port", "1143")]);
    assert_eq!(keeper.pass(&moved).await, State::InStep);
    assert!(fake.table().unwrap().contains("1143"));
    // Without rules, or where they are not to be applied, there is no table.
    assert_eq!(keeper.pass(&directory(&[("firewall.apply", "false")])).await, State::Idle);
    assert_eq!(fake.table(), None);
    assert_eq!(keeper.pass(&moved).await, State::InStep);
    assert_eq!(keeper.pass(&Directory::default()).await, State::Idle);
    assert_eq!((fake.table(), keeper.healed), (None, 0));
}

#[tokio::test]
async fn only_what_makes_another_table_is_a_reason_to_look_before_the_time() {
    let (mut keeper, _) = keeper();
    let without = Directory::default();
    assert!(keeper.wants_another(&directory(&[])) && !keeper.wants_another(&without));
    keeper.pass(&directory(&[])).await;
    assert!(!keeper.wants_another(&directory(&[])));
    assert!(!keeper.wants_another(&directory(&[("listener.pop3.port", "1110")])));
    for other in [&[("listener.imap.port", "1143")][..], &[("firewall.apply", "false")][..]] {
        assert!(keeper.wants_another(&directory(other)), "{other:?}");
    }
    assert!(keeper.wants_another(&without));
}

#[tokio::test]
async fn a_table_of_a_former_life_is_replaced_or_taken_away() {
    let (mut keeper, fake) = keeper();
    fake.set(|inner| inner.table = Some("an old one".to_owned()));
    assert_eq!(keeper.pass(&Directory::default()).await, State::Idle);
    assert_eq!(fake.table(), None);
    let (mut keeper, fake) = self::keeper();
    fake.set(|inner| inner.table = Some("an old one".to_owned()));
    assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
    assert!(fake.table().unwrap().contains("143"));
    assert_eq!(keeper.healed, 0);
}

#[tokio::test]
async fn what_somebody_changed_is_put_right_or_told() {
    let (mut keeper, fake) = keeper();
    let left_alone = directory(&[("firewall.heal", "false")]);
    for (changed, said) in [
        (Some("by hand".to_owned()), "somebody changed the table pollux_t"),
        (None, "somebody took the table pollux_t away"),
    ] {
        assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
        let right = fake.table();
        fake.set(|inner| inner.table = changed.clone());
        for _ in 0..2 {
            assert_eq!(keeper.pass(&left_alone).await, State::Drifted(said.to_owned()));
        }
        assert_eq!(fake.table(), changed);
        assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
        assert_eq!(fake.table(), right);
    }
    assert_eq!(keeper.healed, 2);
    // Whoever puts it back himself is believed.
    let right = fake.table();
    fake.set(|inner| inner.table = None);
    assert!(matches!(keeper.pass(&left_alone).await, State::Drifted(_)));
    fake.set(|inner| inner.table = right);
    assert_eq!(keeper.pass(&left_alone).await, State::InStep);
}

#[tokio::test]
async fn a_box_without_the_right_says_so_once_there_is_a_rule() {
    let (mut keeper, fake) = keeper();
    fake.set(|inner| inner.fails = Some(NftError::NotAllowed));
    assert_eq!(keeper.pass(&Directory::default()).await, State::Idle);
    let State::Unable(why) = keeper.pass(&directory(&[])).await else { panic!("it is not able") };
    assert!(why.contains("CAP_NET_ADMIN"), "{why}");
    fake.set(|inner| inner.fails = None);
    assert_eq!(keeper.pass(&directory(&[])).await, State::InStep);
    // A table that cannot be looked at, or taken away, is not in step either.
    fake.set(|inner| inner.fails = Some(NftError::Failed("x".to_owned())));
    assert_eq!(keeper.pass(&directory(&[])).await, State::Unable("nft: x".to_owned()));
    assert_eq!(keeper.pass(&Directory::default()).await, State::Unable("nft: x".to_owned()));
    fake.set(|inner| inner.fails = None);
    assert_eq!(keeper.pass(&Directory::default()).await, State::Idle);
    assert_eq!(fake.table(), None);
}
