//! The status as a tired administrator sees it: golden tables and the contract's JSON.

use super::*;

/// 2026-11-21 20:00:00 UTC.
const SINCE: Timestamp = Timestamp(1_795_291_200_000);

fn node(id: u64, name: &str, role: Role, state: State) -> Node {
    Node {
        id,
        name: name.to_owned(),
        role,
        address: format!("10.0.0.{id}:7401"),
        state,
        version: "0.1.0".to_owned(),
        last_log: 120,
        applied: 120,
        lag_entries: 0,
        bodies_missing: 0,
        in_sync: true,
        log_bytes: 4096,
        log_alarm: false,
        firewall_in_sync: None,
        services: vec![],
        drain: None,
        refused: None,
        scrub: None,
        journal: None,
        single_copies: None,
    }
}

pub fn healthy() -> Report {
    Report {
        cluster_id: "0b6e3a52-9f7d-4c0a-8a51-2f6d1d3e7c11".to_owned(),
        cluster_version: 1,
        answered_by: "node1".to_owned(),
        leader: Some(1),
        term: 7,
        protection: Protection::Protected,
        since: rfc3339(SINCE),
        because: None,
        alarms: Some(Vec::new()),
        last_backup: None,
        virtual_addresses: Vec::new(),
        nodes: vec![
            node(1, "node1", Role::Data, State::Leader),
            node(2, "node2", Role::Data, State::Follower),
            node(3, "witness", Role::Witness, State::Follower),
        ],
    }
}

fn after(ms: u64) -> Timestamp {
    Timestamp(SINCE.0 + ms)
}

#[test]
fn a_healthy_cluster() {
    let golden = "\
PROTECTED since 2026-11-21T20:00:00Z (3 h 5 min), leader node1 (term 7)

NODE     ROLE     STATE     BEHIND  BODIES MISSING  ADDRESS        VERSION
node1    data     leader    -       -               10.0.0.1:7401  0.1.0
node2    data     follower  -       -               10.0.0.2:7401  0.1.0
witness  witness  follower  -                       10.0.0.3:7401  0.1.0

Any one node may fail: mail and service go on.
";
    assert_eq!(render(&healthy(), after(11_100_000)), golden);
}

#[test]
fn a_node_is_down() {
    let mut report = healthy();
    report.protection = Protection::Degraded;
    report.nodes[1].state = State::Down;
    report.nodes[1].version.clear();
    report.nodes[1].in_sync = false;
    let golden = "\
DEGRADED since 2026-11-21T20:00:00Z (42 s), leader node1 (term 7)

NODE     ROLE     STATE     BEHIND  BODIES MISSING  ADDRESS        VERSION
node1    data     leader    -       -               10.0.0.1:7401  0.1.0
node2    data     DOWN      ?       ?               10.0.0.2:7401
witness  witness  follower  -                       10.0.0.3:7401  0.1.0

node2 does not answer: is it running, and can 10.0.0.2:7401 be reached?
";
    assert_eq!(render(&report, after(42_000)), golden);
}

#[test]
fn why_two_nodes_do_not_speak_is_told() {
    let mut report = healthy();
    report.nodes[1].state = State::Down;
    report.nodes[1].refused = Some("it has gone on apart".to_owned());
    let said = render(&report, after(42_000));
    assert!(said.ends_with("\nNo connection with node2: it has gone on apart.\n"), "{said}");
}

#[test]
fn a_node_is_back_and_catches_up() {
    let mut report = healthy();
    report.protection = Protection::Degraded;
    report.nodes[1].lag_entries = 1_234;
    report.nodes[1].bodies_missing = 56;
    report.nodes[1].in_sync = false;
    let golden = "\
DEGRADED since 2026-11-21T20:00:00Z (2 min), leader node1 (term 7)

NODE     ROLE     STATE     BEHIND        BODIES MISSING  ADDRESS        VERSION
node1    data     leader    -             -               10.0.0.1:7401  0.1.0
node2    data     follower  1234 entries  56              10.0.0.2:7401  0.1.0
witness  witness  follower  -                             10.0.0.3:7401  0.1.0

node2 fetches 56 messages that have one copy less until it has them.
";
    assert_eq!(render(&report, after(120_000)), golden);
}

