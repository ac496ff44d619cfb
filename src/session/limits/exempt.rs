//! Whose connections and messages are not counted.

use std::net::IpAddr;

use crate::state::directory::Directory;
use crate::state::lists::RuleAction;

/// Those the settings name, those who may send without a login by their address, and those whom the whitelist names.
pub fn is_exempt(directory: &Directory, host: IpAddr) -> bool {
    let (settings, lists) = (directory.settings(), &directory.lists);
    let of_client = lists.of_client(host);
    let is_allowed = of_client.first().is_some_and(|rule| rule.action == RuleAction::Allow);
    settings.is_unlimited(host) || settings.is_open_to(host) || is_allowed || lists.relay(host).is_some()
}
