//! Message bodies on disk: append-only segment files, one fsync for all that gathered, compaction, scrub.
