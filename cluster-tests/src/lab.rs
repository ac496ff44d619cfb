//! A network and mounts of one's own: a namespace with only a loopback, nftables rules that cut it, small disks.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use rustix::thread::UnshareFlags;

/// By it a proxy's datagrams pass the rule that bends others to the proxy.
pub const PROXY_TTL: u8 = 77;

/// A network namespace in which this thread, and all it starts, live.
#[derive(Default)]
pub struct Lab {
    /// Addresses that do not hear each other: `(from, to)`.
    cuts: Vec<(String, String)>,
    /// Of a hundred datagrams between nodes, how many are lost.
    lost_percent: u8,
    /// `(from, to, decoy)`: what `from` sends `to` goes to `decoy`.
    bends: Vec<(String, String, String)>,
    /// Addresses whose box has lost its power.
    dark: Vec<String>,
}

impl Lab {
    /// Moves the calling thread into a fresh namespace. `None`, with a word, where that is not allowed.
    #[allow(unsafe_code)]
    pub fn enter() -> Option<Lab> {
        // SAFETY: unsharing the network and mount namespaces leaves this thread's memory and descriptors as they are.
        if let Err(error) =
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        {
            eprintln!("skipped: network namespaces need root ({error})");
            return None;
        }
        run("ip", &["link", "set", "lo", "up"], None);
        // What is mounted from here on is seen by nobody else, and goes with the last process.
        run("mount", &["--make-rprivate", "/"], None);
        Some(Lab::default())
    }

    /// One more address in the namespace, of which clients can come: the names of those in 127.0.0.0/8 no resolver asks for.
    pub fn add_address(&self, address: &str) {
        run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"], None);
    }

    /// Puts a small disk at `dir`, so that it can be full.
    pub fn mount_small_disk(&self, dir: &std::path::Path, mebibytes: u32) {
        std::fs::create_dir_all(dir).expect("the mount point can be made");
        let size = format!("size={mebibytes}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &dir.display().to_string()], None);
    }

    /// From now on `file` is `/etc/hosts` here; what is written to it later counts at once.
    pub fn mount_hosts(&self, file: &std::path::Path) {
        run("mount", &["--bind", &file.display().to_string(), "/etc/hosts"], None);
    }

    /// Nothing passes between `a` and `b` any longer, in either direction.
    pub fn cut(&mut self, a: &str, b: &str) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// What `from` sends does not arrive at `to`.
    pub fn cut_one_way(&mut self, from: &str, to: &str) {
        self.cuts.push((from.to_string(), to.to_string()));
        self.render();
    }

    /// That many in a hundred datagrams between nodes are lost, by chance.
    pub fn lose(&mut self, percent: u8) {
        self.lost_percent = percent;
        self.render();
    }

    /// What `from` sends to `to` goes to `decoy`, unless the one who listens there sends it.
    pub fn bend(&mut self, from: &str, to: &str, decoy: &str) {
        self.bends.push((from.to_string(), to.to_string(), decoy.to_string()));
        self.render();
    }

    /// A client's box loses its power: nothing comes from its address any longer, and nobody says so.
    pub fn darken(&mut self, client: &str) {
        self.dark.push(client.to_string());
        self.render();
    }

    /// Everything passes again, by the direct way.
    pub fn heal(&mut self) {
        *self = Lab::default();
        self.render();
    }

    fn render(&self) {
        let mut rules = String::from("table inet cuts\ndelete table inet cuts\ntable inet cuts {\n");
        rules.push_str("  chain out { type filter hook output priority 0; policy accept;\n");
        for (from, to) in &self.cuts {
            // Nodes speak UDP. A story's own clients speak TCP, from the first node's address.
            let _ = writeln!(rules, "    ip saddr {from} ip daddr {to} meta l4proto udp drop");
        }
        for client in &self.dark {
            let _ = writeln!(rules, "    ip saddr {client} drop\n    ip daddr {client} drop");
        }
        if self.lost_percent > 0 {
            let _ =
                writeln!(rules, "    meta l4proto udp numgen random mod 100 < {} drop", self.lost_percent);
        }
        rules.push_str("  }\n  chain bend { type route hook output priority -10; policy accept;\n");
        for (from, to, decoy) in &self.bends {
            let _ = writeln!(
                rules,
                "    ip saddr {from} ip daddr {to} meta l4proto udp ip ttl != {PROXY_TTL} ip daddr set {decoy}"
            );
        }
        rules.push_str("  }\n}\n");
        run("nft", &["-f", "-"], Some(&rules));
    }
}

pub(crate) fn run(program: &str, arguments: &[&str], input: Option<&str>) {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started ({error}); run `make tools`"));
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(text.as_bytes()).expect("the program reads its input");
    }
    let status = child.wait().expect("the program was started");
    assert!(status.success(), "{program} {arguments:?} failed: {status}");
}
