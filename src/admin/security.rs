//! `pollux security report` (requirement 69): what is weak here, how much it weighs, and the command that mends it. Pure.

use std::cmp::Reverse;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::check::{Finding, Level as Checked};
use super::status::{self, Protection, State};
use crate::config::Role;
use crate::state::directory::Directory;
use crate::state::settings::Settings;

/// Points of a cluster of which nothing is weak.
const POINTS_MAX: u32 = 100;

/// How much a weakness weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    Low,
    Medium,
    High,
}

impl Weight {
    /// Of what was left, in per cent, so that each weakness lowers it.
    fn leaves_percent(self) -> u64 {
        match self {
            Self::Low => 96,
            Self::Medium => 85,
            Self::High => 50,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weakness {
    pub weight: Weight,
    pub topic: String,
    pub reason: String,
    /// A command, or what else is to be done.
    pub mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Strong,
    Good,
    Fair,
    Weak,
}

impl Level {
    fn of(points: u32, worst: Option<Weight>) -> Self {
        match (points, worst) {
            (_, Some(Weight::High)) | (..45, _) => Self::Weak,
            (..70, _) => Self::Fair,
            (..90, _) => Self::Good,
            _ => Self::Strong,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Weak => "weak",
        }
    }
}

/// What `--json` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub level: Level,
    /// Of 100.
    pub points: u32,
    /// The heaviest first.
    pub weaknesses: Vec<Weakness>,
}

/// What is known beside the settings.
pub struct Facts<'a> {
    pub status: &'a status::Report,
    /// Whether a stranger could send through this server to anywhere; `None`: it could not be tried.
    pub open_relay: Option<bool>,
    /// How the DNS stands to the hostname; `None`: it was not asked.
    pub naming: Option<Finding>,
}

pub fn judge(directory: &Directory, facts: &Facts<'_>) -> Report {
    let mut weaknesses = of_settings(directory.settings());
    weaknesses.extend(of_mail(directory, facts));
    weaknesses.extend(of_nodes(facts.status));
    weaknesses.sort_by_key(|weakness| Reverse(weakness.weight));
    let left = weaknesses.iter().fold(u64::from(POINTS_MAX) * 1_000_000, |left, weakness| {
        left * weakness.weight.leaves_percent() / 100
    });
    let points = (left / 1_000_000) as u32;
    let level = Level::of(points, weaknesses.first().map(|worst| worst.weight));
    Report { level, points, weaknesses }
}

/// As people read it, ending in a line feed.
pub fn render(report: &Report) -> String {
    let mut text = format!("Security: {}, {} of {POINTS_MAX} points\n", report.level.word(), report.points);
    for Weakness { weight, topic, reason, mend } in &report.weaknesses {
        let _ = write!(text, "\n{:6}  {topic}: {reason}\n        {mend}\n", weight.word());
    }
    text
}

fn weakness(weight: Weight, topic: &str, reason: impl Into<String>, mend: impl Into<String>) -> Weakness {
    Weakness { weight, topic: topic.to_owned(), reason: reason.into(), mend: mend.into() }
}

/// With which value of the setting something is weak.
#[derive(Clone, Copy)]
enum When {
    Is(&'static str),
    IsNot(&'static str),
}

/// One setting that may weaken. `better`: the value that mends it; empty: the default.
struct Weakening {
    key: &'static str,
    when: When,
    weight: Weight,
    reason: &'static str,
    better: &'static str,
}

const fn weakens(
    key: &'static str,
    when: When,
    weight: Weight,
    better: &'static str,
    reason: &'static str,
) -> Weakening {
    Weakening { key, when, weight, reason, better }
}

const SETTINGS: &[Weakening] = &[
    weakens(
        "auth.plaintext_without_tls",
        When::Is("true"),
        Weight::High,
        "no",
        "passwords may cross the net in the clear",
    ),
    weakens(
        "listener.submission.auth_required",
        When::Is("false"),
        Weight::High,
        "yes",
        "mail is handed in on port 587 without a login",
    ),
    weakens(
        "listener.smtps.auth_required",
        When::Is("false"),
        Weight::High,
        "yes",
        "mail is handed in on port 465 without a login",
    ),
    weakens(
        "sender.must_be_own",
        When::Is("false"),
        Weight::Medium,
        "yes",
        "every user may write under anybody's name",
    ),
    weakens(
        "block.failed_logins_max",
        When::Is("0"),
        Weight::Medium,
        "20",
        "passwords may be guessed without end",
    ),
    weakens(
        "listener.submission.tls",
        When::Is("off"),
        Weight::Medium,
        "on",
        "no TLS is offered on port 587",
    ),
    weakens("listener.imap.tls", When::Is("off"), Weight::Medium, "on", "no TLS is offered on port 143"),
    weakens("listener.pop3.tls", When::Is("off"), Weight::Medium, "on", "no TLS is offered on port 110"),
    weakens(
        "listener.managesieve.tls",
        When::Is("off"),
        Weight::Medium,
        "on",
        "no TLS is offered for filters",
    ),
    weakens(
        "listener.smtp.tls",
        When::Is("off"),
        Weight::Medium,
        "opportunistic",
        "mail of other servers comes in the clear",
    ),
    weakens(
        "dmarc.verify",
        When::Is("false"),
        Weight::Medium,
        "yes",
        "mail under a false name is not found out",
    ),
    weakens(
        "dmarc.reject",
        When::Is("accept"),
        Weight::Medium,
        "reject",
        "mail is taken that its domain asks to refuse",
    ),
    weakens(
        "dmarc.quarantine",
        When::Is("accept"),
        Weight::Low,
        "junk",
        "mail is taken that its domain asks to distrust",
    ),
    weakens("spf.verify", When::Is("false"), Weight::Low, "yes", "nobody asks who may send for a domain"),
    weakens(
        "spf.fail",
        When::Is("accept"),
        Weight::Low,
        "junk",
        "mail is taken of hosts that may not send for their domain",
    ),
    weakens("dkim.verify", When::Is("false"), Weight::Low, "yes", "signatures are not verified"),
    weakens(
        "sender.domain_must_exist",
        When::Is("false"),
        Weight::Low,
        "yes",
        "mail is taken that nobody could answer",
    ),
    weakens(
        "helo.must_be_full",
        When::Is("false"),
        Weight::Low,
        "yes",
        "clients are taken that do not say who they are",
    ),
    weakens(
        "smtp.refuse_early_talk",
        When::Is("false"),
        Weight::Low,
        "yes",
        "clients are taken that do not keep to the protocol",
    ),
    weakens(
        "delivery.mta_sts",
        When::Is("false"),
        Weight::Low,
        "yes",
        "what other domains demand of TLS is not asked for",
    ),
    weakens(
        "sender.any_networks",
        When::IsNot(""),
        Weight::Low,
        "",
        "users of some networks may write under anybody's name",
    ),
    weakens(
        "relay.open_networks",
        When::IsNot(""),
        Weight::Medium,
        "",
        "hosts of some networks send anywhere without a login",
    ),
    weakens(
        "checks.exempt_networks",
        When::IsNot("127.0.0.0/8,::1/128"),
        Weight::Low,
        "127.0.0.0/8,::1/128",
        "mail of some networks is not judged",
    ),
    weakens(
        "block.exempt_networks",
        When::IsNot("127.0.0.0/8,::1/128"),
        Weight::Low,
        "127.0.0.0/8,::1/128",
        "hosts of some networks may guess passwords",
    ),
    weakens(
        "scrub.interval_days",
        When::Is("0"),
        Weight::Low,
        "7",
        "nobody looks whether what lies on the disks is still right",
    ),
    weakens("smtp.postmaster", When::Is(""), Weight::Low, "ADDRESS", "nobody is mailed of alarms"),
    weakens("alarm.mail", When::Is("false"), Weight::Low, "yes", "nobody is mailed of alarms"),
    weakens(
        "alarm.backup_days",
        When::Is("0"),
        Weight::Low,
        "8",
        "nobody hears of it when backups are made no longer",
    ),
];

fn of_settings(settings: Settings<'_>) -> Vec<Weakness> {
    let is_weak = |it: &&Weakening| match it.when {
        When::Is(weak) => settings.get(it.key) == weak,
        When::IsNot(good) => settings.get(it.key) != good,
    };
    let found = SETTINGS.iter().filter(is_weak).map(|it| {
        let mend = match it.better {
            "" => format!("pollux policy unset {}", it.key),
            better => format!("pollux policy set {} {better}", it.key),
        };
        weakness(
            it.weight,
            "settings",
            format!("{} ({} is {})", it.reason, it.key, shown(settings.get(it.key))),
            mend,
        )
    });
    found.collect()
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "empty" } else { value }
}

fn of_mail(directory: &Directory, facts: &Facts<'_>) -> Vec<Weakness> {
    let settings = directory.settings();
    let mut found = Vec::new();
    if facts.open_relay == Some(true) {
        let reason = "anybody can send through this server to anywhere: it will be on every block list soon";
        let mend = "look at 'pollux policy test' and 'pollux policy list', at relay.open_networks and the whitelists first";
        found.push(weakness(Weight::High, "relay", reason, mend));
    }
    let has_relay = !settings.get("relay.host").is_empty();
    if has_relay && ["off", "opportunistic"].contains(&settings.get("relay.tls")) {
        let reason = "mail, and the relay's password, may go to the relay host in the clear";
        found.push(weakness(Weight::Medium, "relay", reason, "pollux policy set relay.tls forced"));
    }
    if let (Some(terms), Some(why)) = (settings.acme(), directory.acme.failed()) {
        let reason = format!("no certificate can be had of {}: {why}", terms.directory);
        found.push(weakness(Weight::Medium, "acme", reason, "pollux certificate show"));
    }
    for domain in directory.domains.iter().filter(|domain| directory.dkim.signing(domain).next().is_none()) {
        let reason = format!("mail of {domain} is not signed, so that anybody can forge it");
        let mend = format!("pollux dkim generate {domain} --selector s1, then 'pollux dns records {domain}'");
        found.push(weakness(Weight::Low, "dkim", reason, mend));
    }
    if let Some(naming) = facts.naming.as_ref().filter(|naming| naming.level != Checked::Ok) {
        found.push(weakness(
            Weight::Low,
            &naming.topic,
            naming.text.clone(),
            "correct the DNS, or the hostname",
        ));
    }
    found
}

/// Alarms that are about safety, with what each weighs.
const ALARMS: &[(&str, Weight)] = &[
    ("certificate-ends", Weight::Medium),
    ("clock-skew", Weight::Medium),
    ("damaged", Weight::Medium),
    ("backup-old", Weight::Medium),
];

fn of_nodes(status: &status::Report) -> Vec<Weakness> {
    let mut found = Vec::new();
    let data = status.nodes.iter().filter(|node| node.role == Role::Data).count();
    if data < 2 {
        let reason = "there is one box with mail: if its disk dies, all since the last backup is lost";
        found.push(weakness(
            Weight::High,
            "copies",
            reason,
            "pollux join-token --role data, and 'pollux join' on a second box",
        ));
    } else if status.protection != Protection::Protected && status.nodes.len() >= 3 {
        let why = status.because.as_deref().unwrap_or("see 'pollux cluster status'");
        let reason = format!("the next failure may cost mail, or stop it: {why}");
        found.push(weakness(Weight::High, "copies", reason, "pollux cluster status"));
    } else if status.nodes.len() < 3 {
        let reason = "there is no third voter: if one box dies the other only reads";
        found.push(weakness(
            Weight::Medium,
            "copies",
            reason,
            "pollux join-token --role witness, and 'pollux join' on a third box",
        ));
    }
    let apart =
        status.nodes.iter().filter(|node| node.firewall_in_sync == Some(false) && node.state != State::Down);
    found.extend(apart.map(|node| {
        let reason = format!("the firewall rules are not in force on {}", node.name);
        weakness(Weight::Medium, "firewall", reason, "pollux firewall status")
    }));
    if status.last_backup.is_none() {
        let reason = "no backup is known: nothing brings back what a user, or a fire, destroys";
        found.push(weakness(Weight::Medium, "backup", reason, "pollux backup create DIR"));
    }
    for alarm in status.alarms.iter().flatten() {
        if let Some((_, weight)) = ALARMS.iter().find(|(kind, _)| *kind == alarm.kind) {
            found.push(weakness(*weight, &alarm.kind, alarm.note.clone(), "pollux cluster status"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::tests::healthy;
    use crate::state::settings::{find, validate_changes};

    fn status() -> status::Report {
        let last_backup = Some(status::LastBackup { id: "x".into(), of: "y".into(), by: "node1".into() });
        status::Report { last_backup, ..healthy() }
    }

    fn directory(settings: &[(&str, &str)]) -> Directory {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Directory { settings: settings.collect(), ..Directory::default() }
    }

    fn of(directory: &Directory, status: &status::Report, open_relay: Option<bool>) -> Report {
        judge(directory, &Facts { status, open_relay, naming: None })
    }

    fn is_value(key: &str, value: &str) -> bool {
        validate_changes(&Directory::default(), &[(key.to_owned(), Some(value.to_owned()))]).is_ok()
    }

    const BEST: [(&str, &str); 2] = [("smtp.postmaster", "alice"), ("alarm.backup_days", "8")];

    #[test]
    fn a_cluster_of_which_nothing_is_weak_is_strong() {
        let report = of(&directory(&BEST), &status(), Some(false));
        assert_eq!(report, Report { level: Level::Strong, points: 100, weaknesses: vec![] });
    }

    #[test]
    fn each_weakened_setting_is_told_with_what_mends_it_and_lowers_the_level() {
        for it in SETTINGS {
            let setting = find(it.key).unwrap_or_else(|| panic!("{} is no setting", it.key));
            let weak = match it.when {
                When::IsNot(_) => "10.0.0.0/8",
                When::Is(value) => value,
            };
            assert!(
                it.better.is_empty() || it.better == "ADDRESS" || is_value(it.key, it.better),
                "{}",
                it.key
            );
            let mut settings = BEST.to_vec();
            settings.retain(|(key, _)| *key != it.key);
            if weak != setting.default {
                settings.push((it.key, weak));
            }
            let report = of(&directory(&settings), &status(), None);
            assert!(report.points < 100, "{}", it.key);
            assert_eq!(report.weaknesses.len(), 1, "{}: {:?}", it.key, report.weaknesses);
            assert!(report.weaknesses[0].mend.contains(it.key), "{:?}", report.weaknesses);
            assert_eq!(report.level == Level::Weak, it.weight == Weight::High, "{}", it.key);
        }
    }

    #[test]
    fn with_each_further_weakness_there_are_fewer_points() {
        let mut settings = BEST.to_vec();
        let mut points = 101;
        for key in ["spf.verify", "dkim.verify", "dmarc.verify", "sender.must_be_own"] {
            let report = of(&directory(&settings), &status(), None);
            assert!(report.points < points, "{report:?}");
            points = report.points;
            settings.push((key, "false"));
        }
    }

    #[test]
    fn what_is_weak_beside_the_settings() {
        let weak = |change: &dyn Fn(&mut status::Report), open| {
            let mut status = status();
            change(&mut status);
            let report = of(&directory(&BEST), &status, open);
            report.weaknesses.iter().map(|it| (it.weight, it.topic.clone())).collect::<Vec<_>>()
        };
        let one = |weight, topic: &str| vec![(weight, topic.to_owned())];
        assert_eq!(weak(&|_| {}, Some(true)), one(Weight::High, "relay"));
        assert_eq!(weak(&|status| status.last_backup = None, None), one(Weight::Medium, "backup"));
        assert_eq!(weak(&|status| status.nodes.truncate(1), None), one(Weight::High, "copies"));
        assert_eq!(weak(&|status| status.nodes.truncate(2), None), one(Weight::Medium, "copies"));
        assert_eq!(
            weak(&|status| status.protection = Protection::Degraded, None),
            one(Weight::High, "copies")
        );
        assert_eq!(
            weak(&|status| status.nodes[0].firewall_in_sync = Some(false), None),
            one(Weight::Medium, "firewall")
        );
        let mut unsigned = directory(&BEST);
        unsigned.domains.insert("example.test".to_owned());
        let report = of(&unsigned, &status(), None);
        assert!(report.weaknesses[0].mend.starts_with("pollux dkim generate example.test"), "{report:?}");
        assert!(render(&report).starts_with("Security: strong, 96 of 100 points\n\nlow     dkim: mail of"));
    }
}
