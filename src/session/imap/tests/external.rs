//! The operator on the control socket acts for any user who is enabled; nobody else can, and no password is taken there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::harness::{Driven, House};
use crate::state::command::Command;

async fn say(session: &mut Driven, line: &str) -> String {
    session.send(format!("{line}\r\n").as_bytes()).await;
    session.take_sent()
}

#[tokio::test]
async fn the_operator_names_the_user() {
    let house = House::new();
    house.deliver("INBOX", "Subject: for alice\r\n\r\n");
    for initial in [true, false] {
        let mut session = house.operators_session();
        let greeting = session.take_sent();
        assert!(greeting.contains(" AUTH=EXTERNAL") && greeting.contains("LOGINDISABLED"), "{greeting}");
        assert!(!greeting.contains("STARTTLS") && !greeting.contains("AUTH=PLAIN"), "{greeting}");
        let name = STANDARD.encode("alice");
        let said = match initial {
            true => say(&mut session, &format!("a AUTHENTICATE EXTERNAL {name}")).await,
            false => {
                assert_eq!(say(&mut session, "a AUTHENTICATE EXTERNAL").await, "+ \r\n");
                say(&mut session, &name).await
            }
        };
        assert!(said.starts_with("a OK [CAPABILITY "), "{said}");
        assert!(say(&mut session, "b SELECT INBOX").await.contains("* 1 EXISTS"));
    }
}

#[tokio::test]
async fn for_nobody_else_and_not_by_a_password() {
    let house = House::new();
    let mut session = house.operators_session();
    session.take_sent();
    let refused = |said: String| assert!(said.starts_with("a NO") || said.starts_with("a BAD"), "{said}");
    refused(say(&mut session, &format!("a AUTHENTICATE EXTERNAL {}", STANDARD.encode("nobody"))).await);
    refused(say(&mut session, "a AUTHENTICATE EXTERNAL =").await);
    refused(say(&mut session, "a LOGIN alice demo-alice").await);
    let plain = STANDARD.encode("\0alice\0demo-alice");
    let mut session = house.operators_session();
    session.take_sent();
    refused(say(&mut session, &format!("a AUTHENTICATE PLAIN {plain}")).await);
    let (name, enabled) = ("alice".to_owned(), false);
    house.replica.run(Command::SetUserEnabled { name, enabled }).unwrap();
    refused(say(&mut session, &format!("a AUTHENTICATE EXTERNAL {}", STANDARD.encode("alice"))).await);
}

#[tokio::test]
async fn clients_are_not_offered_it() {
    let house = House::new();
    for tls in [true, false] {
        let mut session = house.session(tls);
        assert!(!session.take_sent().contains("EXTERNAL"));
        let said = say(&mut session, &format!("a AUTHENTICATE EXTERNAL {}", STANDARD.encode("alice"))).await;
        assert!(said.starts_with("a NO [CANNOT]"), "{said}");
    }
}
