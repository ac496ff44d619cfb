//! The transport over loopback: what fits is heard, what does not is told why, and nothing from
//! outside disturbs a live connection.

use std::sync::Mutex;

use tokio::sync::mpsc;

use super::peer::locked;
use super::*;
use crate::cluster::pki::{ClusterCa, NodeKey};
use crate::cluster::token::{JoinToken, Role, Secret};
use crate::mail::ids::Timestamp;

const CLUSTER: ClusterId = ClusterId([5; 16]);
const LONG: Duration = Duration::from_secs(20);
const ECHO: u16 = 1;
const HANG: u16 = 2;
const REFUSE: u16 = 3;

fn ca() -> ClusterCa {
    ClusterCa::create(CLUSTER, Clock::system().now()).unwrap()
}

/// Echoes calls and frames; says who called.
struct Echo {
    hanging: mpsc::UnboundedSender<NodeId>,
}

impl Handler for Echo {
    fn call(&self, from: NodeId, kind: u16, body: Bytes) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let hanging = self.hanging.clone();
        Box::pin(async move {
            match kind {
                HANG => {
                    hanging.send(from).unwrap();
                    std::future::pending().await
                }
                REFUSE => Err(CallError::Refused { code: 77, message: "not today".to_owned() }),
                _ => Ok([&from.0.to_be_bytes()[..], &body].concat().into()),
            }
        })
    }

    fn stream(&self, _from: NodeId, _kind: u16, mut stream: FramedStream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                match stream.recv().await {
                    Ok(Some(frame)) => stream.send(frame).await.unwrap(),
                    Ok(None) => return stream.finish(),
                    Err(_) => return,
                }
            }
        })
    }
}

#[derive(Default)]
struct Lineages {
    own: u8,
    refuses: Option<u8>,
}

impl Handshake for Lineages {
    fn lineage(&self) -> Vec<u8> {
        vec![self.own]
    }

    fn apart(&self, _peer: NodeId, _lineage: &[u8]) -> Option<String> {
        None
    }

    fn accept(&self, peer: NodeId, lineage: &[u8]) -> Result<(), String> {
        match self.refuses {
            Some(refused) if lineage == [refused] => Err(format!("node {peer} has another history")),
            _ => Ok(()),
        }
    }
}

fn versions() -> Versions {
    let range = Range { min: 1, max: 1 };
    Versions { build: "test".to_owned(), protocol: range, command: range, snapshot: range }
}

fn config(identity: NodeIdentity) -> TransportConfig {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    TransportConfig {
        identity,
        control: any,
        bulk: any,
        versions: Arc::new(ArcSwap::from_pointee(versions())),
        handshake: Arc::new(Lineages::default()),
        join: None,
        clock: Clock::system(),
        control_runtime: None,
    }
}

fn identity(ca: &ClusterCa, node: u64) -> NodeIdentity {
    ca.issue(NodeId(node), Clock::system().now()).unwrap()
}

async fn start(config: TransportConfig) -> (Transport, mpsc::UnboundedReceiver<NodeId>) {
    let (hanging, heard) = mpsc::unbounded_channel();
    (Transport::start(config, Arc::new(Echo { hanging })).await.unwrap(), heard)
}

fn address(of: &Transport) -> PeerAddress {
    let (control, bulk) = of.local().unwrap();
    PeerAddress { control: control.to_string(), bulk: bulk.to_string() }
}

fn introduce(nodes: &[&Transport]) {
    let members: BTreeMap<_, _> = nodes.iter().map(|node| (node.node(), address(node))).collect();
    for node in nodes {
        node.set_peers(members.clone());
    }
}

async fn pair() -> (Transport, Transport, mpsc::UnboundedReceiver<NodeId>) {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, heard) = start(config(identity(&ca, 2))).await;
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    connected(&b, 1).await;
    (a, b, heard)
}

async fn connected(from: &Transport, to: u64) {
    for lane in [Lane::Control, Lane::Bulk] {
        tokio::time::timeout(LONG, from.connected(NodeId(to), lane)).await.unwrap().unwrap();
    }
}

/// Polls until `probe` gives something.
async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, polling).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn refusal(at: &Transport, of: u64) -> String {
    eventually("a refusal", || at.peer_state(NodeId(of)).refused_because).await
}

