//! What was told as \Recent is claimed for all nodes when the mailbox is let go, once for all that came.

use super::harness::House;
use crate::cluster::replica::Replica;
use crate::mail::ids::Uid;

#[tokio::test]
async fn letting_a_mailbox_go_claims_what_came_while_it_was_selected() {
    for farewell in ["UNSELECT", "CLOSE", "SELECT Drafts", "SELECT Nowhere", "LOGOUT"] {
        let house = House::new();
        let mut session = house.session(true);
        session.send(b"l LOGIN alice demo-alice\r\ns SELECT INBOX\r\ni IDLE\r\n").await;
        for subject in ["one", "two"] {
            house.deliver("INBOX", &format!("Subject: {subject}\r\n\r\n"));
            session.hear().await;
        }
        session.send(b"DONE\r\n").await;
        assert!(session.take_sent().contains("* 2 RECENT"));
        assert_eq!(recent_from(&house).await, Uid(1), "no commit for each mail");
        session.send(format!("f {farewell}\r\n").as_bytes()).await;
        assert_eq!(recent_from(&house).await, Uid(3), "{farewell}");
    }
}

async fn recent_from(house: &House) -> Uid {
    house.replica.mailbox(house.account, "INBOX").await.unwrap().unwrap().recent_from
}
