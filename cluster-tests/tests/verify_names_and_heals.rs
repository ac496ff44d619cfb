//! `pollux cluster verify`: under load the nodes hold the same. Then one node's files are changed while it is down: a byte
//! of a body, a row written as the product writes it, a byte of the tables. Each time the node is named with what is wrong
//! there, and has it anew from the other.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cluster_tests::checker::{Checker, compare, read};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;
use cluster_tests::verify::{findings, verify};
use cluster_tests::wait::eventually;
use pollux::mail::flags::SystemFlag;
use pollux::state::rows::{Batch, Rows};
use pollux::state::stored::MessagesRow;
use pollux::state::{codec, keys, reading};
use pollux::store::segments::record::{HEADER_BYTES, Header};
use pollux::store::tables::Tables;
use serde_json::Value;

/// Whose files are changed; the other one is asked.
const CHANGED: usize = 1;
const ASKED: usize = 0;

#[test]
fn verify_names_and_heals() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    let traffic = Traffic::start(&cluster, ledger.clone(), 4_100);
    traffic.wait_for(60);
    let under_load = verify(&cluster.nodes[ASKED]);
    assert_eq!(findings(&under_load), [""; 0]);
    traffic.wait_for(20);
    assert_eq!(findings(&verify(&cluster.nodes[CHANGED])), [""; 0], "whichever node is asked");
    traffic.finish();
    cluster.wait_until_caught_up();
    let entries: Vec<&Value> = nodes(&under_load).iter().map(|node| &node["entry"]).collect();
    assert!(entries[0].as_u64() > Some(0) && entries[0] == entries[1], "both looked behind one entry");

    rotten_body(&mut cluster);
    tampered_row(&mut cluster);
    flipped_byte_in_the_tables(&mut cluster);
    Checker::default().check(&cluster, &ledger);
}

