//! The command line's end of the control socket: one question, one answer, blocking.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::request::{Answer, Asked, Failure, LINE_BYTES_MAX, PROTOCOL, Request};

/// The longest that an answer may take: a proposal retries for 10 s, a membership change for longer.
const ANSWER_SECONDS_MAX: u64 = 90;

/// Asks the node behind `socket`.
pub fn ask(socket: &Path, request: Request) -> Result<Value, Failure> {
    ask_patiently(socket, request, Duration::from_secs(ANSWER_SECONDS_MAX))
}

/// The same, where the answer may take `within`.
pub fn ask_patiently(socket: &Path, request: Request, within: Duration) -> Result<Value, Failure> {
    let stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
    match exchange(stream, request, within) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(failure)) => Err(failure),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let problem =
                format!("the node did not answer in {} s; what was asked may still happen", within.as_secs());
            Err(Failure::unavailable(format!("{problem}: look with 'pollux cluster status'")))
        }
        Err(error) => Err(Failure::unavailable(format!(
            "the node broke off ({error}); is it stopping? What was asked may have happened: look before you repeat it"
        ))),
    }
}

/// The connection once the node speaks IMAP on it; its greeting is the first that comes.
pub fn open_imap(socket: &Path) -> Result<UnixStream, Failure> {
    let mut stream = UnixStream::connect(socket).map_err(|error| unreachable(socket, &error))?;
    let broke_off = |error: io::Error| Failure::unavailable(format!("the node broke off: {error}"));
    write(&mut stream, Request::Imap, Duration::from_secs(ANSWER_SECONDS_MAX)).map_err(broke_off)?;
    let mut line = Vec::new();
    // Octet by octet: what follows the line is not ours to read.
    while !line.ends_with(b"\n") && line.len() < LINE_BYTES_MAX {
        let mut octet = [0];
        stream.read_exact(&mut octet).map_err(broke_off)?;
        line.extend(octet);
    }
    match serde_json::from_slice(&line).map_err(|error| broke_off(error.into()))? {
        Answer::Done(_) => Ok(stream),
        Answer::Failed(failure) => Err(failure),
    }
}

fn exchange(mut stream: UnixStream, request: Request, within: Duration) -> io::Result<Answer> {
    write(&mut stream, request, within)?;
    let mut answer = Vec::new();
    // An answer is a listing and may be longer than a request; still it is bounded.
    BufReader::new(stream).take(64 * LINE_BYTES_MAX as u64).read_until(b'\n', &mut answer)?;
    if !answer.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&answer).map_err(io::Error::other)
}

/// `within`: how long its answer may take.
fn write(stream: &mut UnixStream, request: Request, within: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut line = serde_json::to_vec(&Asked { v: PROTOCOL, request })?;
    line.push(b'\n');
    if line.len() > LINE_BYTES_MAX {
        return Err(io::Error::other(format!("the request is longer than {LINE_BYTES_MAX} bytes")));
    }
    stream.write_all(&line)
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let at = socket.display();
    Failure::unavailable(match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "the node is not running (nothing answers at {at}); start it with 'pollux serve', or point to it with --socket or --config"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("no right to open {at}; run this as the user that runs the node, or as root")
        }
        _ => format!("{at} cannot be opened: {error}; point to the node with --socket or --config"),
    })
}
