//! Takes what a source has and the user's mailboxes lack, folder by folder, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::Source;
use super::item::{Item, Key, Problem};
use super::ours::{Appended, Ours, Refusal};
use crate::admin::cli::progress::Progress;

/// While the cluster cannot take anything, it is tried again so often, so far apart.
const TRIES_MAX: u32 = 30;
const TRY_EACH: Duration = Duration::from_secs(2);
/// Messages that are appended at once (RFC 3502): all of them are taken, or none.
const BATCH_MESSAGES_MAX: usize = 100;
/// And their octets together; the last one may go beyond.
const BATCH_BYTES_MAX: u64 = 4 << 20;
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

/// `into`: a folder below which all goes; empty: at the same names. What is done is durable on both nodes, batch by batch.
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
        let known = ours.known(&target).await?;
        progress.begin(&target, items.len() as u64);
        let mut taking = Taking {
            ours: &mut ours,
            folder: &target,
            settled: BTreeMap::new(),
            report: &mut report,
            progress,
        };
        let mut lacking: Vec<&Item> = Vec::new();
        for item in &items {
            if taking.settles(item, &known) {
                taking.report.there += 1;
                taking.progress.step();
                continue;
            }
            lacking.push(item);
            if is_full(&lacking) {
                taking.take(source, std::mem::take(&mut lacking)).await?;
            }
        }
        taking.take(source, lacking).await?;
        report.folders += 1;
    }
    progress.end();
    Ok(report)
}

fn is_full(items: &[&Item]) -> bool {
    let octets: u64 = items.iter().map(|item| item.key.bytes).sum();
    items.len() == BATCH_MESSAGES_MAX || octets >= BATCH_BYTES_MAX
}

/// Messages with their content.
type Batch<'a> = Vec<(&'a Item, Vec<u8>)>;

/// One folder, as it fills.
struct Taking<'a> {
    ours: &'a mut Ours,
    folder: &'a str,
    /// How many of the source's messages are known to be in it.
    settled: BTreeMap<Key, usize>,
    report: &'a mut Report,
    progress: &'a mut Progress,
}

impl Taking<'_> {
    /// Whether the folder has one more such message than was accounted for.
    fn settles(&mut self, item: &Item, known: &BTreeMap<Key, usize>) -> bool {
        let settled = self.settled.get(&item.key).copied().unwrap_or(0);
        let one_more = known.get(&item.key).is_some_and(|known| *known > settled);
        if one_more {
            self.settle(item);
        }
        one_more
    }

    fn settle(&mut self, item: &Item) {
        *self.settled.entry(item.key.clone()).or_default() += 1;
    }

    async fn take(&mut self, source: &mut Source, items: Vec<&Item>) -> Result<(), Problem> {
        let contents = source.contents(&items).await?;
        let there = items.iter().zip(contents).filter_map(|(item, content)| Some((*item, content?)));
        let batch: Batch<'_> = there.collect();
        self.report.gone += (items.len() - batch.len()) as u64;
        self.offer(batch).await?;
        items.iter().for_each(|_| self.progress.step());
        Ok(())
    }

    async fn offer(&mut self, mut batch: Batch<'_>) -> Result<(), Problem> {
        match self.append(&mut batch).await? {
            Ok(()) => Ok(()),
            // Which of them it was shows when each stands for itself.
            Err(_) if batch.len() > 1 => {
                for one in batch {
                    let mut one = vec![one];
                    if let Err(refusal) = self.append(&mut one).await? {
                        self.refused(one[0].0, refusal)?;
                    }
                }
                Ok(())
            }
            Err(refusal) => self.refused(batch[0].0, refusal),
        }
    }

    /// Whether it was taken, as a whole; until the cluster says so or no.
    async fn append(&mut self, batch: &mut Batch<'_>) -> Result<Result<(), Refusal>, Problem> {
        let mut tries = 0;
        while !batch.is_empty() {
            match self.ours.append(self.folder, batch).await? {
                Appended::Done => {
                    self.report.imported += batch.len() as u64;
                    batch.drain(..).for_each(|(item, _)| self.settle(item));
                }
                Appended::Refused(refusal) => return Ok(Err(refusal)),
                Appended::Unavailable(why) if tries == TRIES_MAX => {
                    return Err(format!("{why}: run the command again once 'pollux cluster status' is well"));
                }
                Appended::Unavailable(_) => {
                    tries += 1;
                    tokio::time::sleep(TRY_EACH).await;
                    // It may have been taken all the same.
                    let known = self.ours.known(self.folder).await?;
                    let before = batch.len();
                    batch.retain(|(item, _)| !self.settles(item, &known));
                    self.report.imported += (before - batch.len()) as u64;
                }
            }
        }
        Ok(Ok(()))
    }

    fn refused(&mut self, item: &Item, refusal: Refusal) -> Result<(), Problem> {
        match refusal {
            Refusal::Message(why) => {
                self.report.refused += 1;
                if self.report.refusals.len() < REFUSALS_TOLD_MAX {
                    self.report.refusals.push(format!("{}: {}: {why}", self.folder, named(item)));
                }
                Ok(())
            }
            Refusal::OverQuota(why) => Err(format!(
                "{why}: {} messages were taken; raise the quota ('pollux user set') and run the command again",
                self.report.imported
            )),
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
