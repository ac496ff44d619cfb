//! What is a script, and what is said of what is none.

use proptest::prelude::*;

use crate::sieve::{
    ARGUMENTS_MAX, CAPABILITIES, LIST_STRINGS_MAX, NESTING_MAX, NODES_MAX, SCRIPT_BYTES_MAX, Script,
    VARIABLES_MAX, grammar,
};

fn error(script: &str) -> String {
    match Script::compile(script) {
        Ok(_) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn taken(script: &str) {
    assert_eq!(error(script), "none", "{script}");
}

#[test]
fn scripts_of_every_form() {
    for script in [
        "",
        "# a comment\r\nkeep; /* another\n one */ stop;",
        "KEEP;Stop;",
        "if true {} elsif false { keep; } else { discard; }",
        "if not anyof (true, allof(false, not true)) { stop; }",
        "if size :over 100K { discard; } if size :under 1g {}",
        "if header :matches :comparator \"i;octet\" [\"From\", \"X-A\"] \"a*\" { keep; }",
        "if address :localpart :is \"from\" [\"a\", \"b\"] {}",
        "if exists \"X-A\" {}",
        "redirect \"a@b.example\";",
        "require \"fileinto\"; fileinto \"a\";",
        "require [\"fileinto\", \"copy\", \"mailbox\", \"imap4flags\"]; fileinto :copy :create :flags \"\\\\Seen\" \"a\";",
        "require \"reject\"; reject text: # why\r\n..\r\nno\r\n.\r\n;",
        "require \"vacation\"; vacation :days 3 :subject \"s\" :from \"Me <a@b.example>\" :addresses [\"c@d.example\"] :handle \"h\" \"text\";",
        "require \"vacation-seconds\"; vacation :seconds 100 :mime \"Content-Type: text/plain\r\n\r\nx\";",
        "require \"variables\"; set :lower :upperfirst \"a\" \"${1}\"; if string :is \"${a}\" \"x\" {}",
        "require \"imap4flags\"; setflag \"a\"; addflag [\"a\", \"b\"]; removeflag \"c\"; keep :flags \"d\"; if hasflag \"a\" {}",
        "require [\"imap4flags\", \"variables\"]; setflag \"v\" \"a\"; if hasflag [\"v\", \"w\"] \"a\" {}",
        "require \"envelope\"; if envelope :domain [\"FROM\", \"to\"] \"x\" {}",
        "require [\"body\", \"relational\"]; if body :raw :contains \"x\" {} if body :content \"text\" :count \"ge\" \"1\" {}",
        "require [\"date\", \"index\"]; if date :index 1 :last :originalzone \"received\" \"hour\" \"09\" {} if currentdate :zone \"+0100\" \"weekday\" \"0\" {}",
        "require \"subaddress\"; if address :user \"to\" \"x\" {} if address :detail \"to\" \"x\" {}",
        "require \"mailbox\"; if mailboxexists [\"a\", \"b\"] {}",
        "require [\"comparator-i;octet\", \"comparator-i;ascii-numeric\", \"relational\"]; if header :value \"gt\" :comparator \"i;ascii-numeric\" \"x\" \"3\" {}",
        "require \"ihave\"; if ihave \"fileinto\" { fileinto \"a\"; } else { nonsense 1; }",
        "require \"ihave\"; if ihave [\"fileinto\", \"enotify\"] { notify \"x\"; } elsif not ihave \"regex\" { error \"no\"; }",
        "require \"ihave\"; if allof(ihave \"regex\", header :regex \"a\" \"b\") { keep; }",
    ] {
        taken(script);
    }
    for capability in CAPABILITIES {
        taken(&format!("require \"{capability}\";"));
    }
}

#[test]
fn errors_tell_their_place() {
    for (script, expected) in [
        ("keep", "line 1, column 5: \";\" is expected here, not the end of the script"),
        ("keep;\r\n  foo;", "line 2, column 3: the command \"foo\" is not known"),
        ("\"\u{fc}\" keep;", "line 1, column 1: a command is expected here, not the string \"\u{fc}\""),
        ("redirect \"\u{fc}\u{fc}\" 1;", "line 1, column 10: \"\u{fc}\u{fc}\": the address is malformed"),
        ("keep; }", "line 1, column 7: a command is expected here, not \"}\""),
        (
            "if true { keep;",
            "line 1, column 16: a command or \"}\" is expected here, not the end of the script",
        ),
        ("if true keep;", "line 1, column 1: `if` needs a block in braces"),
        ("if true;", "line 1, column 1: `if` needs a block in braces"),
        ("if { keep; }", "line 1, column 1: `if` needs one test"),
        ("if (true, false) { }", "line 1, column 1: `if` needs one test"),
        ("if foo { }", "line 1, column 4: the test \"foo\" is not known"),
        ("if not (true) { }", "line 1, column 4: `not` needs one test"),
        ("if anyof true { }", "line 1, column 4: `anyof` needs tests in parentheses"),
        ("if anyof () { }", "line 1, column 11: a test is expected here, not \")\""),
        ("else { }", "line 1, column 1: `else` must follow an `if` or `elsif`"),
        ("if true {} else {} elsif true {}", "line 1, column 20: `elsif` cannot follow an `else`"),
        ("if true {} else true {}", "line 1, column 17: `else` takes no test"),
        ("keep; require \"fileinto\";", "line 1, column 7: `require` must come before all other commands"),
        ("if true { require \"copy\"; }", "line 1, column 11: `require` must come before all other commands"),
        ("require \"regex\";", "line 1, column 9: the extension \"regex\" is not known"),
        ("require;", "line 1, column 1: `require` lacks the names of extensions"),
        (
            "fileinto \"a\";",
            "line 1, column 1: `fileinto` needs `require \"fileinto\";` at the top of the script",
        ),
        (
            "redirect :copy \"a@b.example\";",
            "line 1, column 10: `:copy` needs `require \"copy\";` at the top of the script",
        ),
        ("keep 1;", "line 1, column 6: `keep` takes no more here"),
        ("keep :x;", "line 1, column 6: `:x` is not known to `keep`"),
        ("keep true;", "line 1, column 6: `keep` takes no test"),
        ("stop { }", "line 1, column 1: `stop` takes no block"),
        (
            "redirect [\"a@b.example\"];",
            "line 1, column 10: `redirect` takes an address as one string here, not as a list",
        ),
        ("redirect 1;", "line 1, column 10: `redirect` takes an address here, not 1"),
        ("require \"fileinto\"; fileinto \"\";", "line 1, column 30: the name of a mailbox is not empty"),
        ("if size 100 {}", "line 1, column 4: `size` needs `:over` or `:under`"),
        ("if size :over 1x {}", "line 1, column 15: \"1x\" is no number"),
        ("if size :over 99999999999999999999 {}", "line 1, column 15: this number is too large"),
        ("if size :over 17179869184G {}", "line 1, column 15: this number is too large"),
        ("if header :is :is \"a\" \"b\" {}", "line 1, column 15: `:is` is given twice"),
        ("if header :is :contains \"a\" \"b\" {}", "line 1, column 15: `:contains` is a second match type"),
        ("if header \"a\" :is \"b\" {}", "line 1, column 15: `header` takes the keys here, not `:is`"),
        ("if header \"a:\" \"b\" {}", "line 1, column 11: \"a:\" is no name of a header field"),
        (
            "if header :comparator \"i;x\" \"a\" \"b\" {}",
            "line 1, column 23: the comparator \"i;x\" is not known",
        ),
        (
            "if header :value \"gt\" \"a\" \"b\" {}",
            "line 1, column 11: `:value` needs `require \"relational\";` at the top of the script",
        ),
        (
            "require \"relational\"; if header :count \"x\" \"a\" \"b\" {}",
            "line 1, column 40: \"x\" is no relation: gt, ge, lt, le, eq or ne",
        ),
        (
            "require \"comparator-i;ascii-numeric\"; if header :contains :comparator \"i;ascii-numeric\" \"a\" \"b\" {}",
            "line 1, column 93: the comparator \"i;ascii-numeric\" compares whole numbers alone",
        ),
        ("if address \"subject\" \"b\" {}", "line 1, column 12: the field \"subject\" holds no addresses"),
        (
            "require \"envelope\"; if envelope \"auth\" \"b\" {}",
            "line 1, column 33: the envelope has no \"auth\": \"from\" or \"to\"",
        ),
        ("require [\"index\"]; if header :last \"a\" \"b\" {}", "line 1, column 30: `:last` needs `:index`"),
        (
            "require [\"index\"]; if header :index 0 \"a\" \"b\" {}",
            "line 1, column 37: `:index` counts from 1",
        ),
        ("require [\"date\"]; if date \"date\" \"foo\" \"b\" {}", "line 1, column 34: a date has no \"foo\""),
        (
            "require [\"date\"]; if date :zone \"CET\" \"date\" \"hour\" \"b\" {}",
            "line 1, column 33: \"CET\" is no time zone: it is +0200 or the like",
        ),
        (
            "require [\"date\"]; if currentdate :originalzone \"hour\" \"b\" {}",
            "line 1, column 34: `:originalzone` is not known to `currentdate`",
        ),
        ("require \"variables\"; set \"a b\" \"\";", "line 1, column 26: \"a b\" is no name of a variable"),
        (
            "require \"variables\"; set :lower :upper \"a\" \"\";",
            "line 1, column 33: `:upper` cannot stand beside its opposite",
        ),
        ("require \"variables\"; set \"a\" \"${10}\";", "line 1, column 30: ${10} is beyond ${9}"),
        (
            "require \"variables\"; set \"a\" \"${x.y}\";",
            "line 1, column 30: the namespace of the variable \"x.y\" is not known",
        ),
        (
            "require \"imap4flags\"; setflag \"v\" \"a\";",
            "line 1, column 31: the name of a variable needs `require \"variables\";` at the top of the script",
        ),
        (
            "require \"encoded-character\"; redirect \"${unicode:d800}\";",
            "line 1, column 39: ${unicode:...} names no character",
        ),
        (
            "require \"encoded-character\"; redirect \"${hex:ff}\";",
            "line 1, column 39: the octets of ${hex:...} here are no UTF-8",
        ),
        ("require \"encoded-character\"; redirect \"${hex:0}\";", "line 1, column 39: a string holds no NUL"),
        (
            "require \"vacation\"; vacation :seconds 3 \"x\";",
            "line 1, column 30: `:seconds` needs `require \"vacation-seconds\";` at the top of the script",
        ),
        (
            "require \"vacation-seconds\"; vacation :seconds 3 :days 4 \"x\";",
            "line 1, column 49: `:days` is a second time",
        ),
        (
            "require \"vacation\"; vacation :from \"a@b.example, c@d.example\" \"x\";",
            "line 1, column 36: `:from` takes one address, perhaps with a name",
        ),
        ("require \"ihave\"; if true { foo; }", "line 1, column 28: the command \"foo\" is not known"),
        (
            "if ihave \"x\" { }",
            "line 1, column 4: `ihave` needs `require \"ihave\";` at the top of the script",
        ),
        ("/* x", "line 1, column 1: this comment never ends"),
        ("redirect \"x", "line 1, column 10: this string never ends"),
        ("redirect \"\\\0\";", "line 1, column 10: a string holds no NUL"),
        ("redirect \"x\0\"", "line 1, column 10: a string holds no NUL"),
        ("redirect text:\nx\n", "line 1, column 10: this text never ends: a line with a dot ends it"),
        ("redirect text: x\n.\n;", "line 1, column 10: the line must end after `text:`"),
        ("redirect : ;", "line 1, column 10: a name must follow the colon"),
        ("redirect ?;", "line 1, column 10: \"?\" cannot stand here"),
        (
            "require [\"a\" \"b\"];",
            "line 1, column 14: \",\" or \"]\" is expected here, not the string \"b\"",
        ),
        ("require [];", "line 1, column 10: a string is expected here, not \"]\""),
    ] {
        let told = error(script);
        assert_eq!(told, expected, "{script}");
    }
}

#[test]
fn the_documentation_holds_scripts_and_every_extension() {
    let text = include_str!("../../../docs/sieve.md");
    let examples: Vec<&str> =
        text.split("```sieve\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(examples.len() >= 2);
    examples.into_iter().for_each(taken);
    for capability in CAPABILITIES {
        assert!(text.contains(&format!("`{capability}`")), "{capability}");
    }
}

/// `at` is taken, `beyond` is refused, for the reason that is given.
fn bound(at: &str, beyond: &str, reason: &str) {
    taken(at);
    let error = error(beyond);
    assert!(error.ends_with(reason), "{error}");
}

#[test]
fn each_bound_holds_at_its_last() {
    let padded = |octets: usize| format!("#{}", "x".repeat(octets - 1));
    bound(&padded(SCRIPT_BYTES_MAX), &padded(SCRIPT_BYTES_MAX + 1), "the script has more than 65536 octets");
    let blocks = |depth: usize| "if true {".repeat(depth) + &"}".repeat(depth);
    bound(&blocks(NESTING_MAX), &blocks(NESTING_MAX + 1), "blocks are nested deeper than 15");
    let tests = |depth: usize| format!("if {}true {{}}", "not ".repeat(depth - 1));
    bound(&tests(NESTING_MAX), &tests(NESTING_MAX + 1), "tests are nested deeper than 15");
    let lists = |depth: usize| format!("if {}true{} {{}}", "anyof(".repeat(depth - 1), ")".repeat(depth - 1));
    bound(&lists(NESTING_MAX), &lists(NESTING_MAX + 1), "tests are nested deeper than 15");
    let commands = |count: usize| "stop;".repeat(count);
    bound(&commands(NODES_MAX), &commands(NODES_MAX + 1), "the script has more than 4096 commands and tests");
    let strings = |count: usize| format!("if exists [{}] {{}}", vec!["\"a\""; count].join(","));
    bound(&strings(LIST_STRINGS_MAX), &strings(LIST_STRINGS_MAX + 1), "the list has more than 1024 strings");
    let arguments = |count: usize| error(&format!("keep{};", " 1".repeat(count)));
    assert_eq!(arguments(ARGUMENTS_MAX), "line 1, column 6: `keep` takes no more here");
    assert_eq!(arguments(ARGUMENTS_MAX + 1), "line 1, column 70: there are more than 32 arguments");
    let variables = |count: usize| {
        let set: String = (0..count).map(|number| format!("set \"v{number}\" \"\";")).collect();
        format!("require \"variables\";{set}")
    };
    bound(&variables(VARIABLES_MAX), &variables(VARIABLES_MAX + 1), "the script has more than 128 variables");
}

#[test]
fn what_is_printed_reads_as_the_same() {
    let script =
        "IF anyof(not true, size :over 2K) { text :x \"a\\\\\\\"b\" [\"c\"] { y; } } stop text:\n..x\n.\n;";
    let once = grammar::printed(&grammar::parse(script).unwrap());
    assert_eq!(
        once,
        "if anyof (not true, size :over 2048) {\ntext :x \"a\\\\\\\"b\" [\"c\"] {\ny;\n}\n}\nstop \".x\n\";\n"
    );
    assert_eq!(grammar::printed(&grammar::parse(&once).unwrap()), once);
}

proptest! {
    #[test]
    fn no_script_makes_it_panic(
        tokens in proptest::collection::vec(prop_oneof![
            Just("if"), Just("elsif"), Just("else"), Just("not"), Just("anyof"), Just("true"), Just("ihave"), Just("header"),
            Just("set"), Just("keep"), Just("require"), Just("variables"), Just("{"), Just("}"), Just("("), Just(")"), Just(","), Just(";"),
            Just("["), Just("]"), Just("\"x\""), Just("\"${x}\""), Just(":is"), Just(":count"), Just("1K"), Just("text:\n.x\n.\n"), Just("\u{fc}"),
        ], 0..40),
        text: String,
    ) {
        for script in [tokens.join(" "), text] {
            let _ = Script::compile(&script);
            if let Ok(commands) = grammar::parse(&script) {
                let once = grammar::printed(&commands);
                let again = grammar::parse(&once).map(|commands| grammar::printed(&commands));
                prop_assert_eq!(again, Ok(once));
            }
        }
    }
}
