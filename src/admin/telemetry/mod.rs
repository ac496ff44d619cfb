//! What happens to mails, and how the node is, told to a collector of OpenTelemetry (`telemetry.endpoint` in pollux.toml).
//!
//! It is no part of what is promised: what a collector does not take in time is left out and counted, and nothing waits for it.

mod otlp;

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value as Json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

pub use self::otlp::Identity;
use crate::admin::metrics::Vitals;
use crate::asking::Asking;
use crate::maillog::Event;
use crate::meters::METERS;

/// Events that wait for the collector; further ones are left out.
pub const WAITING_MAX: usize = 8_192;
/// Events of one question.
const BATCH_MAX: usize = 512;
const EVENTS_EACH: Duration = Duration::from_secs(1);
const METRICS_EACH: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Before the next try, at first and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// For what is left when the node stops.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub struct Telemetry<V> {
    /// Without a slash at its end.
    pub endpoint: String,
    pub identity: Identity,
    pub vitals: V,
    pub events: mpsc::Receiver<Event>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// It never will be.
    Refused(String),
    /// Later perhaps.
    Failed(String),
}

impl<V: Vitals> Telemetry<V> {
    /// Until the node stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let client = tokio::task::spawn_blocking(|| Asking::new(None)).await;
        let asking = match client.map_err(|error| error.to_string()).and_then(|made| made) {
            Ok(asking) => asking,
            Err(error) => return warn!("nothing is told to {}: {error}", self.endpoint),
        };
        let mut line = Line::new(asking, self.endpoint.clone());
        let (mut ticks, mut looks) = (interval(EVENTS_EACH), interval(METRICS_EACH));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = pin!(async { drop(stop.wait_for(|stop| *stop).await) });
        // A witness has no mails.
        let (mut batch, mut has_mails) = (Vec::with_capacity(BATCH_MAX), true);
        loop {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                () = &mut stopped => break,
                count = self.events.recv_many(&mut batch, room), if has_mails && room > 0 => has_mails = count > 0,
                _ = ticks.tick() => self.tell_all(&mut line, &mut batch).await,
                _ = looks.tick(), if line.is_due() => {
                    let figures = self.vitals.figures().await;
                    let told = otlp::metrics(&self.identity, &figures, self.vitals.clock().now());
                    // What is lost is told by the next look.
                    line.ask("metrics", &told).await;
                }
            }
        }
        line.retry = Instant::now();
        let _ = timeout(FAREWELL_MAX, self.tell_all(&mut line, &mut batch)).await;
    }

    /// Until nothing waits, or the collector does not take it.
    async fn tell_all(&mut self, line: &mut Line, batch: &mut Vec<Event>) {
        loop {
            while batch.len() < BATCH_MAX
                && let Ok(event) = self.events.try_recv()
            {
                batch.push(event);
            }
            if batch.is_empty() || !line.is_due() {
                return;
            }
            self.tell(line, batch).await;
        }
    }

    /// What is taken, or never will be, is gone from the batch.
    async fn tell(&self, line: &mut Line, batch: &mut Vec<Event>) {
        let told = otlp::logs(&self.identity, batch, self.vitals.clock().now());
        match line.ask("logs", &told).await {
            Outcome::Taken => batch.clear(),
            Outcome::Refused(_) => {
                METERS.telemetry_left_out.add(batch.len() as u64);
                batch.clear();
            }
            Outcome::Failed(_) => {}
        }
    }
}

/// To the collector.
struct Line {
    asking: Asking,
    endpoint: String,
    /// It did not take what it was told last; said once.
    in_trouble: bool,
    pause: Duration,
    retry: Instant,
}

impl Line {
    fn new(asking: Asking, endpoint: String) -> Self {
        Self { asking, endpoint, in_trouble: false, pause: PAUSE_MIN, retry: Instant::now() }
    }

    /// Whether it is time for a try.
    fn is_due(&self) -> bool {
        Instant::now() >= self.retry
    }

    async fn ask(&mut self, what: &str, told: &Json) -> Outcome {
        let outcome = self.ask_once(what, told).await;
        match &outcome {
            Outcome::Taken => {
                self.pause = PAUSE_MIN;
                if std::mem::take(&mut self.in_trouble) {
                    info!("{} takes what it is told again", self.endpoint);
                }
            }
            Outcome::Refused(why) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    warn!("{} refuses what it is told, which is left out: {why}", self.endpoint);
                }
            }
            Outcome::Failed(why) => {
                if !std::mem::replace(&mut self.in_trouble, true) {
                    warn!("{} is told nothing ({why}); what cannot wait is left out", self.endpoint);
                }
                self.retry = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
        }
        outcome
    }

    async fn ask_once(&self, what: &str, told: &Json) -> Outcome {
        let body = Full::new(Bytes::from(told.to_string()));
        let question = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v1/{what}", self.endpoint))
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("Pollux/", env!("CARGO_PKG_VERSION")))
            .body(body.map_err(|never| match never {}).boxed());
        let question = match question {
            Ok(question) => question,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let answer = match self.asking.ask(question, ANSWER_MAX).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let status = answer.status();
        // Read to its end, so that the connection is used again.
        let said = timeout(ANSWER_MAX, Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect()).await;
        let said = said.ok().and_then(Result::ok).map(|said| said.to_bytes()).unwrap_or_default();
        if status.is_success() {
            return Outcome::Taken;
        }
        let said: String = String::from_utf8_lossy(&said).chars().take(200).collect();
        let why = format!("{status} {}", said.split_whitespace().collect::<Vec<_>>().join(" "));
        // OTLP: 429, 502, 503 and 504 are for another try; other servers' errors may pass, too.
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Outcome::Failed(why),
            status if status.is_server_error() => Outcome::Failed(why),
            _ => Outcome::Refused(why),
        }
    }
}
