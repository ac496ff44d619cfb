//! `pollux cluster upgrade status`: which builds the nodes run and what the next step is, as JSON and as text.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::cluster::upgrade::{Next, NodeBuild, Upgrade};
use crate::config::Role;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub cluster_version: u32,
    /// What it can be raised to now; null: nothing.
    pub finalize_to: Option<u32>,
    /// Why it cannot be raised yet, although some node knows a newer version.
    pub waits_for: Option<String>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: u64,
    pub name: String,
    pub role: Role,
    /// null: it does not answer.
    pub runs: Option<Runs>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    pub build: String,
    /// Cluster versions that it can be run at.
    pub oldest: u16,
    pub newest: u16,
}

impl Report {
    /// `role` makes the operator's word of the cluster's.
    pub fn new(upgrade: Upgrade, role: impl Fn(&NodeBuild) -> Role) -> Self {
        let (finalize_to, waits_for) = match upgrade.next {
            Next::None => (None, None),
            Next::Ready(version) => (Some(version), None),
            Next::Waits(why) => (None, Some(why)),
        };
        let node = |node: &NodeBuild| Node {
            id: node.id.0,
            name: node.name.clone(),
            role: role(node),
            runs: node.runs.as_ref().map(|runs| Runs {
                build: runs.build.clone(),
                oldest: runs.versions.min,
                newest: runs.versions.max,
            }),
        };
        Self {
            cluster_version: upgrade.cluster_version,
            finalize_to,
            waits_for,
            nodes: upgrade.nodes.iter().map(node).collect(),
        }
    }

    /// What is to be done next, in one line.
    pub fn advice(&self) -> String {
        match (self.finalize_to, &self.waits_for) {
            (Some(version), _) => format!(
                "All nodes know version {version}. Until 'pollux cluster upgrade finalize' each may go back to the build before it; \
                 after it, none."
            ),
            (None, Some(why)) => format!("The upgrade waits: {why}."),
            (None, None) => "No node knows a newer version: there is nothing to finalise.".to_owned(),
        }
    }
}

/// As people read it, ending in a line feed. `columns` aligns cells.
pub fn render(report: &Report, columns: impl Fn(&[Vec<String>]) -> String) -> String {
    let mut rows = vec![["NODE", "ROLE", "BUILD", "VERSIONS"].map(str::to_owned).to_vec()];
    rows.extend(report.nodes.iter().map(|node| {
        let (build, versions) = match &node.runs {
            Some(Runs { build, oldest, newest }) if oldest == newest => (build.clone(), newest.to_string()),
            Some(Runs { build, oldest, newest }) => (build.clone(), format!("{oldest}-{newest}")),
            None => ("?".to_owned(), "does not answer".to_owned()),
        };
        vec![node.name.clone(), node.role.word().to_owned(), build, versions]
    }));
    let mut text = columns(&rows);
    let _ = write!(text, "\nThe cluster's version is {}. {}\n", report.cluster_version, report.advice());
    text
}
