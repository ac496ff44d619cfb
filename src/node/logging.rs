//! Where the log goes and in which form: stderr, or a file that is appended to; text, or an object of JSON a line.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::admin::status::rfc3339_ms;
use crate::clock::Clock;
use crate::config::{Log, LogFormat};

/// Sets up the log of this process, which is the node `name`. `Err` is one line for the operator.
pub fn start(log: &Log, name: &str) -> Result<(), String> {
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
        .with_ansi(colours && log.format == LogFormat::Text)
        .with_target(false);
    // A second node in one process (a test) writes to the first one's log.
    let _ = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.event_format(Json { node: name.to_owned() }).try_init(),
    };
    Ok(())
}

/// A bare level is ours; the libraries below speak up only when something is wrong. openraft and quinn's sockets
/// warn many times a second of a peer that is away, which the cluster room says once.
fn filter(level: &str) -> String {
    let bare = ["trace", "debug", "info"].contains(&level);
    if bare { format!("warn,openraft=error,quinn_udp=error,pollux={level}") } else { level.to_owned() }
}

/// An object for each event: `at`, `level`, `target`, `node`, `message`, and the event's own fields.
struct Json {
    node: String,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut line) = fields;
        let about = event.metadata();
        // Behind the event's own, so that these always mean the same.
        for (key, word) in [
            ("at", rfc3339_ms(Clock::system().now())),
            ("level", about.level().to_string().to_ascii_lowercase()),
            ("target", about.target().to_owned()),
            ("node", self.node.clone()),
        ] {
            line.insert(key.to_owned(), Value::String(word));
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_is_in_it() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(Json { node: "node1".into() })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "pollux::mail", from = "a\"b@c.test", bytes = 7u64, node = "x", "taken\nfrom {}", 3);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in [
            ("level", Value::from("warn")),
            ("target", "pollux::mail".into()),
            ("node", "node1".into()),
            ("message", "taken\nfrom 3".into()),
            ("from", "a\"b@c.test".into()),
            ("bytes", 7.into()),
        ] {
            assert_eq!(line[key], value, "{text}");
        }
        assert!(line["at"].as_str().is_some_and(|at| at.ends_with('Z') && at.len() == 24), "{text}");
    }
}
