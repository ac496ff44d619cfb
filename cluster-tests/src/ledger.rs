//! What the cluster acknowledged, written down outside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How sure the writer is of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// 250 or OK was read: exactly once, for ever.
    Acknowledged,
    /// The server said no: never.
    Refused,
    /// The connection broke first: at most once.
    Unknown,
}

/// One message that a story sent, by SMTP or APPEND.
#[derive(Debug, Clone)]
pub struct Message {
    pub user: String,
    pub mailbox: String,
    pub fate: Fate,
    /// The bytes that were sent; what is stored ends with them (SMTP puts trace fields before).
    pub content: Vec<u8>,
    /// Known when APPENDUID told it.
    pub uid: Option<u32>,
    /// The last acknowledged flags, and a try whose fate is unknown.
    pub flags: Option<Vec<String>>,
    pub flags_unknown: bool,
    /// `Some(Acknowledged)`: it must not be seen again. `Some(Unknown)`: it may be there or not.
    pub expunged: Option<Fate>,
}

impl Message {
    /// As it was sent, before anything else is known of it.
    pub fn new(user: &str, mailbox: &str, fate: Fate, content: Vec<u8>) -> Message {
        let (user, mailbox) = (user.to_string(), mailbox.to_string());
        Message { user, mailbox, fate, content, uid: None, flags: None, flags_unknown: false, expunged: None }
    }
}

/// The ledger: cheap to clone, one for all writers of a story.
#[derive(Clone, Default)]
pub struct Ledger {
    messages: Arc<Mutex<BTreeMap<String, Message>>>,
}

impl Ledger {
    /// Writes down a message under its token (unique; stands in its Subject).
    pub fn record(&self, token: &str, message: Message) {
        let known = self.messages().insert(token.to_string(), message);
        assert!(known.is_none(), "token {token} was used twice");
    }

    pub fn change(&self, token: &str, change: impl FnOnce(&mut Message)) {
        change(self.messages().get_mut(token).expect("the token was recorded"));
    }

    pub fn acknowledged(&self) -> usize {
        self.messages().values().filter(|message| message.fate == Fate::Acknowledged).count()
    }

    /// Messages that were acknowledged and that nobody tried to expunge.
    pub fn surely_there(&self) -> usize {
        let sure = |message: &&Message| message.fate == Fate::Acknowledged && message.expunged.is_none();
        self.messages().values().filter(sure).count()
    }

    pub fn snapshot(&self) -> BTreeMap<String, Message> {
        self.messages().clone()
    }

    fn messages(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Message>> {
        self.messages.lock().expect("no writer panics while it holds the ledger")
    }
}

/// A small message whose Subject carries `token`, with `filler` octets of text.
pub fn message(token: &str, filler: usize) -> Vec<u8> {
    let mut text = format!(
        "From: sender@elsewhere.test\r\nTo: someone@example.test\r\nSubject: {token}\r\n\
         Message-ID: <{token}@elsewhere.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\n"
    );
    let mut left = filler;
    while left > 0 {
        let take = left.min(70);
        text.extend(std::iter::repeat_n('x', take));
        text.push_str("\r\n");
        left -= take;
    }
    text.push_str(".leading dot\r\nend\r\n");
    text.into_bytes()
}

/// The token in a message's Subject.
pub fn token_of(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: "))?;
    Some(line.trim().to_string())
}
