//! Tests: what of the mail each holds against its keys.

use super::{Run, body, cut, dates};
use crate::mail::date::DateTime;
use crate::sieve::check::{is_address_field, zone_minutes};
use crate::sieve::matching::{self, Pattern};
use crate::sieve::program::{AddressPart, Index, MatchKind, Matching, Seen, Test, Zone};
use crate::sieve::template::Template;
use crate::sieve::work::Fault;

/// What parts the user from the detail in a local part (RFC 5233 4).
const SEPARATOR: char = '+';

/// Whether a `:matches` that holds says what its wildcards found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcards {
    Kept,
    /// RFC 5173 6: those of `body` are not.
    Forgotten,
}

impl Run<'_> {
    pub(super) fn test(&mut self, test: &Test) -> Result<bool, Fault> {
        self.work.spend(1)?;
        match test {
            Test::Always(holds) | Test::Have(holds) => Ok(*holds),
            Test::Not(test) => Ok(!self.test(test)?),
            Test::All(tests) => {
                for test in tests {
                    if !self.test(test)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Any(tests) => {
                for test in tests {
                    if self.test(test)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Size { over: true, octets } => Ok(self.mail.size > *octets),
            Test::Size { over: false, octets } => Ok(self.mail.size < *octets),
            Test::Exists(names) => self.exists(names),
            Test::Header { names, index, matching } => {
                let mut values = Vec::new();
                for name in self.expand_all(names)? {
                    values.extend(self.message.decoded(&name, *index, &mut self.work)?);
                }
                self.holds(matching, &values, Wildcards::Kept)
            }
            Test::Address { names, index, part, matching } => {
                let values = self.addresses(names, *index, *part)?;
                self.holds(matching, &values, Wildcards::Kept)
            }
            Test::Envelope { ends, part, matching } => {
                let values = self.envelope(ends, *part)?;
                self.holds(matching, &values, Wildcards::Kept)
            }
            Test::Body { seen, matching } => self.body(seen, matching),
            Test::Date { header, zone, part, matching } => {
                let dates = self.dates(header.as_ref(), zone)?;
                let part = self.expand(part)?;
                let values: Vec<String> = dates.iter().filter_map(|date| dates::part(date, &part)).collect();
                self.holds(matching, &values, Wildcards::Kept)
            }
            Test::Texts { sources, matching } => {
                let mut values = self.expand_all(sources)?;
                if matches!(matching.kind, MatchKind::Count(_)) {
                    // RFC 5229 5: empty ones do not count.
                    values.retain(|value| !value.is_empty());
                }
                self.holds(matching, &values, Wildcards::Kept)
            }
            Test::HasFlag { variables, matching } => self.has_flag(variables.as_deref(), matching),
            Test::MailboxExists(names) => {
                for name in self.expand_all(names)? {
                    self.work.spend(MAILBOX_STEPS)?;
                    if !self.mailboxes.exists(&name) {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    fn exists(&mut self, names: &[Template]) -> Result<bool, Fault> {
        for name in self.expand_all(names)? {
            if !self.message.has(&name, &mut self.work)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn addresses(
        &mut self,
        names: &[Template],
        index: Option<Index>,
        part: AddressPart,
    ) -> Result<Vec<String>, Fault> {
        let mut values = Vec::new();
        for name in self.expand_all(names)? {
            if !is_address_field(&name) {
                continue;
            }
            for mailbox in self.message.mailboxes(&name, index, &mut self.work)? {
                // What lacks either is no address, and has no parts (RFC 5228 5.1).
                let (Some(local), Some(domain)) = (&mailbox.local, &mailbox.domain) else { continue };
                values.extend(address_part(&lossy(local), &lossy(domain), part));
            }
        }
        Ok(values)
    }

    /// RFC 5228 5.4: a null sender is the empty string, whatever part is asked for.
    fn envelope(&mut self, ends: &[Template], part: AddressPart) -> Result<Vec<String>, Fault> {
        let mut values = Vec::new();
        for end in self.expand_all(ends)? {
            let address = match end.to_ascii_lowercase().as_str() {
                "from" => self.mail.sender.unwrap_or_default(),
                "to" => self.mail.recipient,
                _ => continue,
            };
            self.work.spend(address.len() + 1)?;
            match address.rsplit_once('@') {
                Some((local, domain)) => values.extend(address_part(local, domain, part)),
                None if address.is_empty() => values.push(String::new()),
                // `postmaster` has no domain (RFC 5321 4.5.1).
                None => values.extend(match part {
                    AddressPart::All => Some(address.to_owned()),
                    part => address_part(address, "", part).filter(|value| !value.is_empty()),
                }),
            }
        }
        Ok(values)
    }

    fn body(&mut self, seen: &Seen, matching: &Matching) -> Result<bool, Fault> {
        let values = match seen {
            Seen::Raw => body::raw(&self.message, &mut self.work)?,
            Seen::Text => {
                let texts = self.message.texts(&mut self.work)?;
                self.work.spend(texts.iter().map(String::len).sum())?;
                texts.to_vec()
            }
            Seen::Content(types) => {
                let types = self.expand_all(types)?;
                body::content(&mut self.message, &types, &mut self.work)?
            }
        };
        self.holds(matching, &values, Wildcards::Forgotten)
    }

    fn dates(
        &mut self,
        header: Option<&(Template, Option<Index>)>,
        zone: &Zone,
    ) -> Result<Vec<DateTime>, Fault> {
        let zone = match zone {
            Zone::Own => Some(0),
            Zone::Original => None,
            Zone::Given(text) => {
                let text = self.expand(text)?;
                let Some(minutes) = zone_minutes(&text) else { return Ok(Vec::new()) };
                Some(minutes)
            }
        };
        let dates = match header {
            None => vec![DateTime::from_unix(i64::try_from(self.mail.now.0 / 1000).unwrap_or(i64::MAX), 0)],
            Some((name, index)) => {
                let name = self.expand(name)?;
                let values = self.message.values(&name, *index, &mut self.work)?;
                values.into_iter().filter_map(dates::of_field).collect()
            }
        };
        let shown = |date: &DateTime| zone.map_or(*date, |zone| dates::in_zone(date, zone));
        Ok(dates.iter().map(shown).collect())
    }

    /// RFC 5232 4: a key of several words is as many keys.
    fn has_flag(&mut self, variables: Option<&[usize]>, matching: &Matching) -> Result<bool, Fault> {
        let mut flags = Vec::new();
        match variables {
            None => flags.clone_from(&self.flags),
            Some(numbers) => {
                for number in numbers {
                    let text = self.variables[*number].clone();
                    self.work.spend(text.len() + 1)?;
                    flags.extend(text.split_whitespace().map(str::to_owned));
                }
            }
        }
        let keys = self.expand_all(&matching.keys)?;
        let keys = keys.iter().flat_map(|key| key.split_whitespace()).map(str::to_owned).collect();
        self.holds_any(matching, keys, &flags, Wildcards::Kept)
    }

    fn holds(&mut self, matching: &Matching, values: &[String], wildcards: Wildcards) -> Result<bool, Fault> {
        let keys = self.expand_all(&matching.keys)?;
        self.holds_any(matching, keys, values, wildcards)
    }

    /// True when any value stands to any key as is asked.
    fn holds_any(
        &mut self,
        matching: &Matching,
        keys: Vec<String>,
        values: &[String],
        wildcards: Wildcards,
    ) -> Result<bool, Fault> {
        let counted;
        let values = match matching.kind {
            MatchKind::Count(_) => {
                counted = [values.len().to_string()];
                &counted
            }
            _ => values,
        };
        let comparator = matching.comparator;
        let mut folded = Vec::with_capacity(keys.len());
        for key in &keys {
            folded.push(matching::folded(comparator, key, &mut self.work)?);
        }
        let patterns = match matching.kind {
            MatchKind::Matches => {
                let made = folded.iter().map(|key| Pattern::new(key, &mut self.work));
                made.collect::<Result<Vec<_>, _>>()?
            }
            _ => Vec::new(),
        };
        for text in values {
            let value = matching::folded(comparator, text, &mut self.work)?;
            for pattern in &patterns {
                if let Some(found) = pattern.find(&value, &mut self.work)? {
                    if wildcards == Wildcards::Kept {
                        self.remember(text, &found)?;
                    }
                    return Ok(true);
                }
            }
            for key in &folded {
                self.work.spend(1 + key.len().min(value.len()) / 8)?;
                let holds = match matching.kind {
                    MatchKind::Is => matching::is(comparator, &value, key),
                    MatchKind::Contains => matching::contains(&value, key, &mut self.work)?,
                    MatchKind::Matches => false,
                    MatchKind::Value(relation) | MatchKind::Count(relation) => {
                        matching::relates(comparator, relation, &value, key)
                    }
                };
                if holds {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// RFC 5229 3.2: `${0}` is the whole value.
    fn remember(&mut self, text: &str, found: &matching::Captures) -> Result<(), Fault> {
        let whole = 0..text.len();
        let mut matches = Vec::with_capacity(found.len() + 1);
        for range in std::iter::once(&whole).chain(found) {
            self.work.spend(range.len() + 1)?;
            let mut text = text.get(range.clone()).unwrap_or_default().to_owned();
            cut(&mut text);
            matches.push(text);
        }
        self.matches = matches;
        Ok(())
    }
}

/// `None` where there is no such part.
fn address_part(local: &str, domain: &str, part: AddressPart) -> Option<String> {
    let split = local.split_once(SEPARATOR);
    match part {
        AddressPart::All => Some(format!("{local}@{domain}")),
        AddressPart::Local => Some(local.to_owned()),
        AddressPart::Domain => Some(domain.to_owned()),
        AddressPart::User => Some(split.map_or(local, |(user, _)| user).to_owned()),
        AddressPart::Detail => split.map(|(_, detail)| detail.to_owned()),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Work for asking whether a mailbox is there.
const MAILBOX_STEPS: usize = 1000;
