//! The exposition format of Prometheus, version 0.0.4: HELP, TYPE, samples, a metric at a time.

use std::fmt::Write;

use super::figures::Figures;
use super::table::{Kind, Metric, TABLE};
use crate::meters::{BUCKETS_MICROS, By, Label, TimesSeen};

/// Its type, for HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics that have a value now.
pub fn render(figures: &Figures) -> String {
    let mut text = String::with_capacity(16 * 1024);
    for metric in TABLE {
        let mut samples = Samples { name: metric.name, text: String::new() };
        (metric.read)(figures, &mut samples);
        if samples.text.is_empty() {
            continue;
        }
        let Metric { name, help, kind, .. } = metric;
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
        text.push_str(&samples.text);
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

/// The samples of one metric.
pub struct Samples {
    name: &'static str,
    text: String,
}

impl Samples {
    pub fn one(&mut self, value: u64) {
        self.with(&[], value);
    }

    /// `None`: there is no value now.
    pub fn maybe(&mut self, value: Option<u64>) {
        value.into_iter().for_each(|value| self.one(value));
    }

    pub fn with(&mut self, labels: &[(&str, &str)], value: u64) {
        let name = self.name;
        self.line(name, labels, value);
    }

    pub fn by<L: Label, const N: usize>(&mut self, counters: &By<L, N>, more: &[(&str, &str)]) {
        for (label, count) in counters.all() {
            self.with(&[label.pairs(), more].concat(), count);
        }
    }

    /// Milliseconds, shown in seconds.
    pub fn seconds(&mut self, ms: u64) {
        let name = self.name;
        self.line(name, &[], format_args!("{}.{:03}", ms / 1_000, ms % 1_000));
    }

    pub fn times(&mut self, seen: &TimesSeen) {
        let (name, mut count) = (self.name, 0);
        for (at, bucket) in seen.buckets.iter().enumerate() {
            count += bucket;
            let bound = BUCKETS_MICROS.get(at).map_or("+Inf".to_owned(), |bound| seconds_of(*bound));
            self.line(&format!("{name}_bucket"), &[("le", bound.as_str())], count);
        }
        self.line(&format!("{name}_sum"), &[], seconds_of(seen.micros));
        self.line(&format!("{name}_count"), &[], count);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (at, (label, word)) in labels.iter().enumerate() {
            let front = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{front}{label}=\"{}\"", escaped(word));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
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

    #[test]
    fn samples_are_written_as_the_format_has_them() {
        let mut samples = Samples { name: "a_seconds", text: String::new() };
        samples.with(&[("b", "x\"y\\z\n"), ("c", "")], 7);
        samples.seconds(1_234_005);
        let mut buckets = [0; BUCKETS_MICROS.len() + 1];
        (buckets[0], buckets[2], buckets[14]) = (2, 1, 1);
        samples.times(&TimesSeen { buckets, micros: 6_001_000 });
        let lines: Vec<&str> = samples.text.lines().collect();
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
