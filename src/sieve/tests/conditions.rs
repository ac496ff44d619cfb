//! The tests of RFC 5228 5, with comparators, match types and address parts.

use super::{check, holds_for, run_on, shown};

#[test]
fn logic_is_that_of_the_words() {
    check(&[
        ("true", true),
        ("false", false),
        ("not false", true),
        ("allof(true, true)", true),
        ("allof(true, false)", false),
        ("anyof(false, true)", true),
        ("anyof(false, false)", false),
        ("not anyof(false, not allof(true, not false))", true),
    ]);
}

#[test]
fn headers_are_decoded_unfolded_and_trimmed() {
    check(&[
        (r#"header "subject" "i have a präsent for you""#, true),
        (r#"header :is "SUBJECT" ["x", "I have a präsent for you"]"#, true),
        (r#"header :is :comparator "i;octet" "subject" "i have a präsent for you""#, false),
        (r#"header :contains "subject" "A PRä""#, true),
        // Letters beyond ASCII have no case here (RFC 4790 9.2).
        (r#"header :contains "subject" "A PRÄ""#, false),
        (r#"header :contains :comparator "i;octet" "subject" "PRES""#, false),
        (r#"header :contains ["x-none", "subject"] "have""#, true),
        (r#"header :contains "subject" "away""#, false),
        (r#"header :is "x-empty" """#, true),
        (r#"header :contains "x-empty" """#, true),
        (r#"header :contains "x-none" """#, false),
        (r#"header :contains "subject" """#, true),
        (r#"header :contains "received" "from c""#, true),
    ]);
}

#[test]
fn patterns_match_the_whole_value() {
    check(&[
        (r#"header :matches "subject" "*""#, true),
        (r#"header :matches "subject" "I have*you""#, true),
        (r#"header :matches "subject" "i ?ave a pr?sent for *""#, true),
        (r#"header :matches "subject" "have""#, false),
        (r#"header :matches "subject" "*have*""#, true),
        (r#"header :matches "subject" "*you*you""#, false),
        (r#"header :matches "subject" "*f?r*""#, true),
        (r#"header :matches "subject" "*f??r*""#, false),
        (r#"header :matches "subject" "*y?u""#, true),
        (r#"header :matches "subject" "*?you""#, true),
        (r#"header :matches "x-empty" "?""#, false),
        (r#"header :matches "x-empty" "*""#, true),
        (r#"header :matches "x-empty" "**""#, true),
        (r#"header :matches "x-number" "0042\\ apples""#, true),
        (r#"header :matches "x-number" "0042\\*""#, false),
        (r#"header :matches "x-number" "????*apple?""#, true),
        (r#"header :matches "x-number" "??????????????""#, false),
        (r#"string :matches "a*b?c\\" "a\\*b\\?c\\\\""#, true),
        (r#"string :matches "axb?c" "a\\*b\\?c""#, false),
        (r#"string :matches "ab" "ab\\""#, false),
        (r#"string :matches "äöü" "??ü""#, true),
        (r#"string :matches "äöü" "*?ü""#, true),
        (r#"string :matches "äöü" "*?ö*""#, true),
    ]);
}

#[test]
fn addresses_have_parts() {
    check(&[
        (r#"address "from" "coyote@desert.example.org""#, true),
        (r#"address :is :all "from" "coyote@desert.example.org""#, true),
        (r#"address :localpart "from" "COYOTE""#, true),
        (r#"address :domain "from" "desert.example.org""#, true),
        (r#"address :contains "from" "W.""#, false),
        (r#"address :localpart ["cc", "to"] "bob""#, true),
        (r#"address "to" "a b@y.test""#, true),
        (r#"address :contains "cc" "nobody""#, false),
        (r#"address :user "to" "alice""#, true),
        (r#"address :detail "to" "lists""#, true),
        (r#"address :user "from" "coyote""#, true),
        (r#"address :detail :contains "from" """#, false),
        (r#"address :localpart "to" "alice""#, false),
        (r#"address :count "eq" :comparator "i;ascii-numeric" "to" "3""#, true),
    ]);
    assert!(holds_for(r#"address :detail "to" """#, "To: a+@x.test\r\n\r\n"));
}

#[test]
fn the_envelope_is_another_than_the_header() {
    check(&[
        (r#"envelope "from" "coyote@desert.example.org""#, true),
        (r#"envelope :localpart "to" "alice+lists""#, true),
        (r#"envelope :detail "to" "lists""#, true),
        (r#"envelope :domain ["from", "to"] "example.test""#, true),
        (r#"envelope "from" """#, false),
    ]);
    for part in [":all", ":localpart", ":domain"] {
        let script = format!("require \"envelope\"; if envelope {part} \"from\" \"\" {{ discard; }}");
        assert_eq!(shown(&run_on(&script, "", |mail| mail.sender = None)), "", "{part}");
    }
    let script = "require \"envelope\"; if envelope :localpart \"to\" \"postmaster\" { discard; }";
    assert_eq!(shown(&run_on(script, "", |mail| mail.recipient = "Postmaster")), "");
}

#[test]
fn sizes_and_presence() {
    for (size, over, under) in [(1023, false, true), (1024, false, false), (1025, true, false)] {
        for (word, expected) in [("over", over), ("under", under)] {
            let script = format!("if size :{word} 1K {{ discard; }}");
            let shown = shown(&run_on(&script, "", |mail| mail.size = size));
            assert_eq!(shown.is_empty(), expected, "{size} {word}");
        }
    }
    check(&[
        (r#"exists "x-empty""#, true),
        (r#"exists ["From", "to"]"#, true),
        (r#"exists ["from", "x-none"]"#, false),
        ("exists \"Dear\"", false),
    ]);
}

#[test]
fn numbers_and_relations() {
    check(&[
        (r#"header :comparator "i;ascii-numeric" "x-number" "42""#, true),
        (r#"header :comparator "i;ascii-numeric" "x-number" "43""#, false),
        (r#"header :comparator "i;ascii-numeric" "x-empty" "none""#, true),
        (r#"header :value "gt" :comparator "i;ascii-numeric" "x-number" "9""#, true),
        (r#"header :value "gt" "x-number" "9""#, false),
        (r#"header :value "lt" :comparator "i;ascii-numeric" "x-number" "100000000000000000000000""#, true),
        (r#"header :value "gt" :comparator "i;ascii-numeric" "x-empty" "100000000000000000000000""#, true),
        (r#"header :value "ge" :comparator "i;ascii-numeric" "x-number" "42""#, true),
        (r#"header :value "le" :comparator "i;ascii-numeric" "x-number" "42""#, true),
        (r#"header :value "ne" :comparator "i;ascii-numeric" "x-number" "42""#, false),
        (r#"header :value "eq" :comparator "i;ascii-numeric" "x-number" "42""#, true),
        (r#"header :value "lt" "subject" "j""#, true),
        // A letter counts as its capital, which stands before the underscore.
        (r#"string :value "lt" "a" "_""#, true),
        (r#"string :value "lt" :comparator "i;octet" "a" "_""#, false),
        (r#"header :count "eq" :comparator "i;ascii-numeric" "received" "2""#, true),
        (r#"header :count "gt" :comparator "i;ascii-numeric" ["received", "subject"] "2""#, true),
        (r#"header :count "eq" :comparator "i;ascii-numeric" "x-none" "0""#, true),
    ]);
}
