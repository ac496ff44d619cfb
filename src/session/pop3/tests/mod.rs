//! Transcripts against the pure machine.
