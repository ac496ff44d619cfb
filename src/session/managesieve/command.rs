//! The commands of ManageSieve (RFC 5804 2).

use super::reader::{Bad, Word};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Authenticate {
        /// In capitals.
        mechanism: String,
        /// As base64.
        initial: Option<Vec<u8>>,
    },
    StartTls,
    Logout,
    Capability,
    HaveSpace {
        name: String,
        octets: u32,
    },
    PutScript {
        name: String,
        text: String,
    },
    ListScripts,
    /// `None`: no script.
    SetActive(Option<String>),
    GetScript(String),
    DeleteScript(String),
    RenameScript {
        from: String,
        to: String,
    },
    CheckScript(String),
    /// With what the answer is to repeat.
    Noop(Option<String>),
}

/// What a command's words mean.
pub fn parse(words: Vec<Word>) -> Result<Command, Bad> {
    let mut words = words.into_iter();
    let Some(Word::Atom(verb)) = words.next() else { return Err(Bad::Syntax) };
    let mut rest = Arguments(words.collect::<Vec<_>>().into_iter());
    let command = match verb.as_str() {
        "AUTHENTICATE" => Command::Authenticate {
            mechanism: rest.text()?.to_ascii_uppercase(),
            initial: rest.0.next().map(octets).transpose()?,
        },
        "STARTTLS" => Command::StartTls,
        "LOGOUT" => Command::Logout,
        "CAPABILITY" => Command::Capability,
        "HAVESPACE" => Command::HaveSpace { name: rest.text()?, octets: rest.number()? },
        "PUTSCRIPT" => Command::PutScript { name: rest.text()?, text: rest.text()? },
        "LISTSCRIPTS" => Command::ListScripts,
        "SETACTIVE" => Command::SetActive(Some(rest.text()?).filter(|name| !name.is_empty())),
        "GETSCRIPT" => Command::GetScript(rest.text()?),
        "DELETESCRIPT" => Command::DeleteScript(rest.text()?),
        "RENAMESCRIPT" => Command::RenameScript { from: rest.text()?, to: rest.text()? },
        "CHECKSCRIPT" => Command::CheckScript(rest.text()?),
        "NOOP" => Command::Noop(rest.0.next().map(text).transpose()?),
        _ => return Err(Bad::Unknown),
    };
    match rest.0.next() {
        None => Ok(command),
        Some(_) => Err(Bad::Syntax),
    }
}

struct Arguments(std::vec::IntoIter<Word>);

impl Arguments {
    fn text(&mut self) -> Result<String, Bad> {
        text(self.0.next().ok_or(Bad::Syntax)?)
    }

    fn number(&mut self) -> Result<u32, Bad> {
        match self.0.next() {
            Some(Word::Number(number)) => Ok(number),
            _ => Err(Bad::Syntax),
        }
    }
}

fn octets(word: Word) -> Result<Vec<u8>, Bad> {
    match word {
        Word::Text(octets) => Ok(octets),
        Word::Atom(_) | Word::Number(_) => Err(Bad::Syntax),
    }
}

/// RFC 5804 1.2: strings are UTF-8.
fn text(word: Word) -> Result<String, Bad> {
    String::from_utf8(octets(word)?).map_err(|_| Bad::NotUtf8)
}
