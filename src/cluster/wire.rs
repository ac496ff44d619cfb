//! Frames and messages between nodes: bounded, versioned, our own bytes.
