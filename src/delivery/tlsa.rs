//! What a server must prove by what the DNS says of it (RFC 7672 2.2): where its TLSA records are, and what follows
//! from their being there, being of no use, or being out of reach.

use std::net::IpAddr;
use std::sync::Arc;

use super::routing::{Resolve, SMTP_PORT};
use super::trust::Demand;
use super::trust::dane::Dane;
use crate::dns::{DnsError, Vouched};

/// `None`: the DNS demands nothing of it. `Err`: it may demand something, and what that is is not known now: nothing is sent
/// there (RFC 7672 2.1.1). `domain` is whose server it is by an answer that is secure.
pub async fn demand(
    host: &str,
    addresses: &Vouched<IpAddr>,
    domain: &str,
    resolver: &impl Resolve,
) -> Result<Option<Demand>, DnsError> {
    for base in bases(host, addresses, resolver).await? {
        match resolver.tlsa(SMTP_PORT, base).await {
            Ok(answer) if answer.secure => {
                let dane = Dane::of(base, &[host, domain], answer.found);
                return Ok(Some(dane.map_or(Demand::DaneUnusable, |dane| Demand::Dane(Arc::new(dane)))));
            }
            // Anybody could have said that.
            Ok(_) | Err(DnsError::NoSuchName | DnsError::NoData) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(None)
}

/// RFC 7672 2.2.3: the name that aliases lead to, if all of them are secure, then the first one. A host whose
/// addresses are not secure is not asked about at all: servers that know no TLSA often fail at such questions.
async fn bases<'a>(
    host: &'a str,
    addresses: &'a Vouched<IpAddr>,
    resolver: &impl Resolve,
) -> Result<Vec<&'a str>, DnsError> {
    Ok(match (&addresses.alias_of, addresses.secure) {
        (Some(target), true) => vec![target, host],
        (None, true) => vec![host],
        (Some(_), false) if resolver.is_secure_alias(host).await? => vec![host],
        (_, false) => Vec::new(),
    })
}
