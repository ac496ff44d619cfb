//! A collector of OpenTelemetry of the stories' own: keeps what it is told by OTLP over HTTP as JSON, or is displeased.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;

/// Listens until the process ends.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    code: u16,
    /// Path and content of what was taken.
    taken: Vec<(String, Value)>,
    /// Questions that were not.
    turned_away: usize,
}

/// An event of a mail, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub node: String,
    pub name: String,
    pub trace: Option<String>,
    pub attributes: Vec<(String, Value)>,
}

impl Told {
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|(it, _)| it == key).map(|(_, value)| value)
    }
}

impl Collector {
    /// In the namespace of the calling thread.
    pub fn start(address: &str) -> Collector {
        let listener = TcpListener::bind(address).expect("the collector's address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State { code: 200, taken: Vec::new(), turned_away: 0 };
        let collector = Collector { address, state: Arc::new(Mutex::new(state)) };
        let serving = collector.clone();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let serving = serving.clone();
                // Who breaks off hears nothing.
                thread::spawn(move || serving.serve(socket).unwrap_or_default());
            }
        });
        collector
    }

    /// What it answers from now on; 200 takes.
    pub fn answers(&self, code: u16) {
        self.state().code = code;
    }

    pub fn turned_away(&self) -> usize {
        self.state().turned_away
    }

    /// All events of mails so far.
    pub fn events(&self) -> Vec<Told> {
        let state = self.state();
        let logs = state.taken.iter().filter(|(path, _)| path == "/v1/logs");
        logs.flat_map(|(_, content)| list(&content["resourceLogs"])).flat_map(|of| events_of(&of)).collect()
    }

    /// The last data of a metric that a node told.
    pub fn metric(&self, node: &str, name: &str) -> Option<Value> {
        let state = self.state();
        let told = state.taken.iter().filter(|(path, _)| path == "/v1/metrics");
        let resources = told.flat_map(|(_, content)| list(&content["resourceMetrics"]));
        let of_node = resources.filter(|of| node_of(of).as_deref() == Some(node));
        let mut all = of_node.flat_map(|of| list(&of["scopeMetrics"][0]["metrics"]));
        all.rfind(|metric| metric["name"] == name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        loop {
            let (mut path, mut length, mut is_json) = (String::new(), 0, false);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_lowercase();
                if let Some(rest) = line.strip_prefix("post ") {
                    rest.split(' ').next().unwrap_or_default().clone_into(&mut path);
                }
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().map_err(io::Error::other)?;
                }
                is_json |= line == "content-type: application/json";
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let code = self.take(&path, is_json, &body);
            socket.write_all(format!("HTTP/1.1 {code} Said\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes())?;
        }
    }

    fn take(&self, path: &str, is_json: bool, body: &[u8]) -> u16 {
        let mut state = self.state();
        match (state.code, is_json, serde_json::from_slice(body)) {
            (200, true, Ok(content)) => {
                state.taken.push((path.to_owned(), content));
                200
            }
            (200, ..) => 400,
            (code, ..) => {
                state.turned_away += 1;
                code
            }
        }
    }
}

fn events_of(of: &Value) -> Vec<Told> {
    let node = node_of(of).unwrap_or_default();
    let records = list(&of["scopeLogs"][0]["logRecords"]);
    let told = |record: Value| Told {
        node: node.clone(),
        name: record["eventName"].as_str().unwrap_or_default().to_owned(),
        trace: record["traceId"].as_str().map(str::to_owned),
        attributes: pairs(&record["attributes"]),
    };
    records.into_iter().map(told).collect()
}

fn node_of(of: &Value) -> Option<String> {
    let attributes = pairs(&of["resource"]["attributes"]);
    let instance = attributes.into_iter().find(|(key, _)| key == "service.instance.id")?;
    Some(instance.1.as_str()?.to_owned())
}

/// With the value that stands within its type.
fn pairs(attributes: &Value) -> Vec<(String, Value)> {
    let pair = |it: Value| {
        let value = it["value"].as_object()?.values().next()?.clone();
        Some((it["key"].as_str()?.to_owned(), value))
    };
    list(attributes).into_iter().filter_map(pair).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
