//! A pair and a witness, founded with the product's own commands.

use std::net::Ipv4Addr;
use std::path::Path;

use tempfile::TempDir;

use crate::lab::Lab;
use crate::node::{Node, Role, succeeded};
use crate::wait::eventually;

pub const DOMAIN: &str = "example.test";
pub const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// Under which names a cluster is founded, and where its nodes are.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub domain: &'static str,
    pub hostname: &'static str,
    /// The last octets of the addresses of the data nodes and the witness.
    pub hosts: [u8; 3],
}

const SITE: Site = Site { domain: DOMAIN, hostname: "node1.example.test", hosts: [1, 2, 3] };

/// Nodes in a namespace of their own, as a rule three: `nodes[0]` and `nodes[1]` hold mail, `nodes[2]` is the witness.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub lab: Lab,
    site: Site,
    home: TempDir,
    failed: bool,
}

impl Cluster {
    /// Founds the cluster and waits until it is protected. `None`, with a word, where namespaces are not allowed.
    pub fn start() -> Option<Cluster> {
        Self::start_with(|_| {})
    }

    /// The same; `prepare` may change each node's configuration before its first start.
    pub fn start_with(prepare: impl Fn(&Node)) -> Option<Cluster> {
        Self::start_on(prepare, |_, _| {})
    }

    /// The same; every node's disk can be made to fail ([`Node::disk`]).
    pub fn start_with_disk_faults() -> Option<Cluster> {
        Self::start_on(|_| {}, |_, node| node.enable_disk_faults())
    }

    /// The same; `lay` may put disks under the nodes' folders, and load what stands between, before anything is in them.
    pub fn start_on(prepare: impl Fn(&Node), lay: impl Fn(&Lab, &mut Node)) -> Option<Cluster> {
        Some(Self::start_in(Lab::enter()?, SITE, prepare, lay))
    }

    /// The same in a namespace that was entered before.
    pub fn start_in(lab: Lab, site: Site, prepare: impl Fn(&Node), lay: impl Fn(&Lab, &mut Node)) -> Cluster {
        let home = tempfile::Builder::new().prefix("pollux-story-").tempdir().expect("a temporary folder");
        let node =
            |name: &str, role, host: u8| Node::new(name, role, Ipv4Addr::new(127, 0, 0, host), home.path());
        let [first, second, third] = site.hosts;
        let mut nodes = vec![
            node("node1", Role::Data, first),
            node("node2", Role::Data, second),
            node("witness", Role::Witness, third),
        ];
        nodes.iter_mut().for_each(|node| lay(&lab, node));
        let mut cluster = Cluster { nodes, lab, site, home, failed: true };
        cluster.found(&prepare);
        for at in 1..cluster.nodes.len() {
            cluster.join(at, &prepare);
        }
        cluster.furnish();
        cluster.wait_until_protected();
        cluster.failed = false;
        cluster
    }

    /// One data node, for stories that let it grow ([`Cluster::grow`]).
    pub fn start_alone() -> Option<Cluster> {
        let lab = Lab::enter()?;
        let home = tempfile::Builder::new().prefix("pollux-story-").tempdir().expect("a temporary folder");
        let nodes = vec![Node::new("node1", Role::Data, Ipv4Addr::new(127, 0, 0, 1), home.path())];
        let mut cluster = Cluster { nodes, lab, site: SITE, home, failed: true };
        cluster.found(&|_| {});
        cluster.furnish();
        cluster.failed = false;
        Some(cluster)
    }

    /// One more node, behind those of its role.
    pub fn grow(&mut self, name: &str, role: Role, host: u8) {
        let node = Node::new(name, role, Ipv4Addr::new(127, 0, 0, host), self.home.path());
        let at = if role == Role::Data { self.data_nodes().len() } else { self.nodes.len() };
        self.nodes.insert(at, node);
        self.join(at, &|_| {});
    }

    fn furnish(&self) {
        USERS.iter().for_each(|user| self.add_user(user));
        self.nodes[0].must(&["policy", "set", "auth.plaintext_without_tls", "true"], None);
    }

    /// Whose password is [`password`].
    pub fn add_user(&self, user: &str) {
        let arguments = ["user", "add", user, "--password-stdin"];
        self.nodes[0].must(&arguments, Some(&format!("{}\n", password(user))));
    }

    fn found(&mut self, prepare: &impl Fn(&Node)) {
        let node = &mut self.nodes[0];
        let arguments = ["init", "--domain", self.site.domain, "--hostname", self.site.hostname];
        node.must_inside(&with_place(&arguments, node));
        prepare(node);
        node.start();
        eventually("the first node leads", || node.status()?.get("leader")?.as_u64());
    }

    /// All boxes are lost, with their disks. `nodes[0]` becomes the first of a new cluster by the command, the others join it.
    /// Returns what the command printed.
    pub fn lose_and_found_anew(&mut self, arguments: &[&str]) -> String {
        for node in &mut self.nodes {
            node.kill();
            std::fs::remove_dir_all(&node.dir).expect("the node's folder is ours");
        }
        let node = &mut self.nodes[0];
        let said = node.must_inside(&with_place(arguments, node));
        node.start();
        eventually("the first node leads", || node.status()?.get("leader")?.as_u64());
        for at in 1..self.nodes.len() {
            self.join(at, &|_| {});
        }
        self.wait_until_caught_up();
        said
    }

    /// Makes `nodes[at]` a member through a one-time token, and starts it.
    pub fn join(&mut self, at: usize, prepare: &impl Fn(&Node)) {
        self.join_through(0, at, prepare);
    }

