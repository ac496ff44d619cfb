//! replicas.
