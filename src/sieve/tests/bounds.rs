//! Every bound of a run at its last, and runs that would be costly.

use proptest::prelude::*;

use super::{LETTER, NOW, outcome, outcome_of, run_on, shown};
use crate::sieve::{
    ACTIONS_MAX, BODY_SEEN_BYTES_MAX, FIELDS_SEEN_MAX, FLAGS_MAX, MAILBOX_BYTES_MAX, Mail, REDIRECTS_MAX,
    STRING_BYTES_MAX, Script, VARIABLE_BYTES_MAX, run,
};

/// `at` runs through, `beyond` ends with that fault.
fn bound(at: &str, beyond: &str, fault: &str) {
    let told = outcome(at);
    assert!(!told.contains("fault"), "{told}");
    let told = outcome(beyond);
    assert!(told.ends_with(&format!("fault: line 1: {fault}")), "{told}");
    assert!(told.contains("keep"), "{told}");
}

#[test]
fn each_bound_holds_at_its_last() {
    let files = |count: usize| (0..count).map(|n| format!("fileinto \"m{n}\";")).collect::<String>();
    bound(&files(ACTIONS_MAX), &files(ACTIONS_MAX + 1), "a mail has 32 actions at the most");
    let redirects =
        |count: usize| (0..count).map(|n| format!("redirect \"a{n}@x.test\";")).collect::<String>();
    let told = "a mail is redirected to 4 addresses at the most";
    bound(&redirects(REDIRECTS_MAX), &redirects(REDIRECTS_MAX + 1), told);
    let mailbox = |octets: usize| format!("fileinto \"{}\";", "m".repeat(octets));
    let told = "a mailbox has a name of 1 to 1024 octets without control characters";
    bound(&mailbox(MAILBOX_BYTES_MAX), &mailbox(MAILBOX_BYTES_MAX + 1), told);
    let flags = |count: usize| (0..count).map(|n| format!("addflag \"f{n}\";")).collect::<String>();
    bound(&flags(FLAGS_MAX), &flags(FLAGS_MAX + 1), "there are more than 64 flags");
    let text = |times: usize| {
        let long = "x".repeat(VARIABLE_BYTES_MAX);
        format!("set \"v\" \"{long}\"; if string \"{}\" \"\" {{}}", "${v}".repeat(times))
    };
    let times = STRING_BYTES_MAX / VARIABLE_BYTES_MAX;
    bound(&text(times), &text(times + 1), "a string has more than 65536 octets");
}

