//! `pollux sieve`: the scripts of users, as operators see and change them.

use serde_json::{Value, json};

use super::plan::known_user;
use super::request::Failure;
use super::server::fault;
use crate::cluster::replica::Replica;
use crate::mail::ids::AccountId;
use crate::sieve::Script;
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::outcome::Outcome;
use crate::state::sieve::{NAME_CHARS_MAX, SCRIPT_BYTES_MAX, ScriptRecord, is_script_name};

/// Of whose scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub account: AccountId,
    pub name: String,
}

/// What is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    List(Owner),
    /// `None`: the active one.
    Show {
        owner: Owner,
        name: Option<String>,
    },
    /// These in order, up to the first that is refused; then say `done`.
    Change {
        commands: Vec<Command>,
        done: String,
    },
}

impl Wish {
    pub fn list(user: &str, directory: &Directory) -> Result<Self, Failure> {
        Ok(Self::List(owner(user, directory)?))
    }

    pub fn show(user: &str, name: Option<String>, directory: &Directory) -> Result<Self, Failure> {
        Ok(Self::Show { owner: owner(user, directory)?, name })
    }

    /// What is no script is refused before anything is kept.
    pub fn put(
        user: &str,
        (name, text): (String, String),
        activate: bool,
        directory: &Directory,
    ) -> Result<Self, Failure> {
        let Owner { account, name: user } = owner(user, directory)?;
        check_name(&name)?;
        if text.len() > SCRIPT_BYTES_MAX {
            return Err(Failure::refused(format!("a script has at most {SCRIPT_BYTES_MAX} octets")));
        }
        Script::compile(&text).map_err(|error| Failure::refused(error.to_string()))?;
        let done = format!("script {name} of {user} kept{}", if activate { ", and active" } else { "" });
        let activation = activate.then(|| Command::ActivateScript { account, name: Some(name.clone()) });
        let put = Command::PutScript { account, name, text };
        Ok(Self::Change { commands: [put].into_iter().chain(activation).collect(), done })
    }

    pub fn remove(user: &str, name: String, directory: &Directory) -> Result<Self, Failure> {
        let Owner { account, name: user } = owner(user, directory)?;
        let done = format!("script {name} of {user} removed");
        Ok(Self::Change { commands: vec![Command::RemoveScript { account, name }], done })
    }

    /// `None`: no script.
    pub fn activate(user: &str, name: Option<String>, directory: &Directory) -> Result<Self, Failure> {
        let Owner { account, name: user } = owner(user, directory)?;
        let done = match &name {
            Some(name) => format!("script {name} of {user} is active"),
            None => format!("no script of {user} is active"),
        };
        Ok(Self::Change { commands: vec![Command::ActivateScript { account, name }], done })
    }
}

fn owner(user: &str, directory: &Directory) -> Result<Owner, Failure> {
    let user = known_user(user, directory)?;
    Ok(Owner { account: user.account, name: user.name.clone() })
}

fn check_name(name: &str) -> Result<(), Failure> {
    let wrong = || {
        let bound = format!("use 1 to {NAME_CHARS_MAX} characters, and no control characters");
        Failure::refused(format!("{name:?} is not a script's name; {bound}"))
    };
    is_script_name(name).then_some(()).ok_or_else(wrong)
}

pub async fn answer<R: Replica>(wish: Wish, replica: &R) -> Result<Value, Failure> {
    match wish {
        Wish::List(owner) => {
            let scripts = replica.sieve_scripts(owner.account).await.map_err(fault)?;
            Ok(json!(scripts.iter().map(shown).collect::<Vec<_>>()))
        }
        Wish::Show { owner: Owner { account, name: user }, name } => {
            let found = match &name {
                Some(name) => replica.sieve_script(account, name).await,
                None => replica.active_script(account).await,
            };
            match (found.map_err(fault)?, name) {
                (Some(text), _) => Ok(json!({ "text": text })),
                (None, Some(name)) => Err(Failure::refused(format!(
                    "{user} has no script {name}; see 'pollux sieve list {user}'"
                ))),
                (None, None) => Err(Failure::refused(format!(
                    "no script of {user} is active; name one, see 'pollux sieve list {user}'"
                ))),
            }
        }
        Wish::Change { commands, done } => {
            for command in commands {
                if let Outcome::Refused(refusal) = replica.propose(command).await.map_err(fault)? {
                    return Err(Failure::refused(refusal.to_string()));
                }
            }
            Ok(json!({ "done": done }))
        }
    }
}

fn shown(script: &ScriptRecord) -> Value {
    json!({ "name": script.name, "bytes": script.bytes, "active": script.active })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::state::command::NewUser;

    async fn asked(replica: &MemoryReplica, wish: Result<Wish, Failure>) -> Result<Value, String> {
        let wish = wish.map_err(|failure| failure.message)?;
        answer(wish, replica).await.map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn scripts_are_kept_shown_made_active_and_removed() {
        let replica = MemoryReplica::new(Clock::system());
        let user = NewUser { name: "bob".into(), password_phc: "$x".into(), quota_bytes: None };
        replica.run(Command::AddUser(user)).unwrap();
        let directory = Arc::clone(&replica.directory());
        let put = |text: &str, activate| Wish::put("Bob", ("a b".into(), text.into()), activate, &directory);
        let show = |name: Option<&str>| Wish::show("bob", name.map(str::to_owned), &directory);
        assert!(asked(&replica, show(None)).await.unwrap_err().contains("no script of bob is active"));
        assert!(asked(&replica, put("nonsense;", false)).await.unwrap_err().contains("line 1"));
        let kept = asked(&replica, put("keep;\r\n", false)).await.unwrap();
        assert_eq!(kept, json!({ "done": "script a b of bob kept" }));
        let listed = |active| json!([{ "name": "a b", "bytes": 7, "active": active }]);
        assert_eq!(asked(&replica, Wish::list("bob", &directory)).await.unwrap(), listed(false));
        let kept = asked(&replica, put("stop;\r\n", true)).await.unwrap();
        assert_eq!(kept, json!({ "done": "script a b of bob kept, and active" }));
        assert_eq!(asked(&replica, Wish::list("bob", &directory)).await.unwrap(), listed(true));
        assert_eq!(asked(&replica, show(None)).await.unwrap(), json!({ "text": "stop;\r\n" }));
        let remove = || Wish::remove("bob", "a b".into(), &directory);
        assert_eq!(asked(&replica, remove()).await.unwrap_err(), "the script is active");
        asked(&replica, Wish::activate("bob", None, &directory)).await.unwrap();
        asked(&replica, remove()).await.unwrap();
        assert!(asked(&replica, show(Some("a b"))).await.unwrap_err().contains("no script a b"));
        assert!(Wish::list("carol", &directory).unwrap_err().message.contains("no user carol"));
        let long = "n".repeat(NAME_CHARS_MAX + 1);
        assert!(Wish::put("bob", (long, String::new()), false, &directory).is_err());
        let fat = |octets| Wish::put("bob", ("f".into(), "#".repeat(octets)), false, &directory);
        assert!(fat(SCRIPT_BYTES_MAX + 1).unwrap_err().message.contains("at most"));
    }
}
