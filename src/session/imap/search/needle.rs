//! A text to look for, folded once.

/// Compared without case, as UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    folded: String,
}

impl Needle {
    pub fn new(text: &str) -> Self {
        Self { folded: text.to_lowercase() }
    }

    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }
}
