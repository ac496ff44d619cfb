//! A mail that is not there: what would be made of it. Plain data.

use std::net::IpAddr;

/// What a stranger would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    pub client: IpAddr,
    pub helo: String,
    /// Of MAIL FROM; empty is the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    /// The message, if that is to be judged too.
    pub text: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    pub sender: Said,
    /// In the order asked; none where the sender is refused.
    pub recipients: Vec<Said>,
    /// `None`: no message was given, or nobody would get it.
    pub message: Option<Message>,
}

/// What the client would hear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pub reply: String,
    /// The setting or the rule that decides; empty where none does.
    pub decided_by: String,
    /// What is let off, by which rules.
    pub let_off: Vec<&'static str>,
    pub allowed_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `method=result`, as in Authentication-Results; none where the client is not judged.
    pub found: Vec<String>,
    pub outcome: String,
    pub decided_by: String,
}
