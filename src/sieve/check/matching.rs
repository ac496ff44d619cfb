//! The tags that many tests share: comparator, match type, address part, index.

use super::Checker;
use super::arguments::{Arguments, Tag};
use crate::sieve::error::{Place, ScriptError, quoted};
use crate::sieve::program::{AddressPart, Comparator, Index, MatchKind, Matching, Relation};

/// Which of the tags a test takes beside comparator and match type.
#[derive(Clone, Copy, Default)]
pub(super) struct Takes {
    pub(super) part: bool,
    pub(super) index: bool,
}

#[derive(Default)]
pub(super) struct Tags {
    kind: Option<MatchKind>,
    comparator: Option<Comparator>,
    part: Option<AddressPart>,
    index: Option<u64>,
    last: Option<Place>,
}

impl Tags {
    /// All tags that come next; others than these are an error.
    pub(super) fn all(
        checker: &Checker,
        arguments: &mut Arguments,
        takes: Takes,
    ) -> Result<Self, ScriptError> {
        let mut tags = Self::default();
        while let Some(tag) = arguments.tag()? {
            if !tags.take(checker, arguments, tag, takes)? {
                return Err(arguments.unknown(tag));
            }
        }
        Ok(tags)
    }

    /// False for a tag that is none of these.
    pub(super) fn take(
        &mut self,
        checker: &Checker,
        arguments: &mut Arguments,
        tag: Tag,
        takes: Takes,
    ) -> Result<bool, ScriptError> {
        match tag.name {
            "is" => self.set_kind(tag, MatchKind::Is)?,
            "contains" => self.set_kind(tag, MatchKind::Contains)?,
            "matches" => self.set_kind(tag, MatchKind::Matches)?,
            "value" | "count" => {
                checker.needs(tag.place, &format!("`:{}`", tag.name), "relational")?;
                let relation = relation(arguments.text("a relation")?)?;
                let is_value = tag.name == "value";
                self.set_kind(
                    tag,
                    if is_value { MatchKind::Value(relation) } else { MatchKind::Count(relation) },
                )?;
            }
            "comparator" => {
                self.comparator = Some(comparator(checker, arguments.text("the name of a comparator")?)?)
            }
            "all" if takes.part => self.set_part(tag, AddressPart::All)?,
            "localpart" if takes.part => self.set_part(tag, AddressPart::Local)?,
            "domain" if takes.part => self.set_part(tag, AddressPart::Domain)?,
            "user" | "detail" if takes.part => {
                checker.needs(tag.place, &format!("`:{}`", tag.name), "subaddress")?;
                self.set_part(tag, if tag.name == "user" { AddressPart::User } else { AddressPart::Detail })?;
            }
            "index" if takes.index => {
                checker.needs(tag.place, "`:index`", "index")?;
                let (number, place) = arguments.number("a number")?;
                self.index = Some(number);
                if number == 0 {
                    return Err(place.error("`:index` counts from 1"));
                }
            }
            "last" if takes.index => {
                checker.needs(tag.place, "`:last`", "index")?;
                self.last = Some(tag.place);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_kind(&mut self, tag: Tag, kind: MatchKind) -> Result<(), ScriptError> {
        match self.kind.replace(kind) {
            Some(_) => Err(tag.error("is a second match type")),
            None => Ok(()),
        }
    }

    fn set_part(&mut self, tag: Tag, part: AddressPart) -> Result<(), ScriptError> {
        match self.part.replace(part) {
            Some(_) => Err(tag.error("is a second address part")),
            None => Ok(()),
        }
    }

    pub(super) fn part(&self) -> AddressPart {
        self.part.unwrap_or(AddressPart::All)
    }

    pub(super) fn index(&self) -> Result<Option<Index>, ScriptError> {
        match (self.index, self.last) {
            (Some(number), last) => Ok(Some(Index { number, from_last: last.is_some() })),
            (None, Some(place)) => Err(place.error("`:last` needs `:index`")),
            (None, None) => Ok(None),
        }
    }

    /// With the keys, which are the test's last argument.
    pub(super) fn matching(
        &self,
        checker: &mut Checker,
        arguments: &mut Arguments,
    ) -> Result<Matching, ScriptError> {
        let (keys, place) = arguments.texts("the keys")?;
        arguments.finish()?;
        let kind = self.kind.unwrap_or(MatchKind::Is);
        let comparator = self.comparator.unwrap_or(Comparator::AsciiCasemap);
        let of_substrings = matches!(kind, MatchKind::Contains | MatchKind::Matches);
        if of_substrings && comparator == Comparator::AsciiNumeric {
            // RFC 4790 9.1.1: it has no substring operation.
            return Err(place.error("the comparator \"i;ascii-numeric\" compares whole numbers alone"));
        }
        Ok(Matching { kind, comparator, keys: checker.templates((keys, place))? })
    }
}

/// RFC 5231 4.1.
fn relation((name, place): (&str, Place)) -> Result<Relation, ScriptError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "gt" => Relation::Greater,
        "ge" => Relation::GreaterOrEqual,
        "lt" => Relation::Less,
        "le" => Relation::LessOrEqual,
        "eq" => Relation::Equal,
        "ne" => Relation::NotEqual,
        _ => return Err(place.error(format!("{} is no relation: gt, ge, lt, le, eq or ne", quoted(name)))),
    })
}

fn comparator(checker: &Checker, (name, place): (&str, Place)) -> Result<Comparator, ScriptError> {
    match name {
        "i;octet" => Ok(Comparator::Octet),
        "i;ascii-casemap" => Ok(Comparator::AsciiCasemap),
        "i;ascii-numeric" => {
            checker.needs(place, "this comparator", "comparator-i;ascii-numeric")?;
            Ok(Comparator::AsciiNumeric)
        }
        _ => Err(place.error(format!("the comparator {} is not known", quoted(name)))),
    }
}
