//! Events of mails and metrics in the words of OpenTelemetry's protocol (OTLP 1, over HTTP, as JSON). Pure.
//!
//! All events of one mail, on whichever node they happen, have the same trace id: that of its place in the queue where it has
//! one, else that of its receipt.

use serde_json::{Map, Value as Json, json};

use crate::admin::metrics::{Figures, Kind, Metric, Samples, TABLE, Value};
use crate::mail::ids::Timestamp;
use crate::maillog::{Event, What};
use crate::meters::{BUCKETS_MICROS, TimesSeen};

/// `SEVERITY_NUMBER_INFO`.
const INFO: u8 = 9;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: since the process began.
const CUMULATIVE: u8 = 2;
const PURPOSE: &str = "pollux 2026-11-28 trace id of a mail";

/// Which node tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub node: String,
    pub role: &'static str,
    pub version: &'static str,
}

impl Identity {
    fn resource(&self) -> Json {
        json!({ "attributes": [
            text("service.name", "pollux"),
            text("service.namespace", &self.cluster),
            text("service.instance.id", &self.node),
            text("service.version", self.version),
            text("pollux.role", self.role),
        ]})
    }

    fn scope(&self) -> Json {
        json!({ "name": "pollux", "version": self.version })
    }
}

/// An `ExportLogsServiceRequest`.
pub fn logs(identity: &Identity, events: &[Event], now: Timestamp) -> Json {
    let records: Vec<Json> = events.iter().map(|event| record(identity, event, now)).collect();
    json!({ "resourceLogs": [{
        "resource": identity.resource(),
        "scopeLogs": [{ "scope": identity.scope(), "logRecords": records }],
    }]})
}

fn record(identity: &Identity, event: &Event, now: Timestamp) -> Json {
    let mut fields = match serde_json::to_value(&event.what) {
        Ok(Json::Object(fields)) => fields,
        _ => Map::new(),
    };
    // Its kind is the name of the event.
    let kind = fields.remove("event").and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let mut attributes = Vec::new();
    for (key, value) in fields {
        match value {
            Json::Object(inner) => {
                attributes
                    .extend(inner.iter().map(|(name, value)| attribute(&format!("{key}.{name}"), value)));
            }
            value => attributes.push(attribute(&key, &value)),
        }
    }
    let mut record = json!({
        "timeUnixNano": nanos(Timestamp(event.at)),
        "observedTimeUnixNano": nanos(now),
        "severityNumber": INFO,
        "severityText": "INFO",
        "eventName": format!("pollux.mail.{kind}"),
        "body": { "stringValue": format!("mail {kind}") },
        "attributes": attributes,
    });
    if let Some(trace) = trace_id(identity, &event.what) {
        record["traceId"] = json!(trace);
    }
    record
}

/// `None`: what was refused before it was read has no name.
fn trace_id(identity: &Identity, what: &What) -> Option<String> {
    let name = match (what.queued(), what) {
        (Some(queued), _) => format!("queued {queued}"),
        (None, What::Received(it)) => format!("received {}", it.id),
        (None, What::Heard(it)) => format!("received {}", it.id),
        (None, What::Refused(_) | What::Sent(_)) => return None,
    };
    let digest = blake3::derive_key(PURPOSE, format!("{} {name}", identity.cluster).as_bytes());
    Some(digest[..16].iter().map(|octet| format!("{octet:02x}")).collect())
}

/// An `ExportMetricsServiceRequest` of all metrics that have a value now.
pub fn metrics(identity: &Identity, figures: &Figures, now: Timestamp) -> Json {
    let times = Times { start: figures.process.started, now };
    let all: Vec<Json> = TABLE.iter().filter_map(|it| metric(it, &Samples::of(it, figures), times)).collect();
    json!({ "resourceMetrics": [{
        "resource": identity.resource(),
        "scopeMetrics": [{ "scope": identity.scope(), "metrics": all }],
    }]})
}

#[derive(Clone, Copy)]
struct Times {
    start: Timestamp,
    now: Timestamp,
}

