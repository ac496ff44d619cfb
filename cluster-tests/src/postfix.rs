//! Postfix as the far side of a delivery: it takes what is for its own users, with all that it offers by itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::wait::eventually;

/// The user and the group mail, on any Debian.
const MAIL: u32 = 8;

/// Stops when it is dropped.
pub struct Postfix {
    home: TempDir,
}

impl Postfix {
    /// In the namespace of the calling thread: it takes mail for `users` of `domain`, over TLS with this certificate where
    /// the other side likes. `None`, with a word, where Postfix is not installed.
    pub fn start(at: SocketAddr, domain: &str, users: &[&str], (cert, key): (&str, &str)) -> Option<Postfix> {
        let Some(daemons) = postconf("daemon_directory") else {
            eprintln!("skipped: Postfix is not installed; run `make tools`");
            return None;
        };
        let home = tempfile::Builder::new().prefix("postfix-").tempdir().expect("a temporary folder");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let postfix = Postfix { home };
        for folder in ["conf", "queue", "data", "mail"] {
            fs::create_dir(postfix.path(folder)).expect("the folder is ours");
        }
        std::os::unix::fs::chown(postfix.path("mail"), Some(MAIL), Some(MAIL)).expect("tests run as root");
        run("chown", &["postfix", &text(&postfix.path("data"))]);
        write(&postfix.path("conf/cert.pem"), cert);
        write(&postfix.path("conf/key.pem"), key);
        let known = users.iter().map(|user| format!("{user}@{domain} {user}/\n")).collect::<String>();
        write(&postfix.path("conf/users"), &known);
        write(&postfix.path("conf/main.cf"), &postfix.main_cf(domain, &daemons));
        write(&postfix.path("conf/master.cf"), &MASTER_CF.replace("ADDRESS", &at.to_string()));
        run("postfix", &["-c", &text(&postfix.path("conf")), "start"]);
        eventually("Postfix listens", || std::net::TcpStream::connect(at).ok());
        Some(postfix)
    }

    fn main_cf(&self, domain: &str, daemons: &str) -> String {
        let home = text(self.home.path());
        format!(
            "compatibility_level = 3.6\n\
             queue_directory = {home}/queue\ndata_directory = {home}/data\ndaemon_directory = {daemons}\n\
             mail_owner = postfix\nsetgid_group = postdrop\n\
             inet_interfaces = all\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             myhostname = mx.{domain}\nmydestination =\nalias_maps =\nalias_database =\n\
             virtual_mailbox_domains = {domain}\nvirtual_mailbox_maps = texthash:{home}/conf/users\n\
             virtual_mailbox_base = {home}/mail\nvirtual_minimum_uid = 1\n\
             virtual_uid_maps = static:{MAIL}\nvirtual_gid_maps = static:{MAIL}\n\
             default_transport = error:nothing leaves here\nrelay_transport = error:nothing leaves here\n\
             smtputf8_enable = yes\nsmtpd_relay_restrictions = reject_unauth_destination\n\
             smtpd_tls_cert_file = {home}/conf/cert.pem\nsmtpd_tls_key_file = {home}/conf/key.pem\n\
             smtpd_tls_security_level = may\nsmtpd_tls_received_header = yes\n\
             maillog_file = {home}/log\nmaillog_file_prefixes = {home}\n"
        )
    }

    /// What it has delivered to that user.
    pub fn delivered(&self, user: &str) -> Vec<Vec<u8>> {
        let new = self.path("mail").join(user).join("new");
        let Ok(entries) = fs::read_dir(new) else { return Vec::new() };
        entries.flatten().filter_map(|entry| fs::read(entry.path()).ok()).collect()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("---- Postfix: the last lines of its log");
            lines.iter().skip(lines.len().saturating_sub(30)).for_each(|line| eprintln!("{line}"));
        }
        let _ = Command::new("postfix").args(["-c", &text(&self.path("conf")), "stop"]).output();
    }
}

/// All that it needs to take mail and to keep it.
const MASTER_CF: &str = "\
ADDRESS inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// A built-in value; `None`: there is no Postfix.
fn postconf(name: &str) -> Option<String> {
    let output = Command::new("postconf").args(["-d", "-h", name]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("the folder is ours");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