async fn echo(from: &Transport, to: u64, lane: Lane, words: &'static str) -> Result<Bytes, CallError> {
    from.call(NodeId(to), lane, ECHO, words.into(), LONG).await
}

#[tokio::test]
async fn calls_and_frames_go_both_ways_on_both_lanes() {
    let (a, b, _) = pair().await;
    for lane in [Lane::Control, Lane::Bulk] {
        for (from, to) in [(&a, 2), (&b, 1)] {
            let answer = echo(from, to, lane, "words").await.unwrap();
            assert_eq!(answer, [&from.node().0.to_be_bytes()[..], b"words"].concat());
            let mut stream = from.open_stream(NodeId(to), lane, ECHO).await.unwrap();
            for size in [0, 1, 100_000, 3] {
                let frame = Bytes::from(vec![7; size]);
                stream.send(frame.clone()).await.unwrap();
                assert_eq!(stream.recv().await, Ok(Some(frame)));
            }
            stream.finish();
            assert_eq!(stream.recv().await, Ok(None));
        }
    }
    let refused = a.call(NodeId(2), Lane::Control, REFUSE, Bytes::new(), LONG).await;
    assert_eq!(refused, Err(CallError::Refused { code: 77, message: "not today".to_owned() }));
    let state = a.peer_state(NodeId(2));
    assert_eq!(state.connected, [true, true]);
    assert!(state.heard_ago.is_some() && state.round_trip.is_some() && state.refused_because.is_none());
    assert_eq!(state.hello.unwrap().versions, versions());
    assert_eq!(a.peer_state(NodeId(9)), PeerState::default());
}

#[tokio::test]
async fn what_is_over_the_bound_is_refused_and_at_the_bound_passes() {
    let (a, _b, _) = pair().await;
    let call = |size: usize| a.call(NodeId(2), Lane::Bulk, ECHO, vec![1; size].into(), LONG);
    let over = call(MESSAGE_BYTES_MAX + 1).await;
    assert!(matches!(over, Err(CallError::Protocol(_))));
    // The echo adds 8 octets: the question fits, the answer does not.
    let answer = call(MESSAGE_BYTES_MAX).await;
    assert!(matches!(answer, Err(CallError::Refused { code: 0, .. })));
    assert_eq!(call(MESSAGE_BYTES_MAX - 8).await.map(|body| body.len()), Ok(MESSAGE_BYTES_MAX));
    let mut stream = a.open_stream(NodeId(2), Lane::Bulk, ECHO).await.unwrap();
    let frame = Bytes::from(vec![1; FRAME_BYTES_MAX]);
    let over = Bytes::from(vec![1; FRAME_BYTES_MAX + 1]);
    assert!(matches!(stream.send(over).await, Err(CallError::Protocol(_))));
    stream.send(frame.clone()).await.unwrap();
    assert!(stream.recv().await == Ok(Some(frame)));
}

/// Our live connection, for tests that misbehave on it.
fn raw(from: &Transport, to: u64) -> Connection {
    raw_on(from, to, Lane::Control)
}

fn raw_on(from: &Transport, to: u64, lane: Lane) -> Connection {
    match &*shared(from).peer(NodeId(to)).unwrap().link(lane).state.borrow() {
        LinkState::Up(connection) => connection.clone(),
        LinkState::Dialling | LinkState::Down(_) => panic!("not connected"),
    }
}

#[tokio::test]
async fn a_stream_that_breaks_the_protocol_is_reset_and_its_connection_lives() {
    let (a, _b, _) = pair().await;
    let connection = raw(&a, 2);
    // Half-open: too short an opening and then silence. Reset after the bound.
    let (mut silent, mut silent_recv) = connection.open_bi().await.unwrap();
    silent.write_all(&[1, 0, 0]).await.unwrap();
    // An unknown purpose, and a length over the bound.
    for opening in [[9, 0, 1, 0, 0, 0, 0], [1, 0, 1, 255, 255, 255, 255]] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&opening).await.unwrap();
        assert!(matches!(recv.read_to_end(10).await, Err(quinn::ReadToEndError::Read(_))));
    }
    // A body shorter than announced.
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[1, 0, 1, 0, 0, 0, 9, b'x']).await.unwrap();
    send.finish().unwrap();
    assert!(recv.read_to_end(10).await.is_err());
    // A frame longer than allowed: the handler's stream ends.
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[2, 0, 1, 0, 0, 0, 0, 255, 255, 255, 255]).await.unwrap();
    assert!(!matches!(recv.read_to_end(10).await, Ok(bytes) if !bytes.is_empty()));
    assert!(echo(&a, 2, Lane::Control, "still").await.is_ok());
    assert!(matches!(silent_recv.read_to_end(10).await, Err(quinn::ReadToEndError::Read(_))));
    assert!(connection.close_reason().is_none());
}

