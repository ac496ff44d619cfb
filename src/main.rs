//! The `pollux` command. Parses arguments and hands over; holds no logic of its own.

fn main() -> std::process::ExitCode {
    pollux::admin::cli::run(std::env::args_os())
}
