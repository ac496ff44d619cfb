//! What another implementation says of signatures and seals.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Of the mail's ARC chain and each of its DKIM signatures: `arc=pass dkim=pass,fail`. `records`: TXT records by their names.
pub fn verified(records: &Value, mail: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("records.json");
    std::fs::write(&path, records.to_string()).expect("the records are written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/verify_arc.py");
    let mut child = Command::new("/usr/bin/python3")
        .args(["-B", script, &path.display().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Debian's python3 is installed");
    child.stdin.take().expect("it is piped").write_all(mail).expect("it reads the mail");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "dkimpy is missing? run `make tools`");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
