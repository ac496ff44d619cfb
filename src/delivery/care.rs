//! What a mail's sender wants of TLS (RFC 8689), and what follows from it for the servers that the mail may be given to. Pure.
//!
//! What it must never do: give a mail that is to be protected to a server of which it is not certain that it is the domain's.

use super::reply::Reply;
use super::routing::{Hop, Learnt};
use super::trust::Demand;
use crate::state::queue::TlsWish;
use crate::state::queue::reading::Parcel;
use crate::state::sts::{StsMode, StsPolicy};

/// How a mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Care {
    /// As the way demands.
    Usual,
    /// To servers that prove their names, and promise to do likewise.
    Proven,
    /// Whatever the recipient's domain demands.
    Waived,
}

impl Care {
    pub fn of(parcel: &Parcel) -> Self {
        match parcel.tls {
            // RFC 8689 5: a notice is rather sent unprotected than lost.
            TlsWish::Required if parcel.mail.sender.is_empty() => Self::Usual,
            TlsWish::Required => Self::Proven,
            TlsWish::Waived => Self::Waived,
            TlsWish::Usual => Self::Usual,
        }
    }

    /// What a way demands that would be content with `demand`.
    pub fn of_way(self, demand: Demand) -> Demand {
        match self {
            Self::Proven => Demand::Verified,
            Self::Usual | Self::Waived => demand,
        }
    }
}

/// RFC 8689 4.2.1: the servers that are the domain's for certain, by DNSSEC or by its MTA-STS policy, each held to its
/// name. `Err`: there is none.
pub fn proven(hops: Vec<Hop>, policy: Option<&StsPolicy>, domain: &str) -> Result<Vec<Hop>, Reply> {
    let named = |hop: &Hop| policy.is_some_and(|it| it.mode != StsMode::None && it.names(&hop.host));
    let held = hops.into_iter().filter_map(|hop| match hop.demand {
        Demand::Dane(_) | Demand::Sts => Some(hop),
        _ if named(&hop) => Some(Hop { demand: Demand::Sts, ..hop }),
        _ if hop.learnt == Learnt::Securely => Some(Hop { demand: Demand::Verified, ..hop }),
        _ => None,
    });
    let held: Vec<Hop> = held.collect();
    match held.is_empty() {
        true => Err(unprotected(&format!(
            "neither DNSSEC nor MTA-STS says for certain which servers are those of {domain}"
        ))),
        false => Ok(held),
    }
}

/// No TLS that is good enough.
pub fn unprotected(why: &str) -> Reply {
    Reply::of_ours(550, (5, 7, 10), format!("the message requires TLS (REQUIRETLS): {why}"))
}

/// TLS that is, and a server that would give the mail on without.
pub fn no_promise(host: &str) -> Reply {
    let why = format!("the message requires TLS all the way, and {host} does not offer REQUIRETLS");
    Reply::of_ours(550, (5, 7, 30), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::schedule::tests::parcel;
    use crate::mail::ids::Timestamp;

    #[test]
    fn a_notice_is_not_lost_for_what_is_wanted_of_it() {
        for (sender, tls, care) in [
            ("a@b.test", TlsWish::Required, Care::Proven),
            ("", TlsWish::Required, Care::Usual),
            ("a@b.test", TlsWish::Waived, Care::Waived),
            ("", TlsWish::Usual, Care::Usual),
        ] {
            assert_eq!(Care::of(&Parcel { tls, ..parcel(sender, &[]) }), care, "<{sender}> {tls:?}");
        }
    }

    #[test]
    fn only_servers_that_are_the_domains_for_certain_are_left() {
        let hop = |host: &str, learnt, demand| Hop {
            host: host.to_owned(),
            address: "192.0.2.1:25".parse().unwrap(),
            demand,
            learnt,
        };
        let hops = || {
            vec![
                hop("a.x.test", Learnt::Somehow, Demand::Verified),
                hop("b.x.test", Learnt::Securely, Demand::DaneUnusable),
                hop("c.x.test", Learnt::Somehow, Demand::Sts),
            ]
        };
        let policy = |mode| StsPolicy {
            id: "1".to_owned(),
            mode,
            mx: vec!["a.x.test".to_owned()],
            fetched: Timestamp(0),
            until: Timestamp(1),
        };
        let left = |policy: Option<StsPolicy>| {
            let held = proven(hops(), policy.as_ref(), "x.test").unwrap();
            held.iter().map(|hop| format!("{} {}", hop.host, hop.demand.word())).collect::<Vec<_>>()
        };
        assert_eq!(left(None), ["b.x.test verified", "c.x.test sts"]);
        assert_eq!(left(Some(policy(StsMode::None))), left(None));
        let with = ["a.x.test sts", "b.x.test verified", "c.x.test sts"];
        assert_eq!(left(Some(policy(StsMode::Testing))), with, "that they are its servers it does say");
        let none = proven(hops()[..1].to_vec(), None, "x.test").unwrap_err();
        assert!(none.to_string().starts_with("550 5.7.10 the message requires TLS"), "{none}");
    }
}
