//! The only rename and directory sync: files that are replaced whole or not at all.
