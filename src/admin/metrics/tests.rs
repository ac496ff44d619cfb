//! The table against the conventions of Prometheus (what promtool checks), the text against the table, the listener over
//! sockets.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::table::{Kind, TABLE};
use super::*;
use crate::clock::Clock;
use crate::cluster::figures::{ClusterFigures, ReplicaFigures};
use crate::http::HEAD_BYTES_MAX;
use crate::mail::ids::Timestamp;
use crate::state::alarms::AlarmKind;
use crate::store::files::Space;

fn figures() -> Figures {
    Figures {
        node: "node1".into(),
        role: "data",
        version: "1.2.3",
        cluster: ClusterFigures {
            log_next: 8,
            replica: Some(ReplicaFigures { data_nodes: 2, in_sync_nodes: 1, ..Default::default() }),
            ..Default::default()
        },
        queue: Some(QueueFigures { mails: 3, leases: 1, oldest: Some(Timestamp(1_500)) }),
        disk: Some(Space { total: 100, free: 40 }),
        process: ProcessFigures { cpu_ticks: 250, ..Default::default() },
        alarms: Some(vec![AlarmKind::Degraded, AlarmKind::ClockSkew, AlarmKind::ClockSkew]),
        certificate_ends: Some(Timestamp(2_000)),
    }
}

fn is_snake_case(name: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    name.split('_').all(word)
}

#[test]
fn names_keep_to_the_conventions() {
    // https://prometheus.io/docs/practices/naming/ and what `promtool check metrics` finds.
    let mut seen = BTreeSet::new();
    for metric in TABLE {
        let name = metric.name;
        assert!(seen.insert(name), "{name}: once");
        assert!(is_snake_case(name), "{name}: snake case");
        assert!(name.starts_with("pollux_") || name.starts_with("process_"), "{name}: whose it is");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{name}: counters alone end in _total"
        );
        if metric.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}: histograms are of times");
        }
        for ending in ["_count", "_sum", "_bucket"] {
            assert!(!name.ends_with(ending), "{name}: {ending} is a histogram's");
        }
        let is_info = name.ends_with("_info");
        assert!(!is_info || metric.kind == Kind::Gauge, "{name}: 1 for ever");
        let words: Vec<&str> = name.split('_').collect();
        for unit in
            ["ms", "milliseconds", "micros", "minutes", "hours", "days", "kib", "mib", "percent", "ratio"]
        {
            assert!(!words.contains(&unit), "{name}: {unit} is no base unit");
        }
        let unit = name.trim_end_matches("_total").rsplit('_').next().unwrap_or_default();
        for base in ["seconds", "bytes"] {
            assert!(!words.contains(&base) || unit == base, "{name}: the unit stands last");
        }
        for word in ["counter", "gauge", "histogram"] {
            assert!(!words.contains(&word), "{name}: the type is no part of it");
        }
        let help = metric.help;
        assert!(
            help.len() > 10 && help.ends_with('.') && !help.contains(['\n', '\\', '|']),
            "{name}: {help}"
        );
        for label in metric.labels {
            assert!(is_snake_case(label) && *label != "le", "{name}: {label}");
            assert!(is_info || !words.contains(label), "{name}: {label} is told twice");
        }
    }
}

/// Name, labels and value of each sample.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series
            .split_once('{')
            .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("labels are closed")));
        (name.to_owned(), labels.to_owned(), value.parse().expect("a value is a number"))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

#[test]
fn all_that_is_shown_is_in_the_table_and_all_of_the_table_is_shown() {
    let text = render(&figures());
    let (mut described, mut series) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let mut words = line.split(' ').skip(2);
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        described.insert(name.to_owned(), kind.to_owned());
    }
    assert_eq!(described.len(), TABLE.len(), "every metric has a value on a data node");
    for (name, labels, _) in samples(&text) {
        let metric = TABLE.iter().find(|metric| match metric.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{}{end}", metric.name))
            }
            Kind::Counter | Kind::Gauge => name == metric.name,
        });
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
        let named = labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
        let named: BTreeSet<&str> = named.filter(|label| *label != "le").collect();
        assert_eq!(named, metric.labels.iter().copied().collect::<BTreeSet<_>>(), "{name}{{{labels}}}");
        assert!(series.insert((name.clone(), labels.clone())), "{name}{{{labels}}} comes twice");
    }
    // TYPE stands before the first sample, and a metric's samples stand together.
    let mut open = String::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => open = rest.split(' ').next().unwrap().to_owned(),
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(&open), "{line} stands under {open}"),
        }
    }
}

