//! What operators do, under load: each by the product's own commands.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::strike::Striker;
use super::{ACKED_BETWEEN, ACKED_MEANWHILE, RESTORED, is_data};
use crate::certificates::of_its_own;
use crate::checker;
use crate::cluster::Cluster;
use crate::node::{Node, succeeded};
use crate::wait::eventually;

/// A service that the crowd does not use, and where it goes.
const MOVED: (u16, u16) = (993, 3993);
const RULE: &str = "moved";

impl Striker<'_> {
    /// By the other data node.
    pub(super) fn tell_of(&self, command: &str, at: usize) {
        self.obeyed(1 - at, &["cluster", command, &self.cluster.nodes[at].name]);
    }

    pub(super) fn transfer(&mut self, to: usize) {
        self.obeyed(to, &["cluster", "transfer", &self.id_of(to)]);
    }

    /// By a planned stop.
    pub(super) fn exchange(&mut self, at: usize, build: PathBuf) {
        self.cluster.nodes[at].stop();
        self.cluster.nodes[at].build = build;
        self.start(at);
    }

    /// Its disk is lost for good: removed by another node's operator, each second time once it is dead, and a new box joins under its
    /// name.
    pub(super) fn replace(&mut self, at: usize) {
        let other = if at == 0 { 1 } else { 0 };
        self.replaced += 1;
        if self.replaced.is_multiple_of(2) {
            self.kill(at);
        }
        self.obeyed(other, &["cluster", "remove", &self.id_of(at)]);
        self.kill(at);
        empty(&self.cluster.nodes[at].dir);
        if is_data(&self.cluster.nodes[at]) {
            self.doors[at].begin_life();
        }
        self.cluster.join_through(other, at, &|_| {});
    }

    /// What was acknowledged by it and the witness alone has its second copy in the witness's journal. Where that cannot be, the
    /// default is to go on with one copy; here two are asked for, or nothing could be promised.
    pub(super) fn lose_survivor(&mut self, survivor: usize) {
        let back = 1 - survivor;
        self.ask_for_two_copies(survivor, "refuse");
        self.kill(back);
        self.wait_until_acked(self.recorder.acked() + ACKED_MEANWHILE, "by one node and the witness");
        let id = self.id_of(survivor);
        self.kill(survivor);
        empty(&self.cluster.nodes[survivor].dir);
        self.start(back);
        // Refused for as long as only the lost one has all bodies.
        self.obeyed(back, &["cluster", "remove", &id]);
        self.doors[survivor].begin_life();
        self.cluster.join_through(back, survivor, &|_| {});
        self.ask_for_two_copies(back, "allow");
    }

    /// It leads the witness at last, so that it has all that was acknowledged, whoever led before; by itself it is no majority. The
    /// others have nothing of their own, and follow it when they come back.
    pub(super) fn take_over(&mut self, stays: usize) {
        self.kill(1 - stays);
        self.wait_for_acks(ACKED_BETWEEN);
        eventually("the one that stays leads", || (self.cluster.leads() == Some(stays)).then_some(()));
        self.kill(2);
        self.kill(stays);
        let output = self.cluster.nodes[stays].offline(&["cluster", "takeover", "--fenced"]);
        assert!(output.status.success(), "takeover: {}", String::from_utf8_lossy(&output.stderr));
        self.start(stays);
    }

    fn ask_for_two_copies(&self, at: usize, word: &str) {
        self.obeyed(at, &["policy", "set", "cluster.degraded_ack", word]);
    }

    /// Returns where to. A node that may lack something refuses, until it has it.
    pub(super) fn back_up(&self, at: usize) -> String {
        let folder = backups(self.cluster).display().to_string();
        let command = ["backup", "create", &folder];
        eventually("a node that is in sync makes a backup", || {
            let output = self.cluster.nodes[at].command(&command);
            let may_lack = String::from_utf8_lossy(&output.stderr).contains("this node is not in sync");
            (!may_lack).then(|| succeeded(&command, &output))
        });
        folder
    }

    /// What a backup that is made now has of alice goes to another user, each time below another folder.
    pub(super) fn restore(&mut self, at: usize) {
        let folder = self.back_up(at);
        self.restored += 1;
        let into = format!("r{}", self.restored);
        let words = ["mail", "import", "--user", RESTORED, "--into", &into, "--json", "backup", &folder];
        let said = self.cluster.nodes[at].must(&[&words[..], &["--from", "alice"]].concat(), None);
        let report: serde_json::Value = serde_json::from_str(&said).expect("--json is JSON");
        let other = &self.cluster.nodes[1 - at];
        let contents = eventually("the other node shows it", || checker::read_user(other, RESTORED).ok());
        let below = format!("{into}/");
        let there: usize = contents
            .iter()
            .filter(|((_, name), _)| name.starts_with(&below))
            .map(|(_, mailbox)| mailbox.messages.len())
            .sum();
        assert!(there > 0 && report["imported"] == there, "{there} messages below {into}: {report}");
    }

    /// One for all nodes, which needs the version of the cluster that this build brings: from then on none goes back a release.
    pub(super) fn give_certificate(&mut self, at: usize) {
        self.finalize();
        let identity = of_its_own("mx.example.test", 2100);
        let files = ["cert.pem", "key.pem"].map(|name| self.cluster.home().join(name));
        fs::write(&files[0], identity.chain_pem()).expect("the folder is ours");
        fs::write(&files[1], identity.private_pem()).expect("the folder is ours");
        let [cert, key] = files.each_ref().map(|file| file.to_str().expect("plain"));
        self.obeyed(at, &["certificate", "set", cert, key]);
        eventually("both nodes show the new certificate", || {
            let shows = |node: &Node| node.shows(993).as_ref() == Some(&identity.chain[0]);
            self.cluster.data_nodes().iter().all(shows).then_some(())
        });
    }

    /// Once, and for good.
    pub fn finalize(&mut self) {
        if !self.is_final {
            self.obeyed(0, &["cluster", "upgrade", "finalize"]);
            (self.is_final, self.released) = (true, None);
        }
    }

    /// And a rule of the firewall follows it, on all nodes.
    pub(super) fn move_port(&self, at: usize) {
        let (from, to) = MOVED;
        self.obeyed(at, &["firewall", "add", RULE, "imaps", "--action", "allow", "--from", "127.0.0.0/8"]);
        self.obeyed(at, &["policy", "set", "listener.imaps.port", &to.to_string()]);
        self.until_moved(from, to);
        eventually("each node's rules are in force, at the new port", || {
            let said = self.cluster.nodes[at].must(&["firewall", "status", "--json"], None);
            let standing: Vec<serde_json::Value> = serde_json::from_str(&said).expect("--json is JSON");
            let in_step = standing.iter().filter(|node| node["state"] == "in-step").count();
            (in_step == self.cluster.data_nodes().len()).then_some(())
        });
    }

    pub(super) fn move_port_back(&self, at: usize) {
        let (from, to) = MOVED;
        self.obeyed(at, &["policy", "unset", "listener.imaps.port"]);
        self.obeyed(at, &["firewall", "remove", RULE]);
        self.until_moved(to, from);
    }

    fn until_moved(&self, from: u16, to: u16) {
        eventually("all nodes serve at the new port alone", || {
            let open = |node: &Node, port: u16| TcpStream::connect(node.port(port)).is_ok();
            let moved = |node: &Node| open(node, to) && !open(node, from);
            self.cluster.data_nodes().iter().all(moved).then_some(())
        });
    }

    fn id_of(&self, at: usize) -> String {
        eventually("the node is a member", || self.cluster.id_of(at)).to_string()
    }

    /// Given again until it succeeds: who lags may refuse for moments.
    fn obeyed(&self, at: usize, command: &[&str]) {
        eventually(&format!("{command:?} is obeyed"), || {
            self.cluster.nodes[at].command(command).status.success().then_some(())
        });
    }
}

/// Where they go, if any is made.
pub fn backups(cluster: &Cluster) -> PathBuf {
    cluster.home().join("backups")
}

/// The folder itself may be where a disk is mounted.
fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("the folder is ours");
    }
}
