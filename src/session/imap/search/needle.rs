//! A text to look for: folded once, compared without case.

use memchr::memmem;

/// Bytes that are folded at a time, so that a huge body is not copied whole.
const FOLD_BYTES: usize = 64 * 1024;

/// Compared without case, as UTF-8. ASCII needles compare ASCII letters alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    folded: String,
    /// Of the text as it was given: the Kelvin sign folds to an ASCII letter.
    ascii: bool,
}

impl Needle {
    pub fn new(text: &str) -> Self {
        Self { folded: folded(text).collect(), ascii: text.is_ascii() }
    }

    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// True when it occurs in `text`; the empty needle occurs everywhere.
    pub fn is_in(&self, text: &str) -> bool {
        let needle = self.folded.as_bytes();
        let finder = memmem::Finder::new(needle);
        let ascii = self.ascii;
        // A needle that is not ASCII, folded, cannot be in a text that is.
        if needle.is_empty() || (!self.folded.is_ascii() && text.is_ascii()) {
            return needle.is_empty();
        }
        let mut window: Vec<u8> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(char_boundary(rest, FOLD_BYTES));
            // What may be the front of a needle that the border cuts in two.
            let kept = window.len().saturating_sub(needle.len() - 1);
            window.drain(..kept);
            if ascii {
                window.extend(chunk.bytes().map(|byte| byte.to_ascii_lowercase()));
            } else {
                window.extend_from_slice(folded(chunk).collect::<String>().as_bytes());
            }
            if finder.find(&window).is_some() {
                return true;
            }
            rest = after;
        }
        false
    }
}

/// Lower case by character, whatever stands around it: a final sigma is a sigma.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase).map(|char| if char == 'ς' { 'σ' } else { char })
}

/// The last boundary between characters at or below `at`; a character is shorter than [`FOLD_BYTES`].
fn char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_does_not_count() {
        for (needle, text) in [
            ("hello", "say HELLO"),
            ("HeLLo w", "hello world"),
            ("jörg", "JÖRG"),
            ("ΟΔΟΣ", "οδος"),
            ("οδος", "ΟΔΟΣ"),
            ("тест", "это ТЕСТ"),
            // The Kelvin sign is a small k to Unicode.
            ("\u{212a}", "20 \u{212a}"),
            ("\u{212a}", "20 K"),
            ("", ""),
        ] {
            assert!(Needle::new(needle).is_in(text), "{needle} in {text}");
        }
        for (needle, text) in [("hello", "hell o"), ("jörg", "JORG"), ("a", "")] {
            assert!(!Needle::new(needle).is_in(text), "{needle} in {text}");
        }
    }

    #[test]
    fn a_needle_is_found_across_the_border_of_what_is_folded() {
        for needle in ["needle", "nädel"] {
            for shift in 0..10 {
                let text = format!("{}{}rest", "x".repeat(FOLD_BYTES - shift), needle.to_uppercase());
                assert!(Needle::new(needle).is_in(&text), "{needle} {shift}");
                assert!(!Needle::new("absent").is_in(&text));
            }
        }
    }

    proptest! {
        #[test]
        fn every_piece_of_a_text_is_in_it(before in ".{0,9}", piece in ".{0,9}", after in ".{0,9}") {
            let text = format!("{before}{piece}{after}");
            prop_assert!(Needle::new(&piece).is_in(&text));
        }
    }
}
