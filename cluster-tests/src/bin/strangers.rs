//! Mail of a stranger with nothing to hide, for `make bench`: its domain has SPF, DKIM and DMARC, its address a name, and
//! each of its mails a signature.
//!
//! `strangers dns` serves its zones, says where, and ends with its input. `strangers send SERVER MAILS CONNECTIONS USERS`
//! sends that many, and says how many were taken in how many seconds; what is put off (greylisting) is sent again first.

use std::error::Error;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use cluster_tests::smtp::{Smtp, base64};
use cluster_tests::wait::eventually;
use fixture_dns::Server;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

const SENDER: &str = "joe@stranger.test";
const BODY_BYTES: usize = 4 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dns"] => {
            let server = Server::start(&zones()?);
            println!("{}", server.address());
            io::stdin().read_to_end(&mut Vec::new())?;
            Ok(())
        }
        ["send", server, mails, connections, users] => {
            send(server.parse()?, (mails.parse()?, connections.parse()?), users.parse()?)
        }
        _ => Err("strangers dns | strangers send SERVER MAILS CONNECTIONS USERS".into()),
    }
}

/// The same in both processes.
fn key() -> Result<Ed25519KeyPair, Box<dyn Error>> {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|error| error.to_string().into())
}

fn zones() -> Result<String, Box<dyn Error>> {
    let public = base64(key()?.public_key().as_ref());
    Ok(format!(
        "
        stranger.test                   MX   10 mail.stranger.test
        stranger.test                   TXT  \"v=spf1 ip4:127.0.0.0/8 -all\"
        mail.stranger.test              A    127.0.0.1
        1.0.0.127.in-addr.arpa          PTR  mail.stranger.test
        s1._domainkey.stranger.test     TXT  \"v=DKIM1; k=ed25519; p={public}\"
        _dmarc.stranger.test            TXT  \"v=DMARC1; p=reject\"
        "
    ))
}

fn send(
    server: SocketAddr,
    (mails, connections): (usize, usize),
    users: usize,
) -> Result<(), Box<dyn Error>> {
    let (key, users, connections) = (key()?, users.max(1), connections.max(1));
    let recipient = |number: usize| format!("user{}@example.test", number % users + 1);
    for user in 0..users {
        eventually("the stranger is let in", || named(server, &recipient(user)).ok());
    }
    let each = mails.div_ceil(connections);
    let signed = |number: usize| (recipient(number), signed(&key, &recipient(number), number));
    let shares: Vec<Vec<(String, String)>> =
        (0..connections).map(|lane| (0..each).map(|at| signed(lane * each + at)).collect()).collect();
    let greeted = Barrier::new(connections + 1);
    let (taken, began) = thread::scope(|scope| -> io::Result<(usize, Instant)> {
        let lane = |share| {
            let greeted = &greeted;
            scope.spawn(move || {
                let opened = open(server);
                greeted.wait();
                deliver(&mut opened?, share)
            })
        };
        let lanes: Vec<_> = shares.iter().map(Vec::as_slice).map(lane).collect();
        // The pause before the greeting is not counted: it is there once in a session.
        greeted.wait();
        let began = Instant::now();
        let mut taken = 0;
        for lane in lanes {
            taken += lane.join().map_err(|_| io::Error::other("a connection's thread panicked"))??;
        }
        Ok((taken, began))
    })?;
    println!("{{\"acked\": {taken}, \"secs\": {}}}", began.elapsed().as_secs_f64());
    Ok(())
}

fn open(server: SocketAddr) -> io::Result<Smtp> {
    let mut smtp = Smtp::greeted(None, server)?;
    smtp.command("EHLO mail.stranger.test", "250")?;
    Ok(smtp)
}

/// As far as RCPT.
fn named(server: SocketAddr, recipient: &str) -> io::Result<()> {
    let mut smtp = open(server)?;
    smtp.command(&format!("MAIL FROM:<{SENDER}>"), "250")?;
    smtp.command(&format!("RCPT TO:<{recipient}>"), "250").map(drop)
}

fn deliver(smtp: &mut Smtp, share: &[(String, String)]) -> io::Result<usize> {
    for (recipient, text) in share {
        smtp.command(&format!("MAIL FROM:<{SENDER}>"), "250")?;
        smtp.command(&format!("RCPT TO:<{recipient}>"), "250")?;
        smtp.command("DATA", "354")?;
        smtp.command(&format!("{text}."), "250")?;
    }
    Ok(share.len())
}

/// RFC 6376, RFC 8463: simple in header and body.
fn signed(key: &Ed25519KeyPair, recipient: &str, number: usize) -> String {
    let header = format!(
        "From: {SENDER}\r\nTo: {recipient}\r\nSubject: mail {number}\r\nMessage-ID: <{number}@stranger.test>\r\n"
    );
    let line = format!("This is line after line of the {number}th mail, of which each is another one.\r\n");
    let body = line.repeat(BODY_BYTES / line.len());
    let hash = base64(digest(&SHA256, body.as_bytes()).as_ref());
    let signature = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=simple/simple; d=stranger.test; s=s1;\r\n\th=from:to:subject:message-id; bh={hash};\r\n\tb="
    );
    let sealed = digest(&SHA256, format!("{header}{signature}").as_bytes());
    let seal = base64(key.sign(sealed.as_ref()).as_ref());
    format!("{signature}{seal}\r\n{header}\r\n{body}")
}
