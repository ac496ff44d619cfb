//! `pollux cluster compare`: what a node that stays off has beside mailboxes, and the cluster lacks or has otherwise. Nothing
//! is merged: it is for the operator to read, and to do of it what is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Problem, found, print, queue};
use crate::admin::control::plan::{Plan, plan};
use crate::admin::control::request::{QueueFilter, Request};
use crate::admin::status::rfc3339;
use crate::cluster::membership::Left;
use crate::mail::ids::QueueId;
use crate::state::directory::Directory;
use crate::state::queue::reading;
use crate::state::stored::QueuedRow;
use crate::store::files;

/// One kind of what operators set.
struct Kind {
    what: &'static str,
    list: fn() -> Request,
    /// Names each.
    name: &'static str,
    /// What it is like; all else follows from it, or is this side's own (accounts, times).
    like: &'static [&'static str],
}

const KINDS: [Kind; 8] = [
    Kind { what: "domain", list: || Request::DomainList, name: "name", like: &[] },
    Kind { what: "user", list: || Request::UserList, name: "name", like: &["enabled", "quota_bytes"] },
    Kind { what: "alias", list: || Request::AliasList, name: "address", like: &["targets"] },
    Kind { what: "setting", list: || Request::PolicyList, name: "key", like: &["value"] },
    Kind { what: "relay", list: || Request::RelayList, name: "name", like: &["for", "host", "tls", "user"] },
    Kind {
        what: "firewall rule",
        list: || Request::FirewallList,
        name: "name",
        like: &["ports", "action", "sources", "interface"],
    },
    Kind { what: "DKIM key", list: || Request::DkimList, name: "name", like: &["algorithm", "signs"] },
    Kind {
        what: "authority",
        list: || Request::AuthorityList,
        name: "name",
        like: &["for", "subject", "until"],
    },
];

/// Mails of its queue that are read in one go.
const MAILS_AT_ONCE: usize = 1_000;

pub fn run(socket: &Path, dir: &Path, mail_into: Option<&Path>, json: bool) -> Result<(), Problem> {
    let left = found::runtime()?.block_on(Left::open(dir)).map_err(|error| error.to_string())?;
    let there = Directory::load(&left.rows()).map_err(|error| error.to_string())?;
    let mut differences = Vec::new();
    for kind in &KINDS {
        let Ok(Plan::Show(there)) = plan((kind.list)(), &there) else {
            return Err(format!("what it has of each {} cannot be read", kind.what));
        };
        let here = queue::ask(socket, (kind.list)())?;
        differences.extend(compared(kind, &there, &here));
    }
    let mut mails = waiting(&left, &in_queue(socket)?)?;
    if let Some(folder) = mail_into {
        write_all(&left, &mut mails, folder)?;
    }
    let mails: Vec<Value> = mails.into_iter().map(|mail| mail.shown).collect();
    print(&match json {
        true => format!("{:#}\n", json!({ "differences": differences, "waiting": mails })),
        false => told(&differences, &mails),
    });
    Ok(())
}

/// What is there alone, and what is otherwise there.
fn compared(kind: &Kind, there: &Value, here: &Value) -> Vec<Value> {
    let by_name = |all: &Value| -> BTreeMap<String, Value> {
        let all = all.as_array().into_iter().flatten();
        all.map(|it| {
            let like = kind.like.iter().map(|field| ((*field).to_owned(), it[*field].clone()));
            (
                it[kind.name].as_str().unwrap_or_default().to_owned(),
                Value::Object(like.collect::<Map<_, _>>()),
            )
        })
        .collect()
    };
    let here = by_name(here);
    let differs = |(name, there): (String, Value)| match here.get(&name) {
        Some(here) if *here == there => None,
        here => Some(json!({ "what": kind.what, "name": name, "there": there, "here": here })),
    };
    by_name(there).into_iter().filter_map(differs).collect()
}

/// What makes a mail in a queue the same one: ids are given anew by each side once two have parted.
type Known = (u64, u64, String, String);

fn in_queue(socket: &Path) -> Result<BTreeSet<Known>, Problem> {
    let mails = queue::list(socket, &QueueFilter::default(), usize::MAX)?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let known = |mail: &Value| {
        (number(&mail["id"]), number(&mail["size"]), word(&mail["sender"]), word(&mail["queued_at"]))
    };
    Ok(mails.iter().map(known).collect())
}

/// A mail that waits there to be sent to others.
struct Waiting {
    id: QueueId,
    row: QueuedRow,
    shown: Value,
}

