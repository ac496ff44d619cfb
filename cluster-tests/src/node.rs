//! One real Pollux process: started, paused, killed, started again.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::disk::{Disk, shim};
use crate::tls::{handshake, shown};
use crate::wait::eventually;

/// Mail ports of a node are the standard ones plus this, unless its story says otherwise; the nodes differ in their address.
pub const PORT_OFFSET: u16 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Data,
    Witness,
}

pub struct Node {
    pub name: String,
    pub role: Role,
    pub address: Ipv4Addr,
    /// By what the other nodes reach it, where that is not the address itself.
    pub host_name: Option<String>,
    /// Of its mail ports, against the standard ones.
    pub port_offset: u16,
    pub dir: PathBuf,
    process: Option<Child>,
    /// Variables for the process (a shim's, a preset's).
    pub environment: Vec<(String, String)>,
    /// Variables for commands.
    pub command_environment: Vec<(String, String)>,
    /// The product: [`binary`], unless its story says otherwise.
    pub build: PathBuf,
    /// What the process is started by: a program and its arguments, which becomes the process given behind them.
    pub inside: Vec<String>,
    disk: Option<Disk>,
}

impl Node {
    pub fn new(name: &str, role: Role, address: Ipv4Addr, home: &Path) -> Node {
        let dir = home.join(name);
        Node {
            name: name.to_string(),
            role,
            address,
            host_name: None,
            port_offset: PORT_OFFSET,
            dir,
            process: None,
            environment: Vec::new(),
            command_environment: Vec::new(),
            build: binary(),
            inside: Vec::new(),
            disk: None,
        }
    }

    pub fn smtp(&self) -> SocketAddr {
        self.port(25)
    }

    pub fn imap(&self) -> SocketAddr {
        self.port(143)
    }

    pub fn pop3(&self) -> SocketAddr {
        self.port(110)
    }

    pub fn port(&self, standard: u16) -> SocketAddr {
        (self.address, self.port_offset + standard).into()
    }

    /// The certificate that it shows at a standard port with TLS from the first octet.
    pub fn shows(&self, standard: u16) -> Option<Vec<u8>> {
        let socket = TcpStream::connect(self.port(standard)).ok()?;
        Some(shown(&handshake(socket).ok()?))
    }

    /// While it is stopped: the box has another address.
    pub fn move_to(&mut self, address: Ipv4Addr) {
        let path = self.dir.join("pollux.toml");
        let text = std::fs::read_to_string(&path).expect("the configuration was written");
        let (from, to) = (self.address.to_string(), address.to_string());
        std::fs::write(&path, text.replace(&from, &to)).expect("the configuration can be written");
        self.address = address;
    }

    /// Adds a line to a table of the node's configuration, for its next start.
    pub fn configure(&self, table: &str, line: &str) {
        let path = self.dir.join("pollux.toml");
        let text = std::fs::read_to_string(&path).expect("the configuration was written");
        let heading = format!("[{table}]\n");
        let text = match text.split_once(&heading) {
            Some((before, after)) => format!("{before}{heading}{line}\n{after}"),
            None => format!("{text}\n{heading}{line}\n"),
        };
        std::fs::write(&path, text).expect("the configuration can be written");
    }

    /// From its next start on, this node's disk can be made to fail: [`Node::disk`].
    pub fn enable_disk_faults(&mut self) {
        let disk = Disk::new(&self.dir.with_extension("disk"));
        self.environment.extend(disk.environment(&self.dir));
        self.disk = Some(disk);
        self.preload(&shim());
    }

