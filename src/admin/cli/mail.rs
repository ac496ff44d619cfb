//! `pollux mail`: whole mailboxes, from where they were and to where they are wanted; what was expunged, back again.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::{ExportFormat, ImportFrom, MailCommand, Taken};
use super::progress::Progress;
use super::show::columns;
use super::{Problem, ask, backup, found, print};
use crate::admin::control::client;
use crate::admin::control::request::Request;
use crate::admin::control::undelete::WantedRemoved;
use crate::admin::migration::{self, Account, Format, Past, Report, Source, Which};

pub fn run(socket: &Path, command: MailCommand) -> Result<ExitCode, Problem> {
    match command {
        MailCommand::Import { user, into, json, from } => {
            let report = found::runtime()?.block_on(import(socket, &user, &into, from))?;
            print(&if json { format!("{:#}\n", serde_json::json!(report)) } else { told(&report) });
            // What was left behind is to be seen by scripts too.
            Ok(if report.refused + report.gone == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        MailCommand::Undelete { user, folder, since, until, into, list, json } => {
            let [since_ms, until_ms] = [since, until].map(|moment| moment.map(|moment| moment.0));
            let wanted = WantedRemoved { user, folder, since_ms, until_ms };
            let request = match list {
                true => Request::RemovedList { wanted },
                false => Request::Undelete { wanted, into },
            };
            let answer = client::ask(socket, request).map_err(|failure| failure.to_string())?;
            print(&match (json, list) {
                (true, _) => format!("{answer:#}\n"),
                (false, true) => listed(&answer),
                (false, false) => format!("{}\n", answer["done"].as_str().unwrap_or_default()),
            });
            Ok(ExitCode::SUCCESS)
        }
        MailCommand::Export { user, json, format, dir } => {
            let format = match format {
                ExportFormat::Maildir => Format::Maildir,
                ExportFormat::Mbox => Format::Mbox,
            };
            let mut progress = Progress::default();
            let exporting = migration::export(format, &dir, (socket, &user), &mut progress);
            let done = found::runtime()?.block_on(exporting)?;
            print(&match json {
                true => format!("{:#}\n", serde_json::json!(done)),
                false => format!(
                    "{} folders: {} messages written, {} were there{}\n",
                    done.folders,
                    done.messages,
                    done.there,
                    match done.keywords_left_out {
                        0 => String::new(),
                        left => format!("; {left} keywords left out, for a Maildir has room for 26"),
                    }
                ),
            });
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn import(socket: &Path, user: &str, into: &str, from: ImportFrom) -> Result<Report, Problem> {
    let mut source = match from {
        ImportFrom::Maildir { path } => Source::maildir(path),
        ImportFrom::Mbox { path, folder } => Source::mbox(path, folder),
        ImportFrom::Backup { place, taken, chosen } => {
            let which = Which { id: chosen.backup.as_deref(), at: chosen.at };
            Source::Past(Box::new(Past::of_backup(
                &backup::repository(&place)?,
                which,
                &taken.of(user),
                &taken.folders,
            )?))
        }
        ImportFrom::Node { dir, taken } => {
            Source::Past(Box::new(Past::of_node(&dir, &taken.of(user), &taken.folders).await?))
        }
        ImportFrom::Imap { host, port, security, login, password_stdin, ca } => {
            let password = ask::existing_password(&format!("{login} at {host}"), password_stdin)?;
            let port = port.unwrap_or(security.port());
            Source::imap(Account { host, port, security, login, password, ca }).await?
        }
    };
    let mut progress = Progress::default();
    migration::import(&mut source, (socket, user), into, &mut progress).await
}

impl Taken {
    /// Whose it is, where it goes to that user.
    fn of(&self, user: &str) -> String {
        self.from.as_deref().unwrap_or(user).to_lowercase()
    }
}

fn listed(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let cells = |message: &Value| {
        let [removed, folder, from, subject] =
            ["removed", "folder", "from", "subject"].map(|part| text(&message[part]));
        vec![removed, folder, format!("{} bytes", message["bytes"]), from, subject]
    };
    let messages: Vec<_> = answer["messages"].as_array().into_iter().flatten().map(cells).collect();
    let mut out = match messages.is_empty() {
        true => "Nothing that was expunged is kept.\n".to_owned(),
        false => columns(&messages),
    };
    if answer["more"] == true {
        out.push_str("There is more: narrow it by --folder, --since and --until.\n");
    }
    out
}

fn told(report: &Report) -> String {
    let Report { folders, imported, there, gone, refused, refusals } = report;
    let mut text = format!("{folders} folders: {imported} messages imported, {there} were there");
    if *gone > 0 {
        text.push_str(&format!(", {gone} could not be read"));
    }
    if *refused > 0 {
        text.push_str(&format!(", {refused} refused:\n  {}", refusals.join("\n  ")));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_told_by_name() {
        let mut report = Report { folders: 2, imported: 3, there: 4, ..Report::default() };
        assert_eq!(told(&report), "2 folders: 3 messages imported, 4 were there\n");
        report.refused = 1;
        report.refusals.push("INBOX: <1@a.test>: too large".to_owned());
        assert!(told(&report).ends_with(", 1 refused:\n  INBOX: <1@a.test>: too large\n"));
    }
}