#[tokio::test]
async fn a_stream_dropped_unfinished_does_not_look_finished() {
    let (a, _b, _) = pair().await;
    let mut stream = a.open_stream(NodeId(2), Lane::Bulk, ECHO).await.unwrap();
    stream.send("half".into()).await.unwrap();
    let (sender, mut receiver) = stream.split();
    assert_eq!(receiver.recv().await, Ok(Some("half".into())));
    drop(sender);
    assert!(receiver.recv().await.is_err());
}

#[tokio::test]
async fn garbage_on_both_ports_disturbs_nothing() {
    let (a, b, _) = pair().await;
    let live = raw(&a, 2).stable_id();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (control, bulk) = b.local().unwrap();
    let clock = Clock::fixed(Timestamp(0));
    for round in 0..10_000u32 {
        let mut datagram = vec![0; 1 + (round as usize * 37) % 1_400];
        clock.fill(&mut datagram);
        let to = if round % 2 == 0 { control } else { bulk };
        socket.send_to(&datagram, to).await.unwrap();
        if round % 500 == 0 {
            assert!(echo(&a, 2, Lane::Control, "x").await.is_ok(), "round {round}");
            assert!(echo(&a, 2, Lane::Bulk, "x").await.is_ok(), "round {round}");
        }
    }
    assert_eq!(raw(&a, 2).stable_id(), live, "the connection is the one of before");
}

#[tokio::test]
async fn a_node_that_is_no_member_is_refused_until_it_is_one() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, _) = start(config(identity(&ca, 2))).await;
    assert!(!a.stranger_knocked(), "nobody came yet");
    b.set_peers(BTreeMap::from([(NodeId(1), address(&a))]));
    assert!(refusal(&b, 1).await.contains("node 2 is not a member of this cluster"));
    assert!(a.stranger_knocked(), "it may have joined while a was away");
    assert!(matches!(echo(&b, 1, Lane::Control, "x").await, Err(CallError::Unreachable { .. })));
    assert_eq!(echo(&a, 2, Lane::Control, "x").await, Err(CallError::NotAMember(NodeId(2))));
    introduce(&[&a, &b]);
    connected(&b, 1).await;
    assert_eq!(b.peer_state(NodeId(1)).refused_because, None);
}

#[tokio::test]
async fn a_removed_node_is_no_stranger() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, _) = start(config(identity(&ca, 2))).await;
    a.revoke([NodeId(2)]);
    b.set_peers(BTreeMap::from([(NodeId(1), address(&a))]));
    assert!(refusal(&b, 1).await.contains("node 2 is not a member of this cluster"));
    assert!(!a.stranger_knocked());
}

#[tokio::test]
async fn removal_ends_calls_and_connections() {
    let (a, b, mut heard) = pair().await;
    let hanging = tokio::spawn({
        let a = a.clone();
        async move { a.call(NodeId(2), Lane::Control, HANG, Bytes::new(), LONG * 10).await }
    });
    assert_eq!(heard.recv().await, Some(NodeId(1)));
    b.set_peers(BTreeMap::new());
    assert!(matches!(hanging.await.unwrap(), Err(CallError::Unreachable { .. })));
    assert!(refusal(&a, 2).await.contains("not a member"));
    a.set_peers(BTreeMap::new());
    assert_eq!(echo(&a, 2, Lane::Control, "x").await, Err(CallError::NotAMember(NodeId(2))));
}

