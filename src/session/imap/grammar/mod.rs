//! The grammar of commands (RFC 3501 9, RFC 4466): bytes of one whole command in, a [`Request`] out.
//! Pure and total: whatever comes in, a [`Syntax`] error comes out at worst.

mod acl;
mod append;
mod command;
mod cursor;
mod fetch;
mod mailbox_name;
mod metadata;
mod notify;
mod quota;
mod search;
mod select;
mod store;
mod url;

pub use acl::AclRequest;
pub use append::{
    AppendHead, AppendStep, MessageHead, Place, Replaces, Stretch, StretchEnd, head as append_head,
    literal_flows, stretch as append_stretch,
};
pub use command::{ListRequest, Request, StatusItem, name_of, parse, tag_of};
pub use cursor::{Cursor, Parsed, Syntax, literal_at_end};
pub use fetch::FetchRequest;
pub use mailbox_name::{MailboxName, NameCoding, is_creatable};
pub use metadata::{GetMetadata, SetMetadata};
#[cfg(test)]
pub use notify::EVENTS_MAX;
pub use notify::{EventGroup, Events, Filter, NotifyRequest};
pub use search::{Charset, PartialRange, Results, SearchRequest};
pub use select::Resync;
pub use store::StoreRequest;
pub use url::MessageUrl;
