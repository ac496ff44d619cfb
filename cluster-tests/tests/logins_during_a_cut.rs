//! A node hears nobody, and meanwhile a user and a mailbox are made, and a password is changed, on the other side. It knows
//! nothing of them and must not say so for good: a client that hears that a password is wrong asks its user for another.

use std::io;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::node::Node;
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::{isolate, leader_and_follower, must_be_temporary, session};
use cluster_tests::wait::eventually;

/// `NUL newcomer NUL demo-newcomer`.
const PLAIN_NEWCOMER: &str = "AUTH PLAIN AG5ld2NvbWVyAGRlbW8tbmV3Y29tZXI=";
const OF_A_MAILBOX: [&str; 3] = ["SELECT Fresh", "STATUS Fresh (MESSAGES)", "APPEND Fresh {1+}\r\nx"];

#[test]
fn logins_during_a_cut() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, stale) = leader_and_follower(&cluster);
    heard_of_at_once(&cluster.nodes[leader], &cluster.nodes[stale]);

    isolate(&mut cluster, stale);
    let (here, there) = (&cluster.nodes[leader], &cluster.nodes[stale]);
    add(here, "newcomer");
    here.must(&["user", "passwd", "bob", "--password-stdin"], Some("changed\n"));
    session(&cluster, leader, "alice").command("CREATE Fresh").expect("it is made");

    must_be_temporary(login(there, "newcomer", "demo-newcomer"));
    must_be_temporary(login(there, "bob", "changed"));
    must_be_temporary(login(there, "nobody", "x"));
    let told = Pop3::login(there.pop3(), "newcomer", "demo-newcomer").map(drop).expect_err("not known here");
    assert!(told.to_string().contains("-ERR [SYS/TEMP]"), "{told}");
    let mut smtp = Smtp::connect(there.smtp()).expect("it still greets");
    smtp.command(PLAIN_NEWCOMER, "454").expect("temporary");
    // Who is known reads what there is.
    let mut alice = Imap::login(there.imap(), "alice", &password("alice")).expect("she is known");
    alice.command("SELECT INBOX").expect("it is known");
    for command in OF_A_MAILBOX {
        must_be_temporary(alice.command(command));
    }

    cluster.lab.heal();
    let there = &cluster.nodes[stale];
    // From the first moment on: temporary, or as the cluster knows it.
    until_known("the newcomer", || login(there, "newcomer", "demo-newcomer"));
    until_known("the new password", || login(there, "bob", "changed"));
    until_known("the mailbox", || alice.command("SELECT Fresh").map(drop));
    let told = login(there, "nobody", "x").expect_err("now it is known that there is nobody");
    assert!(told.to_string().starts_with("NO [AUTHENTICATIONFAILED]"), "{told}");
    let told = alice.command("SELECT Nowhere").expect_err("and no such mailbox");
    assert!(told.to_string().starts_with("NO [NONEXISTENT]"), "{told}");
}

/// Users and mailboxes made on one node are there on the other from the very next command on.
fn heard_of_at_once(here: &Node, there: &Node) {
    for at in 0..20 {
        let name = format!("quick{at}");
        add(here, &name);
        let mut one = Imap::login(there.imap(), &name, &password(&name)).expect("the user is known at once");
        let mut other = Imap::login(here.imap(), &name, &password(&name)).expect("here as well");
        other.command("CREATE Fresh").expect("it is made");
        for command in OF_A_MAILBOX {
            one.command(command)
                .unwrap_or_else(|error| panic!("{command}, right after it was made: {error}"));
        }
    }
}

fn add(node: &Node, name: &str) {
    node.must(&["user", "add", name, "--password-stdin"], Some(&format!("{}\n", password(name))));
}

fn login(node: &Node, user: &str, password: &str) -> io::Result<()> {
    Imap::login(node.imap(), user, password).map(drop)
}

fn until_known(what: &str, mut ask: impl FnMut() -> io::Result<()>) {
    eventually(what, || match ask() {
        Ok(()) => Some(()),
        Err(error) => {
            assert!(error.to_string().starts_with("NO [UNAVAILABLE]"), "{what}, not for good: {error}");
            None
        }
    });
}
