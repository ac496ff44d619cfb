//! The ManageSieve backend against a replica in memory: what is answered with OK is kept, what is no script is not.

use super::backends::logins;
use super::*;
use crate::cluster::replica::{Fault, Replica};
use crate::session::driver::Backend;
use crate::session::login::{Claim, Credentials};
use crate::session::managesieve::ManageSieveBackend;
use crate::session::managesieve::machine::{Answer, NotDone, Question};
use crate::state::outcome::Refusal;
use crate::state::sieve::ScriptRecord;

type Filters = ManageSieveBackend<MemoryReplica>;

async fn logged_in(replica: &MemoryReplica) -> Filters {
    let mut filters = ManageSieveBackend::new(replica.clone(), logins(replica));
    let wrong = Claim::Password(Credentials::new(b"alice", b"wrong").unwrap());
    assert!(matches!(filters.answer(Question::Login(wrong)).await, Answer::Login(Err(_))));
    assert!(filters.standing().is_none());
    let right = Claim::Password(Credentials::new(b"alice", b"secret").unwrap());
    assert!(matches!(filters.answer(Question::Login(right)).await, Answer::Login(Ok(_))));
    assert!(filters.standing().is_some());
    filters
}

async fn done(filters: &mut Filters, question: Question) -> Result<(), NotDone> {
    match filters.answer(question).await {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn put(text: &str) -> Question {
    Question::Put { name: "a".into(), text: text.into() }
}

#[tokio::test]
async fn what_is_answered_with_ok_is_kept() {
    let replica = replica();
    set_password(&replica, "alice", "secret");
    let account = account(&replica, "alice");
    let mut filters = logged_in(&replica).await;
    let Err(NotDone::NoScript(why)) = done(&mut filters, put("keep")).await else { panic!("no script") };
    assert!(why.starts_with("line 1, column "), "{why}");
    assert!(replica.sieve_scripts(account).await.unwrap().is_empty());
    done(&mut filters, Question::Check("keep;".into())).await.unwrap();
    done(&mut filters, put("keep;")).await.unwrap();
    done(&mut filters, Question::Activate(Some("a".into()))).await.unwrap();
    let Answer::Scripts(Ok(listed)) = filters.answer(Question::List).await else { panic!("a listing") };
    assert_eq!(listed, [ScriptRecord { name: "a".into(), bytes: 5, active: true }]);
    let delete = || Question::Delete("a".into());
    let refused = done(&mut filters, delete()).await;
    assert!(matches!(refused, Err(NotDone::Refused(Refusal::ScriptActive))), "{refused:?}");
    done(&mut filters, Question::Rename { from: "a".into(), to: "b".into() }).await.unwrap();
    assert_eq!(replica.active_script(account).await.unwrap().as_deref(), Some("keep;"));
    let read = filters.answer(Question::Get("b".into())).await;
    assert!(matches!(&read, Answer::Script(Ok(Some(text))) if text == "keep;"), "{read:?}");
    let read = filters.answer(Question::Get("a".into())).await;
    assert!(matches!(read, Answer::Script(Ok(None))), "{read:?}");
    replica.fail(Some(Fault::NoQuorum));
    for question in [put("keep;"), delete(), Question::Activate(None)] {
        let fault = done(&mut filters, question).await;
        assert!(matches!(fault, Err(NotDone::Fault(Fault::NoQuorum))), "{fault:?}");
    }
    assert!(matches!(filters.answer(Question::List).await, Answer::Scripts(Err(Fault::NoQuorum))));
}
