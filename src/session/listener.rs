//! Listeners per port, live from settings, and their limits.
