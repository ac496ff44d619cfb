//! Whether a mail may be brought in at all, before it is read: pure, of what is known of its client and of the names that
//! the client gives. What is not known never refuses for good.

use super::{Action, Refusal};
use crate::policy::facts::{ClientName, Domain, Listed, Opening};
use crate::policy::skip::Skip;
use crate::state::directory::Directory;

/// The settings that judge, as they are at each recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub client_hostname: Action,
    pub helo_must_be_full: bool,
    pub helo_must_exist: bool,
    pub sender_domain_must_be_full: bool,
    pub sender_domain_must_exist: bool,
}

impl Rules {
    pub fn new(directory: &Directory) -> Self {
        let settings = directory.settings();
        Self {
            client_hostname: Action::parse(settings.get(CLIENT_HOSTNAME)),
            helo_must_be_full: settings.helo_must_be_full(),
            helo_must_exist: settings.helo_must_exist(),
            sender_domain_must_be_full: settings.sender_domain_must_be_full(),
            sender_domain_must_exist: settings.sender_domain_must_exist(),
        }
    }
}

/// What the client hears, and the setting that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    pub rule: &'static str,
}

const DNSBL_ZONES: &str = "dnsbl.zones";
const CLIENT_HOSTNAME: &str = "client.hostname";
const HELO_MUST_BE_FULL: &str = "helo.must_be_full";
const HELO_MUST_EXIST: &str = "helo.must_exist";
const SENDER_DOMAIN_MUST_BE_FULL: &str = "sender.domain_must_be_full";
const SENDER_DOMAIN_MUST_EXIST: &str = "sender.domain_must_exist";

/// `None`: nothing speaks against it. Of several checks that do, the first that refuses for good is heard, else the first.
pub fn admit(opening: &Opening, rules: &Rules, skip: Skip) -> Option<Refused> {
    let opinions = [
        listed(opening, skip),
        client_name(opening, rules),
        helo(opening, rules),
        sender_domain(opening, rules),
    ];
    let mut opinions: Vec<Refused> = opinions.into_iter().flatten().collect();
    // Stable: the order among equals stays.
    opinions.sort_by_key(|opinion| opinion.refusal.code < 500);
    opinions.into_iter().next()
}

fn refused(
    rule: &'static str,
    code: u16,
    enhanced: &'static str,
    text: impl Into<String>,
) -> Option<Refused> {
    Some(Refused { refusal: Refusal { code, enhanced, text: text.into() }, rule })
}

/// A list that does not tell is as if it had not been asked.
fn listed(opening: &Opening, skip: Skip) -> Option<Refused> {
    match &opening.listed {
        Listed::Yes { .. } if skip.dnsbl => None,
        Listed::Yes { zone, text } if text.is_empty() => {
            refused(DNSBL_ZONES, 554, "5.7.1", format!("Your address is listed by {zone}"))
        }
        Listed::Yes { zone, text } => {
            refused(DNSBL_ZONES, 554, "5.7.1", format!("Your address is listed by {zone}: {text}"))
        }
        Listed::Unasked | Listed::No | Listed::Unknown => None,
    }
}

/// RFC 7372 3.3.
fn client_name(opening: &Opening, rules: &Rules) -> Option<Refused> {
    let why = match opening.client_name? {
        ClientName::Right => return None,
        ClientName::Missing => "Your address has no name",
        ClientName::WithoutAddress => "The name of your address has no address",
        ClientName::OfAnother => "The name of your address leads to another one",
        ClientName::Unknown => "The DNS does not tell the name of your address at the moment, try again",
    };
    match (rules.client_hostname, opening.client_name) {
        (Action::Accept | Action::Junk | Action::Discard, _) => None,
        (Action::Defer, _) | (Action::Reject, Some(ClientName::Unknown)) => {
            refused(CLIENT_HOSTNAME, 450, "4.7.25", why)
        }
        (Action::Reject, _) => refused(CLIENT_HOSTNAME, 550, "5.7.25", why),
    }
}

