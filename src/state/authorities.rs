//! Certificates that the operator trusts beside those that the box's system trusts, when another server is to prove
//! its name: of a CA of his own, or the one certificate of a server that signed it itself. Replicated; that the octets are
//! a certificate at all is the affair of whoever proposes them.

use core::net::IpAddr;

use bincode::{Decode, Encode};

use crate::mail::address::canonical_domain;
use crate::mail::ids::Timestamp;

/// Of the whole cluster.
pub const AUTHORITIES_MAX: usize = 50;
pub const NAME_BYTES_MAX: usize = 64;
pub const HOSTS_BYTES_MAX: usize = 255;
/// Octets of a certificate in DER; one with a key of RSA 8,192 has some 3,000.
pub const CERTIFICATE_BYTES_MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub name: String,
    /// For whom it speaks: this host or domain and all below it. `None`: for everybody.
    pub hosts: Option<String>,
    /// DER.
    pub certificate: Vec<u8>,
    pub created: Timestamp,
}

/// One that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewAuthority {
    pub name: String,
    pub hosts: Option<String>,
    pub certificate: Vec<u8>,
}

/// As it is to be kept. `Err` says what is wrong with it.
pub fn canonical(new: NewAuthority) -> Result<NewAuthority, String> {
    let hosts = match new.hosts {
        None => None,
        Some(host) => {
            let bare = host.trim_matches(['[', ']']);
            let address = bare.parse::<IpAddr>().ok().map(|address| address.to_string());
            let kept = address.or_else(|| canonical_domain(&host));
            Some(kept.ok_or_else(|| format!("\"{host}\" is neither a host, a domain nor an address"))?)
        }
    };
    Ok(NewAuthority { hosts, ..new })
}

/// All of them, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorities(Vec<Authority>);

impl Authorities {
    pub fn new(authorities: Vec<Authority>) -> Self {
        Self(authorities)
    }

    pub fn all(&self) -> &[Authority] {
        &self.0
    }

    /// Those that may speak for this host.
    pub fn of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Authority> {
        self.0.iter().filter(move |authority| authority.hosts.as_deref().is_none_or(|of| is_within(host, of)))
    }
}

fn is_within(host: &str, of: &str) -> bool {
    let above = host.len().checked_sub(of.len());
    let Some((front, end)) = above.and_then(|at| host.split_at_checked(at)) else { return false };
    // An address has nothing below it.
    let below = front.ends_with('.') && of.parse::<IpAddr>().is_err();
    end.eq_ignore_ascii_case(of) && (front.is_empty() || below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_speaks_for_its_hosts_alone() {
        let authority = |name: &str, hosts: Option<&str>| Authority {
            name: name.to_owned(),
            hosts: hosts.map(str::to_owned),
            certificate: vec![],
            created: Timestamp(0),
        };
        let all = Authorities::new(vec![
            authority("address", Some("192.0.2.1")),
            authority("corp", Some("corp.test")),
            authority("host", Some("mx.corp.test")),
            authority("world", None),
        ]);
        for (host, names) in [
            ("mx.corp.test", "corp host world"),
            ("MX.Corp.Test", "corp host world"),
            ("a.mx.corp.test", "corp host world"),
            ("corp.test", "corp world"),
            ("notcorp.test", "world"),
            ("corp.test.evil.test", "world"),
            ("test", "world"),
            ("", "world"),
            ("192.0.2.1", "address world"),
            ("9.192.0.2.1", "world"),
            ("\u{fc}corp.test", "world"),
        ] {
            let found: Vec<_> = all.of(host).map(|it| it.name.as_str()).collect();
            assert_eq!(found.join(" "), names, "{host}");
        }
    }

    #[test]
    fn hosts_are_kept_alike() {
        for (hosts, kept) in [
            (Some("B\u{fc}cher.Test."), Ok(Some("xn--bcher-kva.test"))),
            (Some("[2001:DB8::1]"), Ok(Some("2001:db8::1"))),
            (Some("192.0.2.1"), Ok(Some("192.0.2.1"))),
            (None, Ok(None)),
            (Some("a b"), Err(())),
            (Some(""), Err(())),
        ] {
            let new =
                NewAuthority { name: "a".to_owned(), hosts: hosts.map(str::to_owned), certificate: vec![1] };
            let made = canonical(new).map(|made| made.hosts).map_err(|_| ());
            assert_eq!(made, kept.map(|kept| kept.map(str::to_owned)), "{hosts:?}");
        }
    }
}