#[test]
fn where_the_second_copy_of_new_mail_is_while_one_node_is_left() {
    let mut report = healthy();
    report.nodes[2].journal = Some(Journal { bytes: 1, bytes_max: 2 << 30 });
    let said = render(&report, after(42_000));
    assert!(!said.contains("second copy"), "it is needed no longer: {said}");
    report.protection = Protection::Degraded;
    report.nodes[1].state = State::Down;
    let kept = "witness keeps a second copy of new mail until another data node has it: 1 MiB of the 2048 that it may.\n";
    let said = render(&report, after(42_000));
    assert!(said.ends_with(kept), "{said}");
    report.nodes[0].single_copies = Some(SingleCopies { messages: 3, why: "there is no witness".to_owned() });
    let said = render(&report, after(42_000));
    assert!(said.contains("\n3 new messages are on node1 alone: there is no witness.\n"), "{said}");
}

#[test]
fn alarms_stand_below_with_who_raised_them_and_since_when() {
    let mut report = healthy();
    report.alarms = Some(vec![Alarm {
        kind: "disk-nearly-full".to_owned(),
        node: Some("node2".to_owned()),
        since: rfc3339(SINCE),
        raised_by: "node2".to_owned(),
        note: "the disk of node2 is 93 % full".to_owned(),
        mailed: true,
    }]);
    let text = render(&report, after(60_000));
    let line = "ALARM disk-nearly-full since 2026-11-21T20:00:00Z (1 min), seen by node2: the disk of node2 is 93 % full.\n";
    assert!(text.ends_with(line), "{text}");
    report.alarms = None;
    assert!(
        render(&report, after(0)).ends_with("Alarms are known to the data nodes alone: ask one of them.\n")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["alarms"].is_null() && json.get("alarms").is_some(), "not known is not none");
}

#[test]
fn disks_were_read_through() {
    let mut report = healthy();
    let scrub = |began: Option<&str>, done, found, mended| {
        let began = began.map(str::to_owned);
        Some(Scrub { began, done, found, mended, trouble: None })
    };
    report.nodes[0].scrub = scrub(Some("2026-11-21T18:00:00Z"), true, 0, 0);
    report.nodes[1].scrub = scrub(Some("2026-11-21T19:00:00Z"), false, 3, 2);
    let shown = render(&report, after(60_000));
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("Scrub of")).collect();
    let [one, other] = lines[..] else { panic!("{shown}") };
    assert!(
        one.starts_with("Scrub of node1: began 2026-11-21T18:00:00Z") && one.ends_with("), nothing found."),
        "{one}"
    );
    assert!(other.ends_with("under way, 3 damaged bodies found since its start, 2 mended."), "{other}");
    report.nodes[0].scrub = scrub(None, false, 0, 0);
    assert_eq!(
        render(&report, after(60_000)).matches("Scrub of").count(),
        1,
        "before the first pass nothing is said"
    );
}

#[test]
fn a_node_is_drained() {
    let mut report = healthy();
    report.protection = Protection::Degraded;
    report.because = Some("node2 is drained: if another data node fails, nobody serves".to_owned());
    let drain = |waits_for: Option<&str>| Drain {
        sessions: Some(3),
        deliveries: Some(0),
        safe_to_switch_off: waits_for.is_none(),
        waits_for: waits_for.map(str::to_owned),
    };
    report.nodes[1].drain = Some(drain(Some("still open: 3 clients' connections")));
    let golden = "\
DEGRADED since 2026-11-21T20:00:00Z (5 s), leader node1 (term 7)

NODE     ROLE     STATE               BEHIND  BODIES MISSING  ADDRESS        VERSION
node1    data     leader              -       -               10.0.0.1:7401  0.1.0
node2    data     follower, draining  -       -               10.0.0.2:7401  0.1.0
witness  witness  follower            -                       10.0.0.3:7401  0.1.0

node2 serves no clients: it is being drained, still open: 3 clients' connections.
";
    assert_eq!(render(&report, after(5_000)), golden);
    report.nodes[1].drain = Some(drain(None));
    let shown = render(&report, after(5_000));
    assert!(shown.contains("follower, drained  "), "{shown}");
    assert!(
        shown.contains("\nnode2 is drained and may be switched off; 'pollux cluster undrain node2' brings"),
        "{shown}"
    );
    report.nodes[1].state = State::Down;
    report.nodes[1].drain = Some(drain(Some("it does not answer")));
    let shown = render(&report, after(5_000));
    assert!(
        shown.contains("DOWN, drained  ") && shown.contains("\nnode2 is drained: once started"),
        "{shown}"
    );
}