#[tokio::test]
async fn a_removed_node_is_told_for_ever_and_one_that_is_not_known_is_not() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, _) = start(config(identity(&ca, 2))).await;
    let (c, _) = start(config(identity(&ca, 3))).await;
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    connected(&b, 1).await;
    c.set_peers(BTreeMap::from([(NodeId(1), address(&a))]));
    let (mut b_told, c_told) = (b.told_removed(), c.told_removed());
    a.revoke([NodeId(2)]);
    a.set_peers(BTreeMap::new());
    let told = tokio::time::timeout(LONG, b_told.wait_for(Option::is_some)).await;
    assert_eq!(*told.unwrap().unwrap(), Some(NodeId(1)), "by the end of its connection");
    drop(b);
    let (b, _) = start(config(identity(&ca, 2))).await;
    let mut b_told = b.told_removed();
    assert_eq!(*b_told.borrow(), None);
    b.set_peers(BTreeMap::from([(NodeId(1), address(&a))]));
    let told = tokio::time::timeout(LONG, b_told.wait_for(Option::is_some)).await;
    assert_eq!(*told.unwrap().unwrap(), Some(NodeId(1)), "when it comes back");
    assert!(refusal(&c, 1).await.contains("not a member"));
    assert_eq!(*c_told.borrow(), None, "it may have joined a moment ago");
}

#[tokio::test]
async fn a_peer_that_stops_fails_its_calls_and_is_found_again() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, mut heard) = start(config(identity(&ca, 2))).await;
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    let (control, bulk) = b.local().unwrap();
    let before = a.peer_state(NodeId(2)).hello.unwrap().incarnation;
    let hanging = tokio::spawn({
        let a = a.clone();
        async move { a.call(NodeId(2), Lane::Control, HANG, Bytes::new(), LONG * 10).await }
    });
    heard.recv().await.unwrap();
    b.shutdown().await;
    assert!(matches!(hanging.await.unwrap(), Err(CallError::Unreachable { .. })));
    drop(b);
    // The port is free once the endpoint's driver has seen its last handle go.
    let again = TransportConfig { control, bulk, ..config(identity(&ca, 2)) };
    eventually("the port is free", || {
        std::net::UdpSocket::bind(control).and(std::net::UdpSocket::bind(bulk)).ok()
    })
    .await;
    let (b, _heard) = start(again).await;
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    assert!(echo(&a, 2, Lane::Control, "x").await.is_ok());
    assert_ne!(a.peer_state(NodeId(2)).hello.unwrap().incarnation, before);
}

#[tokio::test]
async fn a_killed_process_is_noticed_at_the_next_packet_to_its_successor() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let own = identity(&ca, 2);
    let (b, _) = start(config(own.clone())).await;
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    let (control, bulk) = b.local().unwrap();
    let stale = raw_on(&a, 2, Lane::Bulk);
    // As a kill does: the process says nothing more from these ports, and they are free.
    for lane in [Lane::Control, Lane::Bulk] {
        let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        shared(&b).endpoint(lane).rebind(elsewhere).unwrap();
    }
    eventually("the ports are free", || {
        std::net::UdpSocket::bind(control).and(std::net::UdpSocket::bind(bulk)).ok()
    })
    .await;
    // Its successor knows nobody yet, so that nothing but its resets can tell.
    let (_successor, _) = start(TransportConfig { control, bulk, ..config(own) }).await;
    let asking = tokio::spawn({
        let a = a.clone();
        async move { echo(&a, 2, Lane::Bulk, "x").await }
    });
    assert_eq!(stale.closed().await, quinn::ConnectionError::Reset);
    assert!(matches!(asking.await.unwrap(), Err(CallError::Unreachable { .. })));
}

#[tokio::test]
async fn a_ping_is_answered_by_the_transport_itself() {
    let (a, b, _) = pair().await;
    assert_eq!(a.ping(NodeId(2), LONG).await, Ok(()));
    b.shutdown().await;
    assert!(a.ping(NodeId(2), LONG).await.is_err());
}

#[tokio::test]
async fn versions_without_overlap_are_told_to_both() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let newer = Versions { protocol: Range { min: 2, max: 3 }, build: "newer".to_owned(), ..versions() };
    let newer = Arc::new(ArcSwap::from_pointee(newer));
    let (b, _) = start(TransportConfig { versions: newer, ..config(identity(&ca, 2)) }).await;
    introduce(&[&a, &b]);
    let told = refusal(&a, 2).await;
    assert!(told.contains("protocol versions") && told.contains("upgrade the older"), "{told}");
    assert!(refusal(&b, 1).await.contains("protocol versions"));
    assert!(echo(&a, 2, Lane::Control, "x").await.is_err());
}

