//! `pollux demo`: a pair and a witness on loopback, and a tour that tells what it does with times.
//!
//! It uses the product as an administrator would: `init`, `join-token`, `join`, `serve`, `user add`, each
//! as a process of its own. It ends only processes that it started.

mod client;
mod processes;
mod tls;
mod tour;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use processes::Demo;

/// Nodes that hold mail in a demo.
const DATA_NODES_MAX: u16 = 9;
const USERS_MAX: u32 = 10_000;

#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Where the nodes live; must be empty or absent. A temporary folder, removed at the end, if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Data nodes, beside the witness.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=DATA_NODES_MAX as i64))]
    pub nodes: u16,
    /// Node n listens on BASE + (n-1)*1000 + the standard port.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1024..=50_000))]
    pub base_port: u16,
    /// The pair alone.
    #[arg(long)]
    pub no_witness: bool,
    /// alice, bob, carol, then user1, user2 …; each with the password demo-NAME.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=USERS_MAX as i64))]
    pub users: u32,
    /// Starts the nodes and nothing else.
    #[arg(long)]
    pub no_tour: bool,
    /// Stays up after the tour, also without a terminal.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo until the tour is over, or until Ctrl-C or SIGTERM where it stays up.
pub fn run(arguments: DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the demo cannot start: {error}")),
    };
    runtime.block_on(run_until_signal(arguments))
}

async fn run_until_signal(arguments: DemoArgs) -> ExitCode {
    let (mut interrupted, mut terminated) = match (
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()),
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()),
    ) {
        (Ok(interrupted), Ok(terminated)) => (interrupted, terminated),
        (Err(error), _) | (_, Err(error)) => return failed(&format!("signals cannot be caught: {error}")),
    };
    let demo = match Demo::new(&arguments) {
        Ok(demo) => Arc::new(demo),
        Err(error) => return failed(&error),
    };
    let stays = arguments.keep || std::io::stdin().is_terminal();
    let show = tokio::task::spawn_blocking({
        let demo = demo.clone();
        move || perform(&demo, &arguments)
    });
    let shown = tokio::select! {
        shown = show => Some(shown.unwrap_or_else(|_| Err("the demo stumbled over itself".to_owned()))),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
    };
    let code = match shown {
        Some(Err(error)) => failed(&error),
        None => ExitCode::SUCCESS,
        Some(Ok(())) => {
            if stays {
                demo.print_how_to_connect();
                tokio::select! { _ = interrupted.recv() => {}, _ = terminated.recv() => {} }
            }
            ExitCode::SUCCESS
        }
    };
    demo.stop_all();
    code
}

/// Everything that blocks: founding, users, the tour.
fn perform(demo: &Demo, arguments: &DemoArgs) -> Result<(), String> {
    demo.found()?;
    if arguments.no_tour || arguments.nodes < 2 {
        println!("ready");
        return Ok(());
    }
    tour::play(demo)
}

fn failed(error: &str) -> ExitCode {
    eprintln!("pollux demo: {error}");
    ExitCode::FAILURE
}