fn rotten_body(cluster: &mut Cluster) {
    let id = while_down(cluster, |dir| {
        let tables = Tables::open(&dir.join("tables")).expect("the tables open");
        let named = reading::bodies(&tables, None, 10_000).expect("the rows are whole");
        let segment = first_file(&dir.join("bodies"), ".seg");
        let mut bytes = fs::read(&segment).expect("a segment is read");
        let (header, at) =
            records(&bytes).find(|(header, _)| named.contains(&header.id)).expect("mail is there");
        bytes[at + HEADER_BYTES + header.length as usize / 2] ^= 0x20;
        fs::write(&segment, bytes).expect("a segment is written");
        header.id
    });
    let report = verify(&cluster.nodes[ASKED]);
    let name = cluster.nodes[CHANGED].name.clone();
    let wrong = &node_of(&report, &name)["wrong_bodies"];
    assert_eq!(wrong.as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(wrong[0]["id"], id.to_string());
    assert_eq!(wrong[0]["mended"], true);
    assert!(wrong[0]["named_by"][0].as_str().is_some_and(|by| by.starts_with("UID ")), "{report}");
    assert_eq!(findings(&verify(&cluster.nodes[ASKED])), [""; 0], "mended");
    show_the_same(cluster);
}

fn tampered_row(cluster: &mut Cluster) {
    while_down(cluster, |dir| {
        let tables = Tables::open(&dir.join("tables")).expect("the tables open");
        let span = keys::table(keys::MESSAGES);
        let mut first = None;
        let found = tables.scan(&span.from, &span.to, &mut |key, value| {
            first =
                Some((key.to_vec(), codec::decode_row::<MessagesRow>(key, value).expect("a row is read")));
            ControlFlow::Break(())
        });
        found.expect("the rows are whole");
        let (key, mut row) = first.expect("mail is there");
        row.messages[0].flags.system ^= SystemFlag::Flagged as u8;
        let tampered = codec::encode_row(&key, &row).expect("it fits");
        tables.write(Batch::from([(key, Some(tampered))])).expect("it is written");
        tables.sync().expect("it is synced");
    });
    let report = verify(&cluster.nodes[ASKED]);
    let name = cluster.nodes[CHANGED].name.clone();
    let wrong = &node_of(&report, &name)["wrong"];
    assert_eq!(wrong.as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(wrong[0]["kind"], "mailbox");
    assert!(wrong[0]["user"].is_string() && wrong[0]["mailbox"].is_string(), "{report}");
    assert_eq!(findings(&report).len(), 1, "and nothing else anywhere: {report}");
    assert_eq!(report["rebuild"]["node"], name.as_str());
    assert_eq!(report["rebuild"]["from"], cluster.nodes[ASKED].name.as_str());
    assert!(report["rebuild"]["untold"].is_null(), "{report}");
    let ended = cluster.nodes[CHANGED].wait_for_exit();
    assert!(!ended.success(), "its service manager starts it again");
    cluster.nodes[CHANGED].start();
    cluster.wait_until_caught_up();
    assert!(cluster.nodes[CHANGED].said().contains("they are set aside in"), "it says so");
    assert_eq!(findings(&verify(&cluster.nodes[ASKED])), [""; 0], "healed");
    show_the_same(cluster);
}

/// Where it is met depends on what the engine reads first: at the start, when an entry is applied, or by a verification. The
/// node is started again until the nodes hold the same, as its service manager would.
fn flipped_byte_in_the_tables(cluster: &mut Cluster) {
    let asides = cluster.nodes[CHANGED].said().matches("they are set aside in").count();
    while_down(cluster, |dir| {
        let tables = Tables::open(&dir.join("tables")).expect("the tables open");
        let span = keys::table(keys::MESSAGES);
        let mut values = Vec::new();
        let found = tables.scan(&span.from, &span.to, &mut |_, value| {
            values.push(value.to_vec());
            ControlFlow::Continue(())
        });
        found.expect("the rows are whole");
        drop(tables);
        let db = first_file(&dir.join("tables"), "db");
        let mut bytes = fs::read(&db).expect("the tables are read");
        let places = |value: &Vec<u8>| {
            let found = bytes.windows(value.len()).enumerate().filter(|(_, window)| window == value);
            found.map(|(at, _)| at + value.len() / 2).collect::<Vec<_>>()
        };
        // The engine may hold it more than once.
        let places =
            values.iter().map(places).find(|places| !places.is_empty()).expect("a row lies in the file");
        places.into_iter().for_each(|at| bytes[at] ^= 0x10);
        fs::write(&db, bytes).expect("the tables are written");
    });
    let healed = eventually("the node is healed", || {
        if !cluster.nodes[CHANGED].is_running() {
            cluster.nodes[CHANGED].kill();
            cluster.nodes[CHANGED].start();
        }
        if !cluster.is_protected() {
            return None;
        }
        let report = verify(&cluster.nodes[ASKED]);
        (report["equal"] == true).then_some(report)
    });
    assert_eq!(findings(&healed), [""; 0]);
    let said = cluster.nodes[CHANGED].said();
    assert!(said.matches("they are set aside in").count() > asides, "the rows were built anew");
    cluster.wait_until_caught_up();
    show_the_same(cluster);
}

/// Stops the node, has its folder changed, and starts it again.
fn while_down<T>(cluster: &mut Cluster, change: impl FnOnce(&Path) -> T) -> T {
    cluster.nodes[CHANGED].stop();
    let changed = change(&cluster.nodes[CHANGED].dir);
    cluster.nodes[CHANGED].start();
    if cluster.nodes[CHANGED].is_running() {
        cluster.wait_until_caught_up();
    }
    changed
}

fn show_the_same(cluster: &Cluster) {
    let shown = |at: usize| eventually("a node can be read back", || read(&cluster.nodes[at]).ok());
    let mut wrong = Vec::new();
    compare(&shown(ASKED), &shown(CHANGED), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn nodes(report: &Value) -> &Vec<Value> {
    report["nodes"].as_array().expect("the nodes are listed")
}

fn node_of<'a>(report: &'a Value, name: &str) -> &'a Value {
    nodes(report).iter().find(|node| node["name"] == name).expect("the node was asked")
}

fn records(bytes: &[u8]) -> impl Iterator<Item = (Header, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = Header::decode(bytes.get(at..)?)?;
        let here = at;
        at += HEADER_BYTES + header.length as usize;
        Some((header, here))
    })
}

fn first_file(dir: &Path, ending: &str) -> PathBuf {
    let mut found = Vec::new();
    collect(dir, &mut found);
    let wanted = found.into_iter().filter(|path| path.display().to_string().ends_with(ending));
    wanted.min().unwrap_or_else(|| panic!("{} has no file that ends in {ending}", dir.display()))
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}
