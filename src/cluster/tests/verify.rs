//! Verifications of whole nodes: all look at the same moment, whoever is asked; what nobody applied is found where it is.

use std::ops::ControlFlow;

use super::scene::{Node, PATIENCE};
use super::three::pair_and_witness;
use crate::cluster::bodies::Depth;
use crate::cluster::config::Retention;
use crate::cluster::membership::ClusterError;
use crate::cluster::replica::Replica;
use crate::cluster::verify::Verification;
use crate::mail::ids::NodeId;
use crate::state::command::{Command, NewUser};
use crate::state::digest::Group;
use crate::state::keys;
use crate::state::rows::{Batch, Rows};
use crate::store::tables::Tables;

async fn verify(node: &Node) -> Verification {
    node.handle().verify(Depth::Read).await.unwrap()
}

fn wrong(verification: &Verification) -> Vec<(NodeId, Vec<Group>)> {
    let of = |looked: &crate::cluster::verify::Looked| looked.wrong.iter().map(|named| named.group).collect();
    verification.nodes.iter().map(|it| (it.node, it.looked.as_ref().map(of).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_take_entries_all_the_while_hold_the_same() {
    let [a, b, w] = pair_and_witness(Retention::default()).await;
    for round in 0..3 {
        let (_, one, other) = tokio::join!(a.add_domains(round * 40, 40), verify(&a), verify(&b));
        for verification in [one, other] {
            assert!(verification.is_equal(), "{verification:?}");
            let entries = verification.nodes.iter().map(|node| node.looked.as_ref().unwrap().index);
            let entries: Vec<_> = entries.collect();
            assert!(entries.len() == 2 && entries[0] == entries[1], "behind one entry");
        }
    }
    let refused = w.handle().verify(Depth::Present).await;
    assert!(matches!(refused, Err(ClusterError::Refused(why)) if why.contains("ask a data node")));
}

/// Writes a row that was never applied.
fn tamper(tables: &Tables) {
    let span = keys::table(keys::NAME);
    let mut found = None;
    let first = &mut |key: &[u8], value: &[u8]| {
        found = Some((key.to_vec(), value.to_vec()));
        ControlFlow::Break(())
    };
    tables.scan(&span.from, &span.to, first).unwrap();
    let (mut key, value) = found.expect("the domain's postmaster, or somebody, has a name");
    key.push(b'x');
    tables.write(Batch::from([(key, Some(value))])).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_nobody_applied_is_found_and_the_node_has_its_rows_anew() {
    let [a, mut b, _w] = pair_and_witness(Retention::default()).await;
    a.add_domain("x.test").await;
    let user = NewUser { name: "alice".into(), password_phc: "$x".into(), quota_bytes: None };
    a.handle().propose(Command::AddUser(user)).await.unwrap();
    b.until_domain("x.test").await;
    assert!(verify(&a).await.is_equal());
    let (tables, b_id) = (b.data().tables.clone(), b.handle().node());
    tamper(&tables);
    drop(tables);
    let found = verify(&a).await;
    let account = wrong(&found).into_iter().find(|(node, _)| *node == b_id).unwrap().1;
    assert!(matches!(account.as_slice(), [Group::Account(_)]), "{found:?}");
    assert!(found.disputed.is_empty() && !found.is_equal());
    let rebuild = found.rebuild.expect("it is told to have its rows anew");
    assert_eq!((rebuild.node.as_str(), rebuild.untold), (b.config.name.as_str(), None));
    let failed = tokio::time::timeout(PATIENCE, b.running.as_ref().unwrap().0.failed()).await.unwrap();
    assert!(failed.contains("sets them aside"), "{failed}");
    b.stop().await;
    b.start().await;
    b.until_domain("x.test").await;
    let healed = verify(&a).await;
    assert!(healed.is_equal(), "{healed:?}");
}

/// As rows are that a build without digests wrote, or went on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_older_build_have_their_digests_counted_at_the_start() {
    let mut node = Node::founder("a", Retention::default()).await;
    node.add_domains(0, 20).await;
    for older in [|_: &[u8]| true, |key: &[u8]| key.len() > 2] {
        node.stop().await;
        let tables = Tables::open(&node.config.dir.join("tables")).unwrap();
        let span = keys::table(keys::DIGEST);
        let mut changes = Batch::new();
        let all = &mut |key: &[u8], value: &[u8]| {
            // It knows nothing of the digests, and goes on to later entries.
            changes
                .insert(key.to_vec(), (!older(key)).then(|| [&value[..value.len() - 8], &[0; 8]].concat()));
            ControlFlow::Continue(())
        };
        tables.scan(&span.from, &span.to, all).unwrap();
        assert!(!changes.is_empty());
        tables.write(changes).unwrap();
        tables.sync().unwrap();
        drop(tables);
        node.start().await;
        node.add_domain("later.test").await;
        let verification = verify(&node).await;
        assert!(verification.is_equal(), "{verification:?}");
        node.handle().propose(Command::RemoveDomain { name: "later.test".into() }).await.unwrap();
    }
}
