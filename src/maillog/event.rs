//! One line of the log. JSON, on disk and between nodes alike: what one build adds another one passes over.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::mail::delivery_status::{self, Action, DeliveryStatus};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A mail was read to its end, and answered.
    Received(Received),
    /// A sender or a recipient was refused before the mail was read.
    Refused(Refused),
    /// Another server was tried.
    Sent(Sent),
    /// Another server told what became of a mail.
    Heard(Heard),
}

/// Who is at the other end, as far as that is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Client {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub helo: String,
    /// Whose login it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Of the Received field.
    pub id: String,
    /// Without its angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    pub client: Client,
    /// Empty is the null sender.
    pub sender: String,
    pub recipients: Vec<Recipient>,
    /// What was found, in the words of Authentication-Results; empty where it was not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The setting or rule that decided, where one did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub decided_by: String,
    /// `taken`, `junk`, `discarded`, or the refusal's words.
    pub outcome: String,
    /// In the queue for other servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// The log entry that keeps it; `None`: nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Octets of its text.
    #[serde(default)]
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub to: String,
    /// `local`, `queued`, `dropped`, or why it was not served after all.
    pub outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub check: String,
    pub result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub client: Client,
    pub sender: String,
    /// `None`: at MAIL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// What the client heard.
    pub said: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub queued: u64,
    pub sender: String,
    pub to: String,
    /// The server, where one was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// How its TLS was judged: `none`, `opportunistic`, `verified`, `dane-ee` and the like; only where a connection came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    pub said: String,
    /// `sent`, `deferred` or `failed`.
    pub outcome: String,
}

/// A notice that was taken. Whoever knows a Message-ID can say so of it: the client is who did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Of the notice's Received field.
    pub id: String,
    pub client: Client,
    /// Of the mail that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    pub recipients: Vec<Fate>,
}

/// What a notice tells of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fate {
    pub to: String,
    /// As the sender named him, where that is another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// `failed`, `delayed`, `delivered`, `relayed`, `expanded`; empty where that is not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// The server that decided, else the one that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `5.1.1` (RFC 3463).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

impl Heard {
    pub fn new(id: String, client: Client, status: DeliveryStatus) -> Self {
        let DeliveryStatus { reporting_mta, recipients, message_id } = status;
        let fate = |it: delivery_status::Recipient| {
            let (to, named) = match (it.final_recipient, it.original_recipient) {
                (Some(to), named) => (to, named),
                (None, named) => (named.unwrap_or_default(), None),
            };
            Fate {
                named: named.filter(|named| !named.eq_ignore_ascii_case(&to)),
                to,
                outcome: it.action.map_or("", Action::word).to_owned(),
                by: it.remote_mta.or_else(|| reporting_mta.clone()),
                status: it.status.map(|status| status.to_string()),
                said: it.diagnostic,
            }
        };
        Self { id, client, message_id, recipients: recipients.into_iter().map(fate).collect() }
    }
}

impl What {
    /// Whether a flood of it could push out what matters more.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Received(received) => received.is_refusal(),
            Self::Sent(_) | Self::Heard(_) => false,
        }
    }

    pub fn queued(&self) -> Option<u64> {
        match self {
            Self::Received(received) => received.queued,
            Self::Sent(sent) => Some(sent.queued),
            Self::Refused(_) | Self::Heard(_) => None,
        }
    }

    /// Whether it is about the message with this id, or about mail from or to this address.
    pub(super) fn is_about(&self, wanted: &str) -> bool {
        let is = |text: &str| text.eq_ignore_ascii_case(wanted);
        match self {
            Self::Received(it) => {
                is(&it.id)
                    || is(&it.sender)
                    || it.message_id.as_deref().is_some_and(is)
                    || it.recipients.iter().any(|recipient| is(&recipient.to))
            }
            Self::Refused(it) => is(&it.sender) || it.recipient.as_deref().is_some_and(is),
            Self::Sent(it) => is(&it.sender) || is(&it.to),
            Self::Heard(it) => {
                let is_of = |fate: &Fate| is(&fate.to) || fate.named.as_deref().is_some_and(is);
                is(&it.id) || it.message_id.as_deref().is_some_and(is) || it.recipients.iter().any(is_of)
            }
        }
    }
}

impl Received {
    fn is_refusal(&self) -> bool {
        !matches!(self.outcome.as_str(), TAKEN | JUNK | DISCARDED)
    }
}

pub const TAKEN: &str = "taken";
pub const JUNK: &str = "junk";
pub const DISCARDED: &str = "discarded";
