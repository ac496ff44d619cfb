//! The Raft log and vote on disk, in `raft-log`, behind one serial writer that groups syncs.
