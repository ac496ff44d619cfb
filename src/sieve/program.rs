//! A script as it is run: every name resolved, every argument in its place.

use super::template::Template;

#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// How many variables it names.
    pub(super) variables: usize,
}

impl Program {
    /// True where it has such a command, whether or not that is ever reached.
    pub(super) fn has(&self, wanted: fn(&Command) -> bool) -> bool {
        fn any(steps: &[Step], wanted: fn(&Command) -> bool) -> bool {
            steps.iter().any(|step| match &step.command {
                Command::If(branches) => branches.iter().any(|branch| any(&branch.steps, wanted)),
                command => wanted(command),
            })
        }
        any(&self.steps, wanted)
    }
}

#[derive(Debug)]
pub(super) struct Step {
    /// From 1; for what goes wrong in a run.
    pub(super) line: u32,
    pub(super) command: Command,
}

#[derive(Debug)]
pub(super) enum Command {
    /// The steps of the first whose test holds.
    If(Vec<Branch>),
    Stop,
    Keep {
        flags: Option<Vec<Template>>,
    },
    FileInto {
        mailbox: Template,
        copy: bool,
        create: bool,
        flags: Option<Vec<Template>>,
    },
    Redirect {
        address: Template,
        copy: bool,
    },
    Discard,
    Reject(Template),
    Vacation(Box<Reply>),
    Set {
        variable: usize,
        modifiers: Vec<Modifier>,
        value: Template,
    },
    Flags {
        change: FlagChange,
        /// `None`: the flags of the mail.
        variable: Option<usize>,
        flags: Vec<Template>,
    },
    /// RFC 5463 5: the script gives up.
    Error(Template),
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) test: Test,
    pub(super) steps: Vec<Step>,
}

/// RFC 5230 4.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) seconds: u64,
    pub(super) subject: Option<Template>,
    pub(super) from: Option<Template>,
    pub(super) addresses: Vec<Template>,
    pub(super) mime: bool,
    pub(super) handle: Option<Template>,
    pub(super) reason: Template,
}

/// RFC 5229 4.1, in the order of their precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Modifier {
    Lower,
    Upper,
    LowerFirst,
    UpperFirst,
    QuoteWildcard,
    Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagChange {
    Set,
    Add,
    Remove,
}

#[derive(Debug)]
pub(super) enum Test {
    /// `true` and `false`.
    Always(bool),
    /// `ihave`, and what follows from it alone: what it guards need not be known here (RFC 5463 4).
    Have(bool),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    Size {
        over: bool,
        octets: u64,
    },
    Exists(Vec<Template>),
    Header {
        names: Vec<Template>,
        index: Option<Index>,
        matching: Matching,
    },
    Address {
        names: Vec<Template>,
        index: Option<Index>,
        part: AddressPart,
        matching: Matching,
    },
    Envelope {
        ends: Vec<Template>,
        part: AddressPart,
        matching: Matching,
    },
    Body {
        seen: Seen,
        matching: Matching,
    },
    Date {
        /// `None`: the time of the run.
        header: Option<(Template, Option<Index>)>,
        zone: Zone,
        part: Template,
        matching: Matching,
    },
    Texts {
        sources: Vec<Template>,
        matching: Matching,
    },
    HasFlag {
        /// `None`: the flags of the mail.
        variables: Option<Vec<usize>>,
        matching: Matching,
    },
    MailboxExists(Vec<Template>),
}

/// Which of the fields of one name (RFC 5260 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    /// From 1.
    pub(super) number: u64,
    pub(super) from_last: bool,
}

/// RFC 5228 2.7.4, RFC 5233 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressPart {
    All,
    Local,
    Domain,
    User,
    Detail,
}

/// RFC 5173 5.
#[derive(Debug)]
pub(super) enum Seen {
    Raw,
    Text,
    /// Parts of these types: `main/sub`, `main`, or any where it is empty.
    Content(Vec<Template>),
}

/// RFC 5260 4.1.
#[derive(Debug)]
pub(super) enum Zone {
    /// The server's: UTC.
    Own,
    Original,
    Given(Template),
}

/// How values are held against keys.
#[derive(Debug)]
pub(super) struct Matching {
    pub(super) kind: MatchKind,
    pub(super) comparator: Comparator,
    pub(super) keys: Vec<Template>,
}

/// RFC 5228 2.7.1, RFC 5231 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchKind {
    Is,
    Contains,
    Matches,
    Value(Relation),
    Count(Relation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
}

/// RFC 4790 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparator {
    Octet,
    AsciiCasemap,
    AsciiNumeric,
}
