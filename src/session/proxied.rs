//! Whose connection it is, where a load balancer in front says so: the header of the PROXY protocol, version 1 or 2, before
//! the client's first byte.
//!
//! For connections from listed addresses only, which must begin with one; nobody else's is believed. Never takes a byte
//! beyond the header: what follows may be TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// A version 1 line with its line end (the specification's own bound).
const LINE_BYTES_MAX: usize = 107;
/// A version 2 header: addresses, and what balancers add about TLS. The specification allows 65,551.
const HEADER_BYTES_MAX: usize = 4_096;
/// From the connection to the end of the header.
const HEADER_MS_MAX: u64 = 5_000;
/// What tells the versions apart; shorter than any header.
const SIGNATURE_BYTES: usize = v2::PROTOCOL_PREFIX.len();
/// Up to and with the length of what follows.
const FIXED_BYTES: usize = SIGNATURE_BYTES + 4;

/// Why the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum Unproxied {
    #[error("no PROXY header came within {HEADER_MS_MAX} ms")]
    Late,
    #[error("it ended within its PROXY header: {0}")]
    Ended(#[from] io::Error),
    #[error("it does not begin with a PROXY header")]
    Missing,
    #[error("its PROXY header is not valid: {0}")]
    Invalid(String),
}

/// The client's address; the balancer's own where the connection is its own, to see whether we are there.
pub async fn client(
    socket: &mut (impl AsyncRead + Unpin),
    balancer: SocketAddr,
) -> Result<SocketAddr, Unproxied> {
    let reading = read_header(socket);
    let header =
        timeout(Duration::from_millis(HEADER_MS_MAX), reading).await.map_err(|_| Unproxied::Late)??;
    Ok(named(&header)?.unwrap_or(balancer))
}

async fn read_header(socket: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Unproxied> {
    let mut header = vec![0; SIGNATURE_BYTES];
    socket.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(FIXED_BYTES, 0);
        socket.read_exact(&mut header[SIGNATURE_BYTES..]).await?;
        let rest = u16::from_be_bytes([header[FIXED_BYTES - 2], header[FIXED_BYTES - 1]]);
        let bytes = FIXED_BYTES + usize::from(rest);
        if bytes > HEADER_BYTES_MAX {
            return Err(Unproxied::Invalid(format!("{bytes} bytes; at most {HEADER_BYTES_MAX} are read")));
        }
        header.resize(bytes, 0);
        socket.read_exact(&mut header[FIXED_BYTES..]).await?;
        return Ok(header);
    }
    if !header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(Unproxied::Missing);
    }
    while header.last() != Some(&b'\n') {
        if header.len() == LINE_BYTES_MAX {
            return Err(Unproxied::Invalid(format!("its line is longer than {LINE_BYTES_MAX} bytes")));
        }
        header.push(socket.read_u8().await?);
    }
    Ok(header)
}

