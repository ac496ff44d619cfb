//! What shuts a host out, as the settings have it.

// Of `core`: addresses, and no sockets.
use core::net::IpAddr;

use super::Settings;

impl Settings<'_> {
    /// Whether nothing that this host does shuts it out.
    pub fn is_never_blocked(&self, host: IpAddr) -> bool {
        self.holds_address("block.exempt_networks", host)
    }

    /// 0: they are not counted; also below.
    pub fn block_failed_logins_max(&self) -> u64 {
        self.number("block.failed_logins_max")
    }

    pub fn block_failed_logins_seconds(&self) -> u64 {
        self.number("block.failed_logins_seconds")
    }

    pub fn block_duration_seconds(&self) -> u64 {
        self.number("block.duration_seconds")
    }

    pub fn block_unknown_recipients_max(&self) -> u64 {
        self.number("block.unknown_recipients_max")
    }
}
