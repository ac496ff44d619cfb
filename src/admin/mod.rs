//! Operators: the command line, the control socket, the demo; and the machines that watch over a node.

pub mod alarms;
pub mod check;
pub mod cli;
pub mod control;
pub mod demo;
pub mod metrics;
pub mod migration;
pub mod security;
pub mod status;
pub mod telemetry;
pub mod upgrade;
pub mod verify;
