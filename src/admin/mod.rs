//! Operators: the command line, the control socket, the demo.

pub mod check;
pub mod cli;
pub mod control;
pub mod demo;
pub mod status;
