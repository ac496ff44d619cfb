//! Placing bodies on all in-sync data nodes, fetching, catching up, scrubbing.
