//! What is done with a mail: the actions of RFC 5228 4, of copies, refusals and flags; and what goes wrong in a run.

use super::{outcome, run_on, shown};

#[test]
fn a_mail_is_kept_unless_something_else_becomes_of_it() {
    for (script, expected) in [
        ("", "keep"),
        ("keep;", "keep"),
        ("keep; keep;", "keep"),
        ("discard;", ""),
        ("discard; keep;", "keep"),
        ("keep; discard;", "keep"),
        ("stop; discard;", "keep"),
        ("if true { if true { stop; } } discard;", "keep"),
        ("fileinto \"a\";", "file a"),
        ("fileinto \"a\"; fileinto \"b\"; fileinto \"a\";", "file a; file b"),
        ("fileinto \"a\"; keep;", "file a; keep"),
        ("fileinto \"inbox\";", "keep"),
        ("fileinto \"INBOX\"; keep; fileinto \"Inbox\";", "keep"),
        ("fileinto :copy \"a\";", "file a; keep"),
        ("fileinto :copy \"INBOX\"; fileinto \"a\";", "keep; file a"),
        ("fileinto :create \"a/b\";", "create a/b"),
        ("fileinto \"a\"; fileinto :create \"a\";", "create a"),
        ("fileinto \"Grüße\";", "file Grüße"),
        ("redirect \"a@x.test\";", "redirect a@x.test"),
        ("redirect :copy \"a@x.test\";", "redirect a@x.test; keep"),
        ("redirect \"a@x.test\"; redirect \"A@X.test\"; keep;", "redirect a@x.test; keep"),
        ("reject \"no\";", "reject no"),
        ("ereject text:\nno\nno\n.\n;", "reject no\nno\n"),
        ("discard; reject \"no\"; discard;", "reject no"),
        (
            "if header \"subject\" \"x\" { discard; } elsif true { fileinto \"b\"; } else { fileinto \"c\"; }",
            "file b",
        ),
        ("if false { discard; } else { fileinto \"c\"; }", "file c"),
        ("if false { discard; } if true { fileinto \"d\"; }", "file d"),
    ] {
        assert_eq!(outcome(script), expected, "{script}");
    }
}

#[test]
fn flags_go_where_the_mail_goes() {
    for (script, expected) in [
        ("setflag \"\\\\seen\"; keep;", "keep \\Seen"),
        ("setflag \"\\\\Seen\";", "keep \\Seen"),
        ("addflag [\"a\", \"b\"]; addflag \"A c\"; removeflag \"B\"; fileinto \"x\";", "file x a c"),
        ("setflag \"a\"; setflag \"b\";", "keep b"),
        ("setflag \"a\"; keep :flags [\"\\\\Flagged x\", \"y\"];", "keep \\Flagged x y"),
        ("setflag \"a\"; fileinto :flags \"\" \"x\";", "file x"),
        ("keep :flags \"a\"; setflag \"b\"; keep;", "keep a b"),
        ("fileinto :copy \"x\"; addflag \"b\";", "file x; keep b"),
        // What can be no flag is ignored.
        ("setflag [\"\\\\Recent\", \"\\\\Own\", \"a(b\", \"ü\", \"$Junk\"];", "keep $Junk"),
        (
            "setflag \"v\" \"a b\"; addflag \"v\" \"c\"; removeflag \"v\" \"b\"; fileinto \"${v}\";",
            "file a c",
        ),
        ("setflag \"v\" \"a b\"; keep :flags \"${v}\";", "keep a b"),
        ("addflag \"a b\"; if hasflag \"b\" { fileinto \"x\"; }", "file x a b"),
        ("addflag \"a b\"; if hasflag \"c\" { discard; }", "keep a b"),
        ("setflag \"v\" \"Ab\"; if hasflag :contains \"v\" \"x B\" { discard; }", ""),
        (
            "setflag \"v\" \"a b\"; if hasflag :count \"ge\" :comparator \"i;ascii-numeric\" \"v\" \"2\" { discard; }",
            "",
        ),
        ("addflag \"label7\"; if hasflag :matches \"label?\" { fileinto \"${1}\"; }", "file 7 label7"),
    ] {
        assert_eq!(outcome(script), expected, "{script}");
    }
}

/// RFC 5228 2.10.6: what was done before it stands, and the mail is kept.
#[test]
fn a_fault_keeps_the_mail() {
    for (script, expected) in [
        ("error \"I\ngive up\"; discard;", "keep; fault: line 1: I give up"),
        ("discard;\r\nif true {\r\n error \"x\"; }", "keep; fault: line 3: x"),
        (
            "fileinto \"a\"; redirect \"b@x.test\"; error \"x\";",
            "file a; redirect b@x.test; keep; fault: line 1: x",
        ),
        ("setflag \"a\"; error \"x\";", "keep a; fault: line 1: x"),
        ("reject \"no\"; error \"x\";", "keep; fault: line 1: x"),
        ("set \"v\" \"a b\"; redirect \"${v}\";", "keep; fault: line 1: \"a b\": the address is malformed"),
        (
            "fileinto \"${v}\";",
            "keep; fault: line 1: a mailbox has a name of 1 to 1024 octets without control characters",
        ),
        (
            "set \"v\" \"a\nb\"; fileinto \"${v}\";",
            "keep; fault: line 2: a mailbox has a name of 1 to 1024 octets without control characters",
        ),
        ("reject \"a\"; keep;", "keep; fault: line 1: a mail that is rejected cannot be kept"),
        ("reject \"a\"; fileinto \"b\";", "keep; fault: line 1: a mail that is rejected cannot be filed"),
        (
            "reject \"a\"; redirect \"b@x.test\";",
            "keep; fault: line 1: a mail that is rejected cannot be redirected",
        ),
        ("reject \"a\"; vacation \"b\";", "keep; fault: line 1: a mail that is rejected cannot be answered"),
    ] {
        assert_eq!(outcome(script), expected, "{script}");
    }
    for before in ["keep", "fileinto \"x\"", "redirect \"a@x.test\"", "reject \"x\"", "vacation \"x\""] {
        let told = outcome(&format!("{before}; ereject \"no\";"));
        assert!(told.contains("keep") && told.ends_with("rejected already cannot be rejected"), "{told}");
        assert!(!told.contains("reject x"), "{told}");
    }
}

#[test]
fn a_script_without_extensions_takes_strings_as_they_stand() {
    let script = "require \"fileinto\"; fileinto \"${v} ${hex:40} \\x\\\\\\\"\";";
    assert_eq!(shown(&run_on(script, "", |_| {})), "file ${v} ${hex:40} x\\\"");
}