#[test]
fn variables_are_cut_at_a_character() {
    let length = |text: &str, tags: &str| {
        let told = outcome(&format!(
            "set {tags} \"v\" \"{text}\"; set :length \"n\" \"${{v}}\"; fileinto \"${{n}}\";"
        ));
        told.strip_prefix("file ").unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(length(&"x".repeat(VARIABLE_BYTES_MAX), ""), VARIABLE_BYTES_MAX);
    assert_eq!(length(&"x".repeat(VARIABLE_BYTES_MAX + 1), ""), VARIABLE_BYTES_MAX);
    assert_eq!(length(&format!("x{}", "ä".repeat(VARIABLE_BYTES_MAX / 2)), ""), VARIABLE_BYTES_MAX / 2);
    // No backslash is left without what it quotes.
    assert_eq!(
        length(&format!("x{}", "*".repeat(VARIABLE_BYTES_MAX)), ":quotewildcard"),
        VARIABLE_BYTES_MAX - 1
    );
}

#[test]
fn of_a_mail_its_front_is_seen() {
    let body = |before: usize| format!("A: b\r\n\r\n{}END", "x".repeat(before));
    let seen = |before: usize, test: &str| {
        outcome_of(&format!("if {test} {{ discard; }}"), &body(before)).is_empty()
    };
    for test in
        [r#"body :raw :contains "END""#, r#"body :contains "END""#, r#"body :content "text" :contains "END""#]
    {
        assert!(seen(BODY_SEEN_BYTES_MAX - 3, test), "{test}");
        assert!(!seen(BODY_SEEN_BYTES_MAX - 2, test), "{test}");
    }
    let fields = |before: usize| format!("{}Last: x\r\n\r\nbody", "A: b\r\n".repeat(before));
    let seen = |before: usize| outcome_of("if exists \"last\" { discard; }", &fields(before)).is_empty();
    assert!(seen(FIELDS_SEEN_MAX - 1) && !seen(FIELDS_SEEN_MAX));
    assert_eq!(outcome_of("if body :raw :is \"body\" { discard; }", &fields(FIELDS_SEEN_MAX)), "");
}

#[test]
fn the_work_of_a_run_is_bounded() {
    let mail = Mail { head: LETTER.as_bytes(), size: 1, sender: None, recipient: "", own: &[], now: NOW };
    let steps = |steps: u64, script: &str| {
        shown(&run::run(&Script::compile(script).unwrap().program, &mail, &|_: &str| false, steps))
    };
    assert_eq!(steps(3, "discard; discard; discard;"), "");
    let told = "keep; fault: line 1: the script takes too much work for this mail";
    assert_eq!(steps(3, "discard; discard; discard; discard;"), told);
}

/// None of these may take long, whatever it comes to.
#[test]
fn hostile_scripts_end() {
    let body = format!("A: b\r\n\r\n{}", "a".repeat(BODY_SEEN_BYTES_MAX));
    let keys = |key: &str, count: usize| vec![format!("\"{key}\""); count].join(",");
    let stars = "*a".repeat(2000);
    let asked = format!("*{}b*", "a?".repeat(1000));
    for (test, ends_early) in [
        (format!("body :raw :matches \"{stars}b\""), false),
        (format!("body :raw :matches \"{asked}\""), true),
        (format!("body :raw :contains [{}]", keys("ab", 1000)), true),
        (format!("body :raw :matches [{}]", keys("*ab*", 1000)), true),
        (format!("anyof({})", vec!["body :raw \"x\""; 900].join(",")), true),
        (format!("anyof({})", vec!["body :content \"\" \"x\""; 900].join(",")), true),
        (format!("anyof({})", vec!["body :text \"x\""; 900].join(",")), true),
    ] {
        let told = outcome_of(&format!("if {test} {{ discard; }}"), &body);
        assert_eq!(told.ends_with("too much work for this mail"), ends_early, "{told} {}", &test[..40]);
    }
    let head = format!("{}\r\n", "To: a@b.example, c@d.example\r\n".repeat(5000));
    let test = format!("address :detail [{}] \"x\"", keys("to", 1000));
    assert!(outcome_of(&format!("if {test} {{ discard; }}"), &head).ends_with("too much work for this mail"));
}

/// A pattern by the meaning of its characters, as costly as that may be.
fn plainly_matches(value: &[char], pattern: &[char]) -> bool {
    match (pattern, value) {
        ([], value) => value.is_empty(),
        (['*', rest @ ..], value) => (0..=value.len()).any(|at| plainly_matches(&value[at..], rest)),
        (['?', rest @ ..], [_, value @ ..]) => plainly_matches(value, rest),
        (['\\', wanted, rest @ ..], [first, value @ ..]) => wanted == first && plainly_matches(value, rest),
        ([wanted, rest @ ..], [first, value @ ..]) => wanted == first && plainly_matches(value, rest),
        _ => false,
    }
}

proptest! {
    #[test]
    fn patterns_mean_what_their_characters_say(value in "[abä]{0,10}", pattern in "[abä*?]{0,8}") {
        let told = outcome(&format!("if string :matches :comparator \"i;octet\" \"{value}\" \"{pattern}\" {{ fileinto \">${{0}}\"; }}"));
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = plainly_matches(&chars(&value), &chars(&pattern));
        prop_assert_eq!(told, if expected { format!("file >{value}") } else { "keep".to_owned() });
    }

    /// What the wildcards found, put in their places, is the value.
    #[test]
    fn what_wildcards_find_makes_up_the_value(value in "[abä]{0,10}", pattern in "[abä*?]{0,8}") {
        let mut number = 0;
        let filled: String = pattern.chars().map(|c| match c {
            '*' | '?' => { number += 1; format!("${{{number}}}") }
            c => c.to_string(),
        }).collect();
        let script = format!("if string :matches :comparator \"i;octet\" \"{value}\" \"{pattern}\" {{ fileinto \">{filled}\"; }}");
        let told = outcome(&script);
        prop_assert!(told == "keep" || told == format!("file >{value}"), "{}: {}", script, told);
    }

    #[test]
    fn any_mail_is_run_without_panic(head in "([A-Za-z:<>@,;()\"\\\\ =?+*-]|\r\n|To: |Date: |Content-Type: |multipart/mixed; boundary=x|--x){0,60}", bytes: Vec<u8>) {
        let script = Script::compile(
            "require [\"body\", \"variables\", \"date\", \"index\", \"vacation\", \"subaddress\", \"fileinto\"];\
             if body :content \"\" :matches \"*a*\" { keep; } if address :detail :matches \"to\" \"*\" { fileinto \"x${1}\"; }\
             if header :matches :index 1 :last \"date\" \"?*\" { set \"v\" \"${1}\"; } if date \"date\" \"year\" \"1\" {} vacation \"x\";",
        ).unwrap();
        for head in [head.as_bytes(), &bytes] {
            let mail = Mail { head, size: 1, sender: Some("a@b.example"), recipient: "c@d.example", own: &[], now: NOW };
            let _ = script.run(&mail, &|_: &str| true);
        }
        let _ = run_on("", &head, |_| {});
    }
}
