//! Every kind of fault once and some in pairs, under the whole crowd of clients; the history is judged. `make soak`
//! does it for hours.

use cluster_tests::nemesis::{self, KINDS, Plan};

/// Printed with the plan; `POLLUX_SEED` tries another.
const SEED: u64 = 3;
const STEPS: usize = KINDS.len();

#[test]
fn nemesis() {
    let seed =
        std::env::var("POLLUX_SEED").ok().map_or(SEED, |seed| seed.parse().expect("POLLUX_SEED is a number"));
    if let Some(figures) = nemesis::run(&Plan::rough(seed, STEPS)) {
        eprintln!("{figures}");
    }
}
