//! How far a long command is, for people at a terminal; nothing where stderr is none.

use indicatif::{ProgressBar, ProgressStyle};

/// One part after the other, each with a bar of its own.
pub struct Progress {
    bar: ProgressBar,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden() }
    }
}

impl Progress {
    pub fn begin(&mut self, part: &str, steps: u64) {
        self.end();
        let style = ProgressStyle::with_template("{msg:30!} {bar:30} {pos}/{len}  {per_sec}  {eta} left");
        self.bar = ProgressBar::new(steps).with_message(part.to_owned());
        if let Ok(style) = style {
            self.bar.set_style(style);
        }
    }

    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// What is done stays to be read.
    pub fn end(&self) {
        if !self.bar.is_hidden() {
            self.bar.abandon();
        }
    }
}
