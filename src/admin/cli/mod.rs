//! The command line.

/// Runs one command. Exit 0 done, 1 failed, 2 usage.
pub fn run(_arguments: std::env::ArgsOs) -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
