//! The demo's nodes: processes of the product itself, each in its own folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::DemoArgs;
use super::tls::DemoCa;

const DOMAIN: &str = "example.test";
/// The cluster's own UDP ports, beside the mail ports: control here, bulk at the next one.
const CLUSTER_PORT: u16 = 701;
/// Founding, joining and catching up each end within this, or the demo has failed.
const STEP_WITHIN: Duration = Duration::from_secs(60);
/// After SIGTERM a node gets this long before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Everything the demo started, and where.
pub struct Demo {
    dir: PathBuf,
    /// True: the folder was made for this run and goes with it.
    temporary: bool,
    program: PathBuf,
    base_port: u16,
    data_nodes: u16,
    witness: bool,
    users: u32,
    /// By node number less one; the witness is the last.
    running: Mutex<Vec<Option<Child>>>,
}

impl Demo {
    /// Makes the folder. Refuses one that holds anything.
    pub fn new(arguments: &DemoArgs) -> Result<Demo, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("its own program is not found: {error}"))?;
        let members = arguments.nodes + u16::from(!arguments.no_witness);
        let highest = u32::from(arguments.base_port) + u32::from(members - 1) * 1000 + 4190;
        if highest > u32::from(u16::MAX) {
            return Err(format!("--base-port {} leaves no room for {members} nodes", arguments.base_port));
        }
        let temporary = arguments.dir.is_none();
        let dir = arguments
            .dir
            .clone()
            .unwrap_or_else(|| std::env::temp_dir().join(format!("pollux-demo-{}", std::process::id())));
        let fault = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::create_dir_all(&dir).map_err(fault)?;
        if fs::read_dir(&dir).map_err(fault)?.next().is_some() {
            return Err(format!("{} is not empty; give a new folder with --dir", dir.display()));
        }
        Ok(Demo {
            // Nodes resolve paths from their own configuration's folder.
            dir: dir.canonicalize().map_err(fault)?,
            temporary,
            program,
            base_port: arguments.base_port,
            data_nodes: arguments.nodes,
            witness: !arguments.no_witness,
            users: arguments.users,
            running: Mutex::new((0..members).map(|_| None).collect()),
        })
    }

    /// Founds the cluster, joins the others, makes the users.
    pub fn found(&self) -> Result<(), String> {
        let started = Instant::now();
        let ca = DemoCa::create(&self.dir.join("ca.pem"))?;
        let hostname = format!("{}.{DOMAIN}", self.name(1));
        self.pollux(&self.placed(1, &["init", "--domain", DOMAIN, "--hostname", &hostname]), None, None)?;
        self.start_with_certificate(1, &ca)?;
        self.wait(|| self.leader().map(drop), "the first node does not lead")?;
        for node in 2..=self.members() {
            let role = if self.is_witness(node) { "witness" } else { "data" };
            let token = self.pollux(&["join-token", "--role", role], Some(1), None)?;
            let token =
                token.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
            self.pollux(&self.placed(node, &["join", "--token", &token]), None, None)?;
            self.start_with_certificate(node, &ca)?;
        }
        for user in self.user_names() {
            self.pollux(
                &["user", "add", &user, "--password-stdin"],
                Some(1),
                Some(&format!("demo-{user}\n")),
            )?;
        }
        // On loopback alone: so that any client, and the tour, can log in without a certificate.
        self.pollux(&["policy", "set", "auth.plaintext_without_tls", "true"], Some(1), None)?;
        self.wait_until_protected()?;
        println!(
            "{} data nodes{} are up in {} after {:.1} s",
            self.data_nodes,
            if self.witness { " and a witness" } else { "" },
            self.dir.display(),
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Waits until every member is up and, where there are two data nodes, each mail has two copies.
    pub fn wait_until_protected(&self) -> Result<(), String> {
        self.wait(
            || {
                let status = self.status()?;
                let nodes = status["nodes"].as_array()?;
                let caught_up = |node: &serde_json::Value| {
                    node["state"] != "down" && node["lag_entries"].as_u64().unwrap_or(0) == 0
                };
                let all = nodes.len() == usize::from(self.members()) && nodes.iter().all(caught_up);
                let enough = self.data_nodes < 2 || status["protection"] == "protected";
                (all && enough).then_some(())
            },
            "the nodes do not come together",
        )
    }

    /// The number of the data node that leads.
    pub fn leader(&self) -> Option<u16> {
        let status = self.status()?;
        let leader = status["leader"].as_u64()?;
        let row = status["nodes"].as_array()?.iter().find(|node| node["id"].as_u64() == Some(leader))?;
        let name = row["name"].as_str()?;
        (1..=self.data_nodes).find(|node| self.name(*node) == name)
    }

    /// A data node that is not `node`.
    pub fn other_than(&self, node: u16) -> u16 {
        if node == 1 { 2 } else { 1 }
    }

    pub fn name(&self, node: u16) -> String {
        if self.is_witness(node) { "witness".to_owned() } else { format!("node{node}") }
    }

    /// Where node `node` serves what stands on the standard port `standard`.
    pub fn port(&self, node: u16, standard: u16) -> u16 {
        self.offset(node) + standard
    }

    pub fn start(&self, node: u16) -> Result<(), String> {
        let dir = self.node_dir(node);
        let fault = |error: std::io::Error| format!("{} cannot be started: {error}", self.name(node));
        let log = File::options().create(true).append(true).open(dir.join("log")).map_err(fault)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(dir.join("pollux.toml")).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(fault)?).stderr(log);
        // Ctrl-C reaches the demo alone, which then stops its nodes in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(fault)?;
        self.children()[usize::from(node - 1)] = Some(child);
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&self, node: u16) {
        if let Some(mut child) = self.children()[usize::from(node - 1)].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops every node that runs, in the planned way; one that does not end in time is killed.
    pub fn stop_all(&self) {
        let mut children: Vec<Child> = self.children().iter_mut().filter_map(Option::take).collect();
        for child in &children {
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
        let started = Instant::now();
        for child in &mut children {
            while matches!(child.try_wait(), Ok(None)) && started.elapsed() < STOP_WITHIN {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    pub fn print_how_to_connect(&self) {
        println!(
            "\nThe demo stays up until Ctrl-C. Users {}; passwords demo-NAME.",
            self.user_names().join(", ")
        );
        for node in 1..=self.data_nodes {
            println!(
                "  {}: SMTP {}, submission {}, IMAP {}, POP3 {} on 127.0.0.1",
                self.name(node),
                self.port(node, 25),
                self.port(node, 587),
                self.port(node, 143),
                self.port(node, 110)
            );
        }
        println!("  certificate authority: {}", self.dir.join("ca.pem").display());
        let config = self.node_dir(1).join("pollux.toml");
        println!("  pollux cluster status --watch --config {}", config.display());
    }

    fn start_with_certificate(&self, node: u16, ca: &DemoCa) -> Result<(), String> {
        if !self.is_witness(node) {
            ca.issue(&format!("{}.{DOMAIN}", self.name(node)), &self.node_dir(node).join("tls"))?;
        }
        self.start(node)
    }

    fn members(&self) -> u16 {
        self.data_nodes + u16::from(self.witness)
    }

    fn is_witness(&self, node: u16) -> bool {
        node > self.data_nodes
    }

    fn offset(&self, node: u16) -> u16 {
        self.base_port + (node - 1) * 1000
    }

    fn node_dir(&self, node: u16) -> PathBuf {
        self.dir.join(self.name(node))
    }

    fn user_names(&self) -> Vec<String> {
        let named = ["alice", "bob", "carol"].map(str::to_owned).into_iter();
        named.chain((1..).map(|number| format!("user{number}"))).take(self.users as usize).collect()
    }

    /// `arguments`, and where node `node` lives.
    fn placed(&self, node: u16, arguments: &[&str]) -> Vec<String> {
        let place = [
            ("--dir", self.node_dir(node).display().to_string()),
            ("--name", self.name(node)),
            ("--listen", "127.0.0.1".to_owned()),
            ("--port-offset", self.offset(node).to_string()),
            ("--cluster-address", format!("127.0.0.1:{}", self.port(node, CLUSTER_PORT))),
        ];
        let place = place.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        arguments.iter().map(|argument| (*argument).to_owned()).chain(place).collect()
    }

    /// The status as the first node that answers sees it.
    fn status(&self) -> Option<serde_json::Value> {
        (1..=self.members()).find_map(|node| {
            let text = self.pollux(&["cluster", "status", "--json"], Some(node), None).ok()?;
            serde_json::from_str(&text).ok()
        })
    }

    /// Runs one command of the product; its error is ours.
    fn pollux(
        &self,
        arguments: &[impl AsRef<str>],
        node: Option<u16>,
        input: Option<&str>,
    ) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(arguments.iter().map(AsRef::as_ref)).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("POLLUX_CONFIG");
        if let Some(node) = node {
            command.env("POLLUX_CONFIG", self.node_dir(node).join("pollux.toml"));
        }
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let output = run(&mut command, input).map_err(|error| error.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = arguments.first().map_or("", AsRef::as_ref);
            return Err(format!("pollux {what}: {}", said.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait<T>(&self, mut look: impl FnMut() -> Option<T>, otherwise: &str) -> Result<T, String> {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if let Some(node) = self.first_that_ended() {
                return Err(format!("{otherwise}: {} ended: {}", self.name(node), self.last_words(node)));
            }
            if started.elapsed() > STEP_WITHIN {
                return Err(format!(
                    "{otherwise} within {} s; see {}",
                    STEP_WITHIN.as_secs(),
                    self.dir.display()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn first_that_ended(&self) -> Option<u16> {
        let mut children = self.children();
        let ended = |child: &mut Option<Child>| {
            child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
        };
        let at = children.iter_mut().position(ended)?;
        u16::try_from(at + 1).ok()
    }

    fn last_words(&self, node: u16) -> String {
        last_line(&self.node_dir(node).join("log"))
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Option<Child>>> {
        self.running.lock().expect("no holder of the children panics")
    }
}

fn run(command: &mut Command, input: Option<&str>) -> std::io::Result<Output> {
    let mut child = command.spawn()?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // A command that fails early closes its input; its own words say more than ours.
        let _ = pipe.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
