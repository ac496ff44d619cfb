//! The certificate of the mail services: read and judged here, and ordered of an ACME server (RFC 8555).
//!
//! How the cluster is told of an order's steps, and how a web server is asked, is given to [`order`](order::Order): this room knows neither
//! Raft nor the network. What it must never do: give a certificate away that does not fit its key, or lacks a name that was
//! ordered.

pub mod due;
pub mod hook;
pub mod order;
pub mod read;
pub mod web;
