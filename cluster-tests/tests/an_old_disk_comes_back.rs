//! A node's disk is put back to an older state: it has forgotten votes and acknowledged entries, and must not vote
//! itself, or anybody else, into losing them. It is found out by what the others remember of it, stops with a line that
//! says what to do, and comes back as a new node. (Elsewhere such a node crashed its leader, or elected an empty one.)

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cluster_tests::cluster::Cluster;
use cluster_tests::disk::copy_folder;
use cluster_tests::steps::{agreed, append_all, leader_and_follower, session, tokens};
use cluster_tests::wait::eventually;

/// Nodes tell each other each second how far their disks have come.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn an_old_image_of_a_follower() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    // A leader that lives needs no second: it knows what was acknowledged to it.
    an_old_image_of(&mut cluster, follower, |_| {});
    assert_eq!(cluster.leader(), leader, "the leader has not even noticed");
}

#[test]
fn an_old_image_of_the_leader() {
    let Some(mut cluster) = Cluster::start() else { return };
    let leader = cluster.leader();
    an_old_image_of(&mut cluster, leader, told);
}

fn an_old_image_of(cluster: &mut Cluster, at: usize, wait: impl Fn(Instant)) {
    let other = cluster.peer_of(at);
    write(cluster, other, &["before"]);
    cluster.nodes[at].kill();
    let image = Image::of(&cluster.nodes[at].dir);
    cluster.nodes[at].start();
    agreed(cluster);
    write(cluster, other, &["with-it-1", "with-it-2"]);
    wait(Instant::now());
    cluster.nodes[at].kill();
    write(cluster, other, &["without-it"]);

    image.put_back();
    must_be_found_out(cluster, at);
    write(cluster, other, &["after"]);

    join_anew(cluster, at);
    let shown = tokens(&agreed(cluster), "alice", "Archive").expect("it is there");
    assert_eq!(shown, ["before", "with-it-1", "with-it-2", "without-it", "after"]);
}

/// The leader is dead, the witness lives, the follower has forgotten: two of three, and they must not go on. What was
/// acknowledged is there when the leader is.
#[test]
fn the_survivor_has_forgotten() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, survivor) = leader_and_follower(&cluster);
    write(&cluster, leader, &["before"]);
    cluster.nodes[survivor].kill();
    let image = Image::of(&cluster.nodes[survivor].dir);
    cluster.nodes[survivor].start();
    agreed(&cluster);
    write(&cluster, leader, &["acknowledged-1", "acknowledged-2"]);
    told(Instant::now());
    cluster.nodes[leader].kill();
    cluster.nodes[survivor].kill();

    image.put_back();
    must_be_found_out(&mut cluster, survivor);
    cluster.nodes[leader].start();
    write(&cluster, leader, &["after"]);
    join_anew(&mut cluster, survivor);
    let shown = tokens(&agreed(&cluster), "alice", "Archive").expect("it is there");
    assert_eq!(shown, ["before", "acknowledged-1", "acknowledged-2", "after"]);
}

#[test]
fn a_wiped_disk_with_the_old_identity() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    write(&cluster, leader, &["before"]);
    agreed(&cluster);
    cluster.nodes[follower].kill();
    for folder in ["raft", "tables", "bodies"] {
        std::fs::remove_dir_all(cluster.nodes[follower].dir.join(folder)).expect("it is ours");
    }
    must_be_found_out(&mut cluster, follower);
    join_anew(&mut cluster, follower);
    assert_eq!(tokens(&agreed(&cluster), "alice", "Archive").expect("it is there"), ["before"]);
}

#[test]
fn a_removed_node_comes_back_and_its_id_is_not_used_again() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, removed) = leader_and_follower(&cluster);
    write(&cluster, leader, &["before"]);
    agreed(&cluster);
    let id = id_of(&cluster, removed);
    cluster.nodes[removed].kill();
    cluster.nodes[leader].must(&["cluster", "remove", &id.to_string()], None);
    cluster.nodes[removed].start();
    assert!(!cluster.nodes[removed].wait_for_exit().success());
    assert!(log_of(&cluster, removed).contains("removed from the cluster"), "it says why");
    write(&cluster, leader, &["after"]);

    let identity = cluster.nodes[removed].dir.join("cluster/identity.pem");
    let kept = std::fs::read(&identity).expect("it has one");
    empty(&cluster.nodes[removed].dir);
    cluster.join_through(leader, removed, &|_| {});
    assert_ne!(std::fs::read(&identity).expect("it has a new one"), kept);
    assert_eq!(tokens(&agreed(&cluster), "alice", "Archive").expect("it is there"), ["before", "after"]);
    assert!(id_of(&cluster, removed) > 3, "ids are never used again");
}

/// Waits until what was so at `since` has been told.
fn told(since: Instant) {
    eventually("the others have been told", || (since.elapsed() > TOLD_WITHIN).then_some(()));
}

/// It ends by itself, soon, with the line; and does not start a second time, whoever is there.
fn must_be_found_out(cluster: &mut Cluster, at: usize) {
    cluster.nodes[at].start();
    assert!(!cluster.nodes[at].wait_for_exit().success());
    let log = log_of(cluster, at);
    assert!(log.contains("has forgotten what it promised") && log.contains("cluster remove"), "{log}");
    cluster.nodes[at].start();
    assert!(!cluster.nodes[at].wait_for_exit().success(), "it remembers that it has forgotten");
}

/// As the line says: removed, emptied, joined.
fn join_anew(cluster: &mut Cluster, at: usize) {
    let other = cluster.peer_of(at);
    let id = id_of(cluster, at).to_string();
    let remove = ["cluster", "remove", &id];
    eventually("it is removed", || cluster.nodes[other].command(&remove).status.success().then_some(()));
    empty(&cluster.nodes[at].dir);
    cluster.join_through(other, at, &|_| {});
}

fn id_of(cluster: &Cluster, at: usize) -> u64 {
    let name = cluster.nodes[at].name.clone();
    eventually("the node is listed", || {
        let status = cluster.any_status()?;
        status["nodes"].as_array()?.iter().find(|row| row["name"] == name.as_str())?["id"].as_u64()
    })
}

fn write(cluster: &Cluster, at: usize, tokens: &[&str]) {
    let mut alice = session(cluster, at, "alice");
    append_all(&mut alice, "Archive", tokens);
}

fn log_of(cluster: &Cluster, at: usize) -> String {
    std::fs::read_to_string(cluster.nodes[at].log_path()).unwrap_or_default()
}

fn empty(dir: &Path) {
    std::fs::remove_dir_all(dir).expect("the folder is ours");
}

/// A copy of a stopped node's folder.
struct Image {
    of: PathBuf,
    copy: PathBuf,
}

impl Image {
    fn of(dir: &Path) -> Image {
        let copy = dir.with_extension("image");
        copy_folder(dir, &copy);
        Image { of: dir.to_path_buf(), copy }
    }

    fn put_back(&self) {
        empty(&self.of);
        copy_folder(&self.copy, &self.of);
    }
}
