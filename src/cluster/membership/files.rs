//! What a node knows of its cluster before it has heard from anyone: identity, addresses, tokens. Small files, each
//! replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, StartError};
use crate::cluster::keeper::Heard;
use crate::cluster::pki::{ClusterCa, ClusterId, NodeIdentity};
use crate::cluster::token::{Role, Secret, TokenError, TokenRecord, check};
use crate::cluster::transport::PeerAddress;
use crate::cluster::wire;
use crate::mail::ids::{NodeId, Timestamp};
use crate::store::files::{create_dir_durably, write_atomically, write_secret_atomically};

/// Tokens remembered at once; beyond it the ones that expire first go.
const TOKENS_MAX: usize = 64;
/// Removed members remembered; beyond it the oldest are called strangers, which they believe after some seconds.
const REMOVED_MAX: usize = 1_024;

/// The files under the node's data directory.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
}

impl Files {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.join("cluster") }
    }

    /// Readable by the owner alone: keys lie here.
    pub fn create(&self) -> io::Result<()> {
        create_dir_durably(&self.dir)?;
        std::fs::set_permissions(&self.dir, std::fs::Permissions::from_mode(0o700))
    }

    pub fn is_member(&self) -> bool {
        self.identity_path().exists()
    }

    fn identity_path(&self) -> PathBuf {
        self.dir.join("identity.pem")
    }

    pub fn read_identity(&self) -> Result<NodeIdentity, StartError> {
        let path = self.identity_path();
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StartError::new(format!(
                "{} belongs to no cluster yet: run `pollux init` for a new cluster or `pollux join` for an existing one",
                self.dir.display()
            )),
            _ => StartError::new(format!("{}: {error}", path.display())),
        })?;
        NodeIdentity::from_bytes(&bytes)
            .map_err(|error| StartError::new(format!("{}: {error}", path.display())))
    }

    /// The last of a join's or founding's files: with it the node is a member.
    pub fn write_identity(&self, identity: &NodeIdentity) -> io::Result<()> {
        write_secret_atomically(&self.identity_path(), &identity.to_bytes())
    }

    /// A data node's copy of the CA, with which it lets others in.
    pub fn read_ca(&self) -> Result<ClusterCa, String> {
        let read =
            |name: &str| std::fs::read_to_string(self.dir.join(name)).map_err(|error| error.to_string());
        let (certificate, key) = read("ca.pem").and_then(|ca| Ok((ca, read("ca.key")?))).map_err(|why| {
            format!(
                "this node cannot let others in, for it lacks the cluster's CA key ({why}): ask a data node"
            )
        })?;
        ClusterCa::from_pem(&certificate, &key).map_err(|error| error.to_string())
    }

    pub fn write_ca(&self, certificate_pem: &str, key_pem: &str) -> io::Result<()> {
        write_atomically(&self.dir.join("ca.pem"), certificate_pem.as_bytes())?;
        write_secret_atomically(&self.dir.join("ca.key"), key_pem.as_bytes())
    }

    /// The members as last heard, so that a restarted node can be found and find others.
    pub fn read_peers(&self) -> BTreeMap<NodeId, PeerAddress> {
        let bytes = std::fs::read(self.dir.join("peers")).unwrap_or_default();
        wire::decode(&bytes).unwrap_or_default()
    }

    pub fn write_peers(&self, peers: &BTreeMap<NodeId, PeerAddress>) -> io::Result<()> {
        let bytes = wire::encode(peers).map_err(io::Error::other)?;
        write_atomically(&self.dir.join("peers"), &bytes)
    }

    /// Members that a peer spoke of, so that a restarted node finds them also when that peer is gone.
    pub fn read_heard(&self) -> Heard {
        let bytes = std::fs::read(self.dir.join("heard")).unwrap_or_default();
        Heard::decode(&bytes).unwrap_or_default()
    }

    pub fn write_heard(&self, heard: &Heard) -> io::Result<()> {
        let bytes = heard.encode().map_err(io::Error::other)?;
        write_atomically(&self.dir.join("heard"), &bytes)
    }

    /// Members that were removed, so that they hear it also from a node that was started since.
    pub fn read_removed(&self) -> BTreeSet<NodeId> {
        let bytes = std::fs::read(self.dir.join("removed")).unwrap_or_default();
        wire::decode(&bytes).unwrap_or_default()
    }

    pub fn add_removed(&self, nodes: BTreeSet<NodeId>) -> io::Result<()> {
        let _turn = turn();
        let mut removed = self.read_removed();
        removed.extend(nodes);
        while removed.len() > REMOVED_MAX {
            removed.pop_first();
        }
        let bytes = wire::encode(&removed).map_err(io::Error::other)?;
        write_atomically(&self.dir.join("removed"), &bytes)
    }

    /// The founder makes the first log entry at its first start.
    pub fn is_founder(&self) -> bool {
        self.dir.join("founder").exists()
    }

    fn write_founder(&self) -> io::Result<()> {
        write_atomically(&self.dir.join("founder"), b"1\n")
    }

    pub fn add_token(&self, record: TokenRecord, now: Timestamp) -> io::Result<()> {
        let _turn = turn();
        let mut records = self.read_tokens();
        records.retain(|record| record.expires > now);
        records.sort_by_key(|record| record.expires);
        while records.len() >= TOKENS_MAX {
            records.remove(0);
        }
        records.push(record);
        self.write_tokens(&records)
    }

    /// Uses a token up, durably, before anything is done on its word.
    pub fn burn_token(&self, secret: &Secret, role: Role, now: Timestamp) -> Result<(), String> {
        let _turn = turn();
        let mut records = self.read_tokens();
        let at = check(&records, secret, role, now).map_err(|error: TokenError| error.to_string())?;
        records[at].used = true;
        self.write_tokens(&records).map_err(|error| error.to_string())
    }

    /// What the token was used for did not happen: it may be used again.
    pub fn restore_token(&self, secret: &Secret) -> io::Result<()> {
        let _turn = turn();
        let mut records = self.read_tokens();
        let hash = secret.hash();
        records.iter_mut().filter(|record| record.hash == hash).for_each(|record| record.used = false);
        self.write_tokens(&records)
    }

    fn read_tokens(&self) -> Vec<TokenRecord> {
        let bytes = std::fs::read(self.dir.join("tokens")).unwrap_or_default();
        wire::decode(&bytes).unwrap_or_default()
    }

    fn write_tokens(&self, records: &Vec<TokenRecord>) -> io::Result<()> {
        let bytes = wire::encode(records).map_err(io::Error::other)?;
        write_secret_atomically(&self.dir.join("tokens"), &bytes)
    }
}

