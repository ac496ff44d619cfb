//! How far a long command is, for people at a terminal; nothing where stderr is none.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::backup::progress::{self, Phase, Step};

/// So often a line is drawn anew.
const DRAWN_EACH: Duration = Duration::from_millis(200);

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

/// Works, and shows meanwhile how far it is.
pub fn shown_while<T>(progress: &progress::Progress, work: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::new_spinner();
    if bar.is_hidden() {
        return work();
    }
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let drawn = bar.clone();
        scope.spawn(move || {
            while is_done.recv_timeout(DRAWN_EACH) == Err(RecvTimeoutError::Timeout) {
                drawn.set_message(line(&progress.step()));
                drawn.tick();
            }
        });
        let result = work();
        drop(done);
        bar.finish_and_clear();
        result
    })
}

fn line(step: &Step) -> String {
    let of = match step.bodies_wanted {
        0 => String::new(),
        wanted => format!(" of {wanted}"),
    };
    match step.phase {
        Phase::Rows => format!("rows: {}", step.rows),
        Phase::Bodies => format!("messages: {}{of}, {}", step.bodies, HumanBytes(step.bytes)),
        phase => phase.word().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let step = Step { rows: 3, bodies: 2, bytes: 2048, ..Step::default() };
        let at = |phase, bodies_wanted| line(&Step { phase, bodies_wanted, ..step });
        assert_eq!(at(Phase::Beginning, 0), "beginning");
        assert_eq!(at(Phase::Rows, 0), "rows: 3");
        assert_eq!(at(Phase::Bodies, 0), "messages: 2, 2.00 KiB");
        assert_eq!(at(Phase::Bodies, 5), "messages: 2 of 5, 2.00 KiB");
    }
}
