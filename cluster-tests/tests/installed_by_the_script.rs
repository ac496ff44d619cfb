//! What `deploy/install.sh` puts on a machine works from there, and its unit starts what it has put.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cluster_tests::node::binary;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn install(root: &Path, binary: &Path) -> Output {
    let mut install = Command::new("sh");
    install.arg(deploy().join("install.sh")).arg(binary).env("DESTDIR", root);
    install.output().expect("sh runs")
}

/// Below `root`, what the unit would run.
fn started_by(unit: &str, root: &Path) -> Command {
    let line =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a unit starts something");
    let mut words = line.split(' ').map(|word| match word.strip_prefix('/') {
        Some(path) => root.join(path).display().to_string(),
        None => word.to_owned(),
    });
    let mut command = Command::new(words.next().expect("it is a program"));
    command.args(words);
    command
}

#[test]
fn installed_by_the_script() {
    let machine = tempfile::tempdir().expect("a temporary folder");
    let root = machine.path();
    // Twice: the second time is an upgrade of what is there.
    for _ in 0..2 {
        let output = install(root, &binary());
        assert!(output.status.success(), "{output:?}");
    }
    let pollux = root.join("usr/local/bin/pollux");
    let mode = pollux.metadata().expect("it was installed").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let left: Vec<_> = std::fs::read_dir(root.join("usr/local/bin")).expect("it is there").collect();
    assert_eq!(left.len(), 1, "nothing half-done is left: {left:?}");

    let unit = std::fs::read_to_string(root.join("etc/systemd/system/pollux.service")).expect("a unit");
    let output = started_by(&unit, root).output().expect("the unit's program is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("srv/pollux/pollux.toml"),
        "it looks for its configuration there, and says: {said}"
    );

    let dir = root.join("srv/pollux").display().to_string();
    let words = ["init", "--dir", &dir, "--domain", "example.test", "--hostname", "mx.example.test"];
    let made = Command::new(&pollux).args(words).args(["--cluster-address", "127.0.0.1"]).output();
    let made = made.expect("it runs");
    assert!(made.status.success(), "the empty folder is good to begin in: {made:?}");
}

#[test]
fn a_binary_that_does_not_run_here_is_not_installed() {
    let machine = tempfile::tempdir().expect("a temporary folder");
    let root = machine.path().join("root");
    let foreign = machine.path().join("pollux");
    for content in [None, Some("\x7fELF of another machine")] {
        if let Some(content) = content {
            std::fs::write(&foreign, content).expect("it is ours");
            std::fs::set_permissions(&foreign, PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
        let output = install(&root, &foreign);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.lines().last().is_some_and(|line| line.starts_with("install: ")), "{said}");
        assert!(!root.exists(), "nothing was touched");
    }
}
