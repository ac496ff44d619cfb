//! Clients whose box loses its power: no FIN, no RST, nothing. At a greeting, in a handshake, in the middle of a mail: the node
//! lets each go in bounded time, nothing half is delivered, and others are served. (One that vanishes in the middle of an
//! answer is a reader that has stalled: `session/tests/driver.rs`.)

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::hostile::Raw;
use cluster_tests::ledger::{message, token_of};
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::wait::eventually;

/// Of each kind.
const CLIENTS: usize = 20;
/// Where those live that vanish.
const DARK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// What a client says, line by line, and what it waits for each time, before it is gone.
struct Kind {
    port: u16,
    talk: &'static [(&'static str, &'static str)],
}

const KINDS: [Kind; 6] = [
    Kind { port: 25, talk: &[("", "220 "), ("EHLO c\r\n", "250 ")] },
    Kind {
        port: 25,
        talk: &[
            ("EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", "354 "),
            ("Subject: half\r\n\r\nhalf of a mai", ""),
        ],
    },
    Kind { port: 110, talk: &[("", "+OK "), ("USER alice\r\n", "+OK ")] },
    Kind { port: 143, talk: &[("", "* OK "), ("a NOOP\r\n", "a OK")] },
    // The first octets of a ClientHello, and a handshake that was asked for.
    Kind { port: 993, talk: &[("\x16\x03\x01\x02\x00\x01", "")] },
    Kind { port: 143, talk: &[("a STARTTLS\r\n", "a OK")] },
];

#[test]
fn half_open() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.tell(0, &["policy", "set", "smtp.idle_seconds_max", "10"]);
    cluster.tell(0, &["policy", "set", "session.login_seconds_max", "10"]);
    let (smtp, pop3) = (cluster.nodes[0].smtp(), cluster.nodes[0].pop3());

    let mut clients: Vec<Raw> = Vec::new();
    for kind in &KINDS {
        let address = cluster.nodes[0].port(kind.port);
        clients.extend((0..CLIENTS).map(|_| talk(address, kind)));
    }
    assert_eq!(open_to(DARK).len(), clients.len(), "all are connected");
    cluster.lab.darken(&DARK.to_string());

    // They are let go while others come and go.
    let mut served = 0;
    eventually("the node has let go of all that vanished", || {
        let token = format!("beside-{served}");
        let mail = message(&token, 100);
        let sent = Smtp::connect(smtp).expect("SMTP serves").send(&["bob@example.test"], &mail).0;
        assert_eq!(sent, Sent::Acknowledged);
        served += 1;
        open_to(DARK).is_empty().then_some(())
    });
    println!("{} vanished, {served} mails were taken beside them", clients.len());
    let mut bob = Pop3::login(pop3, "bob", &password("bob")).expect("POP3 serves");
    for at in 1..=served {
        let text = bob.listing(&format!("RETR {at}")).expect("it is there");
        assert_eq!(token_of(&text), Some(format!("beside-{}", at - 1)), "nothing half is delivered");
    }
    assert!(bob.listing(&format!("RETR {}", served + 1)).is_err());
    assert!(cluster.nodes[0].is_running());
}

fn talk(address: SocketAddr, kind: &Kind) -> Raw {
    let mut client = Raw::connect_from(IpAddr::V4(DARK), address).expect("the port is open");
    client.narrow();
    for (say, hear) in kind.talk {
        client.say(say).expect("the server reads");
        if !hear.is_empty() {
            client.until(hear);
        }
    }
    client
}

/// The ports of connections that some process here has open to that address, by the kernel's word.
fn open_to(address: Ipv4Addr) -> Vec<u16> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the kernel tells");
    let wanted = format!("{:08X}:", u32::from_le_bytes(address.octets()));
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, ESTABLISHED, ..] = fields[..] else { return None };
        let (_, port) = local.split_once(':').filter(|_| remote.starts_with(&wanted))?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().filter_map(port).collect()
}
