//! Dovecot's scripted tests of IMAP servers against a pair, their connections spread over both nodes.

use std::path::{Path, PathBuf};

use cluster_tests::cluster::{Cluster, DOMAIN, USERS, password};
use cluster_tests::imaptest::{Place, Verdict, run};

/// Capabilities that scripts ask for and that are not announced yet. What is announced leaves this list.
const NOT_YET: [&str; 0] = [];

#[test]
fn imaptest_scripts() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let corpora = std::env::var_os("POLLUX_CORPORA").map_or_else(beside, PathBuf::from);
    let Ok(folder) = std::fs::read_dir(corpora.join("imaptest")) else {
        eprintln!("skipped: no imaptest scripts in {} (set POLLUX_CORPORA)", corpora.display());
        return;
    };
    let mut scripts: Vec<PathBuf> =
        folder.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_script(path)).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "there is a folder of scripts and nothing in it");
    let Some(cluster) = Cluster::start() else { return };
    let mut nodes: Vec<_> = cluster.data_nodes().iter().map(|node| node.imap()).collect();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), Vec::new());
    for script in scripts {
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = Place {
            nodes: nodes.clone(),
            user: USERS[0].to_string(),
            domain: DOMAIN.to_string(),
            password: password(USERS[0]),
        };
        match run(&place, &script) {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(missing) => {
                println!("skip {name}: {}", missing.join(" "));
                skipped.extend(missing);
            }
            Verdict::Failed(why) => {
                println!("FAIL {name}: {}", why.join("\n    "));
                failed.push(name);
            }
        }
        // The next script begins on the other node.
        nodes.rotate_left(1);
    }
    println!("{passed} passed, {} failed", failed.len());
    assert!(failed.is_empty(), "failed: {}", failed.join(" "));
    skipped.sort();
    skipped.dedup();
    assert_eq!(skipped, NOT_YET, "what is skipped is what is not announced yet, and nothing else");
}

fn is_script(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_file() && path.extension().is_none() && !name.starts_with("COPYING")
}
