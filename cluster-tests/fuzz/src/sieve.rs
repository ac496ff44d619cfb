//! A script and a mail: what is told of a script, what its print reads as, what a run comes to, and what a reply holds.

use pollux::mail::header;
use pollux::mail::ids::Timestamp;
use pollux::sieve::{
    ACTIONS_MAX, Action, Actions, CAPABILITIES, Mail, REDIRECTS_MAX, SCRIPT_BYTES_MAX, Script, ScriptError,
    Vacation, grammar,
};

use super::dice::Dice;

const NOW: Timestamp = Timestamp(1_795_724_130_000);
/// Octets of a line without its end (RFC 5322 2.1.1).
const LINE_BYTES_MAX: usize = 998;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let flags = dice.byte();
    let (all_required, from_nobody) = (flags & 1 == 1, flags & 2 == 2);
    let text = String::from_utf8_lossy(dice.bytes(SCRIPT_BYTES_MAX)).into_owned();
    let names: Vec<String> = CAPABILITIES.iter().map(|name| format!("\"{name}\"")).collect();
    let text = if all_required { format!("require [{}]; {text}", names.join(", ")) } else { text };
    let script = compiled(&text);
    let own = ["alice@example.test".to_owned(), "\u{e4}@example.test".to_owned()];
    let head = dice.rest();
    let mail = Mail {
        head,
        size: head.len() as u64,
        sender: (!from_nobody).then_some("bob@x.test"),
        recipient: "alice+x@example.test",
        own: &own,
        now: NOW,
    };
    let Ok(script) = script else { return };
    let ran = || script.run(&mail, &|name: &str| name.len().is_multiple_of(2));
    let actions = ran();
    assert_eq!(actions, ran(), "a run is a function of the script and the mail");
    check_actions(&actions);
}

fn compiled(text: &str) -> Result<Script, ScriptError> {
    let script = Script::compile(text);
    if let Err(error) = &script {
        let lines: Vec<&str> = text.split('\n').collect();
        let line = lines.get(error.line as usize - 1).expect("an error is in a line of the script");
        assert!((1..=line.chars().count() + 1).contains(&(error.column as usize)), "{error}");
        assert!(!error.what.is_empty() && !error.what.contains(char::is_control), "{error:?}");
    }
    if let Ok(commands) = grammar::parse(text) {
        let printed = grammar::printed(&commands);
        // Escapes may make it longer than a script can be.
        if printed.len() <= SCRIPT_BYTES_MAX {
            let again = grammar::parse(&printed).expect("what is printed is a script");
            assert_eq!(grammar::printed(&again), printed);
            assert_eq!(Script::compile(&printed).is_ok(), script.is_ok(), "{printed}");
        }
    }
    script
}

fn check_actions(actions: &Actions) {
    let Actions { actions, fault } = actions;
    assert!(actions.len() <= ACTIONS_MAX + 1);
    let (mut kept, mut rejected, mut replies) = (0, 0, 0);
    let (mut mailboxes, mut redirects) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            Action::Keep { .. } => kept += 1,
            Action::FileInto { mailbox, .. } => {
                assert!(!mailbox.is_empty() && !mailbox.contains(char::is_control));
                assert!(!mailbox.eq_ignore_ascii_case("inbox"));
                mailboxes.push(mailbox.clone());
            }
            Action::Redirect { address } => redirects.push(address.canonical()),
            Action::Reject { .. } => rejected += 1,
            Action::Vacation(vacation) => {
                replies += 1;
                check_reply(vacation);
            }
        }
    }
    assert!(kept <= 1 && replies <= 1);
    assert!(rejected == 0 || actions.len() == 1, "what is rejected is nothing else");
    assert!(fault.is_none() || kept == 1, "a mail is kept whatever goes wrong");
    assert!(redirects.len() <= REDIRECTS_MAX);
    for list in [&mut mailboxes, &mut redirects] {
        let count = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), count, "the same twice");
    }
}

fn check_reply(vacation: &Vacation) {
    let text = vacation.compose(NOW, "1@mx.example.test");
    let text = String::from_utf8(text).expect("a reply is UTF-8");
    assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n', '\0']));
    for field in header::fields(text.as_bytes()) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        let is_own = matches!(
            name.as_str(),
            "date"
                | "from"
                | "to"
                | "subject"
                | "message-id"
                | "in-reply-to"
                | "references"
                | "auto-submitted"
                | "mime-version"
        );
        assert!(is_own || name.starts_with("content-"), "{name:?} in a reply");
        if is_own {
            assert!(field.raw.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX));
        }
    }
    let to = header::find(text.as_bytes(), "To").expect("a reply is for somebody");
    assert_eq!(header::addresses(to.value).len(), 1);
    if !vacation.mime {
        assert!(text.lines().all(|line| line.len() <= LINE_BYTES_MAX));
    }
}
