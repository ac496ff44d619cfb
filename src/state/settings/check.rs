//! Whether a value is allowed, and its canonical text. Proposers check; apply does not, since two
//! builds may have different tables.

// Of `core`: addresses, and no sockets.
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::collections::BTreeMap;

use ipnet::IpNet;

use super::table::{Kind, Setting, find};
use super::{GREYLIST_DELAY, GREYLIST_RETRY_WINDOW, ListenerName, TABLE};
use crate::mail::address::{Address, canonical_domain};
use crate::state::directory::Directory;
use crate::state::lists::{self, ClientPattern};

/// Bytes of any value, as apply bounds it.
const VALUE_BYTES_MAX: usize = 4_000;

/// `Err` is one line that names key, value and bounds; `Ok` is the canonical text.
pub fn validate(key: &str, value: &str) -> Result<String, String> {
    let setting = find(key).ok_or_else(|| unknown(key))?;
    setting.check(value.trim()).map_err(|bounds| {
        let shown: String = value.chars().take(60).flat_map(char::escape_debug).collect();
        format!("{key}: \"{shown}\" is not {bounds}")
    })
}

/// Checks a set of changes that is staged to be applied as one: each alone, and all together.
pub fn validate_changes(
    directory: &Directory,
    changes: &[(String, Option<String>)],
) -> Result<Vec<(String, Option<String>)>, String> {
    let mut checked = Vec::with_capacity(changes.len());
    let mut after = Directory { settings: directory.settings.clone(), ..Directory::default() };
    for (key, value) in changes {
        let value = match value {
            Some(value) => Some(validate(key, value)?),
            // What an older build set and this one does not know may still be unset.
            None if find(key).is_none() && !directory.settings.contains_key(key) => return Err(unknown(key)),
            None => None,
        };
        match &value {
            Some(value) => after.settings.insert(key.clone(), value.clone()),
            None => after.settings.remove(key),
        };
        checked.push((key.clone(), value));
    }
    check_ports(&after)?;
    check_greylist(&after)?;
    Ok(checked)
}

fn check_ports(directory: &Directory) -> Result<(), String> {
    let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
    for name in ListenerName::ALL {
        let listener = directory.settings().listener(name);
        if listener.enabled
            && let Some(other) = taken.insert(listener.port, name.key())
        {
            let port = listener.port;
            return Err(format!(
                "listener.{}.port: {port} is the port of listener.{other} already",
                name.key()
            ));
        }
    }
    Ok(())
}

/// Or nobody would ever pass.
fn check_greylist(directory: &Directory) -> Result<(), String> {
    let settings = directory.settings();
    let (delay, window) = (settings.number(GREYLIST_DELAY), settings.number(GREYLIST_RETRY_WINDOW));
    match delay < window {
        true => Ok(()),
        false => Err(format!("{GREYLIST_RETRY_WINDOW}: {window} is not more than {GREYLIST_DELAY}, {delay}")),
    }
}

fn unknown(key: &str) -> String {
    let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
    let near =
        TABLE.iter().find(|it| !key.is_empty() && it.key.ends_with(key.rsplit('.').next().unwrap_or(key)));
    match near {
        Some(near) => format!("{shown}: there is no such setting; did you mean {}?", near.key),
        None => format!("{shown}: there is no such setting; `pollux policy list` shows them"),
    }
}

impl Setting {
    /// The canonical text, or what a value must be.
    pub(super) fn check(&self, value: &str) -> Result<String, String> {
        let fits = |value: &str| value.len() <= VALUE_BYTES_MAX;
        let too_long = || format!("{}, in {VALUE_BYTES_MAX} octets at most", self.bounds());
        if !fits(value) {
            return Err(too_long());
        }
        // Names in other scripts become longer.
        self.canonical(value).and_then(|canonical| fits(&canonical).then_some(canonical).ok_or_else(too_long))
    }

