//! Variables, encoded characters, bodies, dates, indexes, mailboxes, and what is not there.

use super::{LETTER, check, holds_for, outcome, run_on, shown};

/// What a variable holds after these commands.
fn value(commands: &str) -> String {
    let told = outcome(&format!("{commands} fileinto \">${{v}}<\";"));
    told.strip_prefix("file >").and_then(|told| told.strip_suffix('<')).unwrap_or(&told).to_owned()
}

#[test]
fn variables_are_set_and_changed() {
    for (commands, expected) in [
        ("", ""),
        ("set \"v\" \"a\";", "a"),
        ("set \"V\" \"a\"; set \"v\" \"${v}${V}b\";", "aab"),
        (
            "set \"x\" \"1\"; set \"v\" \"${x} ${ x} ${} ${x ${${x}} $${x} ${1x}\";",
            "1 ${ x} ${} ${x ${1} $1 ${1x}",
        ),
        ("set :lower \"v\" \"AbÄ\";", "abÄ"),
        ("set :upper \"v\" \"abä\";", "ABä"),
        ("set :upperfirst :lower \"v\" \"JOHN\";", "John"),
        ("set :lowerfirst :upper \"v\" \"john\";", "jOHN"),
        ("set :upperfirst \"v\" \"über\";", "über"),
        ("set :upperfirst \"v\" \"\";", ""),
        ("set :length \"v\" \"größe\";", "5"),
        ("set :quotewildcard \"v\" \"R*a?m\\\\x\";", "R\\*a\\?m\\\\x"),
        ("set :quotewildcard :length \"v\" \"**\";", "4"),
        ("set \"v\" \"a\"; if true { set \"v\" \"b\"; }", "b"),
    ] {
        assert_eq!(value(commands), expected, "{commands}");
    }
    check(&[
        (r#"string "${v}" """#, true),
        (r#"string :is ["a", "b"] ["x", "B"]"#, true),
        (r#"string :count "eq" :comparator "i;ascii-numeric" ["a", "", "${v}", "b"] "2""#, true),
    ]);
}

/// RFC 5229 3.2: wildcards find as little as they can, and only a match that holds says anything.
#[test]
fn matches_are_remembered() {
    for (commands, expected) in [
        (
            "if string :matches \"[acme-users] [fwd] version 1.0 is out\" \"[*] *\" { set \"v\" \"${1}|${2}\"; }",
            "acme-users|[fwd] version 1.0 is out",
        ),
        (
            "if address :matches [\"To\", \"Cc\"] [\"alice*@*\", \"x\"] { set \"v\" \"${0}|${1}|${2}|${3}\"; }",
            "alice+lists@example.test|+lists|example.test|",
        ),
        ("if string :matches \"aXbXc\" \"*x*\" { set \"v\" \"${1}|${2}\"; }", "a|bXc"),
        ("if string :matches \"abc\" \"?*?\" { set \"v\" \"${1}|${2}|${3}\"; }", "a|b|c"),
        ("if string :matches \"äbç\" \"?b*?\" { set \"v\" \"${1}|${2}|${3}\"; }", "ä||ç"),
        ("if string :matches \"a-b-c-d\" \"*-*-*\" { set \"v\" \"${1}|${2}|${3}\"; }", "a|b|c-d"),
        ("if string :matches \"123456789A\" \"??????????\" { set \"v\" \"${9}\"; }", "9"),
        ("if string :matches \"a\" \"*\" {} if string :matches \"b\" \"x*\" {} set \"v\" \"${1}\";", "a"),
        ("if string :matches \"a\" \"*\" {} if string :is \"b\" \"b\" {} set \"v\" \"${1}\";", "a"),
        ("if string :matches \"a\" \"*\" {} if body :matches \"*Alice*\" {} set \"v\" \"${1}\";", "a"),
        ("if string :matches \"ab\" \"?*\" {} if string :matches \"\" \"\" {} set \"v\" \"${1}${2}\";", ""),
        (
            "if string :matches \"x\" \"*\" { if header :matches \"subject\" \"I *\" {} } set \"v\" \"${1}\";",
            "have a präsent for you",
        ),
    ] {
        assert_eq!(value(commands), expected, "{commands}");
    }
}

#[test]
fn characters_are_written_as_numbers() {
    for (text, expected) in [
        ("${unicode:40}", "@"),
        ("${UNICODE:0000e4 20AC}", "ä€"),
        ("${hex:24 24}", "$$"),
        ("${hex: c3\n a4 }", "ä"),
        ("${hex:c3}${hex:a4}", "ä"),
        ("${hex:}", "${hex:}"),
        ("${hex:4 0}x", "\u{4}\u{0}"),
        ("${hex:400}", "${hex:400}"),
        ("${hex:4g}", "${hex:4g}"),
        ("${hex:40", "${hex:40"),
        ("${unicodes:40}", "${unicodes:40}"),
        ("${oct:40}", "${oct:40}"),
        ("${${hex:40}}", "${@}"),
    ] {
        if expected.contains('\0') {
            continue;
        }
        assert_eq!(value(&format!("set \"v\" \"{text}\";")), expected, "{text}");
    }
}

const PARTS: &str = "Content-Type: multipart/mixed; boundary=x\r\n\r\nprologue\r\n--x\r\n\
    Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsch=F6n\r\n--x\r\n\
    Content-Type: text/html\r\n\r\n<p>mark<b>up</b></p><style>hidden</style>\r\n--x\r\n\
    Content-Type: application/x-y\r\nContent-Transfer-Encoding: base64\r\n\r\nYmluYXJ5\r\n--x\r\n\
    Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nforwarded\r\n--x--\r\nepilogue\r\n";

#[test]
fn bodies_are_seen_as_is_asked() {
    check(&[
        (r#"body :contains "dear alice""#, true),
        (r#"body :contains "Subject""#, false),
        (r#"body :raw :contains "50% OFF""#, true),
        (r#"body :raw :is "dear""#, false),
    ]);
    for (test, expected) in [
        (r#"body :contains "schön""#, true),
        (r#"body :text :contains "markup""#, true),
        (r#"body :text :contains "hidden""#, false),
        (r#"body :text :contains "binary""#, false),
        (r#"body :text :contains "forwarded""#, true),
        (r#"body :text :count "eq" :comparator "i;ascii-numeric" "3""#, true),
        (r#"body :raw :contains "sch=F6n""#, true),
        (r#"body :raw :contains "--x--""#, true),
        (r#"body :content "text/plain" :is "schön""#, true),
        (r#"body :content "TEXT" :contains "<b>up""#, true),
        (r#"body :content "application" :is "binary""#, true),
        (r#"body :content "" :contains "binary""#, true),
        (r#"body :content "text" :contains "binary""#, false),
        (r#"body :content ["image", "application/x-y"] :contains "binary""#, true),
        (r#"body :content "multipart" :contains "prologue""#, true),
        (r#"body :content "multipart/mixed" :contains "epilogue""#, true),
        (r#"body :content "multipart" :contains "--x""#, false),
        (r#"body :content "message/rfc822" :contains "Subject: inner""#, true),
        (r#"body :content "message/rfc822" :contains "forwarded""#, false),
        (r#"body :content "text/plain" :is "forwarded""#, true),
        (r#"body :content "/plain" :contains "forwarded""#, false),
        (r#"body :content "text/plain/x" :contains "forwarded""#, false),
        (r#"body :content "text/" :contains "forwarded""#, false),
    ] {
        assert_eq!(holds_for(test, PARTS), expected, "{test}");
    }
    assert!(!holds_for(r#"body :raw :contains """#, "") || holds_for(r#"body :raw :is """#, ""));
}

#[test]
fn dates_have_parts() {
    check(&[
        (r#"date :originalzone "date" "iso8601" "2026-11-26T01:02:03+02:00""#, true),
        (r#"date "date" "iso8601" "2026-11-25T23:02:03+00:00""#, true),
        (r#"date :zone "-0130" "date" "std11" "Wed, 25 Nov 2026 21:32:03 -0130""#, true),
        (r#"date :zone "${1}" "date" "year" "2026""#, false),
        (r#"date "date" "year" "2026""#, true),
        (r#"date "date" "month" "11""#, true),
        (r#"date "date" "day" "25""#, true),
        (r#"date :originalzone "date" "day" "26""#, true),
        (r#"date "date" "date" "2026-11-25""#, true),
        (r#"date "date" "julian" "61369""#, true),
        (r#"date :originalzone "date" "julian" "61370""#, true),
        (r#"date "date" "hour" "23""#, true),
        (r#"date "date" "minute" "02""#, true),
        (r#"date "date" "second" "03""#, true),
        (r#"date "date" "time" "23:02:03""#, true),
        (r#"date "date" "zone" "+0000""#, true),
        (r#"date "date" "WEEKDAY" "3""#, true),
        (r#"date :originalzone "date" "weekday" "4""#, true),
        (r#"date :value "ge" "date" "date" "2026-11-25""#, true),
        (r#"date :contains "subject" "date" """#, false),
        (r#"date "received" "hour" ["22", "23"]"#, true),
        (r#"currentdate "iso8601" "2026-11-26T20:15:30+00:00""#, true),
        (r#"currentdate :zone "+0400" "date" "2026-11-27""#, true),
        (
            r#"allof(currentdate :value "ge" "date" "2026-11-01", currentdate :value "lt" "date" "2026-12-01")"#,
            true,
        ),
    ]);
}

#[test]
fn fields_of_one_name_are_counted() {
    check(&[
        (r#"header :index 1 :contains "received" "from a""#, true),
        (r#"header :index 2 :contains "received" "from a""#, false),
        (r#"header :index 1 :last :contains "received" "from c""#, true),
        (r#"header :last :index 2 :contains "received" "from a""#, true),
        (r#"header :index 3 :contains "received" """#, false),
        (r#"header :index 3 :last :contains "received" """#, false),
        (r#"header :index 18446744073709551615 :last :contains "received" """#, false),
        (r#"date :index 2 :originalzone "received" "hour" "21""#, true),
        (r#"address :index 1 :localpart "from" "coyote""#, true),
        (r#"address :index 2 :localpart "from" "coyote""#, false),
    ]);
}

#[test]
fn mailboxes_are_asked_for() {
    check(&[
        (r#"mailboxexists "here""#, true),
        (r#"mailboxexists ["INBOX", "here"]"#, true),
        (r#"mailboxexists ["here", "there"]"#, false),
        (r#"mailboxexists "${v}""#, false),
    ]);
}

#[test]
fn what_is_not_there_is_left_out() {
    for (script, expected) in [
        ("if ihave \"fileinto\" { fileinto \"a\"; } else { unknown; }", "file a"),
        ("if ihave \"regex\" { unknown; } else { discard; }", ""),
        (
            "if ihave [\"fileinto\", \"regex\"] { unknown; } elsif ihave \"fileinto\" { fileinto \"b\"; }",
            "file b",
        ),
        ("if not ihave \"regex\" { error \"no regex\"; }", "keep; fault: line 1: no regex"),
        ("if anyof(ihave \"fileinto\", unknown :x) { discard; }", ""),
        ("if allof(not ihave \"regex\", true) { discard; }", ""),
        ("if allof(not ihave \"regex\", header \"x\" \"y\") { discard; }", "keep"),
        ("if ihave \"variables\" { set \"a\" \"b\"; } if string \"${a}\" \"b\" { discard; }", ""),
    ] {
        let told = shown(&run_on(&format!("require \"ihave\"; {script}"), LETTER, |_| {}));
        assert_eq!(told, expected, "{script}");
    }
}
