//! Whole dialogues, each also with its input byte by byte.

use super::*;
use crate::mail::dsn::Notify;
use crate::session::smtp::envelope::{Envelope, MailParams, RcptParams, Recipient};
use crate::session::transcript::Pace;

fn run(script: &str, policy: Policy, tls: bool) {
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let (mut player, _) = player(policy.clone(), tls);
        player.play(script, pace);
    }
}

macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../transcripts/", $name, ".txt"))
    };
}

#[test]
fn a_mail_is_taken_and_the_session_goes_on() {
    run(script!("mail"), policy(Flavor::Mx), false);
}

#[test]
fn commands_out_of_order_are_refused() {
    run(script!("order"), policy(Flavor::Mx), false);
}

#[test]
fn recipients_are_judged_each_by_itself() {
    run(script!("recipients"), policy(Flavor::Mx), false);
}

#[test]
fn parameters_are_checked() {
    run(script!("parameters"), policy(Flavor::Mx), false);
}

#[test]
fn starttls_forgets_what_came_before() {
    run(script!("starttls"), policy(Flavor::Mx), false);
}

#[test]
fn what_a_sender_wants_of_tls_is_heard_over_tls_alone() {
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let (mut player, world) = player(policy(Flavor::Mx), true);
        player.play(script!("requiretls"), pace);
        use TlsWish::{Required, Usual, Waived};
        assert_eq!(world.borrow().wishes, [Required, Waived, Required, Usual, Usual]);
    }
}

#[test]
fn submission_demands_a_login() {
    run(script!("submission"), policy(Flavor::Submission), true);
}

#[test]
fn what_goes_on_to_other_servers_is_handed_on_as_its_sender_wants_it() {
    let (mut player, world) = player(policy(Flavor::Submission), true);
    player.play(script!("submission"), Pace::Whole);
    let world = world.borrow();
    let [outgoing] = world.outgoing.as_slice() else { panic!("{:?}", world.outgoing) };
    assert_eq!(outgoing.sender, "alice@example.test");
    let to: Vec<_> = outgoing.recipients.iter().map(|(to, params)| (to.to_string(), params.notify)).collect();
    let failure = Some(Notify { failure: true, ..Notify::NEVER });
    assert_eq!(to, [("somebody@elsewhere.example".to_owned(), failure)], "not bob, who is here");
    assert_eq!(world.mails[0].accounts, [2]);
    let header = "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <ID1.0@mx.example.test>\r\n";
    assert_eq!(content(&world.mails[0]), format!("{header}Subject: x\r\n\r\ntext\r\n"));
    assert_eq!(content(&world.mails[1]), header, "an empty message gets what it must have");
}

#[test]
fn an_alias_that_leads_elsewhere_is_told_of_by_its_own_name_and_each_address_gets_one_copy() {
    let address = |text: &str| Address::parse(text).unwrap();
    let recipient = |to: &str, remote: &[&str]| Recipient {
        path: ForwardPath::Address(address(to)),
        params: RcptParams::default(),
        targets: vec![],
        remote: remote.iter().map(|to| address(to)).collect(),
    };
    let envelope = Envelope {
        from: ReversePath::Null,
        params: MailParams::default(),
        trusted: false,
        to: vec![
            recipient("all@example.test", &["a@x.test", "b@x.test"]),
            recipient("B@x.test", &["B@x.test"]),
            recipient("c@x.test", &["c@x.test"]),
        ],
    };
    let asked = |to: &[Recipient]| -> Vec<(String, Notify)> {
        let notify = Some(Notify { success: true, failure: true, delay: false });
        let asking =
            |it: &Recipient| Recipient { params: RcptParams { notify, ..it.params.clone() }, ..it.clone() };
        let outgoing = Outgoing::of(&Envelope { to: to.iter().map(asking).collect(), ..envelope.clone() });
        let recipients = outgoing.unwrap().recipients.into_iter();
        recipients.map(|(to, params)| (to.to_string(), params.notify.unwrap())).collect()
    };
    assert!(
        asked(&[recipient("all@example.test", &["a@x.test"])])[0].1.success,
        "who has the mail next tells"
    );
    let several = asked(&envelope.to[..1])[0].1;
    assert_eq!((several.success, several.failure), (false, true), "of success it is told here, once");
    let success: Vec<_> =
        asked(&envelope.to[..2]).into_iter().map(|(to, notify)| (to, notify.success)).collect();
    let expected = [("B@x.test".to_owned(), true), ("a@x.test".to_owned(), false)];
    assert_eq!(success, expected, "who is named himself as it was asked of him");
    let outgoing = Outgoing::of(&envelope).unwrap();
    let told: Vec<_> =
        outgoing.recipients.iter().map(|(to, params)| (to.to_string(), params.orcpt.as_deref())).collect();
    let alias = Some("rfc822;all@example.test");
    let expected =
        [("B@x.test".to_owned(), None), ("c@x.test".to_owned(), None), ("a@x.test".to_owned(), alias)];
    assert_eq!((told, outgoing.sender.as_str()), (expected.to_vec(), ""));
    assert_eq!(Outgoing::of(&Envelope { to: vec![recipient("a@here", &[])], ..envelope }), None);
}

