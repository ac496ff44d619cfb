//! `make soak HOURS=n`: plan after plan, each on a fresh cluster, until the time is over; then the figures.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cluster_tests::nemesis::{self, Figures, Plan};

/// Steps of one history: some five minutes.
const STEPS: usize = 30;
const USAGE: &str =
    "usage: soak HOURS | soak --seed N [--steps N] | soak --plan FILE (the JSON of a history's first line)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seed = |text: &str| text.parse::<u64>().ok();
    match words.as_slice() {
        ["--seed", text] if seed(text).is_some() => one(&Plan::rough(seed(text).unwrap_or(0), STEPS)),
        ["--seed", text, "--steps", steps] if seed(text).is_some() && steps.parse::<usize>().is_ok() => {
            one(&Plan::rough(seed(text).unwrap_or(0), steps.parse().unwrap_or(STEPS)))
        }
        ["--plan", path] => {
            match std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                Some(plan) => one(&plan),
                None => usage(),
            }
        }
        [hours] => match hours.parse::<f64>() {
            Ok(hours) if hours > 0.0 && hours < 10_000.0 => soak(Duration::from_secs_f64(hours * 3_600.0)),
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn one(plan: &Plan) -> ExitCode {
    let Some(figures) = nemesis::run(plan) else { return ExitCode::FAILURE };
    println!("{figures}");
    ExitCode::SUCCESS
}

fn soak(long: Duration) -> ExitCode {
    let began = Instant::now();
    let mut total = Figures::default();
    while began.elapsed() < long {
        let seed = fastrand::u64(..1_000_000);
        // Every other history keeps to what is promised of service, the rest goes beyond.
        let plan = if seed.is_multiple_of(2) { Plan::single(seed, STEPS) } else { Plan::rough(seed, STEPS) };
        let Some(figures) = nemesis::run(&plan) else { return ExitCode::FAILURE };
        total.add(figures);
        println!("after {} s:\n{total}\n", began.elapsed().as_secs());
    }
    ExitCode::SUCCESS
}
