//! Transcripts against the pure machine, and tables of what bodies may not hold.
