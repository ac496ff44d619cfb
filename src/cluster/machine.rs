//! Adapts state and tables to openraft: apply, snapshots, the feed.
