//! Commands that do something: what each takes, and needs.

use super::arguments::{Arguments, Tag};
use super::{Checker, no_block, no_tests};
use crate::mail::address::Address;
use crate::sieve::error::{Place, ScriptError, quoted};
use crate::sieve::grammar::Node;
use crate::sieve::program::{Command, FlagChange, Modifier, Reply};
use crate::sieve::template::Template;
use crate::sieve::vacation::{self, SECONDS_DEFAULT, SECONDS_PER_DAY};

impl Checker {
    pub(super) fn action(&mut self, node: &Node) -> Result<Command, ScriptError> {
        let arguments = &mut Arguments::new(node);
        let command = match node.name.as_str() {
            "stop" => Command::Stop,
            "discard" => Command::Discard,
            "keep" => self.keep(arguments)?,
            "fileinto" => self.file_into(node, arguments)?,
            "redirect" => self.redirect(arguments)?,
            "reject" | "ereject" => {
                let capability = if node.name == "reject" { "reject" } else { "ereject" };
                self.needs(node.place, &format!("`{}`", node.name), capability)?;
                let (reason, place) = arguments.text("a reason")?;
                Command::Reject(self.template(reason, place)?)
            }
            "vacation" => self.vacation(node, arguments)?,
            "set" => self.set(node, arguments)?,
            "setflag" => self.flags(node, arguments, FlagChange::Set)?,
            "addflag" => self.flags(node, arguments, FlagChange::Add)?,
            "removeflag" => self.flags(node, arguments, FlagChange::Remove)?,
            "error" => {
                self.needs(node.place, "`error`", "ihave")?;
                let (text, place) = arguments.text("a text")?;
                Command::Error(self.template(text, place)?)
            }
            name => return Err(node.place.error(format!("the command {} is not known", quoted(name)))),
        };
        arguments.finish()?;
        no_tests(node)?;
        no_block(node)?;
        Ok(command)
    }

    fn keep(&mut self, arguments: &mut Arguments) -> Result<Command, ScriptError> {
        let mut flags = None;
        while let Some(tag) = arguments.tag()? {
            match tag.name {
                "flags" => flags = Some(self.flag_list(tag, arguments)?),
                _ => return Err(arguments.unknown(tag)),
            }
        }
        Ok(Command::Keep { flags })
    }

    fn flag_list(&mut self, tag: Tag, arguments: &mut Arguments) -> Result<Vec<Template>, ScriptError> {
        self.needs(tag.place, "`:flags`", "imap4flags")?;
        self.templates(arguments.texts("flags")?)
    }

