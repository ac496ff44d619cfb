//! Requests to commands, and the control socket with its bounds.

use std::sync::Arc;

use super::plan::{Operation, Plan, TOKEN_SECONDS_MAX, plan};
use super::request::{Quota, Request};
use crate::config::Role;
use crate::mail::ids::AccountId;
use crate::state::command::{Command, NewUser};
use crate::state::directory::{Directory, User};
use crate::state::scram_keys::NewScramKeys;

fn directory() -> Directory {
    let bob = User {
        account: AccountId(7),
        name: "bob".to_owned(),
        scram: None,
        password_phc: "$argon2id$…".to_owned(),
        quota_bytes: None,
        enabled: true,
    };
    Directory {
        domains: ["example.test".to_owned()].into(),
        users: [("bob".to_owned(), Arc::new(bob))].into(),
        aliases: [("info".to_owned(), Arc::new(vec!["bob".to_owned()]))].into(),
        ..Directory::default()
    }
}

fn text(word: &str) -> String {
    word.to_owned()
}

fn refused(request: Request) -> String {
    plan(request, &directory()).unwrap_err().message
}

#[test]
fn requests_become_commands() {
    let phc = || text("$argon2id$x");
    let new_user = NewUser { name: text("carol"), password_phc: phc(), quota_bytes: Some(5) };
    for (request, command) in [
        (Request::DomainAdd { name: text("Example.COM") }, Command::AddDomain { name: text("example.com") }),
        (
            Request::DomainRemove { name: text("example.test") },
            Command::RemoveDomain { name: text("example.test") },
        ),
        (
            Request::UserAdd {
                name: text("Carol@example.test"),
                password_phc: phc(),
                scram: None,
                quota: Quota::Bytes(5),
            },
            Command::AddUser(new_user),
        ),
        (
            Request::UserPasswd { name: text("bob"), password_phc: phc(), scram: None },
            Command::SetPassword { name: text("bob"), password_phc: phc() },
        ),
        (
            Request::UserSet { name: text("bob"), quota: None, enabled: Some(false) },
            Command::SetUserEnabled { name: text("bob"), enabled: false },
        ),
        (Request::UserRemove { name: text("BOB") }, Command::RemoveUser { name: text("bob") }),
        (
            Request::AliasAdd { address: text("sales@example.test"), targets: vec![text("Bob")] },
            Command::SetAlias { address: text("sales@example.test"), targets: vec![text("bob")] },
        ),
        (Request::AliasRemove { address: text("info") }, Command::RemoveAlias { address: text("info") }),
        (
            Request::PolicySet { changes: vec![(text("listener.smtp.port"), Some(text("2525")))] },
            Command::SetSettings { changes: vec![(text("listener.smtp.port"), Some(text("2525")))] },
        ),
    ] {
        match plan(request.clone(), &directory()) {
            Ok(Plan::Propose { commands, .. }) => assert_eq!(commands, vec![command], "{request:?}"),
            other => panic!("{request:?}: {other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_granted_is_said_before_anything_is_proposed() {
    let user = |name: &str| Request::UserAdd {
        name: text(name),
        password_phc: text("x"),
        scram: None,
        quota: Quota::Default,
    };
    assert!(refused(user("bob")).contains("exists already"));
    assert!(refused(user("bob@elsewhere.test")).contains("not a domain of this cluster"));
    for wrong in ["", "a b", "a+b", ".a", "a..b", &"x".repeat(65)] {
        assert!(refused(user(wrong)).contains("not a user name"), "{wrong:?}");
    }
    assert!(plan(user(&"x".repeat(64)), &directory()).is_ok());
    assert!(refused(Request::DomainAdd { name: text("not a domain") }).contains("not a domain name"));
    assert!(refused(Request::UserShow { name: text("eve") }).contains("there is no user eve"));
    assert!(
        refused(Request::UserSet { name: text("bob"), quota: None, enabled: None })
            .contains("nothing to set")
    );
    assert!(
        refused(Request::AliasSet { address: text("x"), targets: vec![text("bob")] }).contains("no alias")
    );
    assert!(
        refused(Request::AliasAdd { address: text("x"), targets: vec![] }).contains("at least one target")
    );
    let port = |value: &str| (text("listener.smtp.port"), Some(text(value)));
    assert!(refused(Request::PolicySet { changes: vec![port("2525"), port("0")] }).contains("1 to 65535"));
    assert!(refused(Request::PolicySet { changes: vec![] }).contains("nothing to set"));
}

#[test]
fn a_token_lives_within_its_bounds() {
    let token = |ttl_seconds| Request::JoinToken { role: Role::Witness, ttl_seconds };
    assert!(refused(token(0)).contains("7 days"));
    assert!(refused(token(TOKEN_SECONDS_MAX + 1)).contains("7 days"));
    let operation = Operation::JoinToken { role: Role::Witness, ttl_ms: TOKEN_SECONDS_MAX * 1000 };
    assert_eq!(plan(token(TOKEN_SECONDS_MAX), &directory()), Ok(Plan::Operate(operation)));
}

#[test]
fn a_password_never_comes_back_out() {
    for request in [Request::UserList, Request::UserShow { name: text("bob") }] {
        let shown = format!("{:?}", plan(request, &directory()).unwrap());
        assert!(shown.contains("bob") && !shown.contains("argon2id"), "{shown}");
    }
}

#[test]
fn what_scram_needs_is_kept_unless_the_operator_does_not_want_it() {
    let keys = NewScramKeys::of(b"secret", |octets| octets.fill(7)).unwrap();
    let add = || Request::UserAdd {
        name: "carol".to_owned(),
        password_phc: "x".to_owned(),
        scram: Some(keys.clone()),
        quota: Quota::Default,
    };
    let passwd = || Request::UserPasswd {
        name: "bob".to_owned(),
        password_phc: "x".to_owned(),
        scram: Some(keys.clone()),
    };
    let command = |request, directory: &Directory| match plan(request, directory) {
        Ok(Plan::Propose { commands, .. }) => commands.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    };
    let mut directory = directory();
    assert!(matches!(command(add(), &directory), Command::AddUserWithScram { .. }));
    assert!(matches!(command(passwd(), &directory), Command::SetPasswordWithScram { .. }));
    directory.settings.insert("auth.scram".to_owned(), "false".to_owned());
    assert!(matches!(command(add(), &directory), Command::AddUser(_)));
    assert!(matches!(command(passwd(), &directory), Command::SetPassword { .. }));
}
