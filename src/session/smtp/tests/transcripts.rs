//! Whole dialogues, each also with its input byte by byte.

use super::*;
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
fn submission_demands_a_login() {
    run(script!("submission"), policy(Flavor::Submission), true);
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
