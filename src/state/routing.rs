//! Where an address leads: users, aliases, plus-addresses, postmaster. Pure over the directory.
//!
//! In this order: an alias of the full address, an alias of the bare local part, a user (users are in
//! every domain of ours, requirement 6); then the same for what stands before the recipient delimiter;
//! then postmaster. An alias that names itself means the user of that name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::directory::{Directory, User};
use super::srs::{self, Broken};
use crate::mail::address::{Address, canonical_domain};
use crate::mail::ids::{AccountId, Timestamp};

/// Aliases that lead to one another.
pub const ALIAS_DEPTH_MAX: usize = 10;
/// Targets, local and remote, to which one address may fan out; further ones are left out.
pub const TARGETS_MAX: usize = 5_000;

/// Where mail for one address goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Ours. Both lists without doubles; not both empty.
    Ours { local: Vec<LocalTarget>, remote: Vec<Address> },
    /// A domain of ours, but nobody there by that name: 550.
    Unknown,
    /// The domain is not ours: relaying is for those who logged in.
    NotOurs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTarget {
    pub account: AccountId,
    /// What followed the recipient delimiter (`alice+lists` -> `lists`).
    pub detail: Option<String>,
}

/// Where a RCPT TO address leads.
pub fn route(directory: &Directory, address: &Address) -> Route {
    match canonical_domain(address.domain()).filter(|domain| directory.domains.contains(domain)) {
        Some(domain) => {
            let mut expansion = Expansion::new(directory);
            expansion.name(&address.local().to_lowercase(), Some(&domain), 0);
            expansion.route()
        }
        None => Route::NotOurs,
    }
}

/// Whether its domain is ours.
pub fn is_ours(directory: &Directory, address: &Address) -> bool {
    canonical_domain(address.domain()).is_some_and(|domain| directory.domains.contains(&domain))
}

/// Where a return address of ours leads; any other address is its own. `now`: where its age matters.
pub fn home(directory: &Directory, address: &Address, now: Option<Timestamp>) -> Result<Address, Broken> {
    srs::way_home((directory.srs.as_deref(), |address| is_ours(directory, address)), address, now)
}

/// Whether mail to this address comes to the account: it is one of the account's own, or an alias for it.
pub fn is_own(directory: &Directory, account: AccountId, address: &Address) -> bool {
    match route(directory, address) {
        Route::Ours { local, .. } => local.iter().any(|target| target.account == account),
        Route::Unknown | Route::NotOurs => false,
    }
}

/// Where `<postmaster>` without a domain leads. RFC 5321 4.5.1: never refused while there is any user:
/// `smtp.postmaster` if it is set (requirement 18), an alias or user of that name, or else the user
/// that was added first.
pub fn route_postmaster(directory: &Directory) -> Route {
    let mut expansion = Expansion::new(directory);
    expansion.name(POSTMASTER, None, 0);
    expansion.route()
}

/// The user a login name means: bare or with any of our domains (requirement 5).
pub fn login<'a>(directory: &'a Directory, name: &str) -> Option<&'a Arc<User>> {
    directory.users.get(&login_name(directory, name))
}

/// What a login name comes to, whether or not there is such a user: the local part where the domain is ours, else
/// the whole of it, which no user has for a name.
pub fn login_name(directory: &Directory, name: &str) -> String {
    let local = match name.rsplit_once('@') {
        Some((local, domain))
            if canonical_domain(domain).is_some_and(|domain| directory.domains.contains(&domain)) =>
        {
            local
        }
        _ => name,
    };
    local.to_lowercase()
}

const POSTMASTER: &str = "postmaster";
const MAILER_DAEMON: &str = "mailer-daemon";

/// Follows aliases, each once.
struct Expansion<'a> {
    directory: &'a Directory,
    delimiter: Option<char>,
    postmaster: Vec<String>,
    /// Aliases on the way, and `smtp.postmaster`: what leads back to one of these is a loop.
    followed: BTreeSet<String>,
    accounts: BTreeSet<AccountId>,
    addresses: BTreeSet<String>,
    local: Vec<LocalTarget>,
    remote: Vec<Address>,
}

impl<'a> Expansion<'a> {
    fn new(directory: &'a Directory) -> Self {
        let settings = directory.settings();
        Self {
            directory,
            delimiter: settings.smtp_recipient_delimiter(),
            postmaster: settings.smtp_postmaster(),
            followed: BTreeSet::new(),
            accounts: BTreeSet::new(),
            addresses: BTreeSet::new(),
            local: Vec::new(),
            remote: Vec::new(),
        }
    }

