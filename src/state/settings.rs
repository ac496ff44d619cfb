//! Every replicated setting as one declarative table: key, type, unit, default, bounds, help, since-version.