#[test]
fn no_majority() {
    let mut report = healthy();
    report.protection = Protection::Unavailable;
    report.leader = None;
    report.nodes[0].state = State::Candidate;
    report.nodes[1].state = State::Down;
    report.nodes[2].state = State::Down;
    let golden = "\
UNAVAILABLE since 2026-11-21T20:00:00Z (2 d 1 h), no leader (term 7)

NODE     ROLE     STATE      BEHIND  BODIES MISSING  ADDRESS        VERSION
node1    data     candidate  -       -               10.0.0.1:7401  0.1.0
node2    data     DOWN       ?       ?               10.0.0.2:7401  0.1.0
witness  witness  DOWN       ?                       10.0.0.3:7401  0.1.0

No majority answers: mail can be read on node1, nothing can be changed. Start the nodes that are down.
node2 does not answer: is it running, and can 10.0.0.2:7401 be reached?
witness does not answer: is it running, and can 10.0.0.3:7401 be reached?
";
    assert_eq!(render(&report, after(2 * 86_400_000 + 3_700_000)), golden);
}

#[test]
fn one_node_alone_is_told_to_get_a_second() {
    let mut report = healthy();
    report.protection = Protection::Degraded;
    report.nodes.truncate(1);
    let text = render(&report, after(0));
    assert!(
        text.ends_with("There is one data node only: add the second with 'pollux join-token'.\n"),
        "{text}"
    );
}

#[test]
fn a_pair_is_told_to_get_a_witness() {
    let mut report = healthy();
    report.protection = Protection::Degraded;
    report.nodes.truncate(2);
    assert!(render(&report, after(0)).contains("Add one with 'pollux join-token --role witness'."));
}

#[test]
fn virtual_addresses_are_said_to_be_somewhere_or_nowhere_and_why() {
    let mut report = healthy();
    let nowhere = VirtualAddress {
        address: "2001:db8::10".to_owned(),
        holder: None,
        interface: None,
        why: Some("node1: no interface of this box is in its network".to_owned()),
    };
    let (holder, interface) = (Some("node1".to_owned()), Some("eth0".to_owned()));
    let held = VirtualAddress { address: "192.0.2.10".to_owned(), holder, interface, why: None };
    report.virtual_addresses = vec![held, nowhere];
    let text = render(&report, after(0));
    let golden = "\
Virtual address 192.0.2.10: on node1, at eth0.
Virtual address 2001:db8::10: NOWHERE, node1: no interface of this box is in its network.
";
    assert!(text.contains(golden), "{text}");
}

#[test]
fn json_has_what_the_contract_names() {
    let json = serde_json::to_value(healthy()).unwrap();
    for key in ["cluster_id", "cluster_version", "leader", "term", "protection", "since", "nodes"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let node = &json["nodes"][2];
    for key in [
        "id",
        "name",
        "role",
        "address",
        "state",
        "version",
        "last_log",
        "applied",
        "lag_entries",
        "bodies_missing",
        "firewall_in_sync",
        "services",
    ] {
        assert!(node.get(key).is_some(), "{key}");
    }
    assert_eq!(json["protection"], "protected");
    assert_eq!(json["leader"], 1);
    assert_eq!(node["role"], "witness");
    assert_eq!(node["state"], "follower");
}
