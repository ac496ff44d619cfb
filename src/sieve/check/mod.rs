//! From a tree to a program: which commands and tests there are, what they take, which extension each needs.

mod actions;
mod arguments;
mod conditions;
mod matching;

use std::collections::{BTreeMap, BTreeSet};

use self::arguments::Arguments;
pub(super) use self::conditions::{is_address_field, zone_minutes};
use super::VARIABLES_MAX;
use super::error::{Place, ScriptError, quoted};
use super::grammar::Node;
use super::program::{Branch, Command, Program, Step, Test};
use super::template::{self, MATCH_MAX, Piece, Reference, Template};

/// What a script may `require`, as ManageSieve's SIEVE line names it (RFC 5804 1.7).
pub static CAPABILITIES: &[&str] = &[
    "fileinto",
    "reject",
    "ereject",
    "envelope",
    "encoded-character",
    "vacation",
    "vacation-seconds",
    "subaddress",
    "comparator-i;ascii-numeric",
    "relational",
    "imap4flags",
    "copy",
    "variables",
    "body",
    "mailbox",
    "date",
    "index",
    "ihave",
];

/// Comparators that need no `require` (RFC 5228 2.7.3), and are let pass in one.
const ALWAYS: [&str; 2] = ["comparator-i;octet", "comparator-i;ascii-casemap"];

pub(super) fn check(commands: &[Node]) -> Result<Program, ScriptError> {
    let mut checker = Checker::default();
    let after = commands.iter().take_while(|command| command.name == "require").count();
    for command in &commands[..after] {
        checker.require(command)?;
    }
    let steps = checker.steps(&commands[after..])?;
    Ok(Program { steps, variables: checker.variables.len() })
}

#[derive(Default)]
struct Checker {
    /// What was required, or found by `ihave`.
    required: BTreeSet<&'static str>,
    /// Names in lower case, and their numbers.
    variables: BTreeMap<String, usize>,
}

/// The extension of that name.
fn capability(name: &str) -> Option<&'static str> {
    CAPABILITIES.iter().chain(&ALWAYS).copied().find(|known| *known == name)
}

impl Checker {
    fn require(&mut self, node: &Node) -> Result<(), ScriptError> {
        let mut arguments = Arguments::new(node);
        let (names, place) = arguments.texts("the names of extensions")?;
        arguments.finish()?;
        no_tests(node)?;
        no_block(node)?;
        for name in names {
            let known = capability(name);
            self.add(
                known.ok_or_else(|| place.error(format!("the extension {} is not known", quoted(name))))?,
            );
        }
        Ok(())
    }

    fn add(&mut self, capability: &'static str) {
        self.required.insert(capability);
        // RFC 6131 2: the one implies the other.
        if capability == "vacation-seconds" {
            self.required.insert("vacation");
        }
    }

    fn has(&self, capability: &str) -> bool {
        self.required.contains(capability)
    }

    /// An error where `what` is used and its extension was not asked for.
    fn needs(&self, place: Place, what: &str, capability: &'static str) -> Result<(), ScriptError> {
        match self.has(capability) {
            true => Ok(()),
            false => {
                Err(place.error(format!("{what} needs `require \"{capability}\";` at the top of the script")))
            }
        }
    }

    fn steps(&mut self, commands: &[Node]) -> Result<Vec<Step>, ScriptError> {
        let mut steps = Vec::new();
        let mut rest = commands;
        while let Some((first, after)) = rest.split_first() {
            let command = match first.name.as_str() {
                "if" => {
                    let branches = after.iter().take_while(|node| is_branch(node)).count();
                    let chain = &rest[..=branches];
                    rest = &rest[branches + 1..];
                    Command::If(self.branches(chain)?)
                }
                "elsif" | "else" => {
                    return Err(first
                        .place
                        .error(format!("`{}` must follow an `if` or `elsif`", first.name)));
                }
                "require" => {
                    return Err(first.place.error("`require` must come before all other commands"));
                }
                _ => {
                    rest = after;
                    self.action(first)?
                }
            };
            steps.push(Step { line: first.place.line, command });
        }
        Ok(steps)
    }

