//! Scripts as a tree of commands, tests and arguments (RFC 5228 8.2): what every script is, whatever it asks for.
//! What the names mean is `check`'s affair. Printing a tree and reading it again gives the same tree.

use std::fmt;

use super::error::{Place, ScriptError, quoted};
use super::lexer::{Lexer, Token};
use super::{ARGUMENTS_MAX, LIST_STRINGS_MAX, NESTING_MAX, NODES_MAX, SCRIPT_BYTES_MAX};

/// A command or a test.
#[derive(Debug, Clone)]
pub struct Node {
    /// In lower case.
    pub name: String,
    pub place: Place,
    pub arguments: Vec<Argument>,
    pub tests: Vec<Node>,
    /// The tests stand in parentheses.
    pub listed: bool,
    /// `None` where a semicolon ends the command, and of tests.
    pub block: Option<Vec<Node>>,
}

#[derive(Debug, Clone)]
pub struct Argument {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// In lower case, without its colon.
    Tag(String),
    Number(u64),
    /// One string, or `listed` any number of them.
    Texts {
        texts: Vec<String>,
        listed: bool,
    },
}

/// Refuses what is longer or nested deeper than the bounds of this room say.
pub fn parse(text: &str) -> Result<Vec<Node>, ScriptError> {
    let start = Place { line: 1, column: 1 };
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(start.error(format!("the script has more than {SCRIPT_BYTES_MAX} octets")));
    }
    let mut parser = Parser { lexer: Lexer::new(text), token: Token::End, place: start, nodes: 0 };
    parser.advance()?;
    parser.commands(0)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The next token, and its place.
    token: Token,
    place: Place,
    nodes: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<(), ScriptError> {
        (self.token, self.place) = self.lexer.next()?;
        Ok(())
    }

    /// Steps over that mark, if it is next.
    fn take(&mut self, mark: char) -> Result<bool, ScriptError> {
        let is_next = self.token == Token::Mark(mark);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    fn expected(&self, what: &str) -> ScriptError {
        let found = match &self.token {
            Token::Identifier(name) => quoted(name),
            Token::Tag(name) => quoted(&format!(":{name}")),
            Token::Number(number) => number.to_string(),
            Token::Text(text) => format!("the string {}", quoted(text)),
            Token::Mark(mark) => quoted(&mark.to_string()),
            Token::End => "the end of the script".to_owned(),
        };
        self.place.error(format!("{what} is expected here, not {found}"))
    }

    /// Commands up to the end, or within a block up to its brace.
    fn commands(&mut self, depth: usize) -> Result<Vec<Node>, ScriptError> {
        let mut commands = Vec::new();
        loop {
            match &self.token {
                Token::End if depth == 0 => return Ok(commands),
                Token::Mark('}') if depth > 0 => {
                    self.advance()?;
                    return Ok(commands);
                }
                Token::Identifier(_) => commands.push(self.command(depth)?),
                _ if depth == 0 => return Err(self.expected("a command")),
                _ => return Err(self.expected("a command or \"}\"")),
            }
        }
    }

    fn command(&mut self, depth: usize) -> Result<Node, ScriptError> {
        let mut node = self.node(0)?;
        let brace = self.place;
        if self.take('{')? {
            if depth == NESTING_MAX {
                return Err(brace.error(format!("blocks are nested deeper than {NESTING_MAX}")));
            }
            node.block = Some(self.commands(depth + 1)?);
        } else if !self.take(';')? {
            return Err(self.expected("\";\""));
        }
        Ok(node)
    }

    /// A name, arguments and tests: all of a test, and of a command what stands before its end.
    fn node(&mut self, tests_around: usize) -> Result<Node, ScriptError> {
        let place = self.place;
        let Token::Identifier(name) = &self.token else { return Err(self.expected("a test")) };
        let name = name.clone();
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(place.error(format!("the script has more than {NODES_MAX} commands and tests")));
        }
        self.advance()?;
        let arguments = self.arguments()?;
        let listed = self.token == Token::Mark('(');
        let mut tests = Vec::new();
        if listed || matches!(self.token, Token::Identifier(_)) {
            if tests_around == NESTING_MAX {
                return Err(self.place.error(format!("tests are nested deeper than {NESTING_MAX}")));
            }
            if listed {
                self.advance()?;
            }
            tests.push(self.node(tests_around + 1)?);
            while listed && self.take(',')? {
                tests.push(self.node(tests_around + 1)?);
            }
            if listed && !self.take(')')? {
                return Err(self.expected("\",\" or \")\""));
            }
        }
        Ok(Node { name, place, arguments, tests, listed, block: None })
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, ScriptError> {
        let mut arguments = Vec::new();
        loop {
            let place = self.place;
            let value = match &mut self.token {
                Token::Tag(name) => Value::Tag(std::mem::take(name)),
                Token::Number(number) => Value::Number(*number),
                Token::Text(text) => Value::Texts { texts: vec![std::mem::take(text)], listed: false },
                Token::Mark('[') => Value::Texts { texts: self.list()?, listed: true },
                _ => return Ok(arguments),
            };
            if arguments.len() == ARGUMENTS_MAX {
                return Err(place.error(format!("there are more than {ARGUMENTS_MAX} arguments")));
            }
            arguments.push(Argument { place, value });
            self.advance()?;
        }
    }

    /// A string list from its bracket up to, not over, the other one.
    fn list(&mut self) -> Result<Vec<String>, ScriptError> {
        let mut texts = Vec::new();
        loop {
            self.advance()?;
            let Token::Text(text) = &mut self.token else { return Err(self.expected("a string")) };
            if texts.len() == LIST_STRINGS_MAX {
                return Err(self.place.error(format!("the list has more than {LIST_STRINGS_MAX} strings")));
            }
            texts.push(std::mem::take(text));
            self.advance()?;
            match self.token {
                Token::Mark(',') => {}
                Token::Mark(']') => return Ok(texts),
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for argument in &self.arguments {
            write!(f, " {}", argument.value)?;
        }
        for (at, test) in self.tests.iter().enumerate() {
            let before = match (self.listed, at) {
                (false, _) => " ",
                (true, 0) => " (",
                (true, _) => ", ",
            };
            write!(f, "{before}{test}")?;
        }
        if self.listed {
            f.write_str(")")?;
        }
        let Some(block) = &self.block else { return Ok(()) };
        f.write_str(" {\n")?;
        f.write_str(&printed(block))?;
        f.write_str("}")
    }
}

/// A script that reads as these commands.
pub fn printed(commands: &[Node]) -> String {
    let line = |command: &Node| format!("{command}{}\n", if command.block.is_some() { "" } else { ";" });
    commands.iter().map(line).collect()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Tag(name) => write!(f, ":{name}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Texts { texts, listed } => {
                let escape =
                    |text: &String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
                let texts: Vec<String> = texts.iter().map(escape).collect();
                match listed {
                    true => write!(f, "[{}]", texts.join(", ")),
                    false => f.write_str(&texts.concat()),
                }
            }
        }
    }
}
