//! A small library that starts, pauses, cuts, kills and checks real Pollux clusters.
