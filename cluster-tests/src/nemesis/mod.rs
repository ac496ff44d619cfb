//! Breaks a real cluster by plan while the crowd works, heals it, and has the history judged.

mod figures;
mod operate;
mod plan;
mod slow;
mod strike;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use figures::Figures;
use operate::backups;
pub use plan::{Fault, KINDS, Plan, Step, Target};
pub use slow::SlowLinks;
use strike::Striker;

use crate::checker::{self, Contents};
use crate::clients::{Crowd, LIMITED, QUOTA, SETTING, answer, doors, question};
use crate::clock::give_clock;
use crate::cluster::Cluster;
use crate::history::{Recorder, Seen};
use crate::lab::Lab;
use crate::node::{Node, Role, binary};
use crate::released;
use crate::verdict::{self, Violation};
use crate::verify;
use crate::wait::eventually;

/// The data node with a small disk.
const SMALL: &str = "node2";
const SMALL_MEBIBYTES: u32 = 512;
/// Writes acknowledged while one fault holds, where service must go on.
const ACKED_MEANWHILE: usize = 25;
/// And before the next fault.
const ACKED_BETWEEN: usize = 40;
/// The user to whom mail from backups goes.
const RESTORED: &str = "restored";

/// Runs one plan on a fresh cluster. `None` where namespaces are not allowed.
///
/// # Panics
/// When something is wrong, with all of it and where the history lies; or when the cluster does not come back.
pub fn run(plan: &Plan) -> Option<Figures> {
    eprintln!("nemesis: {plan}");
    let released = released::binary();
    if released.is_none() {
        eprintln!("nemesis: the last release could not be built: downgrades are starts of this build");
    }
    let mut cluster = Cluster::start_on(
        |_| {},
        |lab, node| {
            equip(lab, node);
            node.build = released.clone().unwrap_or_else(binary);
        },
    )?;
    upgrade(&mut cluster);
    [RESTORED, LIMITED].into_iter().for_each(|user| cluster.add_user(user));
    let recorder = Recorder::new(history_path(plan.seed));
    recorder.note(&serde_json::to_string(plan).expect("a plan is plain data"));
    let doors = doors(&cluster);
    let crowd = Crowd::start(&doors, &recorder, plan.seed);
    let mut figures = Figures::default();
    let mut striker = Striker::new(&mut cluster, doors, &recorder, released);
    striker.wait_for_acks(ACKED_BETWEEN);
    for (at, step) in plan.steps.iter().enumerate() {
        striker.step(step, &mut figures);
        if plan.steps.get(at + 1).is_none_or(|next| !next.early) {
            striker.rest(step);
        }
    }
    crowd.finish();
    striker.finalize();
    cluster.wait_until_caught_up();
    let shown = read_all(&cluster, read_crowd);
    let calls = recorder.calls();
    let (mut wrong, tally) = verdict::judge(&calls, &shown);
    counts_agree(&cluster, &shown, &mut wrong);
    verdict::aliases::judge(&calls, &aliases(&cluster), &mut wrong);
    verdict::limits::judge_settings(&calls, &settings(&cluster), &mut wrong);
    nodes_verify(&cluster, &mut wrong);
    backups_verify(&cluster, &mut wrong);
    restored_agrees(&cluster, &mut wrong);
    cluster.nodes.iter().for_each(|node| verdict::judge_log(&node.name, &node.said(), &mut wrong));
    figures.take(&calls, tally);
    if !wrong.is_empty() {
        let kinds = verdict::by_rule(&wrong);
        let first: Vec<String> =
            wrong.iter().take(12).map(|wrong| format!("{:?}: {}", wrong.rule, wrong.what)).collect();
        panic!(
            "seed {}: {kinds:?}; the history is {}\n{}",
            plan.seed,
            recorder.path().display(),
            first.join("\n")
        );
    }
    if std::env::var_os("POLLUX_KEEP").is_none() {
        recorder.discard();
    }
    Some(figures)
}

/// To this build, where the nodes run another one: the cluster stays at its version, so that each may go back.
fn upgrade(cluster: &mut Cluster) {
    for at in
        (0..cluster.nodes.len()).rev().filter(|at| cluster.nodes[*at].build != binary()).collect::<Vec<_>>()
    {
        cluster.nodes[at].stop();
        cluster.nodes[at].build = binary();
        cluster.nodes[at].start();
        cluster.wait_until_protected();
    }
}

