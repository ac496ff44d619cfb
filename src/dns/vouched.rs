//! Questions whose answers the name server vouches for: it has validated them (DNSSEC), and says so by the AD bit
//! (RFC 4035 3.2.3, RFC 6840 5.7). Its word is worth something where the setting `dns.servers_validate` says that the servers validate
//! and that nobody stands between; elsewhere nothing is secure.
//!
//! hickory-resolver tells its callers nothing of that bit, so that these questions go to the server without it, and
//! no answer is remembered here: the server remembers.

use std::net::IpAddr;

use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as Semantic, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::error::DnsError;
use super::resolver::{ALIASES_MAX, Mx, Resolver, Server, of_both_families, text_of};

/// Records, and how far they can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched<T> {
    pub found: Vec<T>,
    /// All of the answer was validated, aliases among it.
    pub secure: bool,
    /// Where aliases led, if there were any.
    pub alias_of: Option<String>,
}

impl<T> Vouched<T> {
    /// By the word of nobody.
    pub fn insecure(found: Vec<T>) -> Self {
        Self { found, secure: false, alias_of: None }
    }
}

/// A record that says which certificate a server shows (RFC 6698 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    pub usage: u8,
    pub selector: u8,
    pub matching: u8,
    pub data: Vec<u8>,
}

impl Resolver {
    /// Ascending by preference.
    pub async fn mx_vouched(&self, domain: &str) -> Result<Vouched<Mx>, DnsError> {
        if !self.validates() {
            return self.mx(domain).await.map(Vouched::insecure);
        }
        let of = |data: &RData| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, host: text_of(&mx.exchange) }),
            _ => None,
        };
        let mut answer = self.vouched(domain, RecordType::MX, of).await?;
        answer.found.sort();
        Ok(answer)
    }

    /// As [`Resolver::addresses`]; secure where all that is known is.
    pub async fn addresses_vouched(&self, host: &str) -> Result<Vouched<IpAddr>, DnsError> {
        if !self.validates() {
            return self.addresses(host).await.map(Vouched::insecure);
        }
        let of = |data: &RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let both = |a: Vouched<IpAddr>, aaaa: Vouched<IpAddr>| Vouched {
            found: [a.found, aaaa.found].concat(),
            secure: a.secure && aaaa.secure,
            alias_of: a.alias_of.or(aaaa.alias_of),
        };
        let families =
            tokio::join!(self.vouched(host, RecordType::A, of), self.vouched(host, RecordType::AAAA, of));
        of_both_families(families, both)
    }

    /// Of the service at this port. Asked only where the servers validate; nothing is there otherwise.
    pub async fn tlsa(&self, port: u16, host: &str) -> Result<Vouched<Tlsa>, DnsError> {
        if !self.validates() {
            return Err(DnsError::NoData);
        }
        let of = |data: &RData| match data {
            RData::TLSA(it) => Some(Tlsa {
                usage: it.cert_usage.into(),
                selector: it.selector.into(),
                matching: it.matching.into(),
                data: it.cert_data.clone(),
            }),
            _ => None,
        };
        self.vouched(&format!("_{port}._tcp.{host}"), RecordType::TLSA, of).await
    }

    /// Whether a name is an alias by a record that is secure itself, wherever it leads.
    pub async fn is_secure_alias(&self, host: &str) -> Result<bool, DnsError> {
        if !self.validates() {
            return Ok(false);
        }
        let of = |data: &RData| matches!(data, RData::CNAME(_)).then_some(());
        match self.vouched(host, RecordType::CNAME, of).await {
            Ok(answer) => Ok(answer.secure),
            Err(error) if error.is_temporary() => Err(error),
            Err(_) => Ok(false),
        }
    }

    async fn vouched<T>(
        &self,
        name: &str,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vouched<T>, DnsError> {
        let name = Self::absolute(name)?;
        self.bounded((&name, kind), self.ask_vouched(&name, kind, of)).await
    }

    async fn ask_vouched<T>(
        &self,
        name: &Name,
        kind: RecordType,
        of: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vouched<T>, DnsError> {
        let servers = self.servers().await?;
        let mut failure = DnsError::temporary("there is no name server");
        for server in servers.in_order() {
            match send(server, name, kind).await {
                Ok(response) => {
                    server.is_alive();
                    return read(&response, name, kind, of);
                }
                Err(error) => {
                    failure = DnsError::from(&error);
                    server.note(&error);
                }
            }
            if !failure.is_temporary() {
                break;
            }
        }
        Err(failure)
    }
}

async fn send(server: &Server, name: &Name, kind: RecordType) -> Result<DnsResponse, NetError> {
    let query = Query::query(name.clone(), kind);
    let mut request = DnsRequest::from_query(query, DnsRequestOptions::default());
    request.metadata.authentic_data = true;
    let response = server.pool.send(request).first_answer().await?;
    Semantic::from_response(response).map_err(NetError::from)
}

/// Follows the aliases of the answer, which a recursive server gives with what they lead to.
fn read<T>(
    response: &DnsResponse,
    name: &Name,
    kind: RecordType,
    of: impl Fn(&RData) -> Option<T>,
) -> Result<Vouched<T>, DnsError> {
    let mut owner = name.clone();
    if kind != RecordType::CNAME {
        for _ in 0..ALIASES_MAX {
            let target = response.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == owner => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else { break };
            owner = target;
        }
    }
    let records = response.answers.iter().filter(|record| record.name == owner);
    let found: Vec<T> = records.filter_map(|record| of(&record.data)).collect();
    if found.is_empty() {
        return Err(DnsError::NoData);
    }
    let alias_of = (owner != *name).then(|| text_of(&owner));
    Ok(Vouched { found, secure: response.metadata.authentic_data, alias_of })
}
