//! Scripts, and what comes of them: tables by command and test, bounds, properties.

mod actions;
mod bounds;
mod compiling;
mod conditions;
mod extensions;
mod replies;

use super::{Action, Actions, Mail, Script};
use crate::mail::flags::{NamedFlags, SystemFlag};
use crate::mail::ids::Timestamp;

/// Thursday, 2026-11-26 20:15:30 UTC.
const NOW: Timestamp = Timestamp(1_795_724_130_000);

const LETTER: &str = "Received: from a by b; Wed, 25 Nov 2026 23:30:00 +0100\r\n\
    Received: from c by d; Wed, 25 Nov 2026 21:10:00 -0800\r\n\
    From: \"Coyote, W.\" <Coyote@Desert.Example.Org>\r\n\
    To: Alice <alice+lists@example.test>, group: bob@x.test, \"a b\"@y.test;\r\n\
    Cc: nobody\r\n\
    Subject: I have a\r\n =?utf-8?q?pr=C3=A4sent?= for you\r\n\
    Date: Thu, 26 Nov 2026 01:02:03 +0200\r\n\
    Message-ID: <1@desert.example.org>\r\n\
    X-Number: 0042 apples\r\n\
    X-Empty:\r\n\
    \r\n\
    Dear Alice,\r\n\r\n50% off\r\n";

const OWN: &[&str] = &["alice@example.test", "al@example.test"];

fn run_on(script: &str, head: &str, change: impl FnOnce(&mut Mail)) -> Actions {
    let script = Script::compile(script).unwrap_or_else(|error| panic!("{error}: {script}"));
    let own: Vec<String> = OWN.iter().map(|&own| own.to_owned()).collect();
    let mut mail = Mail {
        head: head.as_bytes(),
        size: head.len() as u64,
        sender: Some("coyote@desert.example.org"),
        recipient: "alice+lists@example.test",
        own: &own,
        now: NOW,
    };
    change(&mut mail);
    script.run(&mail, &|name: &str| name == "INBOX" || name == "here")
}

/// Actions in words, in order.
fn shown(actions: &Actions) -> String {
    let flags = |flags: &NamedFlags| {
        let system = SystemFlag::ALL.into_iter().filter(|flag| flags.system & *flag as u8 != 0);
        let names = system.map(|flag| flag.name().to_owned()).chain(flags.keywords.iter().cloned());
        names.map(|name| format!(" {name}")).collect::<String>()
    };
    let word = |action: &Action| match action {
        Action::Keep { flags: named } => format!("keep{}", flags(named)),
        Action::FileInto { mailbox, create, flags: named } => {
            format!("{} {mailbox}{}", if *create { "create" } else { "file" }, flags(named))
        }
        Action::Redirect { address } => format!("redirect {address}"),
        Action::Reject { reason } => format!("reject {reason}"),
        Action::Vacation(vacation) => format!("answer {}: {}", vacation.to, vacation.subject),
    };
    let mut words: Vec<String> = actions.actions.iter().map(word).collect();
    words.extend(actions.fault.iter().map(|fault| format!("fault: {fault}")));
    words.join("; ")
}

/// What a script, all extensions required, makes of a mail.
fn outcome_of(script: &str, head: &str) -> String {
    let names: Vec<String> = super::CAPABILITIES.iter().map(|name| format!("\"{name}\"")).collect();
    shown(&run_on(&format!("require [{}]; {script}", names.join(",")), head, |_| {}))
}

fn outcome(script: &str) -> String {
    outcome_of(script, LETTER)
}

fn holds_for(test: &str, head: &str) -> bool {
    match outcome_of(&format!("if {test} {{ fileinto \"yes\"; }}"), head).as_str() {
        "file yes" => true,
        "keep" => false,
        other => panic!("{test}: {other}"),
    }
}

fn holds(test: &str) -> bool {
    holds_for(test, LETTER)
}

/// Each test, by whether it holds of [`LETTER`].
fn check(tests: &[(&str, bool)]) {
    let wrong: Vec<_> = tests.iter().filter(|(test, expected)| holds(test) != *expected).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