/// `None`: the header names nobody.
fn named(header: &[u8]) -> Result<Option<SocketAddr>, Unproxied> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(pair) => Some((pair.source_address, pair.source_port).into()),
            v1::Addresses::Tcp6(pair) => Some((pair.source_address, pair.source_port).into()),
        }),
        HeaderResult::V2(Ok(header)) => match (header.command, header.protocol, header.addresses) {
            (v2::Command::Local, _, _) => Ok(None),
            (_, v2::Protocol::Datagram, _) => Err(Unproxied::Invalid("it is of a datagram".to_owned())),
            (_, _, v2::Addresses::IPv4(pair)) => Ok(Some((pair.source_address, pair.source_port).into())),
            (_, _, v2::Addresses::IPv6(pair)) => Ok(Some((pair.source_address, pair.source_port).into())),
            // Nothing a mail server could say of such a client.
            (_, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Ok(None),
        },
        HeaderResult::V1(Err(error)) => Err(Unproxied::Invalid(error.to_string())),
        HeaderResult::V2(Err(error)) => Err(Unproxied::Invalid(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const BALANCER: &str = "192.0.2.1:1000";

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, rest].concat()
    }

    /// Whom the header names, whole and one byte at a time; and that what follows it was left alone.
    async fn read(header: &[u8]) -> Result<String, String> {
        let mut results = Vec::new();
        for step in [header.len() + 1, 1] {
            let (mut near, mut far) = tokio::io::duplex(8_192);
            let bytes = [header, b"\x16"].concat();
            let writer = tokio::spawn(async move {
                for part in bytes.chunks(step) {
                    far.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
                far
            });
            let result = client(&mut near, BALANCER.parse().unwrap()).await;
            if result.is_ok() {
                assert_eq!(near.read_u8().await.unwrap(), 0x16);
            }
            drop(near);
            writer.abort();
            results.push(result.map(|address| address.to_string()).map_err(|error| error.to_string()));
        }
        assert_eq!(results[0], results[1]);
        results.remove(0)
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_what_follows_is_left_alone() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 25];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[0x30, 0x39]);
        // With what balancers add: a TLV of type 4.
        let with_tlv = [&v4[..], &[4, 0, 1, 42]].concat();
        for (header, client) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 25\r\n".to_vec(), "203.0.113.7:12345"),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 25\r\n".to_vec(), "[2001:db8::7]:12345"),
            (b"PROXY UNKNOWN\r\n".to_vec(), BALANCER),
            (b"PROXY UNKNOWN 203.0.113.7 10.0.0.1 12345 25\r\n".to_vec(), BALANCER),
            (v2(1, 0x11, &v4), "203.0.113.7:12345"),
            (v2(1, 0x11, &with_tlv), "203.0.113.7:12345"),
            (v2(1, 0x21, &v6), "[2001:db8::7]:12345"),
            // The balancer's own, whatever it says besides.
            (v2(0, 0x11, &v4), BALANCER),
            (v2(0, 0x00, &[]), BALANCER),
            (v2(1, 0x00, &[]), BALANCER),
            (v2(1, 0x31, &[0; 216]), BALANCER),
        ] {
            assert_eq!(read(&header).await.as_deref(), Ok(client), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_at_its_bound() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 25];
        for header in [
            b"EHLO client.example\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 25\n".to_vec(),
            b"PROXY TCP4 203.0.113.256 10.0.0.1 12345 25\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 12345 25\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 25\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(),
            v2(1, 0x12, &v4),
            v2(2, 0x11, &v4),
            v2(1, 0x11, &v4[..11]),
        ] {
            assert!(read(&header).await.is_err(), "{header:?}");
        }
        let line = |bytes: usize| format!("PROXY UNKNOWN {:x<1$}\r\n", "", bytes - 16).into_bytes();
        assert_eq!(read(&line(LINE_BYTES_MAX)).await.as_deref(), Ok(BALANCER));
        assert!(read(&line(LINE_BYTES_MAX + 1)).await.unwrap_err().contains("longer than 107"));
        let header = |bytes: usize| {
            let mut rest = v4.to_vec();
            // One TLV of type 4 to the end.
            let value = bytes - FIXED_BYTES - v4.len() - 3;
            rest.push(4);
            rest.extend(u16::try_from(value).unwrap().to_be_bytes());
            rest.resize(rest.len() + value, 0);
            v2(1, 0x11, &rest)
        };
        assert_eq!(read(&header(HEADER_BYTES_MAX)).await.as_deref(), Ok("203.0.113.7:12345"));
        assert!(read(&header(HEADER_BYTES_MAX + 1)).await.unwrap_err().contains("4097 bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_balancer_that_is_silent_or_goes_is_not_waited_for() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"PROXY TCP4 203.0.113.7 ").await.unwrap();
        let late = client(&mut near, BALANCER.parse().unwrap()).await;
        assert!(matches!(late, Err(Unproxied::Late)), "{late:?}");
        drop(far);
        let ended = client(&mut near, BALANCER.parse().unwrap()).await;
        assert!(matches!(ended, Err(Unproxied::Ended(_))), "{ended:?}");
    }
}
