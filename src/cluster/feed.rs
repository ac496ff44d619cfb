//! What apply changed, to the views and watchers; never blocks apply.
