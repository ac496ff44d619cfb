//! Greylisting over the pair: a stranger is put off by one node and comes back to the other; what was remembered outlives
//! the leader that remembered it; and where nothing can be committed nobody is refused for good.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const STRANGER: &str = "127.0.0.60";
const WITNESS: usize = 2;

fn set(cluster: &Cluster, key: &str, value: &str) {
    cluster.nodes[0].must(&["policy", "set", key, value], None);
    cluster.wait_until_caught_up();
}

/// The answer to RCPT of a mail of `sender`'s.
fn tries(cluster: &Cluster, at: usize, sender: &str) -> io::Result<String> {
    let mut smtp = Smtp::connect_from(STRANGER.parse().expect("an address"), cluster.nodes[at].smtp())?;
    smtp.command(&format!("MAIL FROM:<{sender}@far.test>"), "250")?;
    smtp.command("RCPT TO:<alice@example.test>", "250")
}

fn is_put_off(answer: &io::Result<String>) -> bool {
    answer.as_ref().is_err_and(|said| said.to_string().starts_with("450 4.7.1 Greylisted"))
}

/// Whoever was put off before this was called may pass when it returns: another one was put off later, and passes.
fn the_delay_is_over(cluster: &Cluster, at: usize, another: &str) {
    assert!(is_put_off(&tries(cluster, at, another)), "{another} is new");
    eventually("one that comes back passes", || tries(cluster, at, another).ok());
}

#[test]
fn greylisted_on_one_taken_on_the_other() {
    let Some(mut cluster) = Cluster::start() else { return };
    set(&cluster, "checks.exempt_networks", "");
    set(&cluster, "sender.domain_must_exist", "false");
    set(&cluster, "greylist.delay_seconds", "3600");
    set(&cluster, "greylist.enabled", "true");

    // Put off by both, however often it comes.
    assert!(is_put_off(&tries(&cluster, 0, "joe")));
    cluster.wait_until_caught_up();
    assert!(is_put_off(&tries(&cluster, 1, "joe")));
    assert!(is_put_off(&tries(&cluster, 0, "joe")));

    // Back on the other node, and known on both from then on.
    set(&cluster, "greylist.delay_seconds", "1");
    assert!(is_put_off(&tries(&cluster, 0, "jim")));
    the_delay_is_over(&cluster, 0, "ann");
    cluster.wait_until_caught_up();
    for at in [1, 0] {
        for sender in ["jim", "joe", "ann"] {
            tries(&cluster, at, sender).expect("it came back");
        }
    }

    // The leader that put it off dies.
    let leader = cluster.leader();
    assert!(is_put_off(&tries(&cluster, leader, "kim")));
    the_delay_is_over(&cluster, leader, "eve");
    cluster.nodes[leader].kill();
    let left = cluster.leader_other_than(leader);
    let answer = eventually("the node that is left answers", || {
        let answer = tries(&cluster, left, "kim");
        let is_unable = answer.as_ref().is_err_and(|said| said.to_string().starts_with("451"));
        (!is_unable).then_some(answer)
    });
    answer.expect("it was remembered, and passes at once");
    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
    tries(&cluster, leader, "kim").expect("it passed on the other");

    // Nothing can be committed: whoever is new is put off by a fault, whoever is known is not.
    cluster.nodes[WITNESS].kill();
    cluster.nodes[leader].kill();
    let said = tries(&cluster, left, "zoe").expect_err("it cannot be remembered").to_string();
    assert!(said.starts_with("451 4.3.0"), "{said}");
    tries(&cluster, left, "kim").expect("it is known");
    cluster.nodes[WITNESS].start();
    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
    assert!(is_put_off(&tries(&cluster, left, "zia")), "and all is well again");
}
