//! The exposition format of Prometheus, version 0.0.4: HELP, TYPE, samples, a metric at a time.

use std::fmt::Write;

use super::figures::Figures;
use super::samples::{Sample, Samples, Value};
use super::table::{Kind, Metric, TABLE};
use crate::meters::BUCKETS_MICROS;

/// Its type, for HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics that have a value now.
pub fn render(figures: &Figures) -> String {
    let mut text = String::with_capacity(16 * 1024);
    for metric in TABLE {
        let samples = Samples::of(metric, figures);
        if samples.is_empty() {
            continue;
        }
        let Metric { name, help, kind, .. } = metric;
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
        samples.iter().for_each(|sample| write_sample(&mut text, name, sample));
    }
    text
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

fn write_sample(text: &mut String, name: &str, sample: &Sample) {
    let labels: Vec<(&str, &str)> =
        sample.labels.iter().map(|(label, word)| (*label, word.as_str())).collect();
    match &sample.value {
        Value::Whole(value) => line(text, name, &labels, value),
        Value::Millis(ms) => {
            line(text, name, &labels, format_args!("{}.{:03}", ms / 1_000, ms % 1_000));
        }
        Value::Times(seen) => {
            let mut count = 0;
            for (at, bucket) in seen.buckets.iter().enumerate() {
                count += bucket;
                let bound = BUCKETS_MICROS.get(at).map_or("+Inf".to_owned(), |bound| seconds_of(*bound));
                line(text, &format!("{name}_bucket"), &[("le", bound.as_str())], count);
            }
            line(text, &format!("{name}_sum"), &[], seconds_of(seen.micros));
            line(text, &format!("{name}_count"), &[], count);
        }
    }
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    text.push_str(name);
    for (at, (label, word)) in labels.iter().enumerate() {
        let front = if at == 0 { '{' } else { ',' };
        // Writing to a string cannot fail.
        let _ = write!(text, "{front}{label}=\"{}\"", escaped(word));
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{end} {value}");
}

fn seconds_of(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meters::TimesSeen;

    #[test]
    fn samples_are_written_as_the_format_has_them() {
        let mut samples = Samples::default();
        samples.with(&[("b", "x\"y\\z\n"), ("c", "")], 7);
        samples.seconds(1_234_005);
        let mut buckets = [0; BUCKETS_MICROS.len() + 1];
        (buckets[0], buckets[2], buckets[14]) = (2, 1, 1);
        samples.times(&TimesSeen { buckets, micros: 6_001_000 });
        let mut text = String::new();
        samples.iter().for_each(|sample| write_sample(&mut text, "a_seconds", sample));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"a_seconds{b="x\"y\\z\n",c=""} 7"#);
        assert_eq!(lines[1], "a_seconds 1234.005");
        assert_eq!(lines[2], r#"a_seconds_bucket{le="0.00025"} 2"#);
        assert_eq!(lines[4], r#"a_seconds_bucket{le="0.001"} 3"#);
        assert_eq!(
            lines[15..],
            [
                r#"a_seconds_bucket{le="5"} 3"#,
                r#"a_seconds_bucket{le="+Inf"} 4"#,
                "a_seconds_sum 6.001",
                "a_seconds_count 4"
            ]
        );
    }
}
