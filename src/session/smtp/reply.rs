//! Every reply of SMTP and LMTP in one table: code, enhanced code (RFC 3463, RFC 5248), text.

use std::borrow::Cow;
use std::fmt::{self, Write};

use bytes::BytesMut;

use super::machine::{NoReturn, Verdict};
use crate::meters::{self, METERS};
use crate::policy;
use crate::state::outcome::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Empty where RFC 2034 allows none.
    pub enhanced: &'static str,
    pub text: Cow<'static, str>,
}

const fn reply(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
    Reply { code, enhanced, text: Cow::Borrowed(text) }
}

pub const OK: Reply = reply(250, "2.0.0", "Ok");
pub const SENDER_OK: Reply = reply(250, "2.1.0", "Sender ok");
pub const RECIPIENT_OK: Reply = reply(250, "2.1.5", "Recipient ok");
pub const BYE: Reply = reply(221, "2.0.0", "Bye");
pub const HELP: Reply = reply(214, "2.0.0", "See RFC 5321");
pub const VRFY: Reply = reply(252, "2.0.0", "Cannot verify; send some mail, I will try my best");
pub const GO_AHEAD: Reply = reply(354, "", "End data with <CR><LF>.<CR><LF>");
pub const TLS_READY: Reply = reply(220, "2.0.0", "Ready to start TLS");
pub const LOGGED_IN: Reply = reply(235, "2.7.0", "Authentication successful");

pub const STOPPING: Reply = reply(421, "4.3.2", "This node is stopping, try again");
pub const IDLE: Reply = reply(421, "4.4.2", "Silent for too long");
pub const LOGIN_ENDED: Reply = reply(421, "4.7.0", "This account is not open to you any more");
pub const TOO_MANY_ERRORS: Reply = reply(421, "4.7.0", "Too many errors");
pub const LOGIN_BROKEN_OFF: Reply = reply(421, "4.7.0", "The login was broken off");
pub const TOO_MUCH_JUNK: Reply = reply(421, "4.7.0", "Too many commands that do nothing for a mail");
pub const TOO_MANY_LOGINS: Reply = reply(421, "4.7.0", "Too many failed logins");

pub const UNAVAILABLE: Reply = reply(451, "4.3.0", "Temporarily unable, try again");
pub const NO_OUTBOUND: Reply = reply(451, "4.3.2", "Mail is not sent on to other servers at the moment");
pub const TOO_MANY_MESSAGES: Reply =
    reply(450, "4.7.1", "Too many messages from your host, try again in a minute");
pub const FULL: Reply = reply(452, "4.2.2", "The mailbox has no room for this message");
pub const QUEUE_FULL: Reply = reply(452, "4.3.1", "The queue of mail to other servers is full, try again");
pub const TOO_MANY_RECIPIENTS: Reply = reply(452, "4.5.3", "Too many recipients");
pub const LOGIN_BUSY: Reply = reply(454, "4.7.0", "Temporary authentication failure, try again");

pub const UNKNOWN: Reply = reply(500, "5.5.2", "Command not recognised");
pub const LINE_TOO_LONG: Reply = reply(500, "5.5.6", "Line too long");
pub const SYNTAX: Reply = reply(501, "5.5.4", "Syntax error in the parameters");
pub const HELLO_NAME: Reply = reply(501, "5.5.4", "A domain name or an address literal is needed");
pub const BAD_BASE64: Reply = reply(501, "5.5.2", "Cannot decode the response");
pub const CANCELLED: Reply = reply(501, "5.7.0", "Authentication cancelled");
pub const BAD_SENDER: Reply = reply(501, "5.1.7", "Bad sender address syntax");
pub const BAD_RECIPIENT: Reply = reply(501, "5.1.3", "Bad recipient address syntax");
pub const NOT_IMPLEMENTED: Reply = reply(502, "5.5.1", "Command not implemented");
pub const EARLY_TALK: Reply = reply(503, "5.5.0", "You talk before it is your turn");
pub const HELLO_FIRST: Reply = reply(503, "5.5.1", "Say hello first");
pub const MAIL_FIRST: Reply = reply(503, "5.5.1", "MAIL first");
pub const NESTED_MAIL: Reply = reply(503, "5.5.1", "A sender is given already");
pub const BAD_SEQUENCE: Reply = reply(503, "5.5.1", "Bad sequence of commands");
pub const TLS_ALREADY: Reply = reply(503, "5.5.1", "TLS is active already");
pub const LOGIN_ALREADY: Reply = reply(503, "5.5.1", "Already authenticated");
pub const BAD_MECHANISM: Reply = reply(504, "5.5.4", "Unrecognised authentication type");
pub const TLS_FIRST: Reply = reply(530, "5.7.0", "Must issue a STARTTLS command first");
pub const LOGIN_FIRST: Reply = reply(530, "5.7.0", "Authentication required");
pub const WRONG_LOGIN: Reply = reply(535, "5.7.8", "Authentication credentials invalid");
pub const LOGIN_NEEDS_TLS: Reply = reply(538, "5.7.11", "Encryption required for authentication");
pub const NO_SUCH_USER: Reply = reply(550, "5.1.1", "No such user here");
pub const DISABLED: Reply = reply(550, "5.2.1", "The mailbox is disabled");
pub const ALREADY_FULL: Reply = reply(552, "5.2.2", "The mailbox is full");
pub const TOO_BIG: Reply = reply(552, "5.3.4", "The message is bigger than is accepted here");
pub const NEEDS_UTF8: Reply = reply(553, "5.6.7", "An address beyond ASCII needs SMTPUTF8");
pub const NO_RECIPIENTS: Reply = reply(554, "5.5.1", "No valid recipients");
pub const RELAY_DENIED: Reply = reply(554, "5.7.1", "Relay access denied");
pub const BARE_LINE_END: Reply =
    reply(554, "5.6.0", "Lines must end in <CR><LF>; a bare CR or LF is refused");