/// Small disk, a disk that fails, and a clock of its own, before anything runs.
fn equip(lab: &Lab, node: &mut Node) {
    if node.name == SMALL {
        lab.mount_small_disk(&node.dir, SMALL_MEBIBYTES);
    }
    give_clock(node);
    node.enable_disk_faults();
}

fn history_path(seed: u64) -> PathBuf {
    let dir = std::env::var_os("POLLUX_HISTORIES").map_or_else(std::env::temp_dir, PathBuf::from);
    dir.join(format!("pollux-history-{seed}-{}.jsonl", std::process::id()))
}

fn read_all(cluster: &Cluster, read: impl Fn(&Node) -> io::Result<Contents>) -> Vec<(String, Contents)> {
    let read = |node: &Node| {
        let contents = eventually("a node can be read back", || read(node).ok());
        (node.name.clone(), contents)
    };
    cluster.data_nodes().iter().map(read).collect()
}

/// All mail of those whom the crowd works for.
fn read_crowd(node: &Node) -> io::Result<Contents> {
    let mut contents = checker::read(node)?;
    contents.extend(checker::read_user(node, LIMITED)?);
    Ok(contents)
}

/// STATUS on every node, and the space that the quota counts, against what is there.
fn counts_agree(cluster: &Cluster, shown: &[(String, Contents)], wrong: &mut Vec<Violation>) {
    for (node, (_, contents)) in cluster.data_nodes().iter().zip(shown) {
        verdict::ends::judge_counts(contents, wrong, |user, mailbox| {
            eventually("STATUS is answered", || checker::status(node, user, mailbox).ok())
        });
        verdict::ends::judge_space(contents, wrong, |user| {
            let shown = node.must(&["user", "show", user, "--json"], None);
            let shown: serde_json::Value = serde_json::from_str(&shown).expect("--json is JSON");
            shown["used_bytes"].as_u64().expect("a user's space is counted")
        });
    }
}

fn aliases(cluster: &Cluster) -> Vec<(String, verdict::aliases::Listed)> {
    let listed = |node: &Node| {
        let said = node.must(&["alias", "list", "--json"], None);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said).expect("--json is JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let local = |address: String| address.split('@').next().unwrap_or_default().to_owned();
        let of = |row: &serde_json::Value| {
            let targets = row["targets"].as_array().cloned().unwrap_or_default();
            let alias = local(text(&row["address"]));
            targets.into_iter().map(move |target| (alias.clone(), local(text(&target)))).collect::<Vec<_>>()
        };
        (node.name.clone(), rows.iter().flat_map(of).collect())
    };
    cluster.data_nodes().iter().map(listed).collect()
}

fn settings(cluster: &Cluster) -> Vec<(String, verdict::limits::Shown)> {
    let value = |node: &Node, name: &str| {
        let said = node.must(&question(name), None);
        let Some(Seen::Value(value)) = answer(name, &said) else { panic!("{name}: {said}") };
        (name.to_string(), value)
    };
    let shown = |node: &Node| (node.name.clone(), [QUOTA, SETTING].map(|name| value(node, name)).into());
    cluster.data_nodes().iter().map(shown).collect()
}

/// Every row of every data node, and every body, by the product's own word.
fn nodes_verify(cluster: &Cluster, wrong: &mut Vec<Violation>) {
    let found = verify::findings(&verify::verify(&cluster.nodes[0]));
    wrong.extend(
        found.into_iter().map(|what| Violation::new(verdict::Rule::Nodes, format!("verify: {what}"))),
    );
}

/// What was backed up, by the product's own word.
fn backups_verify(cluster: &Cluster, wrong: &mut Vec<Violation>) {
    let folder = backups(cluster);
    if folder.exists() {
        let output = cluster.nodes[0].command(&["backup", "verify", &folder.display().to_string()]);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            wrong.push(Violation::new(verdict::Rule::Nodes, format!("backup verify: {said}")));
        }
    }
}

/// What came out of backups: alike on all nodes, counted, and as it was sent.
fn restored_agrees(cluster: &Cluster, wrong: &mut Vec<Violation>) {
    let shown = read_all(cluster, |node| checker::read_user(node, RESTORED));
    verdict::ends::judge(&shown, wrong);
    counts_agree(cluster, &shown, wrong);
    verdict::ends::judge_octets(&shown, wrong);
}

/// For a step's hold: the schedule's time, not a wait for anything.
fn hold(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Data nodes come first in [`Cluster::nodes`].
fn is_data(node: &Node) -> bool {
    node.role == Role::Data
}
