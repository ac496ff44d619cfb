//! What every client called, what it heard, and when: the evidence that [`crate::verdict`] judges.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::wire::is_refusal;

/// One call of one client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub client: String,
    pub host: Host,
    pub op: Op,
    /// What had been answered by then shows in the call's session: its login asked the leader. Zero: nothing is known of that.
    #[serde(default)]
    pub current_us: u64,
    /// Microseconds since the history began.
    pub began_us: u64,
    pub ended_us: u64,
    pub end: End,
}

/// The process that was asked: a node, and how often it had been started before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Host {
    pub node: String,
    pub life: u32,
}

/// Who is asked, from the login on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub host: Host,
    /// See [`Call::current_us`].
    pub current_us: u64,
}

/// A message for ever: a UID names one message under one UIDVALIDITY, and UIDVALIDITY no two mailboxes of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub user: String,
    pub validity: u32,
    pub uid: u32,
}

/// Sorted, without \Recent.
pub type Flags = Vec<String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// SMTP, one message to some users.
    Deliver {
        token: String,
        filler: usize,
        to: Vec<String>,
    },
    Append {
        user: String,
        mailbox: String,
        token: String,
        filler: usize,
        flags: Flags,
    },
    Store {
        key: Key,
        token: String,
        change: Change,
        flags: Flags,
    },
    /// UID EXPUNGE of one message.
    Expunge {
        key: Key,
        token: String,
    },
    /// `flags` are what the copy begins with, as its only writer knows.
    Copy {
        key: Key,
        token: String,
        from: String,
        to: String,
        flags: Flags,
    },
    Move {
        key: Key,
        token: String,
        from: String,
        to: String,
        flags: Flags,
    },
    Create {
        user: String,
        mailbox: String,
    },
    Rename {
        user: String,
        from: String,
        to: String,
    },
    Delete {
        user: String,
        mailbox: String,
    },
    /// An operator gives a user another name, or takes it away.
    Name {
        alias: String,
        user: Option<String>,
    },
    /// An operator gives a setting or a quota a value that it is given once alone.
    Set {
        name: String,
        value: u64,
    },
    /// And asks for it.
    Get {
        name: String,
    },
    /// POP3: DELE of these in INBOX, and QUIT.
    Drop {
        user: String,
        tokens: Vec<String>,
    },
    /// POP3: RETR of one message.
    Retrieve {
        user: String,
    },
    /// One message's flags.
    Look {
        key: Key,
    },
    /// SELECT, and the last messages.
    Tail {
        user: String,
        mailbox: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Add,
    Remove,
    Replace,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum End {
    /// OK, +OK or 250 was read.
    Ok(Seen),
    /// The server said no for good.
    Refused(String),
    /// Nobody knows what became of it: it may take effect, now or later, or never.
    Unknown(String),
}

/// What the answer told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Seen {
    Nothing,
    /// APPENDUID or COPYUID.
    At {
        validity: u32,
        uid: u32,
    },
    /// STORE named the message in its answer: it was there.
    Changed,
    /// `None`: no such message.
    Message(Option<Row>),
    Mailbox {
        numbers: Numbers,
        rows: Vec<Row>,
    },
    /// The token of what was retrieved, and whether its octets were those that were sent.
    Text {
        token: String,
        whole: bool,
    },
    /// `None`: nobody has set it.
    Value(Option<u64>),
}

/// What SELECT says of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    pub exists: u32,
    pub validity: u32,
    pub next: u32,
    pub modseq: u64,
}

/// A message in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub uid: u32,
    /// Empty when it was not asked for.
    pub token: String,
    pub flags: Flags,
    pub modseq: u64,
}

