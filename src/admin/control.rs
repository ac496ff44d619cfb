//! The control socket: JSON lines over a unix socket, for the command line.
