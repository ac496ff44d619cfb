//! What is one triplet, and what a try comes to at the edges of its times.

use super::*;

const TERMS: GreyTerms = GreyTerms {
    delay_ms: 300_000,
    retry_window_ms: 172_800_000,
    lifetime_ms: 3_024_000_000,
    client_passes: 5,
};

fn net(client: &str) -> ClientNet {
    ClientNet::of(client.parse().unwrap())
}

#[test]
fn neighbours_are_one_client() {
    for (one, other, same) in [
        ("192.0.2.1", "192.0.2.255", true),
        ("192.0.2.1", "192.0.3.1", false),
        ("192.0.2.1", "::ffff:192.0.2.9", true),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
    ] {
        assert_eq!(net(one) == net(other), same, "{one} {other}");
    }
}

#[test]
fn each_of_the_three_tells_triplets_apart_and_numbers_of_a_list_do_not() {
    let id = |client, sender, recipient| TripletId::of(net(client), sender, recipient);
    let one = id("192.0.2.1", "a@x.test", "b@y.test");
    assert_eq!(one, id("192.0.2.2", "a@x.test", "b@y.test"));
    for other in [
        id("192.0.3.1", "a@x.test", "b@y.test"),
        id("192.0.2.1", "c@x.test", "b@y.test"),
        id("192.0.2.1", "", "b@y.test"),
        id("192.0.2.1", "a@x.test", "c@y.test"),
    ] {
        assert_ne!(one, other);
    }
    for (sender, key) in [
        ("list-1234-bob=y.test@x.test", "list-#-bob=y.test@x.test"),
        ("bounce+77-bob@x.test", "bounce@x.test"),
        ("+bob@x.test", "+bob@x.test"),
        ("user99@x.test", "user99@x.test"),
        ("99@x.test", "#@x.test"),
        ("b\u{fc}.7@x.test", "b\u{fc}.#@x.test"),
        ("\"a b\"@x.test", "\"a b\"@x.test"),
        ("", ""),
    ] {
        assert_eq!(sender_key(sender), key, "{sender}");
    }
}

#[test]
fn a_retry_passes_from_the_end_of_the_delay_to_the_end_of_the_window() {
    let row = GreyTripletRow { first: Timestamp(1_000_000), passed: false, expires: Timestamp(2_000_000) };
    let at = |at| decide(&TERMS, Some(&row), None, Timestamp(at));
    assert_eq!(at(1_000_000), Decision::TooEarly { left_ms: 300_000 });
    assert_eq!(at(1_299_999), Decision::TooEarly { left_ms: 1 });
    assert_eq!(at(1_300_000), Decision::FirstPass);
    assert_eq!(at(1_999_999), Decision::FirstPass);
    assert_eq!(at(2_000_000), Decision::First);
    assert_eq!(decide(&TERMS, None, None, Timestamp(0)), Decision::First);
    // Clocks differ a little, and one may once have been wrong by years.
    assert_eq!(at(700_000), Decision::TooEarly { left_ms: 600_000 });
    assert_eq!(at(699_999), Decision::First);
}

#[test]
fn what_passed_is_renewed_once_a_day_and_ends_with_its_lifetime() {
    let expires = |at: u64| Timestamp(at + TERMS.lifetime_ms);
    let row = GreyTripletRow { first: Timestamp(0), passed: true, expires: expires(1_000) };
    let at = |at| decide(&TERMS, Some(&row), None, Timestamp(at));
    assert_eq!(at(1_000), Decision::Known { renew: false });
    assert_eq!(at(1_000 + RENEW_EVERY_MS - 1), Decision::Known { renew: false });
    assert_eq!(at(1_000 + RENEW_EVERY_MS), Decision::Known { renew: true });
    assert_eq!(at(999 + TERMS.lifetime_ms), Decision::Known { renew: true });
    assert_eq!(at(1_000 + TERMS.lifetime_ms), Decision::First);
    // A short lifetime is renewed in its second half.
    let short = GreyTerms { lifetime_ms: 4_000, ..TERMS };
    let row = GreyTripletRow { expires: Timestamp(4_000), ..row };
    let at = |at| decide(&short, Some(&row), None, Timestamp(at));
    assert_eq!((at(1_999), at(2_000)), (Decision::Known { renew: false }, Decision::Known { renew: true }));
}

#[test]
fn a_network_with_passes_enough_is_let_through_whatever_its_triplet() {
    let client =
        |passes| GreyClientRow { passes, counted: Timestamp(0), expires: Timestamp(TERMS.lifetime_ms) };
    let at = |passes, at| decide(&TERMS, None, Some(&client(passes)), Timestamp(at));
    assert_eq!(at(4, 1), Decision::First);
    assert_eq!(at(5, 1), Decision::KnownClient { renew: false });
    assert_eq!(at(5, RENEW_EVERY_MS), Decision::KnownClient { renew: true });
    assert_eq!(at(5, TERMS.lifetime_ms), Decision::First);
    let never = GreyTerms { client_passes: 0, ..TERMS };
    assert_eq!(decide(&never, None, Some(&client(u32::MAX)), Timestamp(1)), Decision::First);
}
