//! `pollux backup`: made by the running node, listed and checked without one, restored to a new node.

use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::{Backup, Restore};
use super::found::{Staging, lay_down, runtime};
use super::identity::cluster_config;
use super::progress::shown_while;
use super::{Problem, print};
use crate::admin::control::backup;
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::admin::status::rfc3339;
use crate::backup::BackupError;
use crate::backup::location::{Access, Location};
use crate::backup::manifest::Manifest;
use crate::backup::progress::Progress;
use crate::backup::remove::{Gone, Removed, remove};
use crate::backup::repository::{Repository, Writing};
use crate::backup::restore::{Lacking, Restored, restore};
use crate::backup::storage::Workplace;
use crate::backup::verify::{Verified, verify};
use crate::clock::Clock;
use crate::config::Role;

/// Between two looks at how far it is.
const LOOK_EACH: Duration = Duration::from_millis(200);

/// Makes one through the node behind `socket`.
pub fn create(socket: &Path, to: Location, json: bool) -> Result<(), Problem> {
    let to = match to {
        // The node has another folder than this command.
        Location::Folder(dir) => {
            let absolute = std::path::absolute(&dir);
            Location::Folder(absolute.map_err(|error| format!("{}: {error}", dir.display()))?)
        }
        bucket => bucket,
    };
    let access = access(&to)?.map(Box::new);
    let ask = |request| client::ask(socket, request).map_err(|failure| failure.to_string());
    let job = ask(Request::BackupCreate { to: to.clone(), access })?["job"].clone();
    let mut said = String::new();
    loop {
        let state = ask(Request::BackupState)?;
        if state["job"] != job {
            return Err(format!("it ended, and another was begun; see 'pollux backup list {to}'"));
        }
        match state["state"].as_str() {
            Some("running") => say_phase(&state, &mut said),
            Some("done") => return made(&state["backup"], &to, json),
            _ => return Err(state["message"].as_str().unwrap_or("no backup was made").to_owned()),
        }
        sleep(LOOK_EACH);
    }
}

