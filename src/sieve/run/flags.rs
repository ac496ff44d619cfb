//! Flags of the mail, and lists of flags in variables (RFC 5232 2).

use super::{Run, VARIABLE_BYTES_MAX};
use crate::mail::flags::{KEYWORD_BYTES_MAX, KEYWORDS_PER_MAILBOX_MAX, NamedFlags, SystemFlag};
use crate::sieve::program::FlagChange;
use crate::sieve::template::Template;
use crate::sieve::work::Fault;

/// Flags of one list.
pub const FLAGS_MAX: usize = KEYWORDS_PER_MAILBOX_MAX;

impl Run<'_> {
    /// The flags of a `keep` or `fileinto`: those it names, or those of the mail so far.
    pub(super) fn flags_for(&mut self, named_here: Option<&[Template]>) -> Result<NamedFlags, Fault> {
        let Some(templates) = named_here else { return Ok(named(&self.flags)) };
        let mut flags = Vec::new();
        for text in self.expand_all(templates)? {
            self.add(&mut flags, &text)?;
        }
        Ok(named(&flags))
    }

    pub(super) fn change_flags(
        &mut self,
        change: FlagChange,
        variable: Option<usize>,
        templates: &[Template],
    ) -> Result<(), Fault> {
        let texts = self.expand_all(templates)?;
        let mut flags = match (change, variable) {
            (FlagChange::Set, _) => Vec::new(),
            (_, Some(number)) => {
                let mut flags = Vec::new();
                let text = self.variables[number].clone();
                self.add(&mut flags, &text)?;
                flags
            }
            (_, None) => self.flags.clone(),
        };
        for text in &texts {
            match change {
                FlagChange::Set | FlagChange::Add => self.add(&mut flags, text)?,
                FlagChange::Remove => {
                    self.work.spend((text.len() + 1) * (flags.len() + 1))?;
                    let gone: Vec<&str> = text.split_whitespace().collect();
                    flags.retain(|flag| !gone.iter().any(|gone| gone.eq_ignore_ascii_case(flag)));
                }
            }
        }
        match variable {
            Some(number) => self.variables[number] = joined(&flags),
            None => self.flags = flags,
        }
        Ok(())
    }

    /// The flags in a text, each that is one and not there yet. RFC 5232 2: what can be no flag is ignored.
    pub(super) fn add(&mut self, flags: &mut Vec<String>, text: &str) -> Result<(), Fault> {
        for word in text.split_whitespace() {
            self.work.spend(word.len() + flags.len() + 1)?;
            let Some(flag) = flag(word) else { continue };
            if flags.iter().any(|known| known.eq_ignore_ascii_case(flag)) {
                continue;
            }
            if flags.len() == FLAGS_MAX {
                return Err(Fault::new(format!("there are more than {FLAGS_MAX} flags")));
            }
            flags.push(flag.to_owned());
        }
        Ok(())
    }
}

/// RFC 9051 9, `flag`: a system flag that is stored, or a keyword.
fn flag(word: &str) -> Option<&str> {
    if word.starts_with('\\') {
        return SystemFlag::ALL.iter().map(|flag| flag.name()).find(|name| name.eq_ignore_ascii_case(word));
    }
    let fits = word.len() <= KEYWORD_BYTES_MAX
        && word.bytes().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte));
    fits.then_some(word)
}

pub(super) fn named(flags: &[String]) -> NamedFlags {
    let mut named = NamedFlags::default();
    for flag in flags {
        match SystemFlag::ALL.into_iter().find(|system| system.name() == flag) {
            Some(system) => named.system |= system as u8,
            None => named.keywords.push(flag.clone()),
        }
    }
    named
}

/// As the text of a variable, as many as it holds.
fn joined(flags: &[String]) -> String {
    let mut text = String::new();
    for flag in flags {
        if text.len() + 1 + flag.len() > VARIABLE_BYTES_MAX {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(flag);
    }
    text
}
