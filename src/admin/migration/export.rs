//! Writes a user's mailboxes to a folder, as Maildir++ or as one mbox a folder. A run that broke off is run again: a Maildir goes on
//! where it was, an mbox is made anew.

use std::path::{Path, PathBuf};

use super::item::{Problem, at};
use super::ours::Ours;
use super::{maildir, mbox};
use crate::admin::cli::progress::Progress;
use crate::mail::utf7::encode_utf7;
use crate::store::files;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Maildir,
    Mbox,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    pub folders: usize,
    pub messages: u64,
    /// Written by a run before.
    pub there: u64,
    /// Keywords for which a Maildir has no letter left.
    pub keywords_left_out: usize,
}

pub async fn export(
    format: Format,
    dir: &Path,
    (socket, user): (&Path, &str),
    progress: &mut Progress,
) -> Result<Exported, Problem> {
    files::create_dir_durably(dir).map_err(|error| at(dir, &error))?;
    let mut ours = Ours::open(socket, user).await?;
    let mut done = Exported::default();
    for folder in ours.folders().await? {
        let (uid_validity, uids) = ours.uids(&folder).await?;
        progress.begin(&folder, uids.len() as u64);
        match format {
            Format::Maildir => {
                let mut writer = maildir::Writer::open(dir, &folder, uid_validity)?;
                for uid in uids {
                    progress.step();
                    if writer.has(uid) {
                        done.there += 1;
                    } else if let Some(message) = ours.message(uid).await? {
                        writer.write(uid, &message)?;
                        done.messages += 1;
                    }
                }
                done.keywords_left_out += writer.keywords_left_out;
            }
            Format::Mbox => {
                let mut writer = mbox::Writer::create(file(dir, &folder))?;
                for uid in uids {
                    progress.step();
                    if let Some(message) = ours.message(uid).await? {
                        writer.write(&message)?;
                        done.messages += 1;
                    }
                }
                writer.finish()?;
            }
        }
        done.folders += 1;
    }
    progress.end();
    Ok(done)
}

/// One file a folder, flat: what parts levels becomes `%2F`.
fn file(dir: &Path, folder: &str) -> PathBuf {
    dir.join(format!("{}.mbox", encode_utf7(folder).replace('%', "%25").replace('/', "%2F")))
}