/// On stderr, so that stdout is the answer alone.
fn say_phase(state: &Value, said: &mut String) {
    let phase = state["phase"].as_str().unwrap_or_default();
    if phase == said {
        return;
    }
    phase.clone_into(said);
    let text = match state["messages_wanted"].as_u64() {
        Some(wanted) if wanted > 0 => format!("{phase}: {wanted} are new there\n"),
        _ => format!("{phase}\n"),
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn made(made: &Value, to: &Location, json: bool) -> Result<(), Problem> {
    if json {
        print(&format!("{made}\n"));
    } else {
        let id = made["id"].as_str().unwrap_or_default();
        print(&format!(
            "backup {id} is made in {to}: {} users, {} messages; {} new ({} bytes)\n",
            made["users"], made["messages"], made["bodies_added"], made["bytes_added"]
        ));
    }
    match made["bodies_lost"].as_u64() {
        Some(lost) if lost > 0 => Err(format!(
            "the backup is made, but {lost} messages are on no node any longer and could not be backed up; see the node's log"
        )),
        _ => Ok(()),
    }
}

/// What is done without a node that runs.
pub fn run(wanted: Backup) -> Result<(), Problem> {
    match wanted {
        Backup::Create { .. } => unreachable!("the node makes it"),
        Backup::List { from, json } => list(&repository(&from)?, json),
        Backup::Verify { from, backup, json } => {
            let (repository, progress) = (repository(&from)?, Progress::default());
            let found = shown_while(&progress, || verify(&repository, backup.as_deref(), &progress));
            let found = found.map_err(text)?;
            verified(&found, &from, json)
        }
        Backup::Remove { from, backup, keep, json } => {
            let gone = match (backup, keep) {
                (Some(id), _) => Gone::One(id),
                (None, keep) => Gone::AllBut(keep.map_or(1, |count| count as usize)),
            };
            // A place that holds none is not made one.
            let writing = Writing::of(repository(&from)?).map_err(text)?;
            let progress = Progress::default();
            let removed = shown_while(&progress, || remove(&writing, &gone, &progress)).map_err(text)?;
            print(&told_removed(&removed, json));
            Ok(())
        }
        Backup::Restore(wanted) => restore_all(&wanted),
    }
}

/// The backups at a place, through this box.
pub fn repository(from: &Location) -> Result<Repository, Problem> {
    Repository::open(from, workplace(from)?).map_err(text)
}

fn workplace(at: &Location) -> Result<Workplace, Problem> {
    Ok(Workplace { access: access(at)?, spool: std::env::temp_dir(), clock: Clock::system() })
}

/// `None`: a folder needs none.
fn access(to: &Location) -> Result<Option<Access>, Problem> {
    match to {
        Location::Folder(_) => Ok(None),
        Location::Bucket { .. } => {
            let variable = |name: &str| std::env::var(name).ok();
            Access::of_environment(variable, |path| std::fs::read_to_string(path)).map(Some)
        }
    }
}

fn list(repository: &Repository, json: bool) -> Result<(), Problem> {
    let backups = repository.backups().map_err(text)?;
    let (mut out, mut shown, mut wrong) = (String::new(), Vec::new(), None);
    for backup in backups {
        match backup {
            Ok(manifest) => {
                out.push_str(&line(&manifest));
                shown.push(backup::backup(&manifest));
            }
            Err(error) => wrong = Some(error),
        }
    }
    match json {
        true => print(&format!("{}\n", json!(shown))),
        false if shown.is_empty() => print("There is no backup yet.\n"),
        false => print(&out),
    }
    wrong.map_or(Ok(()), |error| Err(error.to_string()))
}

fn line(manifest: &Manifest) -> String {
    let Manifest { id, users, messages, node, bytes_added, .. } = manifest;
    let at = rfc3339(manifest.at());
    format!("{id}  {at}  by {node}: {users} users, {messages} messages, {bytes_added} bytes of them new\n")
}

fn verified(found: &Verified, from: &Location, json: bool) -> Result<(), Problem> {
    let Verified { backups, packs, bodies, bytes, faults } = found;
    if json {
        let whole = faults.is_empty();
        print(&format!(
            "{}\n",
            json!({ "whole": whole, "backups": backups, "packs": packs, "bodies": bodies, "bytes": bytes, "faults": faults })
        ));
    } else {
        faults.iter().for_each(|fault| print(&format!("{fault}\n")));
        print(&format!(
            "{backups} backups are whole; {bodies} messages in {packs} packs ({bytes} bytes) were read\n"
        ));
    }
    match faults.len() {
        0 => Ok(()),
        count => Err(format!(
            "{count} faults in {from}; move damaged packs away and make a backup: what the cluster still has is written anew"
        )),
    }
}

fn told_removed(removed: &Removed, json: bool) -> String {
    let Removed { backups, left, bytes } = removed;
    if json {
        return format!("{}\n", json!({ "removed": backups, "left": left, "bytes_freed": bytes }));
    }
    let each: String = backups.iter().map(|id| format!("backup {id} is removed\n")).collect();
    format!("{each}{left} backups are left; {bytes} bytes were given back\n")
}

fn restore_all(wanted: &Restore) -> Result<(), Problem> {
    let repository = repository(&wanted.from)?;
    let manifest = repository.choose(wanted.chosen.backup.as_deref(), wanted.chosen.at).map_err(text)?;
    let staging = Staging::begin(&wanted.node.dir)?;
    let config = lay_down(&staging, &wanted.node, Role::Data, &[])?;
    let lacking = if wanted.partial { Lacking::GoOn } else { Lacking::Refuse };
    let (clock, progress) = (Clock::system(), Progress::default());
    let done = restore(&repository, &manifest, cluster_config(&config), &clock, (lacking, &progress));
    let runtime = runtime()?;
    let restored = shown_while(&progress, || runtime.block_on(done)).map_err(text)?;
    staging.finish(&wanted.node.dir)?;
    match wanted.json {
        true => print(&format!("{}\n", shown(&manifest, &restored))),
        false => print(&told(&manifest, &restored, (&config.name, &wanted.node.dir))),
    }
    Ok(())
}

fn shown(manifest: &Manifest, restored: &Restored) -> Value {
    json!({
        "backup": manifest.id,
        "at": rfc3339(manifest.at()),
        "users": manifest.users,
        "messages": manifest.messages,
        "bodies": restored.bodies,
        "bytes": restored.bytes,
        "bodies_lacking": restored.lacking,
        "queue_held": restored.held,
        "secrets_lost": restored.secrets_lost,
    })
}

fn told(manifest: &Manifest, restored: &Restored, (name, dir): (&str, &Path)) -> String {
    let Restored { bodies, bytes, lacking, held, secrets_lost, .. } = restored;
    let mut out = format!(
        "{name} holds backup {} of {}: {} users, {} messages ({bodies} different ones, {bytes} bytes)\n",
        manifest.id,
        rfc3339(manifest.at()),
        manifest.users,
        manifest.messages,
    );
    if *lacking > 0 {
        out.push_str(&format!("{lacking} messages are lacking and cannot be read\n"));
    }
    if *secrets_lost > 0 {
        out.push_str(&format!(
            "{secrets_lost} passwords or keys could not be opened; give them anew ('pollux relay', 'pollux dkim', 'pollux srs')\n"
        ));
    }
    if *held > 0 {
        out.push_str("mail that waited to go out is held: it may have gone out since; 'pollux queue list', then release or remove it\n");
    }
    let at = format!("--config {}/pollux.toml", dir.display());
    out.push_str(&format!(
        "It is the first node of a new cluster; the old nodes must never be started again. Now:\n\
         \x20 pollux serve {at}\n\
         \x20 pollux {at} join-token     then on the second box: pollux join --token … --dir D\n"
    ));
    out
}

fn text(error: BackupError) -> Problem {
    error.to_string()
}
