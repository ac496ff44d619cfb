//! `cluster status` as a table and as JSON.
