//! Bodies between two and three nodes in one process.
