//! Backups in an object store that is overloaded, breaks off, is read by strangers and changed by them: what was backed up comes
//! back, nothing is to be read there, one writes at a time, and a writer that died stands in nobody's way for long.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::objects::{Objects, SECRET_KEY, Trouble};
use cluster_tests::steps::{agreed, append_all, run, session, tokens};
use cluster_tests::wait::eventually;

const PLACE: &str = "s3://office/mail";

#[test]
fn backups_in_a_bucket() {
    let Some(mut cluster) = Cluster::start() else { return };
    let store = Objects::start("127.0.0.8:9000");
    let passphrase = cluster.home().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery\n").expect("the folder is ours");
    let refused = cluster.nodes[0].command(&["backup", "create", PLACE]);
    assert!(said(&refused).contains("POLLUX_BACKUP_PASSPHRASE_FILE is not set"), "{}", said(&refused));
    for node in &mut cluster.nodes {
        node.command_environment = store.environment();
        let file = ("POLLUX_BACKUP_PASSPHRASE_FILE".to_owned(), passphrase.display().to_string());
        node.command_environment.push(file);
    }
    let mut alice = session(&cluster, 0, "alice");
    append_all(&mut alice, "Archive", &["one", "two", "three"]);
    // What goes up in several parts.
    for at in 0..3 {
        alice.append("Archive", &message(&format!("large-{at}"), 4 << 20)).expect("there is room");
    }
    cluster.wait_until_caught_up();

    use Trouble::{BreaksOff, Overloaded};
    store.trouble(&[
        Overloaded, BreaksOff, Overloaded, Overloaded, BreaksOff, BreaksOff, Overloaded, BreaksOff,
    ]);
    cluster.nodes[0].must(&["backup", "create", PLACE], None);
    assert_eq!((store.troubles_left(), store.uploads()), (0, 0));
    nothing_is_to_be_read(&store);
    append_all(&mut alice, "Archive", &["four"]);
    cluster.wait_until_caught_up();
    let made = cluster.nodes[1].must(&["backup", "create", PLACE], None);
    assert!(made.contains(" 1 new ("), "what is there is not copied again: {made}");
    assert!(verified(&cluster).contains("2 backups are whole"));

    who_may_not_is_told(&mut cluster, &passphrase);
    one_writes_at_a_time(&cluster, &store);
    killed_in_the_middle(&mut cluster, &store);
    what_was_changed_is_named(&cluster, &store);
    one_user_gets_hers_back(&cluster);

    let before = store.names().len();
    cluster.nodes[0].must(&["backup", "remove", PLACE, "--keep", "1"], None);
    assert!(store.names().len() < before);
    assert!(verified(&cluster).contains("1 backups are whole"));

    let lost = agreed(&cluster);
    cluster.lose_and_found_anew(&["backup", "restore", PLACE]);
    let found = agreed(&cluster);
    assert!(lost.keys().eq(found.keys()), "{:?} became {:?}", lost.keys(), found.keys());
    for (place, mailbox) in &lost {
        let bodies = |all: &[cluster_tests::imap::Fetched]| -> Vec<Vec<u8>> {
            all.iter().map(|message| message.body.clone()).collect()
        };
        assert!(bodies(&mailbox.messages) == bodies(&found[place].messages), "{place:?}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn verified(cluster: &Cluster) -> String {
    cluster.nodes[0].must(&["backup", "verify", PLACE], None)
}

fn nothing_is_to_be_read(store: &Objects) {
    let names = store.names();
    assert!(names.iter().all(|name| name.starts_with("mail/")), "{names:?}");
    for word in ["Subject", "alice", "argon2id", "PRIVATE KEY", "correct horse", "example.test"] {
        for name in &names {
            let bytes = store.bytes(name);
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{name} says {word}");
        }
    }
}

fn who_may_not_is_told(cluster: &mut Cluster, passphrase: &Path) {
    let node = &mut cluster.nodes[0];
    let sound = node.command_environment.clone();
    let with = |name: &str, value: &str| {
        let mut changed = sound.clone();
        changed.retain(|(it, _)| it != name);
        changed.push((name.to_owned(), value.to_owned()));
        changed
    };
    let other = passphrase.with_file_name("other");
    std::fs::write(&other, "another horse battery\n").expect("the folder is ours");
    let short = passphrase.with_file_name("short");
    std::fs::write(&short, "horse\n").expect("the folder is ours");
    for (environment, why) in [
        (with("AWS_SECRET_ACCESS_KEY", &SECRET_KEY[1..]), "the store lets this key not in"),
        (with("POLLUX_BACKUP_PASSPHRASE_FILE", &other.display().to_string()), "the passphrase does not open"),
        (with("POLLUX_BACKUP_PASSPHRASE_FILE", &short.display().to_string()), "a passphrase has 12 to"),
    ] {
        node.command_environment = environment;
        for what in ["create", "list"] {
            let output = node.command(&["backup", what, PLACE]);
            assert!(
                output.status.code() == Some(1) && said(&output).contains(why),
                "{what}: {}",
                said(&output)
            );
        }
    }
    node.command_environment = sound;
    let elsewhere = node.command(&["backup", "list", "s3://office/other"]);
    assert!(said(&elsewhere).contains("s3://office/other holds no backups"), "{}", said(&elsewhere));
    let missing = node.command(&["backup", "create", "s3://nowhere"]);
    assert!(said(&missing).contains("NoSuchBucket"), "{}", said(&missing));
    assert!(
        !node.said().contains(SECRET_KEY) && !node.said().contains("horse battery"),
        "the log tells no secrets"
    );
}

fn claims(store: &Objects) -> Vec<String> {
    store.names().into_iter().filter(|name| name.starts_with("mail/lock-")).collect()
}

/// Another writer's claim is heeded until nobody renewed it for ten minutes.
fn one_writes_at_a_time(cluster: &Cluster, store: &Objects) {
    assert!(claims(store).is_empty());
    store.put("mail/lock-0123456789abcdef", Vec::new());
    store.age("mail/lock-0123456789abcdef", Duration::from_secs(540));
    let refused = cluster.nodes[0].command(&["backup", "create", PLACE]);
    assert!(said(&refused).contains("is being written to by another backup"), "{}", said(&refused));
    assert_eq!(claims(store), ["mail/lock-0123456789abcdef"]);
    store.age("mail/lock-0123456789abcdef", Duration::from_secs(120));
    cluster.nodes[0].must(&["backup", "create", PLACE], None);
    assert!(claims(store).is_empty());
}

/// The node is gone while it copies: what it began is no backup, and is cleared away by the next.
fn killed_in_the_middle(cluster: &mut Cluster, store: &Objects) {
    let mut alice = session(cluster, 0, "alice");
    for at in 3..6 {
        alice.append("Archive", &message(&format!("large-{at}"), 4 << 20)).expect("there is room");
    }
    cluster.wait_until_caught_up();
    let node = &mut cluster.nodes[1];
    store.hold_parts(true);
    let mut asking = node.begin(&["backup", "create", PLACE]);
    eventually("it writes there", || (store.uploads() > 0).then_some(()));
    node.kill();
    store.hold_parts(false);
    assert!(!asking.wait().expect("the process is ours").success());
    node.start();
    cluster.wait_until_caught_up();
    let left = claims(store);
    assert_eq!(left.len(), 1, "who died could not take it back");
    let refused = cluster.nodes[0].command(&["backup", "create", PLACE]);
    assert!(said(&refused).contains("is being written to"), "{}", said(&refused));
    store.age(&left[0], Duration::from_secs(601));
    cluster.nodes[0].must(&["backup", "create", PLACE], None);
    let count = |prefix: &str| store.names().iter().filter(|name| name.starts_with(prefix)).count();
    let whole = count("mail/backup-");
    assert_eq!((count("mail/rows-"), count("mail/keys-"), count("mail/lock-")), (whole, whole, 0));
    verified(cluster);
}

fn what_was_changed_is_named(cluster: &Cluster, store: &Objects) {
    let pack =
        store.names().into_iter().find(|name| name.starts_with("mail/pack-")).expect("there is a pack");
    let at = store.bytes(&pack).len() / 2;
    store.flip(&pack, at);
    let found = cluster.nodes[0].command(&["backup", "verify", PLACE]);
    let said = said(&found);
    let name = pack.trim_start_matches("mail/");
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{PLACE}/{name}: it is not what was written")), "{said}");
    store.flip(&pack, at);
    verified(cluster);
}

fn one_user_gets_hers_back(cluster: &Cluster) {
    let mut alice = session(cluster, 0, "alice");
    run(&mut alice, &["DELETE Archive"]);
    cluster.nodes[1].must(&["mail", "import", "--user", "alice", "backup", PLACE], None);
    let mut back = tokens(&agreed(cluster), "alice", "Archive").expect("the mailbox is back");
    back.sort();
    let large = (0..6).map(|at| format!("large-{at}"));
    let mut all: Vec<String> =
        ["four", "one", "three", "two"].map(str::to_owned).into_iter().chain(large).collect();
    all.sort();
    assert_eq!(back, all);
}
