//! What the server says it can do, at each stage of a session.

use super::limits::APPEND_MESSAGES_MAX;
use crate::session::sasl::Mechanism;

/// What stands in CAPABILITY at every stage.
const ALWAYS: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE";

/// What is of use once logged in.
const LOGGED_IN: &str = "ACL BINARY CATENATE CHILDREN COMPRESS=DEFLATE CONDSTORE CONTEXT=SEARCH CONTEXT=SORT CREATE-SPECIAL-USE \
    ESEARCH ESORT INPROGRESS LIST-EXTENDED LIST-METADATA LIST-MYRIGHTS LIST-STATUS METADATA MOVE MULTIAPPEND NAMESPACE NOTIFY \
    OBJECTID PARTIAL PREVIEW QRESYNC QUOTA QUOTA=RES-MAILBOX QUOTA=RES-STORAGE REPLACE RIGHTS=texk SAVEDATE \
    SEARCHRES SORT SORT=DISPLAY SPECIAL-USE STATUS=SIZE THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS \
    UIDONLY UIDPLUS UNSELECT UTF8=ACCEPT WITHIN";

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    LoggedIn {
        /// RFC 7889: one bound for all mailboxes.
        append_bytes_max: u64,
        /// RFC 9738: of all commands.
        message_limit: Option<usize>,
    },
    /// `mechanisms`: none where passwords may not be sent on this connection as it is.
    Greeting { starttls: bool, mechanisms: Vec<Mechanism> },
}

/// The capabilities, space-separated.
pub fn capabilities(stage: Stage) -> String {
    match stage {
        Stage::LoggedIn { append_bytes_max, message_limit } => {
            // RFC 9738 3: the one or the other. What APPEND takes; COPY takes more.
            let limit = match message_limit {
                Some(limit) => format!("MESSAGELIMIT={limit}"),
                None => format!("SAVELIMIT={APPEND_MESSAGES_MAX}"),
            };
            format!("{ALWAYS} APPENDLIMIT={append_bytes_max} {LOGGED_IN} {limit}")
        }
        Stage::Greeting { starttls, mechanisms } => {
            // RFC 3501 6.2.3: LOGINDISABLED while passwords would go in the clear.
            let starttls = if starttls { " STARTTLS" } else { "" };
            let disabled = if mechanisms.contains(&Mechanism::Plain) { "" } else { " LOGINDISABLED" };
            let login: String = mechanisms.iter().map(|one| format!(" AUTH={}", one.name())).collect();
            format!("{ALWAYS}{starttls}{disabled}{login}")
        }
    }
}
