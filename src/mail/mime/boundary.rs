//! The boundaries of the multiparts that are open, found by one look-up per length in use, whatever the depth.

use std::collections::HashMap;

/// Bytes of a boundary that are compared. RFC 2046 5.1.1 allows 70; more is met.
pub(super) const BOUNDARY_BYTES_MAX: usize = 127;

/// Which open multipart a line delimits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// The level given to [`Boundaries::open`].
    pub(super) level: usize,
    /// `--boundary--`: the last of its multipart.
    pub(super) last: bool,
}

#[derive(Debug, Default)]
pub(super) struct Boundaries {
    /// Levels with that boundary, the innermost last.
    levels: HashMap<Vec<u8>, Vec<usize>>,
    /// How many boundaries of each length are open, and the lengths as bits.
    of_length: Vec<u32>,
    lengths: u128,
}

impl Boundaries {
    /// What of a boundary parameter is compared; `None` if there is nothing in it.
    pub(super) fn key(param: &[u8]) -> Option<&[u8]> {
        let text = param.trim_ascii_end();
        let text = &text[..text.len().min(BOUNDARY_BYTES_MAX)];
        (!text.is_empty()).then_some(text)
    }

    pub(super) fn open(&mut self, key: &[u8], level: usize) {
        self.of_length.resize(BOUNDARY_BYTES_MAX + 1, 0);
        self.of_length[key.len()] += 1;
        self.lengths |= 1 << key.len();
        self.levels.entry(key.to_vec()).or_default().push(level);
    }

    /// Levels are closed from the innermost outwards.
    pub(super) fn close(&mut self, key: &[u8]) {
        let Some(levels) = self.levels.get_mut(key) else { return };
        levels.pop();
        if levels.is_empty() {
            self.levels.remove(key);
        }
        self.of_length[key.len()] -= 1;
        if self.of_length[key.len()] == 0 {
            self.lengths &= !(1 << key.len());
        }
    }

    /// RFC 2046 5.1.1: a line is a delimiter if it *begins* with `--` and the boundary. Of several that
    /// fit the longest is meant, and of equal ones the innermost.
    pub(super) fn find(&self, line: &[u8]) -> Option<Hit> {
        let rest = line.strip_prefix(b"--")?;
        let mut lengths = self.lengths;
        while lengths != 0 {
            let length = 127 - lengths.leading_zeros() as usize;
            lengths &= !(1 << length);
            let Some(start) = rest.get(..length) else { continue };
            if let Some(level) = self.levels.get(start).and_then(|levels| levels.last()) {
                return Some(Hit { level: *level, last: rest[length..].starts_with(b"--") });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_then_the_innermost_is_meant() {
        let mut open = Boundaries::default();
        for (level, key) in ["a", "ab", "a"].into_iter().enumerate() {
            open.open(key.as_bytes(), level);
        }
        assert_eq!(open.find(b"--abc\r\n"), Some(Hit { level: 1, last: false }));
        assert_eq!(open.find(b"--a--\r\n"), Some(Hit { level: 2, last: true }));
        open.close(b"a");
        assert_eq!(open.find(b"--a"), Some(Hit { level: 0, last: false }));
        open.close(b"ab");
        assert_eq!(open.find(b"--ab--"), Some(Hit { level: 0, last: false }));
        open.close(b"a");
        assert_eq!(open.find(b"--a"), None);
        assert_eq!(open.lengths, 0);
    }

    #[test]
    fn long_boundaries_are_compared_up_to_the_bound() {
        let long = vec![b'x'; 200];
        let key = Boundaries::key(&long).unwrap();
        assert_eq!(key.len(), BOUNDARY_BYTES_MAX);
        let mut open = Boundaries::default();
        open.open(key, 7);
        assert_eq!(open.find(&[b"--", &long[..]].concat()), Some(Hit { level: 7, last: false }));
        assert_eq!(Boundaries::key(b" \t"), None);
    }
}
