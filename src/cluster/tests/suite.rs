//! openraft's own storage suite, on our log and machine.

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::cluster::feed::Feed;
use crate::cluster::log::RaftLog;
use crate::cluster::machine::{Keeping, Machine, Watched, WitnessFile};
use crate::cluster::types::{Role, TypeConfig};
use crate::store::log::{LogLimits, LogStore};
use crate::store::tables::Tables;

struct Builder(Role);

impl StoreBuilder<TypeConfig, RaftLog, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, RaftLog, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        let log = LogStore::open(&dir.path().join("raft"), LogLimits::DATA_NODE).unwrap();
        let keeping = match self.0 {
            Role::Data => {
                std::fs::create_dir(dir.path().join("tables")).unwrap();
                let tables = Tables::open(&dir.path().join("tables")).unwrap();
                Keeping::Data { tables, feed: Feed::new(None).0 }
            }
            Role::Witness => Keeping::Witness(WitnessFile::new(dir.path().join("witness"))),
        };
        let watched = Watched::default();
        let machine = Machine::open(keeping, watched.clone()).unwrap();
        // The suite cuts below what is applied, which a running node never does: its floor is not handed over.
        Ok((dir, RaftLog::new(log, Default::default()), machine))
    }
}

#[test]
fn the_data_nodes_storage_passes_the_suite() {
    run(Role::Data);
}

#[test]
fn the_witness_storage_passes_the_suite() {
    run(Role::Witness);
}

fn run(role: Role) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder(role))).unwrap();
}