/// Those that do not wait here as well.
fn waiting(left: &Left, here: &BTreeSet<Known>) -> Result<Vec<Waiting>, Problem> {
    let (rows, mut waiting, mut after) = (left.rows(), Vec::new(), None);
    loop {
        let mails = reading::mails(&rows, after, MAILS_AT_ONCE).map_err(|error| error.to_string())?;
        let Some((last, _)) = mails.last() else { return Ok(waiting) };
        after = Some(*last);
        for (id, row) in mails {
            if here.contains(&(id.0, row.size.into(), row.sender.clone(), rfc3339(row.queued_at))) {
                continue;
            }
            let parcels = reading::parcels(&rows, id, usize::MAX).map_err(|error| error.to_string())?;
            let recipients: Vec<_> = parcels
                .iter()
                .flat_map(|parcel| &parcel.recipients)
                .map(|(_, recipient)| recipient.address.clone())
                .collect();
            let shown = json!({
                "id": id.0,
                "queued_at": rfc3339(row.queued_at),
                "sender": row.sender,
                "recipients": recipients,
            });
            waiting.push(Waiting { id, row, shown });
        }
    }
}

/// Each as a file of its own, which is said with it; none is written over. One whose text is lost stops no other.
fn write_all(left: &Left, mails: &mut [Waiting], folder: &Path) -> Result<(), Problem> {
    let told = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    for mail in mails {
        let path = folder.join(format!("{}.eml", mail.id.0));
        let Some(body) = left.body(mail.row.body) else {
            mail.shown["lost"] = json!(true);
            continue;
        };
        if path.exists() {
            return Err(told(&path, &"is there already; give an empty folder"));
        }
        files::write_atomically(&path, &body).map_err(|error| told(&path, &error))?;
        mail.shown["file"] = json!(path);
    }
    Ok(())
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn told(differences: &[Value], mails: &[Value]) -> String {
    let mut lines: Vec<String> = differences
        .iter()
        .map(|it| {
            let (what, name) = (word(&it["what"]), word(&it["name"]));
            match it["here"].is_null() {
                true => format!("{what} {name} is only there{}", like(&it["there"], ": ")),
                false => {
                    format!("{what} {name}: there {}; here {}", like(&it["there"], ""), like(&it["here"], ""))
                }
            }
        })
        .collect();
    lines.extend(mails.iter().map(|mail| {
        let recipients: Vec<_> = mail["recipients"].as_array().into_iter().flatten().map(word).collect();
        format!(
            "mail {} waits there since {}: from <{}> to {}{}",
            mail["id"],
            word(&mail["queued_at"]),
            word(&mail["sender"]),
            recipients.join(", "),
            if mail["lost"] == true { "; its text is lost or damaged there" } else { "" }
        )
    }));
    if lines.is_empty() {
        lines.push("Beside mailboxes it has nothing that is not here.".to_owned());
    }
    lines.join("\n") + "\n"
}

/// What a thing is like, on one line; nothing where there is nothing to say.
fn like(of: &Value, before: &str) -> String {
    let fields = of.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let words: Vec<_> = fields
        .map(|(field, value)| match value {
            Value::String(text) => format!("{field} {text}"),
            other => format!("{field} {other}"),
        })
        .collect();
    if words.is_empty() { String::new() } else { format!("{before}{}", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_alone_or_otherwise_is_told_and_nothing_else() {
        let user = |name: &str, account: u64, quota: Value| json!({ "name": name, "account": account, "enabled": true, "quota_bytes": quota });
        let there =
            json!([user("alice", 1, json!(null)), user("bob", 2, json!(5)), user("carol", 3, json!(null))]);
        let here =
            json!([user("alice", 1, json!(null)), user("bob", 2, json!(7)), user("dave", 3, json!(null))]);
        let users = &KINDS[1];
        let found = compared(users, &there, &here);
        let names: Vec<_> = found.iter().map(|it| (it["name"].as_str(), it["here"].is_null())).collect();
        assert_eq!(names, [(Some("bob"), false), (Some("carol"), true)]);
        assert_eq!(
            told(
                &found,
                &[
                    json!({ "id": 4, "queued_at": "then", "sender": "", "recipients": ["a@b.test"] }),
                    json!({ "id": 5, "queued_at": "then", "sender": "c", "recipients": ["d"], "lost": true }),
                ]
            ),
            "user bob: there enabled true, quota_bytes 5; here enabled true, quota_bytes 7\n\
             user carol is only there: enabled true\n\
             mail 4 waits there since then: from <> to a@b.test\n\
             mail 5 waits there since then: from <c> to d; its text is lost or damaged there\n"
        );
        assert!(compared(users, &here, &here).is_empty());
        assert_eq!(told(&[], &[]), "Beside mailboxes it has nothing that is not here.\n");
    }

    /// Each list answers with an array whose entries have these fields, or nothing would ever differ.
    #[test]
    fn each_kind_is_listed_by_the_names_that_are_compared() {
        let mut directory = Directory::default();
        directory.domains.insert("example.test".to_owned());
        directory.aliases.insert("sales".to_owned(), std::sync::Arc::new(vec!["bob".to_owned()]));
        for kind in &KINDS {
            let Ok(Plan::Show(Value::Array(all))) = plan((kind.list)(), &directory) else {
                panic!("{} is not listed", kind.what)
            };
            for entry in &all {
                assert!(entry[kind.name].is_string(), "{} has no {}: {entry}", kind.what, kind.name);
                for field in kind.like {
                    assert!(entry.get(*field).is_some(), "{} has no {field}: {entry}", kind.what);
                }
            }
        }
    }
}
