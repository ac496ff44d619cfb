//! What machines that watch over a node are told, over HTTP on an address of its own (`metrics.address` in pollux.toml):
//! `/metrics` for Prometheus, `/healthz` for whoever restarts it, `/readyz` for whoever sends it clients.
//!
//! Tells numbers, names of settings and of nodes; never a user, an address or a subject. There is no login: who may
//! connect may read. Changes nothing.

mod docs;
mod figures;
mod samples;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::future::Future;

use serde::Serialize;

pub use self::docs::markdown;
pub use self::figures::{Figures, ProcessFigures, QueueFigures};
pub use self::samples::{Samples, Value};
pub use self::server::Listener;
pub use self::table::{Kind, Metric, TABLE};
pub use self::text::render;

/// How the node is; the composition root binds it.
pub trait Vitals: Clone + Send + Sync + 'static {
    fn figures(&self) -> impl Future<Output = Figures> + Send;
    /// Whether the process does its work at all; `unwell` is for whoever may restart it.
    fn health(&self) -> impl Future<Output = Health> + Send;
    /// Whether clients are served here, and what they are told holds.
    fn readiness(&self) -> impl Future<Output = Readiness> + Send;
    fn clock(&self) -> &crate::clock::Clock;
}

/// No reason against it: it is so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    pub healthy: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    pub ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

impl Health {
    pub fn of(because: Vec<String>) -> Self {
        Self { healthy: because.is_empty(), because }
    }
}

impl Readiness {
    pub fn of(because: Vec<String>) -> Self {
        Self { ready: because.is_empty(), because }
    }
}