pub const NUL_IN_TEXT: Reply = reply(554, "5.6.0", "A NUL octet in the message is refused");
pub const HEADER_TOO_LONG: Reply = reply(554, "5.6.0", "The header of the message is too long");
pub const TEXT_LINE_TOO_LONG: Reply = reply(554, "5.6.0", "A line of the message is too long");
pub const TOO_MANY_HOPS: Reply = reply(554, "5.4.6", "Too many hops: this message goes round in a loop");
pub const LOOP: Reply =
    reply(554, "5.4.6", "This message goes round in a loop: it was passed on from this address before");
pub const NO_RETURN: Reply =
    reply(550, "5.1.1", "No such address: no return address like this was made here");
pub const STALE_RETURN: Reply =
    reply(550, "5.1.1", "No such address: this return address was made too long ago");
pub const NOTICES_ONLY: Reply =
    reply(550, "5.7.1", "This return address takes notices alone, which have an empty sender");
pub const APART: Reply = reply(
    452,
    "4.5.3",
    "This recipient needs a transaction of its own: its mail goes on under another sender",
);
pub const SENDER_TOO_LONG: Reply =
    reply(553, "5.1.7", "The sender's address is too long for the mail to be passed on to other servers");
pub const DELIVERY_REFUSED: Reply = reply(554, "5.3.0", "The message cannot be delivered");
pub const BAD_PARAMETER: Reply = reply(555, "5.5.4", "Parameter not recognised or not implemented");

impl Reply {
    pub fn ok(enhanced: &'static str, text: String) -> Self {
        Reply { code: 250, enhanced, text: Cow::Owned(text) }
    }

    pub fn write(&self, out: &mut BytesMut) {
        METERS.replies.of(meters::Reply::smtp(self.code)).one();
        // Writing to a buffer that grows cannot fail.
        let _ = write!(out, "{self}\r\n");
    }

    /// What RCPT is answered.
    pub fn of_verdict(verdict: &Verdict) -> Reply {
        match verdict {
            Verdict::Accept(_) | Verdict::Relay { .. } => RECIPIENT_OK,
            Verdict::Unknown => NO_SUCH_USER,
            Verdict::Disabled => DISABLED,
            Verdict::AlreadyFull => ALREADY_FULL,
            Verdict::WouldNotFit => FULL,
            Verdict::RelayDenied => RELAY_DENIED,
            Verdict::Outbound => NO_OUTBOUND,
            Verdict::NoReturn(NoReturn::Forged) => NO_RETURN,
            Verdict::NoReturn(NoReturn::Stale) => STALE_RETURN,
            Verdict::NoReturn(NoReturn::NotANotice) => NOTICES_ONLY,
            Verdict::SenderTooLong => SENDER_TOO_LONG,
            Verdict::Apart => APART,
            Verdict::Refused(refusal) => Reply::of_policy(refusal.clone()),
        }
    }

    /// What the checks or the lists say.
    pub fn of_policy(refusal: policy::Refusal) -> Reply {
        Reply { code: refusal.code, enhanced: refusal.enhanced, text: refusal.text.into() }
    }

    /// What a recipient hears when the state refused the delivery.
    pub fn of_refusal(refusal: &Refusal) -> Reply {
        match refusal {
            Refusal::OverQuota => FULL,
            Refusal::NotFound(_) => NO_SUCH_USER,
            Refusal::NotPlaced | Refusal::StillBehind | Refusal::Expired | Refusal::LastCopies(_) => {
                UNAVAILABLE
            }
            Refusal::QueueFull => QUEUE_FULL,
            Refusal::Exists(_)
            | Refusal::Invalid(_)
            | Refusal::Limit(_)
            | Refusal::NotAllowed
            | Refusal::NotPermitted
            | Refusal::LeaseChanged
            | Refusal::ScriptActive
            | Refusal::LastServing(_)
            | Refusal::Changed => DELIVERY_REFUSED,
        }
    }
}

/// As it goes to the client, without the line's end.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.enhanced.is_empty() { "" } else { " " };
        write!(f, "{} {}{separator}{}", self.code, self.enhanced, self.text)
    }
}
