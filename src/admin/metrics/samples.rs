//! The values of one metric, with their labels, in whatever form they are told.

use super::figures::Figures;
use super::table::Metric;
use crate::meters::{By, Label, TimesSeen};

#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Whole(u64),
    /// Told in seconds.
    Millis(u64),
    Times(Box<TimesSeen>),
}

impl Samples {
    /// Those that the metric has now.
    pub fn of(metric: &Metric, figures: &Figures) -> Self {
        let mut samples = Self::default();
        (metric.read)(figures, &mut samples);
        samples
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    pub fn one(&mut self, value: u64) {
        self.with(&[], value);
    }

    /// `None`: there is no value now.
    pub fn maybe(&mut self, value: Option<u64>) {
        value.into_iter().for_each(|value| self.one(value));
    }

    pub fn with(&mut self, labels: &[(&'static str, &str)], value: u64) {
        let labels = labels.iter().map(|(label, word)| (*label, (*word).to_owned())).collect();
        self.0.push(Sample { labels, value: Value::Whole(value) });
    }

    pub fn by<L: Label, const N: usize>(&mut self, counters: &By<L, N>, more: &[(&'static str, &str)]) {
        for (label, count) in counters.all() {
            self.with(&[label.pairs(), more].concat(), count);
        }
    }

    /// Milliseconds, told in seconds.
    pub fn seconds(&mut self, ms: u64) {
        self.0.push(Sample { labels: Vec::new(), value: Value::Millis(ms) });
    }

    pub fn times(&mut self, seen: &TimesSeen) {
        self.0.push(Sample { labels: Vec::new(), value: Value::Times(Box::new(*seen)) });
    }
}
