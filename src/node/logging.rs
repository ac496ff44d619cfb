//! Where the log goes: stderr, or a file that is appended to.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::Log;

/// Sets up the log of this process. `Err` is one line for the operator.
pub fn start(log: &Log) -> Result<(), String> {
    let filter: EnvFilter =
        filter(&log.level).parse().map_err(|error| format!("log.level {:?}: {error}", log.level))?;
    let (writer, colours) = match &log.file {
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
        Some(path) => {
            let file = File::options().create(true).append(true).open(path).map_err(|error| {
                format!(
                    "{}: the log cannot be written ({error}); correct log.file in pollux.toml",
                    path.display()
                )
            })?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours)
        .with_target(false);
    // A second node in one process (a test) writes to the first one's log.
    let _ = subscriber.try_init();
    Ok(())
}

/// A bare level is ours; the libraries below speak up only when something is wrong. openraft and quinn's sockets
/// warn many times a second of a peer that is away, which the cluster room says once.
fn filter(level: &str) -> String {
    let bare = ["trace", "debug", "info"].contains(&level);
    if bare { format!("warn,openraft=error,quinn_udp=error,pollux={level}") } else { level.to_owned() }
}