    /// An `if` with what belongs to it. Branches that `ihave` rules out are left away unread (RFC 5463 4).
    fn branches(&mut self, chain: &[Node]) -> Result<Vec<Branch>, ScriptError> {
        let mut branches = Vec::new();
        let mut decided = false;
        for (at, node) in chain.iter().enumerate() {
            if at > 0 && chain[at - 1].name == "else" {
                return Err(node.place.error(format!("`{}` cannot follow an `else`", node.name)));
            }
            let block = node.block.as_ref();
            let block =
                block.ok_or_else(|| node.place.error(format!("`{}` needs a block in braces", node.name)))?;
            if decided {
                continue;
            }
            let test = self.branch_test(node)?;
            decided = matches!(test, Test::Have(true));
            if !matches!(test, Test::Have(false)) {
                branches.push(Branch { test, steps: self.steps(block)? });
            }
        }
        Ok(branches)
    }

    fn branch_test(&mut self, node: &Node) -> Result<Test, ScriptError> {
        Arguments::new(node).finish()?;
        if node.name == "else" {
            no_tests(node)?;
            return Ok(Test::Always(true));
        }
        match node.tests.as_slice() {
            [test] if !node.listed => self.test(test),
            _ => Err(node.place.error(format!("`{}` needs one test", node.name))),
        }
    }

    /// A string with its encoded characters and references, so far as they were asked for.
    fn template(&mut self, text: &str, place: Place) -> Result<Template, ScriptError> {
        let text = match self.has("encoded-character") {
            true => template::decoded(text).map_err(|what| place.error(what))?,
            false => text.to_owned(),
        };
        if !self.has("variables") {
            return Ok(Template::fixed(text));
        }
        template::references(&text, |reference| match reference {
            Reference::Variable(name) => Ok(Piece::Variable(self.variable(name, place)?)),
            Reference::Match(digits) => match digits.parse() {
                Ok(number) if number <= MATCH_MAX => Ok(Piece::Match(number)),
                _ => Err(place.error(format!("${{{digits}}} is beyond ${{{MATCH_MAX}}}"))),
            },
            Reference::Foreign(name) => {
                Err(place.error(format!("the namespace of the variable {} is not known", quoted(name))))
            }
        })
    }

    fn templates(&mut self, (texts, place): (&[String], Place)) -> Result<Vec<Template>, ScriptError> {
        texts.iter().map(|text| self.template(text, place)).collect()
    }

    /// The number of the variable of that name (RFC 5229 3), which is compared without case.
    fn variable(&mut self, name: &str, place: Place) -> Result<usize, ScriptError> {
        let name = name.to_ascii_lowercase();
        if let Some(number) = self.variables.get(&name) {
            return Ok(*number);
        }
        let number = self.variables.len();
        if number == VARIABLES_MAX {
            return Err(place.error(format!("the script has more than {VARIABLES_MAX} variables")));
        }
        self.variables.insert(name, number);
        Ok(number)
    }

    /// A variable that is to be changed: its name is the same in every run.
    fn named_variable(&mut self, (name, place): (&str, Place)) -> Result<usize, ScriptError> {
        match template::is_name(name) {
            true => self.variable(name, place),
            false => Err(place.error(format!("{} is no name of a variable", quoted(name)))),
        }
    }
}

fn is_branch(node: &Node) -> bool {
    node.name == "elsif" || node.name == "else"
}

fn no_tests(node: &Node) -> Result<(), ScriptError> {
    match node.tests.first() {
        Some(test) => Err(test.place.error(format!("`{}` takes no test", node.name))),
        // `()` does not parse, so that there is a test wherever there are parentheses.
        None => Ok(()),
    }
}

fn no_block(node: &Node) -> Result<(), ScriptError> {
    match node.block {
        Some(_) => Err(node.place.error(format!("`{}` takes no block", node.name))),
        None => Ok(()),
    }
}