    fn canonical(&self, value: &str) -> Result<String, String> {
        let bounds = || self.bounds();
        match self.kind {
            Kind::Flag => match value.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Ok("true".into()),
                "false" | "no" | "off" => Ok("false".into()),
                _ => Err(bounds()),
            },
            Kind::Number { min, max, .. } => within(number(value), min, max).ok_or_else(bounds),
            Kind::Bytes { min, max } => within(bytes(value), min, max).ok_or_else(bounds),
            Kind::BytesOrUnlimited { min, max } => match value.eq_ignore_ascii_case("unlimited") {
                true => Ok("unlimited".into()),
                false => within(bytes(value), min, max).ok_or_else(bounds),
            },
            Kind::Choice(choices) => {
                let chosen = choices.iter().find(|choice| choice.eq_ignore_ascii_case(value));
                chosen.map(|choice| (*choice).to_owned()).ok_or_else(bounds)
            }
            Kind::Choices(choices) => some_of(value, choices).ok_or_else(bounds),
            Kind::Line { bytes_max } => {
                (is_line(value, bytes_max) && !value.is_empty()).then(|| value.to_owned()).ok_or_else(bounds)
            }
            Kind::LineOrNone { bytes_max } => {
                is_line(value, bytes_max).then(|| value.to_owned()).ok_or_else(bounds)
            }
            Kind::UriOrNone { bytes_max } => {
                let fits = is_line(value, bytes_max) && (value.is_empty() || is_uri(value));
                fits.then(|| value.to_owned()).ok_or_else(bounds)
            }
            Kind::HttpsOrNone { bytes_max } => {
                let fits = is_line(value, bytes_max) && (value.is_empty() || is_https(value));
                fits.then(|| value.to_owned()).ok_or_else(bounds)
            }
            Kind::Hostname => canonical_domain(value).ok_or_else(bounds),
            Kind::CharacterOrNone(allowed) => {
                let mut chars = value.chars();
                let one_or_none = chars.next().is_none_or(|c| allowed.contains(c)) && chars.next().is_none();
                one_or_none.then(|| value.to_owned()).ok_or_else(bounds)
            }
            Kind::AddressOrNone if value.is_empty() => Ok(String::new()),
            Kind::AddressOrNone => {
                let address = Address::parse(value).ok().filter(|address| !address.is_utf8());
                address.map(|address| address.to_string()).ok_or_else(bounds)
            }
            Kind::Addresses { count_max } => addresses(value, count_max).ok_or_else(bounds),
            Kind::Networks { count_max } => list(value, count_max, network).ok_or_else(bounds),
            Kind::RelayNetworks { count_max } => list(value, count_max, relay_network).ok_or_else(bounds),
            Kind::Domains { count_max } => list(value, count_max, canonical_domain).ok_or_else(bounds),
            Kind::Servers { count_max, port } => servers(value, count_max, port).ok_or_else(bounds),
            Kind::ServerOrNone if value.is_empty() => Ok(String::new()),
            Kind::ServerOrNone => {
                server(value).map(|(host, port)| shown_server(&host, port)).ok_or_else(bounds)
            }
            Kind::BoxAddresses { count_max } => box_addresses(value, count_max).ok_or_else(bounds),
        }
    }

    /// What a value must be, to follow "is not".
    pub fn bounds(&self) -> String {
        match self.kind {
            Kind::Flag => "true or false".into(),
            Kind::Number { unit, min, max } => format!("a number from {min} to {max} ({unit})"),
            Kind::Bytes { min, max } => format!("a size from {} to {}", size(min), size(max)),
            Kind::BytesOrUnlimited { min, max } => {
                format!("a size from {} to {}, nor unlimited", size(min), size(max))
            }
            Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
            Kind::Choices(choices) => format!("a list of {}, parted by commas", choices.join(", ")),
            Kind::Line { bytes_max } => format!("a line of 1 to {bytes_max} printable ASCII characters"),
            Kind::LineOrNone { bytes_max } => {
                format!("empty or a line of at most {bytes_max} printable ASCII characters")
            }
            Kind::UriOrNone { bytes_max } => format!("empty or a URI of at most {bytes_max} characters"),
            Kind::HttpsOrNone { bytes_max } => {
                format!("empty or an address https://… of at most {bytes_max} characters")
            }
            Kind::Hostname => "a domain name".into(),
            Kind::CharacterOrNone(allowed) => format!("empty or one of {allowed}"),
            Kind::AddressOrNone => "empty or an address".into(),
            Kind::Addresses { count_max } => {
                format!("a list of at most {count_max} addresses or user names, parted by commas")
            }
            Kind::Networks { count_max } => {
                let form = "IP addresses or networks (192.0.2.0/24), parted by commas";
                format!("a list of at most {count_max} {form}")
            }
            Kind::RelayNetworks { count_max } => {
                let (four, six) = (lists::RELAY_BITS_V4_MIN, lists::RELAY_BITS_V6_MIN);
                format!(
                    "a list of at most {count_max} IP addresses or networks, parted by commas, none wider than /{four} (IPv6: /{six}): everybody could send through this server to anywhere"
                )
            }
            Kind::Domains { count_max } => {
                format!("a list of at most {count_max} domain names, parted by commas")
            }
            Kind::Servers { count_max, port } => {
                let form = "IP addresses with a port (192.0.2.1:53), parted by commas";
                format!("a list of at most {count_max} {form}; without one it is {port}")
            }
            Kind::ServerOrNone => "empty, a host, or host:port".into(),
            Kind::BoxAddresses { count_max } => format!(
                "a list of at most {count_max} IP addresses (192.0.2.10), each once, parted by commas, none of them loopback, link-local, multicast, broadcast or unspecified"
            ),
        }
    }
}

