//! One IPv4 and one IPv6 address follow the leader, and are never on two boxes at once, whatever stops, dies, or is cut off:
//! by what the kernels have at each moment, and by who speaks for the addresses on the wire. After each blow clients are
//! served at both.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cluster_tests::address_watch::{AddressWatch, distinct};
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, Effect};
use cluster_tests::ledger::Ledger;
use cluster_tests::node::{Node, Role};
use cluster_tests::office::Office;
use cluster_tests::smtp::Smtp;
use cluster_tests::traffic::Traffic;
use cluster_tests::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};

const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 200));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200));

struct Story {
    cluster: Cluster,
    watch: AddressWatch,
}

impl Story {
    /// Waits until the addresses are on that box, and a client is served at both.
    fn serves(&self, at: usize, after: &str) {
        let watch = &self.watch;
        for address in watch.addresses() {
            eventually(&format!("{address} is on box {at}, after {after}"), || {
                watch.has(at, *address).then_some(())
            });
            let door = (*address, self.cluster.nodes[at].port_offset + 25).into();
            eventually(&format!("SMTP answers at {address}, after {after}"), || Smtp::connect(door).ok());
        }
        assert_eq!(watch.twice(), Vec::<String>::new(), "after {after}");
        eprintln!("{after}: on box {at}");
    }

    fn serves_elsewhere(&self, than: usize, after: &str) -> usize {
        let other = self.cluster.peer_of(than);
        self.serves(other, after);
        other
    }

    fn holders_in_status(&self) -> Vec<(Option<String>, Option<String>)> {
        let status = self.cluster.any_status().expect("a node answers");
        let all = status["virtual_addresses"].as_array().expect("there are some").clone();
        let word = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        all.iter().map(|it| (word(&it["holder"]), word(&it["why"]))).collect()
    }
}

/// The process that holds the addresses for the node.
fn holder_of(node: &Node) -> Pid {
    eventually("the node has a process that holds addresses", || {
        let tasks = fs::read_dir(format!("/proc/{}/task", node.pid())).ok()?;
        let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        let pids: Vec<i32> = children
            .flat_map(|it| it.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        let holds = |pid: &&i32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("hold-addresses"))
        };
        pids.iter().find(holds).and_then(|pid| Pid::from_raw(*pid))
    })
}

fn send(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("the process is ours");
}

fn in_box(node: &Node, script: &str) {
    let status = node.program("nft".as_ref()).arg(script).status().expect("nft runs");
    assert!(status.success(), "nft {script}");
}

/// Nodes speak UDP: it hears none and none hears it, and clients reach it as ever.
fn cut(node: &Node) {
    let chain = |hook| {
        format!(
            "add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}; add rule inet cut {hook} meta l4proto udp drop"
        )
    };
    in_box(node, &format!("add table inet cut; {}; {}", chain("input"), chain("output")));
}

fn heal(node: &Node) {
    in_box(node, "delete table inet cut");
}

/// All addresses of the box, of both families.
fn listen_everywhere(node: &Node) {
    let path = node.dir.join("pollux.toml");
    let text = fs::read_to_string(&path).expect("the configuration was written");
    let (before, own) = text.split_once("[listen]\naddress = ").expect("it names the address");
    let (_, after) = own.split_once('\n').expect("it is a line");
    fs::write(&path, format!("{before}[listen]\naddress = \"::\"\n{after}")).expect("it can be written");
}

