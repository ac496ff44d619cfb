//! The one driver: socket, TLS, time and shutdown around a pure machine.