fn is_line(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// RFC 3986 3: a scheme and something behind it.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(in_scheme)
        && !rest.is_empty()
        && !text.contains(' ')
}

/// With a host behind the scheme.
fn is_https(text: &str) -> bool {
    let behind = text.strip_prefix("https://");
    is_uri(text) && behind.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Host and port; 25 where none is given. An IPv6 address stands in brackets.
pub(super) fn server(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, number(port)?),
        _ => (text, 25),
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        None => canonical_domain(host)?,
    };
    Some((host, port))
}

fn shown_server(host: &str, port: u16) -> String {
    if port == 25 { host.to_owned() } else { format!("{host}:{port}") }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `52428800`, `50 MiB`, `50MB`, `50m`: units are powers of 1,024, as administrators mean them.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number(&text[..end])?.checked_mul(1 << shift)
}

fn within(number: Option<u64>, min: u64, max: u64) -> Option<String> {
    number.filter(|number| (min..=max).contains(number)).map(|number| number.to_string())
}

/// A size in the largest unit that divides it.
pub(super) fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

fn servers(text: &str, count_max: usize, port: u16) -> Option<String> {
    let server = |part: &str| {
        let bare = || part.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, port));
        let server = part.parse().ok().or_else(bare).filter(|server: &SocketAddr| server.port() != 0);
        server.map(|server| server.to_string())
    };
    list(text, count_max, server)
}

/// An address is a network of its own; what the mask leaves out is not kept.
fn network(part: &str) -> Option<String> {
    let network = part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc().to_string())
}

fn relay_network(part: &str) -> Option<String> {
    let network = network(part)?;
    ClientPattern::parse(&network).filter(ClientPattern::is_narrow).map(|pattern| pattern.to_string())
}

/// Link-local ones are no use: they are a link's own, and clients would have to name their interface.
fn box_addresses(text: &str, count_max: usize) -> Option<String> {
    let address = |part: &str| {
        let address = part.parse::<IpAddr>().ok()?.to_canonical();
        let link_local = match address {
            IpAddr::V4(address) => {
                address.is_link_local() || address.is_broadcast() || address.octets()[0] == 0
            }
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let usable =
            !(link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified());
        usable.then(|| address.to_string())
    };
    let canonical = list(text, count_max, address)?;
    let parts = || canonical.split(',').enumerate();
    let twice = parts().any(|(at, part)| parts().any(|(other, same)| other < at && same == part));
    (!twice).then_some(canonical)
}

/// Each once, in the order of the choices.
fn some_of(text: &str, choices: &[&str]) -> Option<String> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let known = |part: &str| choices.iter().any(|choice| choice.eq_ignore_ascii_case(part));
    let chosen = |choice: &&&str| parts().any(|part| choice.eq_ignore_ascii_case(part));
    let all: Vec<&str> = choices.iter().filter(chosen).copied().collect();
    parts().all(known).then(|| all.join(","))
}

/// Parts between commas or line ends, each in its canonical form.
fn list(text: &str, count_max: usize, canonical: impl Fn(&str) -> Option<String>) -> Option<String> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let all: Option<Vec<String>> = parts.map(canonical).collect();
    all.filter(|all| all.len() <= count_max).map(|all| all.join(","))
}

fn addresses(text: &str, count_max: usize) -> Option<String> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    if parts().count() > count_max {
        return None;
    }
    let canonical = |part: &str| match part.contains('@') {
        true => Address::parse(part).ok().map(|address| address.canonical()),
        false => Address::parse(&format!("{part}@x")).ok().map(|address| address.local().to_lowercase()),
    };
    // What has to be quoted (a comma, a bracket) would not survive the list, in which there are no quotes.
    let stays = |part: &String| !part.contains('"') && canonical(part).as_ref() == Some(part);
    let all: Option<Vec<String>> = parts().map(|part| canonical(part).filter(stays)).collect();
    Some(all?.join(","))
}
