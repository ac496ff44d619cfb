//! What packages put beside the binary: completions that complete, and a manual page for each command. And the unit that
//! the Debian package makes of ours starts what it installs.

use std::path::Path;
use std::process::Command;

use cluster_tests::node::{binary, pollux, succeeded};

fn said(arguments: &[&str]) -> String {
    succeeded(arguments, &pollux(arguments, None, None))
}

#[test]
fn bash_completes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let script = dir.path().join("pollux.bash");
    std::fs::write(&script, said(&["completions", "bash"])).expect("a file");
    let asked = format!(
        "source {}; COMP_WORDS=(pollux cluster ta); COMP_CWORD=2; _pollux pollux ta cluster; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["--norc", "-c", &asked]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "takeover", "{output:?}");
    for shell in ["zsh", "fish"] {
        assert!(said(&["completions", shell]).contains("takeover"), "{shell}");
    }
}

#[test]
fn each_command_has_a_page() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    said(&["manual", &dir.path().display().to_string()]);
    for page in ["pollux.1", "pollux-cluster-takeover.1", "pollux-mail-import-imap.1", "pollux-user-add.1"] {
        let text =
            std::fs::read_to_string(dir.path().join(page)).unwrap_or_else(|_| panic!("{page} is missing"));
        assert!(text.contains(".TH ") && text.contains(".SH NAME"), "{page}: {text}");
    }
}

#[test]
fn the_debian_package_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if Command::new("cargo-deb").arg("--version").output().is_err() {
        return eprintln!("skipped: cargo-deb is not there (cargo install cargo-deb)");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let made = Command::new("sh")
        .arg(root.join("deploy/package.sh"))
        .arg(binary())
        .current_dir(&root)
        .env("FAST", "1")
        .output()
        .expect("sh runs");
    assert!(made.status.success(), "{made:?}");
    let printed = String::from_utf8_lossy(&made.stdout);
    let package = root.join(printed.lines().last().expect("its name"));
    let unpacked = dir.path().join("unpacked");
    let unpack =
        Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked).status().expect("dpkg-deb runs");
    assert!(unpack.success());
    for path in [
        "usr/bin/pollux",
        "usr/share/man/man1/pollux-cluster-takeover.1.gz",
        "usr/share/bash-completion/completions/pollux",
        "usr/share/doc/pollux/operations.md",
    ] {
        assert!(unpacked.join(path).exists(), "{path}");
    }
    let unit = std::fs::read_to_string(unpacked.join("lib/systemd/system/pollux.service")).expect("a unit");
    let runs = "ExecStart=/usr/bin/pollux serve --config /var/lib/pollux/pollux.toml";
    assert!(unit.contains(runs) && !unit.contains("/srv/"), "{unit}");
}