    fn route(self) -> Route {
        match self.local.is_empty() && self.remote.is_empty() {
            true => Route::Unknown,
            false => Route::Ours { local: self.local, remote: self.remote },
        }
    }

    /// Resolves a local part in a domain of ours, or a bare name.
    fn name(&mut self, local: &str, domain: Option<&str>, depth: usize) {
        let special = local == POSTMASTER || local == MAILER_DAEMON;
        if special && !self.postmaster.is_empty() && self.followed.insert(String::new()) {
            let targets = self.postmaster.clone();
            self.targets(&targets, depth);
            return;
        }
        if self.exact(local, domain, None, depth) {
            return;
        }
        if let Some((base, detail)) = self.delimiter.and_then(|delimiter| local.split_once(delimiter))
            && !base.is_empty()
            && self.exact(base, domain, Some(detail), depth)
        {
            return;
        }
        if special {
            self.first_user();
        }
    }

    /// False if nobody has exactly this name.
    fn exact(&mut self, local: &str, domain: Option<&str>, detail: Option<&str>, depth: usize) -> bool {
        let directory = self.directory;
        let full = domain.map(|domain| format!("{local}@{domain}"));
        for alias in full.as_deref().into_iter().chain([local]) {
            if let Some(targets) = directory.aliases.get(alias)
                && self.followed.insert(alias.to_owned())
            {
                self.targets(targets, depth);
                return true;
            }
        }
        match directory.users.get(local) {
            Some(user) => {
                self.local_target(user.account, detail.filter(|detail| !detail.is_empty()));
                true
            }
            // An alias that was followed before is known, if not as a user.
            None => {
                full.as_ref().is_some_and(|full| self.followed.contains(full))
                    || self.followed.contains(local)
            }
        }
    }

    fn targets(&mut self, targets: &[String], depth: usize) {
        if depth >= ALIAS_DEPTH_MAX {
            return;
        }
        for target in targets {
            match target.rsplit_once('@') {
                None => self.name(target, None, depth + 1),
                Some((local, domain)) if self.directory.domains.contains(domain) => {
                    self.name(local, Some(domain), depth + 1);
                }
                Some(_) => self.remote_target(target),
            }
        }
    }

    fn first_user(&mut self) {
        let users = self.directory.users.values();
        if let Some(first) = users.filter(|user| user.enabled).min_by_key(|user| user.account) {
            self.local_target(first.account, None);
        }
    }

    /// One copy a user, however many ways lead there; the first way's detail counts.
    fn local_target(&mut self, account: AccountId, detail: Option<&str>) {
        if self.has_room() && self.accounts.insert(account) {
            self.local.push(LocalTarget { account, detail: detail.map(str::to_owned) });
        }
    }

    fn remote_target(&mut self, target: &str) {
        if self.has_room()
            && let Ok(address) = Address::parse(target)
            && self.addresses.insert(address.canonical())
        {
            self.remote.push(address);
        }
    }

