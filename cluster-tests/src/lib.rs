//! A small library that starts, pauses, cuts, kills and checks real Pollux clusters.
//!
//! A story is one file under `tests/`: it builds a [`cluster::Cluster`] from the product's own commands,
//! lets [`traffic::Traffic`] write mail while it breaks something, and hands the [`ledger::Ledger`] of what
//! was acknowledged, kept outside the cluster, to the [`checker::Checker`].
//!
//! Each story runs in a network namespace of its own (nextest runs each test in its own process), which the
//! kernel removes with the last process in it. All waiting is for a condition, with a deadline.

pub mod acme;
pub mod address_watch;
pub mod certificates;
pub mod checker;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod crash;
pub mod disk;
pub mod dkimpy;
pub mod history;
pub mod hostile;
pub mod http;
pub mod imap;
pub mod imaptest;
pub mod lab;
pub mod ledger;
pub mod managesieve;
pub mod nemesis;
pub mod node;
pub mod objects;
pub mod office;
pub mod pop3;
pub mod postfix;
pub mod released;
pub mod sink;
pub mod smtp;
pub mod smtps;
pub mod steps;
pub mod tls;
pub mod traffic;
pub mod verdict;
pub mod verify;
pub mod visitors;
pub mod wait;
pub mod web;
pub mod wire;