fn helo(opening: &Opening, rules: &Rules) -> Option<Refused> {
    match opening.helo {
        Domain::NotFull if rules.helo_must_be_full => {
            let why = "HELO needs a full name, or an address literal";
            refused(HELO_MUST_BE_FULL, 504, "5.5.2", why)
        }
        Domain::Missing if rules.helo_must_exist => {
            refused(HELO_MUST_EXIST, 450, "4.7.1", "The name in HELO is not in the DNS")
        }
        Domain::Absent
        | Domain::NotFull
        | Domain::Full
        | Domain::Found
        | Domain::Missing
        | Domain::NullMx
        | Domain::Unknown => None,
    }
}

fn sender_domain(opening: &Opening, rules: &Rules) -> Option<Refused> {
    let exists = SENDER_DOMAIN_MUST_EXIST;
    match opening.sender_domain {
        Domain::NotFull if rules.sender_domain_must_be_full => {
            let why = "The sender's domain must be a full name";
            refused(SENDER_DOMAIN_MUST_BE_FULL, 504, "5.5.2", why)
        }
        Domain::Missing if rules.sender_domain_must_exist => {
            refused(exists, 550, "5.1.8", "The sender's domain does not exist")
        }
        Domain::NullMx if rules.sender_domain_must_exist => {
            // RFC 7505 4.2.
            refused(exists, 550, "5.7.27", "The sender's domain takes no mail")
        }
        Domain::Unknown if rules.sender_domain_must_exist => {
            let why = "The DNS does not tell at the moment whether the sender's domain exists, try again";
            refused(exists, 451, "4.4.3", why)
        }
        Domain::Absent
        | Domain::NotFull
        | Domain::Full
        | Domain::Found
        | Domain::Missing
        | Domain::NullMx
        | Domain::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All on, as strict as it goes.
    const STRICT: Rules = Rules {
        client_hostname: Action::Reject,
        helo_must_be_full: true,
        helo_must_exist: true,
        sender_domain_must_be_full: true,
        sender_domain_must_exist: true,
    };
    const LAX: Rules = Rules {
        client_hostname: Action::Accept,
        helo_must_be_full: false,
        helo_must_exist: false,
        sender_domain_must_be_full: false,
        sender_domain_must_exist: false,
    };
    const DOMAINS: [Domain; 7] = [
        Domain::Absent,
        Domain::NotFull,
        Domain::Full,
        Domain::Found,
        Domain::Missing,
        Domain::NullMx,
        Domain::Unknown,
    ];

    fn sound() -> Opening {
        Opening {
            listed: Listed::No,
            client_name: Some(ClientName::Right),
            helo: Domain::Found,
            sender_domain: Domain::Found,
        }
    }

    fn yes(text: &str) -> Listed {
        Listed::Yes { zone: "bl.test".to_owned(), text: text.to_owned() }
    }

    /// Codes and rule; empty where it is let in.
    fn said(opening: &Opening, rules: &Rules) -> String {
        admit(opening, rules, Skip::default())
            .map_or(String::new(), |it| format!("{} {} {}", it.refusal.code, it.refusal.enhanced, it.rule))
    }

    #[test]
    fn the_defaults_are_those_of_a_careful_administrator() {
        let expected = Rules { helo_must_exist: false, client_hostname: Action::Accept, ..STRICT };
        assert_eq!(Rules::new(&Directory::default()), expected);
    }

    #[test]
    fn a_listed_client_hears_by_whom_and_why_unless_it_is_let_off() {
        for (listed, expected) in [
            (Listed::Unasked, None),
            (Listed::No, None),
            (Listed::Unknown, None),
            (yes(""), Some("Your address is listed by bl.test")),
            (yes("See x"), Some("Your address is listed by bl.test: See x")),
        ] {
            let opening = Opening { listed, ..sound() };
            for rules in [STRICT, LAX] {
                let refused = admit(&opening, &rules, Skip::default());
                let told = refused.as_ref().map(|it| it.refusal.text.as_str());
                assert_eq!(told, expected);
                if let Some(Refused { refusal, rule }) = &refused {
                    assert_eq!((refusal.code, refusal.enhanced, *rule), (554, "5.7.1", "dnsbl.zones"));
                }
            }
            let let_off = Skip { dnsbl: true, ..Skip::default() };
            assert_eq!(admit(&opening, &STRICT, let_off), None);
            let of_others =
                Skip { dnsbl: false, spf: true, antivirus: true, dkim: true, dmarc: true, greylist: true };
            assert_eq!(admit(&opening, &STRICT, of_others).is_some(), expected.is_some());
        }
    }

    #[test]
    fn each_way_a_client_name_is_broken_under_each_action() {
        use ClientName::{Missing, OfAnother, Right, Unknown, WithoutAddress};
        let (later, never) = ("450 4.7.25 client.hostname", "550 5.7.25 client.hostname");
        for (client_name, on_defer, on_reject) in [
            (None, "", ""),
            (Some(Right), "", ""),
            (Some(Missing), later, never),
            (Some(WithoutAddress), later, never),
            (Some(OfAnother), later, never),
            (Some(Unknown), later, later),
        ] {
            let opening = Opening { client_name, ..sound() };
            for (action, expected) in
                [(Action::Accept, ""), (Action::Defer, on_defer), (Action::Reject, on_reject)]
            {
                let rules = Rules { client_hostname: action, ..LAX };
                assert_eq!(said(&opening, &rules), expected, "{client_name:?} {action:?}");
            }
        }
    }

    #[test]
    fn each_finding_of_helo_under_each_setting() {
        for helo in DOMAINS {
            let opening = Opening { helo, ..sound() };
            for (full, exist) in [(false, false), (false, true), (true, false), (true, true)] {
                let rules = Rules { helo_must_be_full: full, helo_must_exist: exist, ..LAX };
                let expected = match helo {
                    Domain::NotFull if full => "504 5.5.2 helo.must_be_full",
                    Domain::Missing if exist => "450 4.7.1 helo.must_exist",
                    _ => "",
                };
                assert_eq!(said(&opening, &rules), expected, "{helo:?} {full} {exist}");
            }
        }
    }

    #[test]
    fn each_finding_of_the_senders_domain_under_each_setting() {
        for sender_domain in DOMAINS {
            let opening = Opening { sender_domain, ..sound() };
            for (full, exist) in [(false, false), (false, true), (true, false), (true, true)] {
                let rules =
                    Rules { sender_domain_must_be_full: full, sender_domain_must_exist: exist, ..LAX };
                let expected = match sender_domain {
                    Domain::NotFull if full => "504 5.5.2 sender.domain_must_be_full",
                    Domain::Missing if exist => "550 5.1.8 sender.domain_must_exist",
                    Domain::NullMx if exist => "550 5.7.27 sender.domain_must_exist",
                    Domain::Unknown if exist => "451 4.4.3 sender.domain_must_exist",
                    _ => "",
                };
                assert_eq!(said(&opening, &rules), expected, "{sender_domain:?} {full} {exist}");
            }
        }
    }

    #[test]
    fn what_is_unknown_never_refuses_for_good() {
        let unknown = Opening {
            listed: Listed::Unknown,
            client_name: Some(ClientName::Unknown),
            helo: Domain::Unknown,
            sender_domain: Domain::Unknown,
        };
        assert_eq!(said(&unknown, &STRICT), "450 4.7.25 client.hostname", "the first of equals");
    }

    #[test]
    fn a_refusal_for_good_is_heard_before_one_for_now_and_else_the_first() {
        let opening = Opening {
            listed: Listed::No,
            client_name: Some(ClientName::Unknown),
            helo: Domain::NotFull,
            sender_domain: Domain::Missing,
        };
        assert_eq!(said(&opening, &STRICT), "504 5.5.2 helo.must_be_full");
        let listed = Opening { listed: yes(""), ..opening };
        assert_eq!(said(&listed, &STRICT), "554 5.7.1 dnsbl.zones");
    }
}