impl Call {
    /// Whether the answer says that something was committed. EXPUNGE and QUIT may have found nothing to do.
    pub fn committed(&self) -> bool {
        let End::Ok(seen) = &self.end else { return false };
        match &self.op {
            Op::Deliver { .. }
            | Op::Append { .. }
            | Op::Copy { .. }
            | Op::Move { .. }
            | Op::Create { .. }
            | Op::Rename { .. }
            | Op::Delete { .. }
            | Op::Name { .. }
            | Op::Set { .. } => true,
            Op::Store { .. } | Op::Expunge { .. } => *seen == Seen::Changed,
            Op::Drop { .. } => false,
            Op::Get { .. } | Op::Retrieve { .. } | Op::Look { .. } | Op::Tail { .. } => false,
        }
    }
}

impl Op {
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Deliver { .. } => "deliver",
            Op::Append { .. } => "append",
            Op::Store { .. } => "store",
            Op::Expunge { .. } => "expunge",
            Op::Copy { .. } => "copy",
            Op::Move { .. } => "move",
            Op::Create { .. } => "create",
            Op::Rename { .. } => "rename",
            Op::Delete { .. } => "delete",
            Op::Name { .. } => "alias",
            Op::Set { .. } => "set",
            Op::Get { .. } => "get",
            Op::Drop { .. } => "pop3 delete",
            Op::Retrieve { .. } => "pop3 retrieve",
            Op::Look { .. } => "look",
            Op::Tail { .. } => "tail",
        }
    }
}

/// Writes the history down as it happens, in memory and in a file. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    calls: Mutex<Vec<Call>>,
    file: Mutex<BufWriter<File>>,
    path: PathBuf,
    acked: AtomicUsize,
}

impl Recorder {
    /// The file is at `path`, whose folder is made where there is none, one JSON object a line; see
    /// [`Recorder::discard`].
    pub fn new(path: PathBuf) -> Recorder {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.unwrap_or_else(|error| panic!("the folder of {}: {error}", path.display()));
        let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let inner = Inner {
            began: Instant::now(),
            calls: Mutex::default(),
            file: Mutex::new(BufWriter::new(file)),
            path,
            acked: AtomicUsize::new(0),
        };
        Recorder { inner: Arc::new(inner) }
    }

    pub fn now_us(&self) -> u64 {
        u64::try_from(self.inner.began.elapsed().as_micros()).expect("no history is that long")
    }

    /// Makes the call and writes it down.
    pub fn call(
        &self,
        client: &str,
        session: &Session,
        op: Op,
        call: impl FnOnce() -> io::Result<Seen>,
    ) -> io::Result<Seen> {
        let began_us = self.now_us();
        let result = call();
        let end = match &result {
            Ok(seen) => End::Ok(seen.clone()),
            Err(error) if is_refusal(error) => End::Refused(error.to_string()),
            Err(error) => End::Unknown(error.to_string()),
        };
        let (client, Session { host, current_us }) = (client.to_string(), session.clone());
        let call = Call { client, host, op, current_us, began_us, ended_us: self.now_us(), end };
        if call.committed() {
            self.inner.acked.fetch_add(1, Ordering::Relaxed);
        }
        self.push(call);
        result
    }

    /// Calls until now whose answer said that something was committed.
    pub fn acked(&self) -> usize {
        self.inner.acked.load(Ordering::Relaxed)
    }

    /// A remark between the calls, in the file alone.
    pub fn note(&self, what: &str) {
        let line = serde_json::json!({ "at_us": self.now_us(), "note": what });
        let mut file = held(&self.inner.file);
        let _ = writeln!(file, "{line}");
    }

    pub fn calls(&self) -> Vec<Call> {
        held(&self.inner.calls).clone()
    }

    pub fn path(&self) -> &std::path::Path {
        let _ = held(&self.inner.file).flush();
        &self.inner.path
    }

    /// Nothing was wrong: the file is not needed.
    pub fn discard(self) {
        let _ = std::fs::remove_file(&self.inner.path);
    }

    fn push(&self, call: Call) {
        let line = serde_json::to_string(&call).expect("a call is plain data");
        let _ = writeln!(held(&self.inner.file), "{line}");
        held(&self.inner.calls).push(call);
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().expect("nobody panics while writing the history")
}
