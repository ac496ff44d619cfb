//! Why there is no answer.

use hickory_resolver::net::{DnsError as Semantic, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;

/// What is heard instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN, or a name that the DNS cannot hold.
    #[error("there is no such name")]
    NoSuchName,
    /// The name exists and has nothing of this type.
    #[error("the name has no such record")]
    NoData,
    /// Nobody knows at the moment: no name server answers, or those that do say SERVFAIL or REFUSED. Says nothing of
    /// the name.
    #[error("{0}")]
    Temporary(String),
}

impl DnsError {
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }

    pub(super) fn temporary(why: impl Into<String>) -> Self {
        Self::Temporary(why.into())
    }
}

impl From<&NetError> for DnsError {
    fn from(error: &NetError) -> Self {
        match error {
            NetError::Dns(Semantic::NoRecordsFound(NoRecords { response_code, .. })) => match response_code {
                ResponseCode::NXDomain => Self::NoSuchName,
                ResponseCode::NoError => Self::NoData,
                other => Self::temporary(format!("the name server says {other}")),
            },
            NetError::Dns(Semantic::ResponseCode(code)) => {
                Self::temporary(format!("the name server says {code}"))
            }
            NetError::Timeout => Self::temporary("no name server answers in time"),
            other => Self::temporary(other.to_string()),
        }
    }
}

/// RFC 2308 2.2: what is not there comes with the zone's SOA. Where it does not, an alias may have led nowhere.
pub(super) fn lacks_soa(error: &NetError) -> bool {
    matches!(error, NetError::Dns(Semantic::NoRecordsFound(NoRecords { soa: None, .. })))
}

/// The server itself failed, whatever the question was.
pub(super) fn is_dead(error: &NetError) -> bool {
    matches!(error, NetError::Timeout | NetError::Io(_) | NetError::NoConnections | NetError::Busy)
}
