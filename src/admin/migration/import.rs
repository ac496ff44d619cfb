//! Takes what a source has and the user's mailboxes lack, folder by folder, in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::Source;
use super::item::{Item, Problem};
use super::ours::{Appended, Ours};
use crate::admin::cli::progress::Progress;

/// While the cluster cannot take anything, it is tried again so often, so far apart.
const TRIES_MAX: u32 = 30;
const TRY_EACH: Duration = Duration::from_secs(2);
/// Refusals that are told one by one; all are counted.
const REFUSALS_TOLD_MAX: usize = 20;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub folders: usize,
    pub imported: u64,
    /// There already.
    pub there: u64,
    /// Gone from the source meanwhile, or damaged there.
    pub gone: u64,
    pub refused: u64,
    /// The first of them, each with its folder and why.
    pub refusals: Vec<String>,
}

/// `into`: a folder below which all goes; empty: at the same names. What is done is durable on both nodes, message by message.
pub async fn import(
    source: &mut Source,
    (socket, user): (&Path, &str),
    into: &str,
    progress: &mut Progress,
) -> Result<Report, Problem> {
    let mut ours = Ours::open(socket, user).await?;
    let mut there: BTreeSet<String> = ours.folders().await?.into_iter().collect();
    let mut report = Report::default();
    for folder in source.folders().await? {
        let target = target(&folder, into);
        ours.ensure(&target, &mut there).await?;
        let items = source.list(&folder).await?;
        let mut known = ours.known(&target).await?;
        progress.begin(&target, items.len() as u64);
        for item in &items {
            match known.get_mut(&item.key).filter(|count| **count > 0) {
                Some(count) => {
                    *count -= 1;
                    report.there += 1;
                }
                None => take(source, &mut ours, (&target, item), &mut report).await?,
            }
            progress.step();
        }
        report.folders += 1;
    }
    progress.end();
    Ok(report)
}

async fn take(
    source: &mut Source,
    ours: &mut Ours,
    (folder, item): (&str, &Item),
    report: &mut Report,
) -> Result<(), Problem> {
    let Some(content) = source.content(item).await? else {
        report.gone += 1;
        return Ok(());
    };
    let mut tries = 0;
    loop {
        match ours.append(folder, item, &content).await? {
            Appended::Done => {
                report.imported += 1;
                return Ok(());
            }
            Appended::Refused(why) => {
                report.refused += 1;
                if report.refusals.len() < REFUSALS_TOLD_MAX {
                    report.refusals.push(format!("{folder}: {}: {why}", named(item)));
                }
                return Ok(());
            }
            Appended::OverQuota(why) => {
                return Err(format!(
                    "{why}: {} messages were taken; raise the quota ('pollux user set') and run the command again",
                    report.imported
                ));
            }
            Appended::Unavailable(why) if tries == TRIES_MAX => {
                return Err(format!("{why}: run the command again once 'pollux cluster status' is well"));
            }
            Appended::Unavailable(_) => {
                tries += 1;
                tokio::time::sleep(TRY_EACH).await;
            }
        }
    }
}

/// For people.
fn named(item: &Item) -> String {
    let id = String::from_utf8_lossy(&item.key.message_id);
    match id.is_empty() {
        true => format!("a message of {} octets", item.key.bytes),
        false => id.into_owned(),
    }
}

/// Where a folder goes. What no name here may have becomes `_`.
fn target(folder: &str, into: &str) -> String {
    let clean =
        |c: char| if c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}') { '_' } else { c };
    let name: String = folder.chars().map(clean).collect();
    if into.is_empty() { name } else { format!("{into}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_where_names_are_good() {
        assert_eq!(target("INBOX", ""), "INBOX");
        assert_eq!(target("a*/b%", ""), "a_/b_");
        assert_eq!(target("INBOX", "Old"), "Old/INBOX");
    }
}