    /// This node's disk, where [`Node::enable_disk_faults`] came before its start.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the node was started with disk faults")
    }

    /// Loads `library` into the process at its next start, beside those that are loaded already.
    pub fn preload(&mut self, library: &Path) {
        let library = library.display().to_string();
        match self.environment.iter_mut().find(|(key, _)| key == "LD_PRELOAD") {
            Some((_, libraries)) => *libraries = format!("{libraries}:{library}"),
            None => self.environment.push(("LD_PRELOAD".into(), library)),
        }
    }

    /// Starts `pollux serve`; what it says goes to `<dir>.log`, appended.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log opens");
        let child = self
            .program(&self.build)
            .arg("serve")
            .arg("--config")
            .arg(self.dir.join("pollux.toml"))
            .envs(self.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log)
            .spawn()
            .expect("pollux starts");
        self.process = Some(child);
    }

    /// Where the node lives.
    pub fn program(&self, program: &Path) -> Command {
        let Some((first, others)) = self.inside.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(others).arg(program);
        command
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// All that the process has said so far, over all its starts.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn is_running(&mut self) -> bool {
        match &mut self.process {
            None => false,
            Some(child) => child.try_wait().expect("the process is ours").is_none(),
        }
    }

    /// `kill -9`, and the process is gone when this returns.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().expect("the process is ours");
            child.wait().expect("the process is ours");
        }
    }

    /// SIGTERM: the planned stop. Returns when the process is gone.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let name = self.name.clone();
        let mut child = self.process.take().expect("the node runs");
        eventually(&format!("{name} stops on SIGTERM"), || child.try_wait().expect("the process is ours"));
    }

    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGHUP: the certificate is read anew.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Of the running process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node runs").id()
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_exit(&mut self) -> std::process::ExitStatus {
        let name = self.name.clone();
        let mut child = self.process.take().expect("the node runs");
        eventually(&format!("{name} ends by itself"), || child.try_wait().expect("the process is ours"))
    }

    fn signal(&self, signal: Signal) {
        let child = self.process.as_ref().expect("the node runs");
        let pid = Pid::from_child(child);
        kill_process(pid, signal).expect("the process is ours");
    }

    /// Runs `pollux ARGUMENTS` against this node's control socket.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.told(arguments, None)
    }

    /// Starts a command that is waited for later.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(&self.build);
        command.args(arguments).envs(self.command_environment.iter().cloned());
        command.env("POLLUX_CONFIG", self.dir.join("pollux.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("pollux starts")
    }

    fn told(&self, arguments: &[&str], input: Option<&str>) -> Output {
        let mut command = Command::new(&self.build);
        command.envs(self.command_environment.iter().cloned());
        run(command, arguments, (Some(&self.dir.join("pollux.toml")), input))
    }

    /// Runs a command that asks other nodes, where this one lives; panics unless it exits 0. Returns what it printed.
    pub fn must_inside(&self, arguments: &[&str]) -> String {
        let mut command = self.program(&self.build);
        command.envs(self.command_environment.iter().cloned());
        succeeded(arguments, &run(command, arguments, (None, None)))
    }

    /// Runs a command on the folder of this node, which is stopped.
    pub fn offline(&self, arguments: &[&str]) -> Output {
        run(self.program(&self.build), arguments, (Some(&self.dir.join("pollux.toml")), None))
    }

    /// The same, with `input` on standard input; panics unless it exits 0. Returns what it printed.
    pub fn must(&self, arguments: &[&str], input: Option<&str>) -> String {
        succeeded(arguments, &self.told(arguments, input))
    }

    /// `cluster status --json` as this node sees it, or `None` while it does not answer.
    pub fn status(&self) -> Option<serde_json::Value> {
        let output = self.command(&["cluster", "status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary under test: `POLLUX_BIN`, or the one built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("POLLUX_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let dir = test.parent().expect("a program lies in a folder");
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let profile = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let built = profile.join("pollux");
    assert!(built.exists(), "{} is not there: run `cargo build --bin pollux` first", built.display());
    built
}

/// Runs one command of the product.
pub fn pollux(arguments: &[&str], config: Option<&Path>, input: Option<&str>) -> Output {
    run(Command::new(binary()), arguments, (config, input))
}

fn run(mut command: Command, arguments: &[&str], (config, input): (Option<&Path>, Option<&str>)) -> Output {
    use std::io::Write;
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("POLLUX_CONFIG");
    if let Some(config) = config {
        command.env("POLLUX_CONFIG", config);
    }
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().expect("pollux starts");
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // A command that fails early closes its input: its own error says more than ours.
        let _ = pipe.write_all(text.as_bytes());
    }
    child.wait_with_output().expect("the process is ours")
}

/// Panics with what the command said unless it exited 0.
pub fn succeeded(arguments: &[&str], output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pollux {arguments:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
