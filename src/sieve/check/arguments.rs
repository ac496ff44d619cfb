//! The arguments of a command or test, in order: tagged ones in any order, then the others (RFC 5228 2.6).

use crate::sieve::error::{Place, ScriptError, quoted};
use crate::sieve::grammar::{Argument, Node, Value};

pub(super) struct Arguments<'a> {
    node: &'a Node,
    rest: &'a [Argument],
    tags: Vec<&'a str>,
}

/// A tag, and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
}

impl Tag<'_> {
    pub(super) fn error(&self, what: &str) -> ScriptError {
        self.place.error(format!("`:{}` {what}", self.name))
    }
}

impl<'a> Arguments<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self { node, rest: &node.arguments, tags: Vec::new() }
    }

    /// The next argument, if it is a tag. The same twice is an error.
    pub(super) fn tag(&mut self) -> Result<Option<Tag<'a>>, ScriptError> {
        let Some((Argument { place, value: Value::Tag(name) }, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let tag = Tag { name, place: *place };
        if self.tags.contains(&tag.name) {
            return Err(tag.error("is given twice"));
        }
        self.tags.push(tag.name);
        self.rest = rest;
        Ok(Some(tag))
    }

    /// What is said of a tag that nothing is known of.
    pub(super) fn unknown(&self, tag: Tag) -> ScriptError {
        tag.error(&format!("is not known to `{}`", self.node.name))
    }

    /// How many arguments are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn text(&mut self, what: &str) -> Result<(&'a str, Place), ScriptError> {
        let (texts, place) = self.texts(what)?;
        match (texts, self.was_listed()) {
            ([text], false) => Ok((text, place)),
            _ => {
                Err(place
                    .error(format!("`{}` takes {what} as one string here, not as a list", self.node.name)))
            }
        }
    }

    /// A string list, or a string in place of a list of one.
    pub(super) fn texts(&mut self, what: &str) -> Result<(&'a [String], Place), ScriptError> {
        let Some((argument, rest)) = self.rest.split_first() else { return Err(self.missing(what)) };
        let Value::Texts { texts, .. } = &argument.value else { return Err(self.other(argument, what)) };
        self.rest = rest;
        Ok((texts, argument.place))
    }

    pub(super) fn number(&mut self, what: &str) -> Result<(u64, Place), ScriptError> {
        let Some((argument, rest)) = self.rest.split_first() else { return Err(self.missing(what)) };
        let Value::Number(number) = argument.value else { return Err(self.other(argument, what)) };
        self.rest = rest;
        Ok((number, argument.place))
    }

    /// No argument may be left.
    pub(super) fn finish(&self) -> Result<(), ScriptError> {
        match self.rest.first() {
            None => Ok(()),
            Some(Argument { place, value: Value::Tag(name) }) => {
                let tag = Tag { name, place: *place };
                Err(match self.rest.len() == self.node.arguments.len() {
                    true => self.unknown(tag),
                    false => tag.error("must stand before the strings and numbers"),
                })
            }
            Some(argument) => Err(argument.place.error(format!("`{}` takes no more here", self.node.name))),
        }
    }

    /// The argument that was taken last stood in brackets.
    fn was_listed(&self) -> bool {
        let taken = self.node.arguments.len() - self.rest.len();
        let last = taken.checked_sub(1).and_then(|at| self.node.arguments.get(at));
        matches!(last, Some(Argument { value: Value::Texts { listed: true, .. }, .. }))
    }

    fn missing(&self, what: &str) -> ScriptError {
        self.node.place.error(format!("`{}` lacks {what}", self.node.name))
    }

    fn other(&self, argument: &Argument, what: &str) -> ScriptError {
        let found = match &argument.value {
            Value::Tag(name) => format!("`:{name}`"),
            Value::Number(number) => number.to_string(),
            Value::Texts { texts, .. } => quoted(texts.first().map_or("", |text| text)),
        };
        argument.place.error(format!("`{}` takes {what} here, not {found}", self.node.name))
    }
}
