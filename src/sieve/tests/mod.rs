//! Scripts, and what comes of them: tables by command and test, bounds, properties.

mod compiling;