#[test]
fn histograms_ascend_to_their_count() {
    crate::meters::METERS.commits.note(std::time::Duration::from_millis(3));
    let all = samples(&render(&figures()));
    let of = |wanted: &str| -> Vec<f64> {
        all.iter().filter(|(name, ..)| name == wanted).map(|(.., value)| *value).collect()
    };
    let buckets = of("pollux_commit_seconds_bucket");
    assert!(buckets.is_sorted() && buckets.len() > 10, "{buckets:?}");
    assert_eq!(buckets.last(), of("pollux_commit_seconds_count").first());
    assert!(of("pollux_commit_seconds_sum")[0] >= 0.003);
}

#[test]
fn values_are_in_base_units_and_what_has_none_is_left_out() {
    let text = render(&figures());
    for line in [
        "pollux_build_info{version=\"1.2.3\"} 1",
        "pollux_raft_last_log_index 7",
        "pollux_data_nodes_in_sync 1",
        "pollux_queue_mails 3",
        "pollux_queue_oldest_timestamp_seconds 1.500",
        "pollux_disk_free_bytes 40",
        "pollux_alarms_raised{kind=\"clock-skew\"} 2",
        "pollux_alarms_raised{kind=\"queue-old\"} 0",
        "pollux_certificate_not_after_timestamp_seconds 2.000",
        "process_cpu_seconds_total 2.500",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is missing in\n{text}");
    }
    let witness = render(&Figures { role: "witness", ..Figures::default() });
    for name in [
        "pollux_queue_mails",
        "pollux_in_sync",
        "pollux_body_sync",
        "pollux_disk",
        "pollux_certificate",
        "pollux_alarms",
    ] {
        assert!(!witness.contains(name), "{name}");
    }
    assert!(witness.contains("pollux_log_sync_seconds_count"));
}

#[test]
fn the_document_is_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("POLLUX_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, markdown(), "run: POLLUX_WRITE_DOCS=1 cargo test metrics");
}

#[derive(Clone)]
struct Fixed {
    clock: Clock,
    because: Vec<String>,
}

impl Vitals for Fixed {
    async fn figures(&self) -> Figures {
        figures()
    }

    async fn health(&self) -> Health {
        Health::of(Vec::new())
    }

    async fn readiness(&self) -> Readiness {
        Readiness::of(self.because.clone())
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

async fn ask(request: &str, because: &[&str]) -> String {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, stop) = (listener.address().unwrap(), watch::Sender::new(false));
    let because = because.iter().map(|it| (*it).to_owned()).collect();
    let vitals = Fixed { clock: Clock::fixed(Timestamp(1_795_651_201_000)), because };
    let serving = tokio::spawn(listener.serve(vitals, stop.subscribe()));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    stop.send_replace(true);
    serving.await.unwrap();
    answer
}

#[tokio::test]
async fn each_path_answers_and_others_are_not_there() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let metrics = ask(&get("/metrics"), &[]).await;
    let (head, text) = metrics.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
    assert!(text.contains("\npollux_queue_mails 3\n"));

    let healthy = ask(&get("/healthz"), &[]).await;
    assert!(
        healthy.starts_with("HTTP/1.1 200 OK\r\n") && healthy.ends_with("{\"healthy\":true}\n"),
        "{healthy}"
    );
    let ready = ask(&get("/readyz?verbose"), &[]).await;
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.ends_with("{\"ready\":true}\n"), "{ready}");
    let unready = ask(&get("/readyz"), &["no node leads"]).await;
    assert!(unready.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{unready}");
    assert!(unready.ends_with("{\"ready\":false,\"because\":[\"no node leads\"]}\n"), "{unready}");

    let head = ask("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[]).await;
    assert!(head.contains("Content-Length: 17\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let posted = ask("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &[]).await;
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.contains("Allow: GET, HEAD\r\n"), "{posted}");
    assert!(ask(&get("/"), &[]).await.starts_with("HTTP/1.1 404 "));
    assert!(ask("\x16\x03\x01\x02\x00\x01", &[]).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_head_beyond_the_bound_is_refused() {
    let with_head = async |bytes: usize| {
        let (front, back) = ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        let filler = "x".repeat(bytes - front.len() - back.len());
        ask(&format!("{front}{filler}{back}"), &[]).await[9..12].to_owned()
    };
    assert_eq!(with_head(HEAD_BYTES_MAX).await, "200");
    assert_eq!(with_head(HEAD_BYTES_MAX + 1).await, "431");
}
