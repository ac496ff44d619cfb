//! What machines ask that watch over a node: one GET, in the clear.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer of a node may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Code and text; `None` while nobody answers, or not to the end.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    let field = |line: &str| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok();
    let whole = head.lines().find_map(field) == Some(text.len());
    whole.then(|| (code, text.to_owned()))
}
