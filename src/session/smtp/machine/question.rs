//! What the session asks the world, and what it hears.

use bytes::Bytes;

use crate::cluster::replica::Fault;
use crate::mail::address::ForwardPath;
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::session::smtp::received::Stamp;
use crate::state::outcome::Refusal;
use crate::state::routing::LocalTarget;

/// What the session needs from the world.
#[derive(Debug)]
pub enum Question {
    Login(Claim),
    /// What SCRAM goes on with for this login.
    Keys(String),
    Recipient {
        path: ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    },
    /// Opens a body and stamps the message.
    BeginBody,
    BodyChunk(Bytes),
    /// The last of the body, and for whom it is.
    Deliver {
        last: Bytes,
        to: Vec<Vec<LocalTarget>>,
    },
    /// Forget the body that was begun.
    AbandonBody,
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Keys(Keys),
    Recipient(Result<Verdict, Fault>),
    Begun(Result<Stamp, Fault>),
    Chunk(Result<(), Fault>),
    /// One entry per recipient, in order.
    Delivered(Result<Vec<Result<(), Refusal>>, Fault>),
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
    /// To go to another server.
    Outbound,
}

impl Verdict {
    /// Whether the sender is told not to try again: mail is lost to its recipient if that was said too early.
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::Unknown | Self::Disabled | Self::AlreadyFull | Self::RelayDenied => true,
            Self::Accept(_) | Self::WouldNotFit | Self::Outbound => false,
        }
    }
}
