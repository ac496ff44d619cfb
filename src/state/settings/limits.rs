//! Limits over all nodes, as the settings have them. 0 is unlimited, throughout.

// Of `core`: addresses, and no sockets.
use core::net::IpAddr;

use super::Settings;

impl Settings<'_> {
    /// Whether nothing of this host is counted.
    pub fn is_unlimited(&self, host: IpAddr) -> bool {
        self.holds_address("limits.exempt_networks", host)
    }

    pub fn limits_connections_at_once(&self) -> u64 {
        self.number("limits.connections_at_once")
    }

    pub fn limits_connections_per_minute(&self) -> u64 {
        self.number("limits.connections_per_minute")
    }

    pub fn limits_messages_per_minute(&self) -> u64 {
        self.number("limits.messages_per_minute")
    }

    /// Of one user.
    pub fn send_messages_per_day(&self) -> u64 {
        self.number("send.messages_per_day")
    }

    pub fn send_bytes_per_day(&self) -> u64 {
        self.number("send.bytes_per_day")
    }
}