#[tokio::test]
async fn a_build_that_the_cluster_has_left_behind_is_refused_from_then_on() {
    let ca = ca();
    let range = |min, max| Range { min, max };
    let speaks = |command| Arc::new(ArcSwap::from_pointee(Versions { command, ..versions() }));
    let newer = speaks(range(1, 2));
    let (a, _) = start(TransportConfig { versions: newer.clone(), ..config(identity(&ca, 1)) }).await;
    let older = || TransportConfig { versions: speaks(range(1, 1)), ..config(identity(&ca, 2)) };
    let (b, _) = start(older()).await;
    introduce(&[&a, &b]);
    assert!(echo(&a, 2, Lane::Control, "x").await.is_ok());
    b.shutdown().await;
    newer.store(Arc::new(Versions { command: range(2, 2), ..versions() }));
    let (b, _) = start(older()).await;
    introduce(&[&a, &b]);
    assert!(refusal(&b, 1).await.contains("command versions 2-2"));
}

#[tokio::test]
async fn the_hook_refuses_a_lineage() {
    let ca = ca();
    let picky = Lineages { own: 1, refuses: Some(2) };
    let (a, _) = start(TransportConfig { handshake: Arc::new(picky), ..config(identity(&ca, 1)) }).await;
    let other = Lineages { own: 2, refuses: None };
    let (b, _) = start(TransportConfig { handshake: Arc::new(other), ..config(identity(&ca, 2)) }).await;
    introduce(&[&a, &b]);
    assert!(refusal(&a, 2).await.contains("another history"));
    assert!(refusal(&b, 1).await.contains("another history"));
    assert!(echo(&b, 1, Lane::Bulk, "x").await.is_err());
}

#[tokio::test]
async fn another_clusters_certificate_is_refused_on_both_sides() {
    let (a, _) = start(config(identity(&ca(), 1))).await;
    let (b, _) = start(config(identity(&ca(), 2))).await;
    introduce(&[&a, &b]);
    assert!(refusal(&a, 2).await.contains("another cluster answers"));
    assert!(refusal(&b, 1).await.contains("another cluster answers"));
}

#[tokio::test]
async fn the_wrong_node_at_an_address_is_noticed() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, _) = start(config(identity(&ca, 2))).await;
    a.set_peers(BTreeMap::from([(NodeId(3), address(&b))]));
    let told = refusal(&a, 3).await;
    assert!(told.contains("another node answers"), "{told}");
}

#[tokio::test]
async fn a_used_port_and_a_broken_identity_are_one_clear_line() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let used = TransportConfig { bulk: a.local().unwrap().1, ..config(identity(&ca, 2)) };
    let (hanging, _heard) = mpsc::unbounded_channel();
    let echo = Arc::new(Echo { hanging });
    let error = Transport::start(used, echo.clone()).await.err().unwrap().to_string();
    assert!(error.contains("the port is in use") && !error.contains('\n'), "{error}");
    let mixed = NodeIdentity { key_pem: identity(&ca, 3).key_pem, ..identity(&ca, 2) };
    let error = Transport::start(config(mixed), echo).await.err().unwrap().to_string();
    assert!(error.contains("does not belong"), "{error}");
}

#[tokio::test]
async fn a_renewed_identity_serves_new_connections() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let (b, _) = start(config(identity(&ca, 2))).await;
    assert!(a.replace_identity(&identity(&ca, 3)).is_err());
    a.replace_identity(&identity(&ca, 1)).unwrap();
    introduce(&[&a, &b]);
    connected(&a, 2).await;
    connected(&b, 1).await;
}

/// Lets one node in, with the secret `[3; 32]`.
struct Door {
    ca: ClusterCa,
    asked: Mutex<Vec<JoinRequest>>,
}

impl JoinHandler for Door {
    fn join(&self, request: JoinRequest) -> BoxFuture<'static, Result<JoinAnswer, String>> {
        locked(&self.asked).push(request.clone());
        let answer = if request.secret == Secret([3; 32]) {
            Ok(JoinAnswer {
                node: NodeId(2),
                cluster: CLUSTER,
                chain_pem: self.ca.certify(NodeId(2), &request.public_key, Clock::system().now()).unwrap(),
                ca_pem: self.ca.certificate_pem().to_owned(),
                members: BTreeMap::new(),
                extra: vec![1, 2, 3],
            })
        } else {
            Err("the cluster does not know this join token".to_owned())
        };
        Box::pin(async move { answer })
    }
}

