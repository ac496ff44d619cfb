//! Our own signatures hold, wherever their lines break.

use super::*;
use crate::mail::ids::Timestamp;
use crate::policy::signing;
use crate::state::dkim::{DkimAlgorithm, DkimKey};

#[tokio::test]
async fn what_is_signed_holds_whatever_fields_there_are() {
    for algorithm in [DkimAlgorithm::Ed25519Sha256, DkimAlgorithm::RsaSha256] {
        let private = signing::generate(algorithm).unwrap();
        let record = signing::record(&private).unwrap();
        for length in 1..=63 {
            let (domain, selector) = ("our.test".to_owned(), "s".repeat(length));
            let zone = format!("{selector}._domainkey.our.test TXT \"{record}\"\n");
            let (private, created) = (private.clone(), Timestamp(0));
            let key = DkimKey { domain, selector, algorithm, private, signs: true, created };
            let text = format!("{}From: a@our.test\nSubject: Hi\n\nHi.\n", "Cc: b@our.test\n".repeat(length));
            let field = signing::sign(text.replace('\n', "\r\n").as_bytes(), [&key]).unwrap();
            let facts = found(&zone, &(field.replace("\r\n", "\n") + &text)).await;
            assert_eq!(results(&facts), [DkimResult::Pass], "{field}");
        }
    }
}
