//! What a proposer does with a command before it proposes it: folds names and checks settings by the
//! tables of its own build, so that apply need not and every build applies alike.

use super::acl::ANYONE;
use super::authorities;
use super::command::{Command, NewUser, SetAcl};
use super::directory::Directory;
use super::lists;
use super::outcome::Refusal;
use super::relays;
use super::routing;
use super::settings;
use super::versions;
use crate::mail::address::canonical_domain;

/// The command with domains as A-labels, names in lower case and settings canonical; or why it cannot be.
pub fn prepare(command: Command, directory: &Directory) -> Result<Command, Refusal> {
    if let Some(why) = versions::why_not_yet(&command, directory.cluster_version) {
        return Err(Refusal::Invalid(why));
    }
    Ok(match command {
        Command::AddDomain { name } => Command::AddDomain { name: domain(&name)? },
        Command::RemoveDomain { name } => Command::RemoveDomain { name: domain(&name)? },
        Command::AddUser(user) => Command::AddUser(NewUser { name: user.name.to_lowercase(), ..user }),
        Command::SetPassword { name, password_phc } => {
            Command::SetPassword { name: name.to_lowercase(), password_phc }
        }
        Command::AddUserWithScram { user, keys } => {
            let name = user.name.to_lowercase();
            Command::AddUserWithScram { user: NewUser { name, ..user }, keys }
        }
        Command::SetPasswordWithScram { name, password_phc, keys } => {
            Command::SetPasswordWithScram { name: name.to_lowercase(), password_phc, keys }
        }
        Command::AddScramKeys { name, password_phc, keys } => {
            Command::AddScramKeys { name: name.to_lowercase(), password_phc, keys }
        }
        Command::SetQuota { name, quota_bytes } => {
            Command::SetQuota { name: name.to_lowercase(), quota_bytes }
        }
        Command::SetUserEnabled { name, enabled } => {
            Command::SetUserEnabled { name: name.to_lowercase(), enabled }
        }
        Command::RemoveUser { name } => Command::RemoveUser { name: name.to_lowercase() },
        Command::SetAlias { address, targets } => Command::SetAlias {
            address: self::address(&address)?,
            targets: targets.iter().map(|target| self::address(target)).collect::<Result<_, _>>()?,
        },
        Command::RemoveAlias { address } => Command::RemoveAlias { address: self::address(&address)? },
        Command::SetSettings { changes } => Command::SetSettings {
            changes: settings::validate_changes(directory, &changes).map_err(Refusal::Invalid)?,
        },
        Command::SetAcl(set) => {
            Command::SetAcl(SetAcl { identifier: identifier(&set.identifier, directory), ..set })
        }
        Command::AddRelay(new) => {
            Command::AddRelay(Box::new(relays::canonical(*new).map_err(Refusal::Invalid)?))
        }
        Command::AddAuthority(new) => {
            Command::AddAuthority(Box::new(authorities::canonical(*new).map_err(Refusal::Invalid)?))
        }
        Command::AddRule(rule) => {
            Command::AddRule(Box::new(lists::canonical(*rule).map_err(Refusal::Invalid)?))
        }
        other => other,
    })
}

fn domain(name: &str) -> Result<String, Refusal> {
    canonical_domain(name).ok_or_else(|| Refusal::Invalid(format!("domain {name:?}")))
}

/// RFC 4314 3.3: what a user may log in as names him; his login name is what is kept. Whether he is known is for apply.
fn identifier(text: &str, directory: &Directory) -> String {
    let (sign, name) = match text.strip_prefix('-') {
        Some(name) => ("-", name),
        None => ("", text),
    };
    match routing::login(directory, name) {
        Some(user) if name != ANYONE => format!("{sign}{}", user.name),
        _ => text.to_lowercase(),
    }
}

/// A bare name, or `local@domain`.
fn address(text: &str) -> Result<String, Refusal> {
    match text.rsplit_once('@') {
        Some((local, name)) => Ok(format!("{}@{}", local.to_lowercase(), domain(name)?)),
        None => Ok(text.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mail::ids::AccountId;
    use crate::state::directory::User;

    #[test]
    fn an_identifier_is_kept_as_the_login_name() {
        let user = User {
            account: AccountId(1),
            name: "bob".into(),
            scram: None,
            password_phc: String::new(),
            quota_bytes: None,
            enabled: true,
        };
        let directory = Directory {
            domains: ["example.test".to_owned()].into(),
            users: [("bob".to_owned(), Arc::new(user))].into(),
            ..Directory::default()
        };
        for (given, kept) in [
            ("Bob", "bob"),
            ("bob@Example.test", "bob"),
            ("-BOB@example.test", "-bob"),
            ("bob@elsewhere.test", "bob@elsewhere.test"),
            ("anyone", "anyone"),
            ("-Carol", "-carol"),
        ] {
            assert_eq!(identifier(given, &directory), kept);
        }
    }

    #[test]
    fn names_are_folded_before_they_are_proposed() {
        let prepared = |command| prepare(command, &Directory::default());
        let name = ".B\u{dc}cher.Example".to_owned();
        let folded = "xn--bcher-kva.example".to_owned();
        assert_eq!(prepared(Command::AddDomain { name }), Ok(Command::AddDomain { name: folded }));
        let alias = Command::SetAlias { address: "\u{dc}ber@A.test".into(), targets: vec!["Al".into()] };
        let folded = Command::SetAlias { address: "\u{fc}ber@a.test".into(), targets: vec!["al".into()] };
        assert_eq!(prepared(alias), Ok(folded));
        assert!(prepared(Command::AddDomain { name: "a b".into() }).is_err());
        let changes = vec![("smtp.hops_max".to_owned(), Some("0".to_owned()))];
        assert!(matches!(prepared(Command::SetSettings { changes }), Err(Refusal::Invalid(_))));
    }
}