    fn file_into(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Command, ScriptError> {
        self.needs(node.place, "`fileinto`", "fileinto")?;
        let (mut copy, mut create, mut flags) = (false, false, None);
        while let Some(tag) = arguments.tag()? {
            match tag.name {
                "copy" => {
                    self.needs(tag.place, "`:copy`", "copy")?;
                    copy = true;
                }
                "create" => {
                    self.needs(tag.place, "`:create`", "mailbox")?;
                    create = true;
                }
                "flags" => flags = Some(self.flag_list(tag, arguments)?),
                _ => return Err(arguments.unknown(tag)),
            }
        }
        let (name, place) = arguments.text("the name of a mailbox")?;
        let mailbox = self.template(name, place)?;
        if mailbox.constant() == Some("") {
            return Err(place.error("the name of a mailbox is not empty"));
        }
        Ok(Command::FileInto { mailbox, copy, create, flags })
    }

    fn redirect(&mut self, arguments: &mut Arguments) -> Result<Command, ScriptError> {
        let mut copy = false;
        while let Some(tag) = arguments.tag()? {
            match tag.name {
                "copy" => {
                    self.needs(tag.place, "`:copy`", "copy")?;
                    copy = true;
                }
                _ => return Err(arguments.unknown(tag)),
            }
        }
        let (text, place) = arguments.text("an address")?;
        let address = self.template(text, place)?;
        if let Some(text) = address.constant() {
            Address::parse(text).map_err(|error| place.error(format!("{}: {error}", quoted(text))))?;
        }
        Ok(Command::Redirect { address, copy })
    }

    /// RFC 5230 4, RFC 6131.
    fn vacation(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Command, ScriptError> {
        self.needs(node.place, "`vacation`", "vacation")?;
        let mut seconds = None;
        let mut reply = Reply {
            seconds: 0,
            subject: None,
            from: None,
            addresses: Vec::new(),
            mime: false,
            handle: None,
            reason: Template::fixed(String::new()),
        };
        while let Some(tag) = arguments.tag()? {
            let given = match tag.name {
                "days" => arguments.number("a number of days")?.0.max(1).saturating_mul(SECONDS_PER_DAY),
                "seconds" => {
                    self.needs(tag.place, "`:seconds`", "vacation-seconds")?;
                    arguments.number("a number of seconds")?.0
                }
                _ => {
                    self.reply_tag(&mut reply, tag, arguments)?;
                    continue;
                }
            };
            if seconds.replace(given).is_some() {
                return Err(tag.error("is a second time"));
            }
        }
        reply.seconds = vacation::bounded_seconds(seconds.unwrap_or(SECONDS_DEFAULT));
        let (reason, place) = arguments.text("the text of the reply")?;
        reply.reason = self.template(reason, place)?;
        Ok(Command::Vacation(Box::new(reply)))
    }

    fn reply_tag(
        &mut self,
        reply: &mut Reply,
        tag: Tag,
        arguments: &mut Arguments,
    ) -> Result<(), ScriptError> {
        match tag.name {
            "subject" => reply.subject = Some(self.text(arguments, "a subject")?.0),
            "from" => {
                let (from, place) = self.text(arguments, "an address")?;
                if from.constant().is_some_and(|text| vacation::mailbox(text).is_none()) {
                    return Err(place.error("`:from` takes one address, perhaps with a name"));
                }
                reply.from = Some(from);
            }
            "addresses" => reply.addresses = self.templates(arguments.texts("addresses")?)?,
            "mime" => reply.mime = true,
            "handle" => reply.handle = Some(self.text(arguments, "a handle")?.0),
            _ => return Err(arguments.unknown(tag)),
        }
        Ok(())
    }

    fn text(&mut self, arguments: &mut Arguments, what: &str) -> Result<(Template, Place), ScriptError> {
        let (text, place) = arguments.text(what)?;
        Ok((self.template(text, place)?, place))
    }

    /// RFC 5229 4.
    fn set(&mut self, node: &Node, arguments: &mut Arguments) -> Result<Command, ScriptError> {
        self.needs(node.place, "`set`", "variables")?;
        let mut modifiers = Vec::new();
        while let Some(tag) = arguments.tag()? {
            let modifier = match tag.name {
                "lower" => Modifier::Lower,
                "upper" => Modifier::Upper,
                "lowerfirst" => Modifier::LowerFirst,
                "upperfirst" => Modifier::UpperFirst,
                "quotewildcard" => Modifier::QuoteWildcard,
                "length" => Modifier::Length,
                _ => return Err(arguments.unknown(tag)),
            };
            if modifiers.iter().any(|other| rank(*other) == rank(modifier)) {
                return Err(tag.error("cannot stand beside its opposite"));
            }
            modifiers.push(modifier);
        }
        modifiers.sort_unstable();
        let variable = self.named_variable(arguments.text("the name of a variable")?)?;
        let (value, place) = arguments.text("a value")?;
        Ok(Command::Set { variable, modifiers, value: self.template(value, place)? })
    }

    /// RFC 5232 3: a variable is named where two arguments stand.
    fn flags(
        &mut self,
        node: &Node,
        arguments: &mut Arguments,
        change: FlagChange,
    ) -> Result<Command, ScriptError> {
        self.needs(node.place, &format!("`{}`", node.name), "imap4flags")?;
        let variable = match arguments.left() {
            0 | 1 => None,
            _ => {
                let (name, place) = arguments.text("the name of a variable")?;
                self.needs(place, "the name of a variable", "variables")?;
                Some(self.named_variable((name, place))?)
            }
        };
        let flags = self.templates(arguments.texts("flags")?)?;
        Ok(Command::Flags { change, variable, flags })
    }
}

/// Modifiers of one rank exclude each other (RFC 5229 4.1).
fn rank(modifier: Modifier) -> u8 {
    match modifier {
        Modifier::Lower | Modifier::Upper => 40,
        Modifier::LowerFirst | Modifier::UpperFirst => 30,
        Modifier::QuoteWildcard => 20,
        Modifier::Length => 10,
    }
}
