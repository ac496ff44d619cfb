//! The composition root: builds the rooms bottom-up, stops them top-down. Alone knows everyone.