fn request(key: &NodeKey) -> JoinRequest {
    JoinRequest {
        secret: Secret([3; 32]),
        role: Role::Data,
        public_key: key.public().to_vec(),
        name: "node2".to_owned(),
        address: PeerAddress { control: "127.0.0.1:1".to_owned(), bulk: "127.0.0.1:2".to_owned() },
        versions: versions(),
    }
}

async fn door() -> (Transport, Arc<Door>, JoinToken) {
    let door = Arc::new(Door { ca: ca(), asked: Mutex::new(Vec::new()) });
    let config = TransportConfig { join: Some(door.clone()), ..config(identity(&door.ca, 1)) };
    let (a, _) = start(config).await;
    let token = JoinToken {
        ca: door.ca.fingerprint(),
        addresses: vec![a.local().unwrap().1.to_string()],
        role: Role::Data,
        secret: Secret([3; 32]),
        expires: Timestamp(u64::MAX),
    };
    (a, door, token)
}

#[tokio::test]
async fn a_new_node_is_let_in_with_its_own_key() {
    let (a, door, token) = door().await;
    let key = NodeKey::generate().unwrap();
    let (answer, identity) = join::join(&token, &key, request(&key)).await.unwrap();
    assert_eq!((answer.node, answer.extra), (NodeId(2), vec![1, 2, 3]));
    assert_eq!(locked(&door.asked).len(), 1);
    let (b, _) = start(config(identity)).await;
    introduce(&[&a, &b]);
    connected(&b, 1).await;
}

#[tokio::test]
async fn a_joiner_gives_its_secret_to_no_other_cluster() {
    let (_a, door, token) = door().await;
    let key = NodeKey::generate().unwrap();
    let elsewhere = JoinToken { ca: ca().fingerprint(), ..token };
    let error = join::join(&elsewhere, &key, request(&key)).await.unwrap_err();
    assert!(matches!(error, JoinError::WrongCluster(_)), "{error}");
    assert!(locked(&door.asked).is_empty());
}

#[tokio::test]
async fn a_refused_joiner_hears_why() {
    let (_a, door, token) = door().await;
    let key = NodeKey::generate().unwrap();
    let says = |request: JoinRequest| {
        let (token, key) = (&token, &key);
        async move { join::join(token, key, request).await.unwrap_err().to_string() }
    };
    let wrong = JoinRequest { secret: Secret([4; 32]), ..request(&key) };
    assert!(says(wrong).await.contains("does not know this join token"));
    let newer = Versions { command: Range { min: 9, max: 9 }, ..versions() };
    assert!(says(JoinRequest { versions: newer, ..request(&key) }).await.contains("command versions"));
    let long = JoinRequest { name: "n".repeat(65), ..request(&key) };
    assert!(says(long).await.contains("64 octets"));
    assert_eq!(locked(&door.asked).len(), 1, "only the first came as far as the handler");
    let nobody = JoinToken { addresses: vec!["127.0.0.1:1".to_owned()], ..token.clone() };
    let error = join::join(&nobody, &key, request(&key)).await.unwrap_err();
    assert!(matches!(error, JoinError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn without_a_door_nobody_is_let_in() {
    let ca = ca();
    let (a, _) = start(config(identity(&ca, 1))).await;
    let key = NodeKey::generate().unwrap();
    let token = JoinToken {
        ca: ca.fingerprint(),
        addresses: vec![a.local().unwrap().1.to_string()],
        role: Role::Data,
        secret: Secret([3; 32]),
        expires: Timestamp(u64::MAX),
    };
    let error = join::join(&token, &key, request(&key)).await.unwrap_err();
    assert!(error.to_string().contains("lets no nodes in"), "{error}");
}

fn shared(transport: &Transport) -> &Shared {
    match &transport.carried {
        Carried::Quic(shared, _) => shared,
        Carried::Elsewhere(_) => panic!("these tests are about QUIC"),
    }
}
