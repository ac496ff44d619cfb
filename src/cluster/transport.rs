//! Two QUIC endpoints a node, mutual TLS, calls and framed streams. Knows nothing of Raft.