fn metric(metric: &Metric, samples: &Samples, times: Times) -> Option<Json> {
    if samples.is_empty() {
        return None;
    }
    let point = |value: &Value, labels: &[(&'static str, String)]| {
        let mut point = json!({
            "startTimeUnixNano": nanos(times.start),
            "timeUnixNano": nanos(times.now),
            "attributes": labels.iter().map(|(label, word)| text(label, word)).collect::<Vec<_>>(),
        });
        match value {
            Value::Whole(value) => point["asInt"] = json!(value.to_string()),
            Value::Millis(ms) => point["asDouble"] = json!(*ms as f64 / 1e3),
            Value::Times(seen) => put_times(&mut point, seen),
        }
        point
    };
    let points: Vec<Json> = samples.iter().map(|sample| point(&sample.value, &sample.labels)).collect();
    let (word, data) = match metric.kind {
        Kind::Counter => (
            "sum",
            json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true }),
        ),
        Kind::Gauge => ("gauge", json!({ "dataPoints": points })),
        Kind::Histogram => {
            ("histogram", json!({ "dataPoints": points, "aggregationTemporality": CUMULATIVE }))
        }
    };
    Some(json!({ "name": metric.name, "description": metric.help, "unit": unit(metric.name), word: data }))
}

fn put_times(point: &mut Json, seen: &TimesSeen) {
    point["count"] = json!(seen.buckets.iter().sum::<u64>().to_string());
    point["sum"] = json!(seen.micros as f64 / 1e6);
    point["bucketCounts"] = json!(seen.buckets.iter().map(u64::to_string).collect::<Vec<_>>());
    point["explicitBounds"] =
        json!(BUCKETS_MICROS.iter().map(|bound| *bound as f64 / 1e6).collect::<Vec<_>>());
}

/// UCUM, by what Prometheus has in the name.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    match () {
        () if name.ends_with("_seconds") => "s",
        () if name.ends_with("_bytes") => "By",
        () => "1",
    }
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn attribute(key: &str, value: &Json) -> Json {
    json!({ "key": key, "value": any(value) })
}

