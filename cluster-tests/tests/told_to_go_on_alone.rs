//! The operator tells a node to go on without the others (`pollux cluster takeover`). One that comes back and has nothing
//! of its own follows; two that went different ways are never joined: they tell the operator, one of them gives way by
//! his word, and its mail stays on its disk. (Elsewhere such twins looked healthy, or one side's mail was overwritten.)

use std::path::Path;
use std::process::Output;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{Ledger, message, token_of};
use cluster_tests::node::Role;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, session, tokens};
use cluster_tests::visitors::Visitors;
use cluster_tests::wait::eventually;

const TAKEOVER: [&str; 3] = ["cluster", "takeover", "--fenced"];

#[test]
fn it_goes_on_and_the_other_follows() {
    let Some(mut cluster) = pair() else { return };
    let (stays, dies) = leader_and_follower(&cluster);
    let ledger = Ledger::default();
    let visitors = Visitors::start(&cluster, ledger.clone(), 31);
    visitors.wait_for(60);
    cluster.nodes[dies].kill();
    refused(&cluster.nodes[stays].offline(&TAKEOVER), "stop this node first");
    cluster.nodes[stays].kill();
    take_over(&cluster, stays);
    cluster.nodes[stays].start();
    visitors.wait_for(60);
    let status = cluster.nodes[stays].status().expect("it answers");
    assert_eq!(status["protection"], "degraded", "{status}");

    cluster.nodes[dies].start();
    visitors.wait_for(60);
    whole(&cluster);
    assert!(cluster.nodes[dies].said().contains("this node follows it"), "it says so");
    // Once more, so that a fork of a fork is followed too, by the one that took over before.
    let (stays, dies) = (dies, stays);
    cluster.nodes[stays].must(&["cluster", "transfer", &cluster.nodes[stays].name.clone()], None);
    cluster.nodes[dies].kill();
    cluster.nodes[stays].kill();
    take_over(&cluster, stays);
    cluster.nodes[stays].start();
    visitors.wait_for(60);
    cluster.nodes[dies].start();
    visitors.finish();
    whole(&cluster);
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn it_needs_the_operators_word_and_the_others_silence() {
    let Some(mut cluster) = pair() else { return };
    let (stays, other) = leader_and_follower(&cluster);
    cluster.nodes[stays].kill();
    let unsaid = cluster.nodes[stays].offline(&["cluster", "takeover"]);
    assert_eq!(unsaid.status.code(), Some(2), "without the word that the others are off");
    refused(&cluster.nodes[stays].offline(&TAKEOVER), "answers");
    cluster.nodes[other].kill();
    take_over(&cluster, stays);
    refused(&cluster.nodes[stays].offline(&TAKEOVER), "majority by itself");
    cluster.nodes[stays].start();
    eventually("it leads", || cluster.nodes[stays].status()?["leader"].as_u64());
    refused(&cluster.nodes[stays].command(&["cluster", "quarantine"]), "nothing to give way to");
}

#[test]
fn twins_are_never_joined() {
    let Some(mut cluster) = pair() else { return };
    // Nobody listens there: what goes elsewhere waits.
    cluster.nodes[0].must(&["policy", "set", "relay.host", "127.0.0.9:2526"], None);
    submit(&cluster, 0, "waits-at-both");
    write(&cluster, 0, &["of-both"]);
    both_show(&cluster, &["of-both"]);
    for (at, own) in [(0, "of-the-first"), (1, "of-the-second")] {
        cluster.nodes.iter_mut().for_each(|node| node.kill());
        take_over(&cluster, at);
        cluster.nodes[at].start();
        write(&cluster, at, &[own]);
        // Of each side's own, under the same numbers.
        submit(&cluster, at, &format!("waits-{own}"));
        cluster.nodes[at].must(&["user", "add", own, "--password-stdin"], Some("of-its-own\n"));
        cluster.nodes[at].must(&["alias", "add", "sales", ["alice", "bob"][at]], None);
    }
    cluster.nodes[1].must(&["policy", "set", "smtp.message_bytes_max", "1MiB"], None);
    cluster.nodes[0].start();
    for at in [0, 1] {
        must_say(&cluster, at, "both were told to go on alone", 1);
    }
    write(&cluster, 0, &["more-of-the-first"]);
    write(&cluster, 1, &["more-of-the-second"]);
    assert_eq!(shown(&cluster, 0), ["of-both", "of-the-first", "more-of-the-first"]);
    assert_eq!(shown(&cluster, 1), ["of-both", "of-the-second", "more-of-the-second"]);

    cluster.nodes[1].must(&["cluster", "quarantine"], None);
    must_stay_off(&mut cluster, 1);
    remove(&cluster, 0, 1);
    set_aside_and_join_anew(&mut cluster, 0, 1);
    whole(&cluster);
    both_show(&cluster, &["of-both", "of-the-first", "more-of-the-first"]);

    // What the one in quarantine has beyond the others is taken over by the operator's word alone.
    refused(&import_of(&cluster, &cluster.nodes[1].dir), "stop that node");
    refused(&import_of(&cluster, cluster.home()), "is not the folder of a data node");
    let set_aside = cluster.nodes[1].dir.with_extension("quarantined");
    differences_are_told(&cluster, &set_aside);
    for (imported, there) in [(2, 1), (0, 3)] {
        let output = import_of(&cluster, &set_aside);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!([&report["imported"], &report["there"]], [imported, there], "{output:?}");
    }
    let ours = ["of-both", "of-the-first", "more-of-the-first"];
    both_show(&cluster, &[&ours[..], &["of-the-second", "more-of-the-second"]].concat());
}

/// What it has beside mailboxes is told, and its mail for others is written down; nothing here is changed by it.
fn differences_are_told(cluster: &Cluster, set_aside: &Path) {
    let (set_aside, folder) = (set_aside.display().to_string(), cluster.home().join("waiting"));
    let words = ["cluster", "compare", &set_aside, "--json", "--mail-into", folder.to_str().expect("plain")];
    let told: serde_json::Value =
        serde_json::from_str(&cluster.nodes[0].must(&words, None)).expect("--json is JSON");
    let name = |it: &serde_json::Value| format!("{} {}", it["what"].as_str()?, it["name"].as_str()?).into();
    let differences: Vec<Option<String>> =
        told["differences"].as_array().expect("a list").iter().map(name).collect();
    let expected = ["user of-the-second", "alias sales", "setting smtp.message_bytes_max"];
    assert_eq!(differences, expected.map(|it| Some(it.to_owned())), "{told:#}");
    assert_eq!(told["differences"][1]["there"]["targets"], serde_json::json!(["bob"]), "{told:#}");
    let waiting = told["waiting"].as_array().expect("a list");
    assert_eq!(waiting.len(), 1, "what waits here as well is not told: {told:#}");
    assert_eq!(waiting[0]["recipients"], serde_json::json!(["joe@far.test"]));
    let content = std::fs::read(folder.join(format!("{}.eml", waiting[0]["id"]))).expect("it was written");
    assert_eq!(token_of(&content).as_deref(), Some("waits-of-the-second"));
    // A second time nothing is written over.
    refused(&cluster.nodes[0].command(&words), "is there already");
}

/// A mail for somebody elsewhere.
fn submit(cluster: &Cluster, at: usize, token: &str) {
    let mut smtp = Smtp::login(cluster.nodes[at].port(587), "alice").expect("it serves");
    smtp.submit("alice", &["joe@far.test"], &message(token, 500)).expect("it is queued");
}

/// Has the first node take what alice has in the folder of a node.
fn import_of(cluster: &Cluster, dir: &Path) -> Output {
    cluster.nodes[0].command(&[
        "mail",
        "import",
        "--user",
        "alice",
        "--json",
        "node",
        &dir.display().to_string(),
    ])
}

#[test]
fn those_that_went_on_without_it_and_lead_nobody_give_way() {
    let Some((mut cluster, [leader, alone, witness])) = parted() else { return };
    // Neither is a majority of its own history.
    for at in [witness, leader] {
        cluster.nodes[at].start();
        must_stay_off(&mut cluster, at);
    }
    for at in [witness, leader] {
        remove(&cluster, alone, at);
    }
    for at in [leader, witness] {
        set_aside_and_join_anew(&mut cluster, alone, at);
    }
    cluster.wait_until_protected();
    assert_eq!(tokens(&agreed(&cluster), "alice", "Archive").expect("it is there"), ["of-all", "alone"]);
}

#[test]
fn a_majority_that_lives_is_not_stopped_by_one_that_took_over() {
    let Some((mut cluster, [leader, alone, witness])) = parted() else { return };
    // Both at once: they are a majority before either has been alone for long.
    cluster.nodes[witness].start();
    cluster.nodes[leader].start();
    write(&cluster, leader, &["of-the-majority"]);
    must_say(&cluster, alone, "has gone on apart", 2);
    // Its removal of them is nothing to them.
    for at in [witness, leader] {
        remove(&cluster, alone, at);
    }
    write(&cluster, leader, &["more-of-the-majority"]);
    cluster.nodes[alone].kill();
    remove(&cluster, leader, alone);
    set_aside_and_join_anew(&mut cluster, leader, alone);
    cluster.wait_until_protected();
    let all = tokens(&agreed(&cluster), "alice", "Archive").expect("it is there");
    assert_eq!(all, ["of-all", "without-it", "of-the-majority", "more-of-the-majority"]);
}

fn pair() -> Option<Cluster> {
    let mut cluster = Cluster::start_alone()?;
    cluster.grow("node2", Role::Data, 2);
    whole(&cluster);
    Some(cluster)
}

/// A pair and a witness, of which two went on without the third, and died; then the third was told to go on alone.
/// With the places of the old leader, of the one that is alone, and of the witness.
fn parted() -> Option<(Cluster, [usize; 3])> {
    let mut cluster = Cluster::start()?;
    let (leader, alone) = leader_and_follower(&cluster);
    let witness = 2;
    write(&cluster, leader, &["of-all"]);
    agreed(&cluster);
    cluster.nodes[alone].kill();
    write(&cluster, leader, &["without-it"]);
    cluster.nodes[leader].kill();
    cluster.nodes[witness].kill();
    take_over(&cluster, alone);
    cluster.nodes[alone].start();
    write(&cluster, alone, &["alone"]);
    Some((cluster, [leader, alone, witness]))
}

/// All that is wrong is that there is no witness.
fn whole(cluster: &Cluster) {
    eventually("both vote and are in sync", || {
        let because = cluster.any_status()?["because"].as_str()?.to_owned();
        because.contains("no third voter").then_some(())
    });
}

fn both_show(cluster: &Cluster, tokens: &[&str]) {
    for at in [0, 1] {
        eventually("both show the same", || (shown(cluster, at) == tokens).then_some(()));
    }
}

fn take_over(cluster: &Cluster, at: usize) {
    let output = cluster.nodes[at].offline(&TAKEOVER);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(why), "{}: {said}", output.status);
}

