//! What the session asks the world, and what it hears.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::cluster::replica::Fault;
use crate::mail::address::{Address, ForwardPath, ReversePath};
use crate::mail::dsn::xtext;
use crate::policy::{self, Arrival};
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::session::smtp::delays::Crowded;
use crate::session::smtp::envelope::{Envelope, MailParams, RcptParams, Recipient};
use crate::session::smtp::filtering::Names;
use crate::session::smtp::listed::Opening;
use crate::session::smtp::received::{Stamp, Trace};
use crate::session::smtp::reply::Reply;
use crate::state::routing::LocalTarget;
use crate::state::srs::Broken;

/// What the session needs from the world.
#[derive(Debug)]
pub enum Question {
    Login(Claim),
    /// What SCRAM goes on with for this login.
    Keys(String),
    /// MAIL: what the lists say of it, and, where it is a stranger's, what is to be known before it is read. Decides over
    /// the recipients to come.
    Sender {
        from: ReversePath,
        /// By a login.
        authenticated: bool,
        /// As the client names itself; for the log of mails.
        helo: String,
        arrival: Option<Box<Arrival>>,
    },
    /// To be answered after so long.
    Delay {
        seconds: u64,
    },
    Recipient {
        path: ForwardPath,
        size: Option<u64>,
        /// By a login, or because the lists trust the client.
        authenticated: bool,
    },
    /// Opens a body and stamps the message. With how it came, where it is to be judged before it is taken.
    BeginBody(Option<Box<Arrival>>),
    BodyChunk(Bytes),
    /// The last of the body, and for whom it is. With our own fields, where the message is judged first: what the
    /// checks find goes between them.
    Deliver {
        last: Bytes,
        /// Of each recipient, the mailboxes here that it leads to.
        to: Vec<Vec<LocalTarget>>,
        names: Box<Names>,
        /// What goes to other servers, if anything does.
        outgoing: Option<Outgoing>,
        /// Of a mail by a login: each address in From, empty for what is none.
        authors: Option<Vec<String>>,
        trace: Option<Trace>,
    },
    /// Forget the body that was begun.
    AbandonBody,
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Keys(Keys),
    Delayed(Result<(), Crowded>),
    Sender(Result<Opening, Fault>),
    Recipient(Result<Verdict, Fault>),
    Begun(Result<Stamp, Fault>),
    /// Instead of the body: the host has sent too much lately.
    TooMany,
    Chunk(Result<(), Fault>),
    /// One entry per recipient, in order.
    Delivered(Result<Vec<Result<(), Reply>>, Fault>),
    /// It was judged, and is not taken.
    Refused(policy::Refusal),
    Abandoned,
}

/// What becomes of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept(Vec<LocalTarget>),
    Unknown,
    Disabled,
    /// Over quota already.
    AlreadyFull,
    /// The size announced would not fit.
    WouldNotFit,
    /// Not ours, and the client may not relay.
    RelayDenied,
    /// To go to other servers, and perhaps to mailboxes here as well.
    Relay {
        local: Vec<LocalTarget>,
        remote: Vec<Address>,
    },
    /// For a client that may be one which sends on; nobody knows at the moment.
    Outbound,
    /// It goes under another sender than the recipients before it.
    Apart,
    /// A return address of ours (SRS) that leads nowhere.
    NoReturn(NoReturn),
    /// To be passed on for a stranger, under a return address that no path has room for.
    SenderTooLong,
    /// By what is known of the client and the sender, or by the lists.
    Refused(policy::Refusal),
}

/// Why a return address of ours leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReturn {
    /// It was not made here.
    Forged,
    /// It was made too long ago.
    Stale,
    /// The mail has a sender, to whom notices go: it is none itself.
    NotANotice,
}

impl From<Broken> for NoReturn {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Forged => Self::Forged,
            Broken::Stale => Self::Stale,
        }
    }
}

/// A mail for other servers, as its sender wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Without its angle brackets; empty is the null sender.
    pub sender: String,
    pub params: MailParams,
    /// Each once.
    pub recipients: Vec<(Address, RcptParams)>,
}

impl Outgoing {
    /// RFC 3461 4.2, 5.2.3: who is another's alias is told of by the name that the sender used. Who is named himself is told
    /// of as the sender asked of him, though an alias leads to him as well.
    pub(in crate::session::smtp) fn of(envelope: &Envelope) -> Option<Self> {
        let mut known = BTreeSet::new();
        let mut recipients = Vec::new();
        let (through, named): (Vec<&Recipient>, Vec<&Recipient>) =
            envelope.to.iter().partition(|recipient| recipient.is_passed_on());
        for recipient in named.into_iter().chain(through) {
            let used = match &recipient.path {
                ForwardPath::Postmaster => None,
                ForwardPath::Address(address) => Some(address),
            };
            for address in recipient.remote.iter().filter(|address| known.insert(address.canonical())) {
                let mut params = recipient.params.clone();
                if recipient.is_for_several()
                    && let Some(notify) = &mut params.notify
                {
                    // RFC 3461 5.2.7.3: of its success the sender is told here, once.
                    notify.success = false;
                }
                if let Some(used) = used.filter(|used| *used != address && used.to_string().is_ascii()) {
                    let orcpt = format!("rfc822;{}", xtext(&used.to_string()));
                    params.orcpt.get_or_insert(orcpt);
                }
                recipients.push((address.clone(), params));
            }
        }
        let sender = envelope.from.bare();
        (!recipients.is_empty()).then(|| Self { sender, params: envelope.params.clone(), recipients })
    }
}

impl Verdict {
    /// Whether the sender is told not to try again: mail is lost to its recipient if that was said too early.
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::Unknown | Self::Disabled | Self::AlreadyFull | Self::RelayDenied => true,
            Self::NoReturn(_) | Self::SenderTooLong => true,
            Self::Refused(refusal) => refusal.code >= 500,
            Self::Accept(_) | Self::Relay { .. } | Self::WouldNotFit | Self::Outbound | Self::Apart => false,
        }
    }
}
