//! What a session with a server says to those who run it: under which policy it was, and how it failed. Pure.

use crate::delivery::routing::Hop;
use crate::delivery::trust::failure::TlsFailure;
use crate::delivery::trust::{CLEAR, Demand};
use crate::delivery::wire::{Connection, Trouble};
use crate::state::sts::{StsMode, StsPolicy};
use crate::state::tls_reports::{FailedSession, TlsPolicy, TlsPolicyKind, TlsResult};

/// Whose servers are looked at. Mail through a relay, and mail that nobody wants protected, says nothing of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub domain: String,
    pub sts: Option<StsPolicy>,
}

impl Subject {
    /// One that failed before there was a server.
    pub fn without_server(&self, (result, reason): (TlsResult, &str)) -> (TlsPolicy, FailedSession) {
        let policy = match &self.sts {
            Some(sts) => of_sts(&self.domain, sts),
            None => TlsPolicy { kind: TlsPolicyKind::Sts, domain: self.domain.clone(), lines: Vec::new() },
        };
        let reason = reason.to_owned();
        (policy, FailedSession { result, sending_ip: None, mx: None, receiving_ip: None, reason })
    }

    /// `None`: no session came about, for reasons that have nothing to do with TLS.
    pub fn session(
        &self,
        hop: &Hop,
        opened: &Result<Connection, Trouble>,
    ) -> Option<(TlsPolicy, Option<FailedSession>)> {
        let (failed, sending_ip) = match opened {
            Ok(connection) => (self.of_open(hop, connection), connection.from()),
            Err(Trouble { tls: Some(failure), reply, from }) => {
                (Some((result(*failure)?, reply.text.clone())), *from)
            }
            Err(Trouble { tls: None, .. }) => return None,
        };
        let failed = failed.map(|(result, reason)| FailedSession {
            result,
            sending_ip,
            mx: Some(hop.host.clone()),
            receiving_ip: Some(hop.address.ip()),
            reason,
        });
        Some((self.policy(hop), failed))
    }

    /// What the domain, or its name servers, will want to hear of a session that is there.
    fn of_open(&self, hop: &Hop, connection: &Connection) -> Option<(TlsResult, String)> {
        if connection.protection() == CLEAR {
            return Some((TlsResult::StarttlsNotSupported, String::new()));
        }
        if hop.demand == Demand::DaneUnusable {
            return Some((TlsResult::TlsaInvalid, "no TLSA record is of use".to_owned()));
        }
        if let Some((failure, why)) = connection.doubt() {
            return Some((result(*failure)?, why.clone()));
        }
        let is_named = self.sts.as_ref().is_none_or(|sts| sts.names(&hop.host));
        let is_dane = matches!(hop.demand, Demand::Dane(_));
        let unnamed = "the MTA-STS policy does not name this host";
        (!is_named && !is_dane).then(|| (TlsResult::ValidationFailure, unnamed.to_owned()))
    }

    fn policy(&self, hop: &Hop) -> TlsPolicy {
        let tlsa =
            |domain: &str, lines| TlsPolicy { kind: TlsPolicyKind::Tlsa, domain: domain.to_owned(), lines };
        match (&hop.demand, &self.sts) {
            (Demand::Dane(dane), _) => tlsa(&dane.base, dane.lines()),
            (Demand::DaneUnusable, _) => tlsa(&hop.host, Vec::new()),
            (_, Some(sts)) => of_sts(&self.domain, sts),
            (_, None) => {
                TlsPolicy { kind: TlsPolicyKind::None, domain: self.domain.clone(), lines: Vec::new() }
            }
        }
    }
}

/// RFC 8460 4.4: as it stood on the web server, as far as it is kept.
fn of_sts(domain: &str, sts: &StsPolicy) -> TlsPolicy {
    let mode = match sts.mode {
        StsMode::None => "none",
        StsMode::Testing => "testing",
        StsMode::Enforce => "enforce",
    };
    let age = sts.until.0.saturating_sub(sts.fetched.0) / 1_000;
    let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
    lines.extend(sts.mx.iter().map(|mx| format!("mx: {mx}")));
    lines.push(format!("max_age: {age}"));
    TlsPolicy { kind: TlsPolicyKind::Sts, domain: domain.to_owned(), lines }
}

