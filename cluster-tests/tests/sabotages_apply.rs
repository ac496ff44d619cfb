//! The patches of `make sabotage` still fit the tree, so that the proof that the stories bite can be run at any time.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

#[test]
fn each_sabotage_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the stories lie within the tree");
    let folder = root.join("cluster-tests/sabotage");
    let entries = fs::read_dir(folder).expect("the patches are there").flatten().map(|entry| entry.path());
    let patches: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "patch")).collect();
    assert!(patches.len() >= 9, "{patches:?}");
    for patch in patches {
        let text = File::open(&patch).expect("the patch can be read");
        let tried = Command::new("patch")
            .args(["--dry-run", "--silent", "-p1"])
            .current_dir(root)
            .stdin(text)
            .output();
        let tried = tried.expect("cluster-tests/setup.sh installs patch");
        let said = String::from_utf8_lossy(&tried.stdout).into_owned();
        assert!(tried.status.success(), "{} no longer applies: {said}", patch.display());
    }
}
