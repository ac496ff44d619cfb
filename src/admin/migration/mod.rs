//! Mailboxes on their way in and out: from Maildir, mbox, other IMAP servers and our own backups and folders of nodes, into Maildir and mbox.
//!
//! Our side is always IMAP, over the control socket: what comes in is placed, committed and acknowledged like any mail, within
//! the user's quota and every other bound, and what goes out is what a client would see. So a run that broke off is simply
//! run again: what is there already is not taken twice.

mod export;
mod import;
mod item;
mod maildir;
mod mbox;
mod ours;
mod past;
mod remote;

pub use self::export::{Format, export};
pub use self::import::{Report, import};
pub use self::maildir::Maildir;
pub use self::mbox::Mbox;
pub use self::past::{Past, Which};
pub use self::remote::{Account, Security};

use std::path::PathBuf;

use self::item::{Item, Problem};
use self::remote::Remote;

/// Where mail comes from.
pub enum Source {
    Maildir(Maildir),
    Mbox(Mbox),
    Imap(Box<Remote>),
    Past(Box<Past>),
}

impl Source {
    pub fn maildir(path: PathBuf) -> Self {
        Self::Maildir(Maildir::new(path))
    }

    /// `into`: the folder that the file's messages go to.
    pub fn mbox(path: PathBuf, into: String) -> Self {
        Self::Mbox(Mbox::new(path, into))
    }

    pub async fn imap(account: Account) -> Result<Self, Problem> {
        Ok(Self::Imap(Box::new(Remote::open(account).await?)))
    }

    /// In UTF-8, with `/` between levels, INBOX first.
    async fn folders(&mut self) -> Result<Vec<String>, Problem> {
        match self {
            Self::Maildir(maildir) => maildir.folders(),
            Self::Mbox(mbox) => Ok(vec![mbox.folder().to_owned()]),
            Self::Imap(remote) => remote.folders().await,
            Self::Past(past) => Ok(past.folders()),
        }
    }

    /// What is in it, in the order in which it is to be appended.
    async fn list(&mut self, folder: &str) -> Result<Vec<Item>, Problem> {
        match self {
            Self::Maildir(maildir) => maildir.list(folder),
            Self::Mbox(mbox) => mbox.list(),
            Self::Imap(remote) => remote.list(folder).await,
            Self::Past(past) => past.list(folder),
        }
    }

    /// Of each, with CRLF at the ends of lines. `None`: it is gone meanwhile, or damaged.
    async fn contents(&mut self, items: &[&Item]) -> Result<Vec<Option<Vec<u8>>>, Problem> {
        match self {
            Self::Maildir(maildir) => items.iter().map(|item| maildir.content(item)).collect(),
            Self::Mbox(mbox) => items.iter().map(|item| mbox.content(item).map(Some)).collect(),
            Self::Imap(remote) => remote.contents(items).await,
            Self::Past(past) => items.iter().map(|item| past.content(item)).collect(),
        }
    }
}