/// RFC 8460 4.3. `None`: it is our own.
fn result(failure: TlsFailure) -> Option<TlsResult> {
    Some(match failure {
        TlsFailure::NotOffered => TlsResult::StarttlsNotSupported,
        TlsFailure::OtherName => TlsResult::CertificateHostMismatch,
        TlsFailure::Expired => TlsResult::CertificateExpired,
        TlsFailure::NotTrusted => TlsResult::CertificateNotTrusted,
        TlsFailure::Handshake => TlsResult::ValidationFailure,
        TlsFailure::Ours => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::reply::Reply;
    use crate::delivery::routing::Learnt;
    use crate::delivery::trust::dane::Dane;
    use crate::dns::Tlsa;
    use crate::mail::ids::Timestamp;

    fn subject(mode: Option<StsMode>) -> Subject {
        let mx = vec!["mx.x.test".to_owned(), "*.y.test".to_owned()];
        let (fetched, until) = (Timestamp(1_000), Timestamp(86_401_000));
        let sts = mode.map(|mode| StsPolicy { id: "1".to_owned(), mode, mx, fetched, until });
        Subject { domain: "x.test".to_owned(), sts }
    }

    fn hop(demand: Demand) -> Hop {
        let address = "192.0.2.1:25".parse().unwrap();
        Hop { host: "mx.x.test".to_owned(), address, demand, learnt: Learnt::Securely }
    }

    fn failed(tls: Option<TlsFailure>) -> Result<Connection, Trouble> {
        let reply = Reply::of_ours(451, (4, 7, 5), "the certificate is old");
        Err(Trouble { reply, tls, from: Some([192, 0, 2, 9].into()) })
    }

    #[test]
    fn a_session_is_told_of_under_what_was_demanded_of_its_server() {
        let record = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0xab; 32] };
        let dane = Demand::Dane(Arc::new(Dane::of("base.test", &[], vec![record]).unwrap()));
        let data = "ab".repeat(32);
        let sts = ["version: STSv1", "mode: testing", "mx: mx.x.test", "mx: *.y.test", "max_age: 86400"];
        let (testing, late) = (Some(StsMode::Testing), failed(Some(TlsFailure::Expired)));
        for (demand, mode, kind, domain, lines) in [
            (dane, testing, TlsPolicyKind::Tlsa, "base.test", vec![format!("3 1 1 {data}")]),
            (Demand::DaneUnusable, None, TlsPolicyKind::Tlsa, "mx.x.test", vec![]),
            (Demand::StsTesting, testing, TlsPolicyKind::Sts, "x.test", sts.map(str::to_owned).to_vec()),
            (Demand::Opportunistic, None, TlsPolicyKind::None, "x.test", vec![]),
        ] {
            let (policy, failed) = subject(mode).session(&hop(demand), &late).unwrap();
            assert_eq!(policy, TlsPolicy { kind, domain: domain.to_owned(), lines });
            let expected = FailedSession {
                result: TlsResult::CertificateExpired,
                sending_ip: Some([192, 0, 2, 9].into()),
                mx: Some("mx.x.test".to_owned()),
                receiving_ip: Some([192, 0, 2, 1].into()),
                reason: "the certificate is old".to_owned(),
            };
            assert_eq!(failed, Some(expected));
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_their_tls_is_not_told() {
        for tls in [None, Some(TlsFailure::Ours)] {
            assert_eq!(subject(None).session(&hop(Demand::Opportunistic), &failed(tls)), None, "{tls:?}");
        }
    }

    #[test]
    fn a_policy_that_cannot_be_had_is_told_of_as_one() {
        let why = (TlsResult::StsPolicyFetchError, "it breaks off");
        let (policy, failed) = subject(None).without_server(why);
        assert_eq!((policy.kind, policy.lines.len()), (TlsPolicyKind::Sts, 0));
        assert_eq!((failed.result, failed.reason.as_str(), failed.mx), (why.0, why.1, None));
        let kept = subject(Some(StsMode::Enforce)).without_server(why).0;
        assert_eq!(kept.lines[1], "mode: enforce", "an older one holds on");
    }
}