/// The status that it gives says so of so many others.
fn must_say(cluster: &Cluster, at: usize, words: &str, others: usize) {
    eventually(words, || {
        let status = cluster.nodes[at].status()?;
        let refusals = status["nodes"].as_array()?.iter().filter_map(|row| row["refused"].as_str());
        (refusals.filter(|why| why.contains(words)).count() == others).then_some(())
    });
}

fn remove(cluster: &Cluster, by: usize, at: usize) {
    cluster.nodes[by].must(&["cluster", "remove", &cluster.nodes[at].name], None);
}

/// It ends by itself, says why, and does not start a second time.
fn must_stay_off(cluster: &mut Cluster, at: usize) {
    assert!(!cluster.nodes[at].wait_for_exit().success());
    assert!(cluster.nodes[at].said().contains("it is in quarantine"), "{}", cluster.nodes[at].said());
    cluster.nodes[at].start();
    assert!(!cluster.nodes[at].wait_for_exit().success(), "it remembers that it gave way");
}

/// Its old folder stays beside the new one.
fn set_aside_and_join_anew(cluster: &mut Cluster, via: usize, at: usize) {
    let dir = cluster.nodes[at].dir.clone();
    std::fs::rename(&dir, dir.with_extension("quarantined")).expect("the folder is ours");
    cluster.join_through(via, at, &|_| {});
}

fn write(cluster: &Cluster, at: usize, tokens: &[&str]) {
    append_all(&mut session(cluster, at, "alice"), "Archive", tokens);
}

/// What this node alone shows.
fn shown(cluster: &Cluster, at: usize) -> Vec<String> {
    let mut alice = session(cluster, at, "alice");
    alice.select("Archive").expect("it is there");
    let fetched = alice.fetch_all().expect("they can be read");
    fetched.iter().map(|message| token_of(&message.body).unwrap_or_default()).collect()
}