#[test]
fn forced_tls_hears_nothing_before_it() {
    run(script!("forced_tls"), Policy { tls_forced: true, ..policy(Flavor::Submission) }, false);
}

#[test]
fn logins_by_plain_and_login() {
    run(script!("auth"), policy(Flavor::Mx), true);
}

#[test]
fn logins_by_scram() {
    run(script!("auth_scram"), Policy { scram: true, ..policy(Flavor::Mx) }, true);
}

#[test]
fn three_wrong_logins_end_the_session() {
    run(script!("auth_wrong"), policy(Flavor::Mx), true);
}

#[test]
fn no_login_in_the_clear_unless_the_policy_says_so() {
    run(script!("auth_clear_refused"), policy(Flavor::Mx), false);
    run(script!("auth_clear_allowed"), Policy { auth_without_tls: true, ..policy(Flavor::Mx) }, false);
}

#[test]
fn the_lists_refuse_and_trust() {
    run(script!("listed"), policy(Flavor::Mx), false);
    run(script!("listed_submission"), policy(Flavor::Submission), true);
}

#[test]
fn a_trusted_clients_mail_is_taken_as_a_users_and_not_judged() {
    for (trusted, judged) in [("trusted", false), ("x", true)] {
        let (mut player, world) = player(Policy { checked: true, ..policy(Flavor::Mx) }, false);
        let mail = format!(
            "EHLO c\r\nMAIL FROM:<{trusted}@a.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nBcc: x\r\n\r\n.\r\n"
        );
        player.feed(mail.as_bytes(), Pace::Whole);
        let world = world.borrow();
        assert_eq!(world.arrival.is_some(), judged, "{trusted}");
        let text = &world.mails[0].text;
        assert_eq!((text.contains("Message-ID:"), text.contains("Bcc")), (!judged, judged), "{text}");
        assert!(text.contains("with ESMTP id"), "nobody logged in: {text}");
    }
}

#[test]
fn chunking() {
    run(script!("chunking"), policy(Flavor::Mx), false);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    run(script!("lmtp"), policy(Flavor::Lmtp), false);
}

#[test]
fn faults_are_temporary() {
    run(script!("faults"), policy(Flavor::Mx), false);
}

#[test]
fn the_authors_of_a_users_mail_are_told_and_of_no_other() {
    let mail = b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nFrom: a@b.test, c\r\n\r\n.\r\n";
    for (login, authors) in [
        ("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", Some(vec!["a@b.test".to_owned(), String::new()])),
        ("", None),
    ] {
        let (mut player, world) = player(policy(Flavor::Mx), true);
        player.feed(format!("EHLO c.test\r\n{login}").as_bytes(), Pace::Whole);
        player.feed(mail, Pace::ByteByByte);
        assert_eq!(world.borrow().authors, authors);
        assert_eq!(world.borrow().mails.len(), 1);
    }
}
