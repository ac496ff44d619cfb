//! The concrete openraft types, named once.