    /// The same, with a token of `nodes[via]`.
    pub fn join_through(&mut self, via: usize, at: usize, prepare: &impl Fn(&Node)) {
        let role = match self.nodes[at].role {
            Role::Data => "data",
            Role::Witness => "witness",
        };
        eventually("it joins", || {
            let token = self.nodes[via].must(&["join-token", "--role", role], None);
            let token = token.lines().map(str::trim).rfind(|line| !line.is_empty())?;
            let (node, arguments) = (&self.nodes[at], ["join", "--token", token]);
            let output = node.offline(&with_place(&arguments, node));
            // A clock that was just put right goes wrong for a second more, and makes tokens of the past.
            let expired = String::from_utf8_lossy(&output.stderr).contains("token has expired");
            (!expired).then(|| succeeded(&arguments, &output))
        });
        let node = &mut self.nodes[at];
        prepare(node);
        node.start();
    }

    /// Tells `nodes[at]` something by a command, and waits until every node has heard of it. Returns what was printed.
    pub fn tell(&self, at: usize, arguments: &[&str]) -> String {
        self.tell_with(at, arguments, None)
    }

    /// The same, with `input` on standard input.
    pub fn tell_with(&self, at: usize, arguments: &[&str], input: Option<&str>) -> String {
        let said = self.nodes[at].must(arguments, input);
        self.wait_until_caught_up();
        said
    }

    /// Waits until both data nodes are in sync and all three are members and up.
    pub fn wait_until_protected(&self) {
        eventually("the cluster is protected", || self.is_protected().then_some(()));
    }

    pub fn is_protected(&self) -> bool {
        let Some(status) = self.any_status() else { return false };
        let up = |node: &serde_json::Value| node["state"].as_str().is_some_and(|state| state != "down");
        let Some(nodes) = status["nodes"].as_array() else { return false };
        status["protection"] == "protected" && nodes.len() == self.nodes.len() && nodes.iter().all(up)
    }

    /// The nodes' folders lie there.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The status from whichever node answers first.
    pub fn any_status(&self) -> Option<serde_json::Value> {
        self.nodes.iter().find_map(Node::status)
    }

    /// Waits until a data node leads (a witness may for a moment); returns its place in `nodes`.
    pub fn leader(&self) -> usize {
        eventually("a data node leads", || self.leads())
    }

    /// The data node that leads, if one does.
    pub fn leads(&self) -> Option<usize> {
        let status = self.any_status()?;
        let leader = status["leader"].as_u64()?;
        let row = status["nodes"].as_array()?.iter().find(|row| row["id"].as_u64() == Some(leader))?;
        self.data_nodes().iter().position(|node| row["name"] == node.name.as_str())
    }

    /// The id by which the cluster knows `nodes[at]`.
    pub fn id_of(&self, at: usize) -> Option<u64> {
        let status = self.any_status()?;
        let row =
            status["nodes"].as_array()?.iter().find(|row| row["name"] == self.nodes[at].name.as_str())?;
        row["id"].as_u64()
    }

    /// Waits until a data node other than `nodes[at]` leads.
    pub fn leader_other_than(&self, at: usize) -> usize {
        eventually("another node leads", || Some(self.leader()).filter(|leader| *leader != at))
    }

    /// The data node that is not `nodes[at]`.
    pub fn peer_of(&self, at: usize) -> usize {
        1 - at
    }

    /// They come first.
    pub fn data_nodes(&self) -> &[Node] {
        let count = self.nodes.iter().take_while(|node| node.role == Role::Data).count();
        &self.nodes[..count]
    }

    /// Waits until all nodes have applied the same entries and nobody lacks a body.
    pub fn wait_until_caught_up(&self) {
        self.wait_until_protected();
        eventually("both data nodes have applied everything", || {
            let status = self.any_status()?;
            let caught_up = |row: &serde_json::Value| {
                row["role"] == "witness" || (row["lag_entries"] == 0 && row["bodies_missing"] == 0)
            };
            status["nodes"].as_array()?.iter().all(caught_up).then_some(())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.failed {
            return;
        }
        for node in &mut self.nodes {
            node.kill();
            let log = std::fs::read_to_string(node.log_path()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("---- {}: the last lines of its log", node.name);
            lines.iter().skip(lines.len().saturating_sub(40)).for_each(|line| eprintln!("{line}"));
        }
        if std::env::var_os("POLLUX_KEEP").is_some() {
            self.home.disable_cleanup(true);
            eprintln!("kept: {}", self.home.path().display());
        }
    }
}

/// The password of a story's user, as the demo's.
pub fn password(user: &str) -> String {
    format!("demo-{user}")
}

/// `arguments`, and where this node lives.
fn with_place<'a>(arguments: &[&'a str], node: &'a Node) -> Vec<&'a str> {
    let leak = |text: String| -> &'a str { Box::leak(text.into_boxed_str()) };
    let mut all = arguments.to_vec();
    all.extend(["--dir", leak(node.dir.display().to_string()), "--name", &node.name]);
    all.extend([
        "--listen",
        leak(node.address.to_string()),
        "--port-offset",
        leak(node.port_offset.to_string()),
    ]);
    match &node.host_name {
        None => all.extend(["--cluster-address", leak(node.address.to_string())]),
        Some(name) => {
            all.extend([
                "--cluster-address",
                name,
                "--cluster-listen",
                leak(format!("{}:7401", node.address)),
            ]);
        }
    }
    all
}