/// Who reads a file to write it anew does so alone: a token that is being made must not bring a used one back.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this directory the first node of a new cluster. Blocks; [`super::super::start`] does the rest.
pub fn found(config: &ClusterConfig, clock: &Clock) -> Result<(ClusterId, NodeId), StartError> {
    let ca = found_beginning(config, clock, Beginning::Empty)?;
    Ok((ca.cluster(), NodeId(1)))
}

/// What a new cluster begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// The founder makes the first entry of its log.
    Empty,
    /// Rows that are laid down, and a log that begins behind them.
    Rows,
}

pub fn found_beginning(
    config: &ClusterConfig,
    clock: &Clock,
    beginning: Beginning,
) -> Result<ClusterCa, StartError> {
    if config.role != Role::Data {
        return Err(StartError::new("the first node of a cluster is a data node: a witness joins later"));
    }
    let files = Files::new(&config.dir);
    if files.is_member() {
        return Err(StartError::new(format!(
            "{} belongs to a cluster already: choose another directory",
            config.dir.display()
        )));
    }
    let mut id = [0; 16];
    clock.fill(&mut id);
    let (cluster, node, now) = (ClusterId(id), NodeId(1), clock.now());
    let ca = ClusterCa::create(cluster, now).map_err(StartError::new)?;
    let identity = ca.issue(node, now).map_err(StartError::new)?;
    let write = || -> io::Result<()> {
        files.create()?;
        files.write_ca(ca.certificate_pem(), &ca.key_pem())?;
        if beginning == Beginning::Empty {
            files.write_founder()?;
        }
        files.write_identity(&identity)
    };
    write().map_err(|error| StartError::new(format!("{}: {error}", config.dir.display())))?;
    Ok(ca)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        files.create().unwrap();
        (dir, files)
    }

    #[test]
    fn a_token_lets_in_once() {
        let (_dir, files) = files();
        let secret = Secret([7; 32]);
        let record =
            TokenRecord { hash: secret.hash(), role: Role::Witness, expires: Timestamp(100), used: false };
        files.add_token(record, Timestamp(1)).unwrap();
        assert!(files.burn_token(&secret, Role::Data, Timestamp(2)).is_err(), "another role");
        files.burn_token(&secret, Role::Witness, Timestamp(2)).unwrap();
        assert!(files.burn_token(&secret, Role::Witness, Timestamp(2)).is_err(), "used");
        files.restore_token(&secret).unwrap();
        assert!(files.burn_token(&secret, Role::Witness, Timestamp(100)).is_err(), "expired");
        files.burn_token(&secret, Role::Witness, Timestamp(99)).unwrap();
    }

    #[test]
    fn of_many_at_once_one_uses_a_token_while_others_are_made() {
        let (_dir, files) = files();
        let record = |seed: u8| TokenRecord {
            hash: Secret([seed; 32]).hash(),
            role: Role::Data,
            expires: Timestamp(1_000),
            used: false,
        };
        files.add_token(record(0), Timestamp(1)).unwrap();
        let used = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for seed in 1..9 {
                let (files, used, record) = (&files, &used, &record);
                scope.spawn(move || files.add_token(record(seed), Timestamp(1)).unwrap());
                scope.spawn(move || {
                    let burnt = files.burn_token(&Secret([0; 32]), Role::Data, Timestamp(2));
                    used.fetch_add(u32::from(burnt.is_ok()), std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
        assert_eq!((used.into_inner(), files.read_tokens().len()), (1, 9));
    }

    #[test]
    fn removed_members_are_remembered_up_to_a_bound() {
        let (_dir, files) = files();
        assert_eq!(files.read_removed(), BTreeSet::new());
        files.add_removed([NodeId(2)].into()).unwrap();
        files.add_removed((3..=REMOVED_MAX as u64 + 2).map(NodeId).collect()).unwrap();
        let removed = files.read_removed();
        assert_eq!((removed.len(), removed.first()), (REMOVED_MAX, Some(&NodeId(3))));
    }

    #[test]
    fn tokens_are_bounded() {
        let (_dir, files) = files();
        for at in 0..=TOKENS_MAX as u64 {
            let secret = Secret([at as u8; 32]);
            let record = TokenRecord {
                hash: secret.hash(),
                role: Role::Data,
                expires: Timestamp(1000 + at),
                used: false,
            };
            files.add_token(record, Timestamp(1)).unwrap();
        }
        assert_eq!(files.read_tokens().len(), TOKENS_MAX);
        assert!(
            files.burn_token(&Secret([0; 32]), Role::Data, Timestamp(2)).is_err(),
            "the first to expire went"
        );
        files.burn_token(&Secret([1; 32]), Role::Data, Timestamp(2)).unwrap();
    }
}
