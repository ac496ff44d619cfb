//! What happened, in order: a hash over all of it, and the last lines for people.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// Lines kept for a report.
const LINES_KEPT: usize = 400;

#[derive(Clone)]
pub struct Trace(Arc<Mutex<State>>);

struct State {
    start: Instant,
    hasher: blake3::Hasher,
    events: u64,
    lines: VecDeque<String>,
    /// Everything to the terminal, as it comes.
    aloud: bool,
}

impl Trace {
    /// Within a runtime whose clock is paused.
    pub fn new(aloud: bool) -> Self {
        let state = State {
            start: Instant::now(),
            hasher: blake3::Hasher::new(),
            events: 0,
            lines: VecDeque::new(),
            aloud,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        let mut state = self.0.lock().unwrap();
        let line = format!("{:>7} {}", state.start.elapsed().as_millis(), what());
        state.hasher.update(line.as_bytes());
        state.events += 1;
        if state.aloud {
            println!("{line}");
        }
        if state.lines.len() == LINES_KEPT {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    pub fn hash(&self) -> String {
        self.0.lock().unwrap().hasher.finalize().to_hex()[..16].to_owned()
    }

    pub fn events(&self) -> u64 {
        self.0.lock().unwrap().events
    }

    pub fn tail(&self) -> String {
        let state = self.0.lock().unwrap();
        state.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}
