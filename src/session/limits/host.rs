//! The limits of one host, by the settings of the moment. A host is an IPv4 address, or an IPv6 network of 64 bits: who
//! has one such address has them all.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Limits, Spent};
use crate::state::limits::Limit;

pub struct HostLimits {
    limits: Arc<Limits>,
    key: Vec<u8>,
}

impl HostLimits {
    pub fn new(limits: Arc<Limits>, host: IpAddr) -> Self {
        let key = match host.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets()[..8].to_vec(),
        };
        Self { limits, key }
    }

    pub async fn connection(&self) -> Result<(), Spent> {
        let tokens_max = self.limits.directory.borrow().settings().limits_connections_per_minute();
        let taken = self.limits.take(Limit::ConnectionsPerMinute, &self.key, tokens_max).await;
        taken.then_some(()).ok_or(Spent::Connections)
    }

    pub async fn message(&self) -> Result<(), Spent> {
        let tokens_max = self.limits.directory.borrow().settings().limits_messages_per_minute();
        let taken = self.limits.take(Limit::MessagesPerMinute, &self.key, tokens_max).await;
        taken.then_some(()).ok_or(Spent::Messages)
    }
}