    fn has_room(&self) -> bool {
        self.local.len() + self.remote.len() < TARGETS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `users` get the accounts 1, 2, …; aliases are `name: target target`.
    fn directory(users: &[&str], aliases: &[&str], settings: &[(&str, &str)]) -> Directory {
        let user = |(at, name): (usize, &&str)| {
            let account = AccountId(at as u64 + 1);
            let name = name.to_string();
            let user = User {
                account,
                name: name.clone(),
                password_phc: String::new(),
                scram: None,
                quota_bytes: None,
                enabled: true,
            };
            (name, Arc::new(user))
        };
        let alias = |line: &&str| {
            let (name, targets) = line.split_once(": ").unwrap();
            (name.to_owned(), Arc::new(targets.split(' ').map(str::to_owned).collect()))
        };
        Directory {
            domains: ["a.test", "b.test", "xn--bcher-kva.example"].map(str::to_owned).into(),
            users: users.iter().enumerate().map(user).collect(),
            aliases: aliases.iter().map(alias).collect(),
            settings: settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            ..Directory::default()
        }
    }

    /// Accounts (with details) and remote addresses, or why not.
    fn routed(directory: &Directory, address: &str) -> String {
        shown(route(directory, &Address::parse(address).unwrap()))
    }

    fn shown(route: Route) -> String {
        match route {
            Route::Unknown => "unknown".into(),
            Route::NotOurs => "not ours".into(),
            Route::Ours { local, remote } => {
                let local = local.iter().map(|it| match &it.detail {
                    Some(detail) => format!("{}+{detail}", it.account),
                    None => it.account.to_string(),
                });
                local.chain(remote.iter().map(Address::to_string)).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn users_are_in_every_domain_of_ours() {
        let directory = directory(&["alice", "bob"], &[], &[]);
        for (address, to) in [
            ("alice@a.test", "1"),
            ("Alice@B.TEST", "1"),
            ("bob@b\u{fc}cher.example", "2"),
            ("bob+lists@a.test", "2+lists"),
            ("bob+@a.test", "2"),
            ("+bob@a.test", "unknown"),
            ("carol@a.test", "unknown"),
            ("alice@elsewhere.test", "not ours"),
            ("alice@[127.0.0.1]", "not ours"),
        ] {
            assert_eq!(routed(&directory, address), to, "{address}");
        }
    }

    #[test]
    fn aliases_fan_out_once_to_each() {
        let aliases = [
            "all: alice bob team@a.test",
            "team@a.test: bob carol X@Far.test x@far.test",
            "team@b.test: alice",
            "alice: alice bob",
            "gone: nobody",
        ];
        let directory = directory(&["alice", "bob", "carol"], &aliases, &[]);
        for (address, to) in [
            ("all@a.test", "1 2 3 X@Far.test"),
            ("team@a.test", "2 3 X@Far.test"),
            ("team@b.test", "1 2"),
            ("alice@a.test", "1 2"),
            ("alice+x@a.test", "1 2"),
            ("gone@a.test", "unknown"),
        ] {
            assert_eq!(routed(&directory, address), to, "{address}");
        }
    }

    #[test]
    fn loops_and_depths_end() {
        let mut aliases = vec!["ping: pong".to_owned(), "pong: ping alice".to_owned()];
        let last = ALIAS_DEPTH_MAX;
        aliases.extend((0..last).map(|n| format!("deep{n}: deep{}", n + 1)));
        aliases.push(format!("deep{last}: alice"));
        let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
        let directory = directory(&["alice"], &aliases, &[]);
        assert_eq!(routed(&directory, "ping@a.test"), "1");
        assert_eq!(routed(&directory, "deep1@a.test"), "1");
        assert_eq!(routed(&directory, "deep0@a.test"), "unknown");
    }

    #[test]
    fn a_fan_out_ends_at_its_bound() {
        let far: Vec<String> = (0..=TARGETS_MAX).map(|n| format!("u{n}@far.test")).collect();
        let directory = directory(&[], &[&format!("all: {}", far.join(" "))], &[]);
        let Route::Ours { remote, .. } = route(&directory, &Address::parse("all@a.test").unwrap()) else {
            panic!("the alias leads somewhere");
        };
        assert_eq!(remote.len(), TARGETS_MAX);
    }

    #[test]
    fn postmaster_is_always_somebody() {
        let nobody = directory(&["zoe", "alice"], &[], &[]);
        let named = directory(&["zoe", "alice"], &["postmaster: alice"], &[]);
        let set =
            directory(&["zoe", "alice"], &["postmaster: zoe"], &[("smtp.postmaster", "alice,p@far.test")]);
        let own = directory(&["zoe", "postmaster"], &[], &[("smtp.postmaster", "postmaster")]);
        for (directory, to) in [(nobody, "1"), (named, "2"), (set, "2 p@far.test"), (own, "2")] {
            assert_eq!(routed(&directory, "PostMaster@b.test"), to);
            assert_eq!(shown(route_postmaster(&directory)), to);
        }
        let daemon = directory(&["alice"], &[], &[("smtp.postmaster", "alice")]);
        assert_eq!(routed(&daemon, "mailer-daemon@a.test"), "1");
    }

    #[test]
    fn logins_are_bare_or_in_a_domain_of_ours() {
        let directory = directory(&["alice"], &["info: alice"], &[]);
        for (name, known) in [
            ("alice", true),
            ("ALICE", true),
            ("alice@a.test", true),
            ("alice@B.Test", true),
            ("alice@far.test", false),
            ("info", false),
            ("alice+x", false),
            ("", false),
        ] {
            assert_eq!(login(&directory, name).is_some(), known, "{name}");
        }
    }
}
