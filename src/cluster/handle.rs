//! The real replica: `replica::Replica` over openraft.