/// A box may lack the right to take an address, and a node that holds one may be removed: neither costs more than the address where
/// it cannot be.
#[test]
fn a_box_without_the_right_serves_without_the_address_and_one_that_is_removed_lets_go() {
    let office = Office::default();
    let prepare = |node: &Node| {
        if node.role == Role::Data {
            listen_everywhere(node);
        }
    };
    let unprivileged = |node: &mut Node| {
        if node.name == "node2" {
            let lacks = ["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"];
            node.inside.extend(lacks.map(str::to_owned));
        }
    };
    let Some(cluster) = office.start_cluster_with(prepare, unprivileged) else { return };
    let watch = AddressWatch::start(cluster.data_nodes(), &[FOUR, SIX]);
    let mut story = Story { cluster, watch };
    let lead = |story: &Story, at: usize| {
        let name = story.cluster.nodes[at].name.clone();
        if story.cluster.leader() != at {
            story.cluster.tell(0, &["cluster", "transfer", &name]);
        }
    };
    story.cluster.tell(0, &["cluster", "upgrade", "finalize"]);
    story.cluster.tell(0, &["policy", "set", "address.virtual", &format!("{FOUR},{SIX}")]);
    lead(&story, 0);
    story.serves(0, "the box with the right leads");

    lead(&story, 1);
    eventually("the status says why they are nowhere", || {
        let holders = story.holders_in_status();
        let lacks = |why: &Option<String>| why.as_ref().is_some_and(|why| why.contains("CAP_NET_"));
        holders.iter().all(|(holder, why)| holder.is_none() && lacks(why)).then_some(())
    });
    assert!((0..2).all(|at| !story.watch.has(at, FOUR) && !story.watch.has(at, SIX)));
    Smtp::connect(story.cluster.nodes[1].smtp()).expect("it serves at its own address");
    let said = story.cluster.nodes[1].command(&["check"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("is nowhere: node2: ") && said.contains("CAP_NET_"), "{said}");

    lead(&story, 0);
    story.serves(0, "the box with the right leads again");
    story.cluster.nodes[1].must(&["cluster", "remove", "node1"], None);
    eventually("the node that is removed has let go", || {
        (!story.watch.has(0, FOUR) && !story.watch.has(0, SIX)).then_some(())
    });
    assert_eq!(story.watch.twice(), Vec::<String>::new());
    story.cluster.nodes[0].kill();
}

#[test]
fn one_address() {
    let office = Office::default();
    let prepare = |node: &Node| {
        // Another leads long before the kernel of the one that led drops what it has: whoever did not wait would be caught.
        node.configure("raft", "heartbeat_ms = 50\nelection_min_ms = 150\nelection_max_ms = 200");
        if node.role == Role::Data {
            listen_everywhere(node);
        }
    };
    let Some(cluster) = office.start_cluster_with(prepare, Node::enable_disk_faults) else { return };
    let watch = AddressWatch::start(cluster.data_nodes(), &[FOUR, SIX]);
    let mut story = Story { cluster, watch };
    story.cluster.tell(0, &["cluster", "upgrade", "finalize"]);
    story.cluster.tell(0, &["policy", "set", "address.virtual", &format!("{FOUR},{SIX}")]);
    let mut at = story.cluster.leader();
    story.serves(at, "they were set");
    let name = story.cluster.nodes[at].name.clone();
    eventually("the status says where they are", || {
        (story.holders_in_status() == vec![(Some(name.clone()), None); 2]).then_some(())
    });

    at = planned(&mut story, at);
    at = stopped(&story, at);
    at = died(&mut story, at);
    at = cut_off(&mut story, at);

    // No longer wanted, they are nowhere.
    story.cluster.wait_until_caught_up();
    story.cluster.tell(0, &["policy", "unset", "address.virtual"]);
    eventually("they are gone", || {
        let gone = |address: &IpAddr| !(0..2).any(|at| story.watch.has(at, *address));
        story.watch.addresses().iter().all(gone).then_some(())
    });
    let _ = at;
    judge(story);
}

/// The wire knows of no move that the kernels did not make.
fn judge(story: Story) {
    let seen = story.watch.finish();
    assert_eq!(seen.twice, Vec::<String>::new());
    for ((boxes, macs), announced) in seen.boxes.iter().zip(&seen.macs).zip(&seen.announced) {
        eprintln!("{boxes:?}, {} MACs, {announced} announcements", macs.len());
        assert_eq!(distinct(macs).len(), 2, "both boxes spoke for it: {macs:x?}");
        assert!(macs.len() <= boxes.len(), "it moved as {boxes:?}, and {macs:x?} spoke for it");
        assert!(*announced >= boxes.len(), "each move was announced");
    }
}

/// Nothing is waited for where leadership is handed over.
fn planned(story: &mut Story, mut at: usize) -> usize {
    let heir = story.cluster.nodes[story.cluster.peer_of(at)].name.clone();
    story.cluster.tell(0, &["cluster", "transfer", &heir]);
    at = story.serves_elsewhere(at, "a transfer");

    let name = story.cluster.nodes[at].name.clone();
    story.cluster.nodes[0].must(&["cluster", "drain", &name], None);
    at = story.serves_elsewhere(at, "a drain");
    story.cluster.tell(0, &["cluster", "undrain", &name]);

    story.cluster.nodes[at].stop();
    let other = story.serves_elsewhere(at, "a planned stop");
    story.cluster.nodes[at].start();
    story.cluster.wait_until_caught_up();
    for node in story.cluster.data_nodes() {
        let said = node.said();
        assert!(!said.contains("another box may have them still"), "{}: {said}", node.name);
    }
    other
}

/// SIGSTOP, of the node, of the process that holds its addresses, and of both.
fn stopped(story: &Story, mut at: usize) -> usize {
    let node = &story.cluster.nodes[at];
    node.pause();
    let other = story.serves_elsewhere(at, "its node was stopped");
    node.resume();
    story.cluster.wait_until_caught_up();
    at = other;

    let node = &story.cluster.nodes[at];
    let holder = holder_of(node);
    send(holder, Signal::STOP);
    eventually("another process holds them", || (holder_of(node) != holder).then_some(()));
    story.serves(at, "its process was stopped");
    send(holder_of(node), Signal::KILL);
    story.serves(at, "its process was killed");

    let node = &story.cluster.nodes[at];
    let holder = holder_of(node);
    node.pause();
    send(holder, Signal::STOP);
    let other = story.serves_elsewhere(at, "both were stopped");
    // Awake again, each believes what it believed.
    send(holder, Signal::CONT);
    node.resume();
    story.cluster.wait_until_caught_up();
    story.serves(other, "both are awake");
    other
}

/// kill -9 of the node, and a disk that hangs.
fn died(story: &mut Story, mut at: usize) -> usize {
    story.cluster.nodes[at].kill();
    let other = story.serves_elsewhere(at, "kill -9");
    story.cluster.nodes[at].start();
    story.cluster.wait_until_caught_up();
    at = other;

    // Whoever writes nothing does not notice.
    let traffic = Traffic::start(&story.cluster, Ledger::default(), 4100);
    traffic.wait_for(20);
    let disk = story.cluster.nodes[at].disk();
    disk.inflict(DiskFault::within(Calls::SYNC, Effect::Hang, ""));
    let other = story.serves_elsewhere(at, "its disk hung");
    let status = story.cluster.nodes[at].wait_for_exit();
    assert_eq!(status.code(), Some(1), "it stops loudly");
    traffic.finish();
    story.cluster.nodes[at].disk().heal();
    story.cluster.nodes[at].start();
    story.cluster.wait_until_caught_up();
    other
}

/// Clients reach the box as ever, and the other nodes do not.
fn cut_off(story: &mut Story, at: usize) -> usize {
    cut(&story.cluster.nodes[at]);
    let other = story.serves_elsewhere(at, "a cut");
    heal(&story.cluster.nodes[at]);
    story.cluster.wait_until_caught_up();

    // While it is cut off it is stopped, process and all, and awakes when the cut is over.
    let node = &story.cluster.nodes[other];
    let holder = holder_of(node);
    cut(node);
    node.pause();
    send(holder, Signal::STOP);
    let first = story.serves_elsewhere(other, "a cut and a stop");
    heal(node);
    send(holder, Signal::CONT);
    node.resume();
    story.cluster.wait_until_caught_up();
    story.serves(first, "it is back");
    first
}