/// An `AnyValue`; whole numbers are texts in JSON, for they have 64 bits.
fn any(value: &Json) -> Json {
    match value {
        Json::Null => json!({}),
        Json::Bool(value) => json!({ "boolValue": value }),
        Json::Number(value) if value.is_f64() => json!({ "doubleValue": value }),
        Json::Number(value) => json!({ "intValue": value.to_string() }),
        Json::String(value) => json!({ "stringValue": value }),
        Json::Array(values) => {
            json!({ "arrayValue": { "values": values.iter().map(any).collect::<Vec<_>>() } })
        }
        Json::Object(fields) => {
            let values: Vec<Json> = fields.iter().map(|(key, value)| attribute(key, value)).collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}

fn nanos(at: Timestamp) -> String {
    format!("{}000000", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maillog::{Client, Received, Recipient, Refused, Sent};

    fn identity() -> Identity {
        Identity { cluster: "c1".to_owned(), node: "node1".to_owned(), role: "data", version: "0.2.0" }
    }

    fn received(queued: Option<u64>) -> Event {
        let client = Client { address: Some([192, 0, 2, 1].into()), helo: "h".to_owned(), login: None };
        let recipients = vec![Recipient { to: "bob@example.test".to_owned(), outcome: "local".to_owned() }];
        let received = Received {
            id: "ID1".to_owned(),
            message_id: None,
            client,
            sender: "a@far.test".to_owned(),
            recipients,
            checks: Vec::new(),
            decided_by: String::new(),
            outcome: "taken".to_owned(),
            queued,
            entry: Some(7),
            bytes: 1 << 60,
        };
        Event { at: 1_700_000_000_123, what: What::Received(received) }
    }

    fn sent(queued: u64) -> Event {
        let [sender, to, said, outcome] = ["a", "b", "250", "sent"].map(str::to_owned);
        Event { at: 5, what: What::Sent(Sent { queued, sender, to, via: None, tls: None, said, outcome }) }
    }

    fn record_of(event: &Event) -> Json {
        logs(&identity(), std::slice::from_ref(event), Timestamp(9))["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
            .clone()
    }

    #[test]
    fn an_event_is_a_record_with_all_that_is_known() {
        let record = record_of(&received(None));
        assert_eq!(record["timeUnixNano"], "1700000000123000000");
        assert_eq!(record["observedTimeUnixNano"], "9000000");
        assert_eq!(record["eventName"], "pollux.mail.received");
        let value = |key: &str| {
            let attributes = record["attributes"].as_array().unwrap();
            attributes.iter().find(|it| it["key"] == key).map(|it| it["value"].clone())
        };
        assert_eq!(value("id"), Some(json!({ "stringValue": "ID1" })));
        assert_eq!(value("bytes"), Some(json!({ "intValue": "1152921504606846976" })), "64 bits are a text");
        assert_eq!(value("client.address"), Some(json!({ "stringValue": "192.0.2.1" })));
        assert_eq!((value("event"), value("message_id")), (None, None));
        let recipients = value("recipients").unwrap();
        assert_eq!(
            recipients["arrayValue"]["values"][0]["kvlistValue"]["values"][1],
            json!({ "key": "to", "value": { "stringValue": "bob@example.test" } })
        );
        let all = logs(&identity(), &[], Timestamp(9));
        let resource = &all["resourceLogs"][0]["resource"]["attributes"];
        assert_eq!(resource[2], json!({ "key": "service.instance.id", "value": { "stringValue": "node1" } }));
    }

    #[test]
    fn a_mail_has_one_trace_on_all_nodes() {
        let trace = |event: &Event| record_of(event)["traceId"].as_str().map(str::to_owned);
        let queued = trace(&received(Some(7))).unwrap();
        assert!(queued.len() == 32 && queued.bytes().all(|it| it.is_ascii_hexdigit()), "{queued}");
        assert_eq!(trace(&sent(7)).as_ref(), Some(&queued));
        assert_ne!(trace(&sent(8)).as_ref(), Some(&queued));
        assert_ne!(trace(&received(None)).as_ref(), Some(&queued));
        let refused = Refused {
            client: Client::default(),
            sender: String::new(),
            recipient: None,
            said: String::new(),
        };
        assert_eq!(trace(&Event { at: 0, what: What::Refused(refused) }), None);
        let other = Identity { cluster: "c2".to_owned(), ..identity() };
        let elsewhere = logs(&other, &[sent(7)], Timestamp(9));
        assert_ne!(elsewhere["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["traceId"], json!(queued));
    }

    #[test]
    fn all_metrics_are_told_by_their_kinds() {
        let mut figures =
            Figures { node: "node1".to_owned(), role: "data", version: "0.2.0", ..Figures::default() };
        figures.process.started = Timestamp(2);
        let told = metrics(&identity(), &figures, Timestamp(3));
        let all = told["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let find = |name: &str| all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}"));
        let sum = &find("pollux_connections_turned_away_total")["sum"];
        assert_eq!((&sum["isMonotonic"], &sum["aggregationTemporality"]), (&json!(true), &json!(2)));
        let point = &sum["dataPoints"][0];
        assert_eq!(
            (&point["startTimeUnixNano"], &point["timeUnixNano"]),
            (&json!("2000000"), &json!("3000000"))
        );
        assert!(point["asInt"].is_string(), "{point}");
        let info = &find("pollux_node_info")["gauge"]["dataPoints"][0];
        assert_eq!(info["attributes"][0], json!({ "key": "node", "value": { "stringValue": "node1" } }));
        let mut histograms = all.iter().filter(|it| it["histogram"].is_object());
        let point = &histograms.next().expect("there are histograms")["histogram"]["dataPoints"][0];
        let (counts, bounds) = (&point["bucketCounts"], &point["explicitBounds"]);
        assert_eq!(counts.as_array().unwrap().len(), bounds.as_array().unwrap().len() + 1);
        let names: Vec<_> = TABLE.iter().filter(|it| !Samples::of(it, &figures).is_empty()).collect();
        assert_eq!(all.len(), names.len());
        assert_eq!(["a_seconds_total", "a_bytes", "a"].map(unit), ["s", "By", "1"]);
    }
}
