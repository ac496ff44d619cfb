//! What a rule may say, and the form in which it is kept. Proposers ask this; apply does not, so that all builds apply alike.

use super::{ClientPattern, NAME_BYTES_MAX, NewRule, PATTERN_BYTES_MAX, RuleAction, RuleKind};
use crate::mail::address::{Address, canonical_domain};

/// The rule in its canonical form, or one line that says what is wrong.
pub fn canonical(rule: NewRule) -> Result<NewRule, String> {
    let NewRule { name, kind, pattern, action, before } = rule;
    let name = rule_name(&name)?;
    if !kind.actions().contains(&action) {
        let may: Vec<_> = kind.actions().iter().map(|action| action.word()).collect();
        let (kind, action) = (kind.word(), action.word());
        return Err(format!("a rule of the kind {kind} cannot {action}; it may {}", may.join(", ")));
    }
    let shown: String = pattern.chars().take(60).flat_map(char::escape_debug).collect();
    let wrong = |must: &str| format!("\"{shown}\" is not {must}");
    let pattern = pattern.trim();
    let pattern = match kind {
        RuleKind::Sender if action != RuleAction::Allow && pattern.starts_with('@') => {
            canonical_domain(&pattern[1..])
                .map(|domain| format!("@{domain}"))
                .ok_or_else(|| wrong("an address, or @domain"))?
        }
        RuleKind::Sender if action != RuleAction::Allow => {
            address(pattern).ok_or_else(|| wrong("an address, or @domain"))?
        }
        RuleKind::Sender | RuleKind::Recipient => address(pattern).ok_or_else(|| wrong("an address"))?,
        RuleKind::Domain => {
            let bare = pattern.strip_prefix('@').unwrap_or(pattern);
            canonical_domain(bare).ok_or_else(|| wrong("a domain"))?
        }
        RuleKind::Ip | RuleKind::Mask | RuleKind::Client => {
            let client = ClientPattern::parse(pattern).ok_or_else(|| wrong(must_be(kind)))?;
            client_of(kind, client).map_err(|must| wrong(&must))?
        }
    };
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
    }
    Ok(NewRule { name, kind, pattern, action, before: before.map(|before| before.to_ascii_lowercase()) })
}

/// Lower case, of characters that need no quoting in a shell.
fn rule_name(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(format!("a rule's name is 1 to {NAME_BYTES_MAX} letters, digits, '.', '-' and '_'")),
    }
}

fn address(text: &str) -> Option<String> {
    Address::parse(text).ok().map(|address| address.canonical())
}

fn must_be(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Ip => "one IP address",
        RuleKind::Mask => "192.0.2., 192.0.2.21-24, 192.0.2.0/24, 2001:db8::/32 or 10.0.0.5/255.0.0.255",
        RuleKind::Sender | RuleKind::Recipient | RuleKind::Domain | RuleKind::Client => {
            "an IP address, 192.0.2., 192.0.2.21-24, 192.0.2.0/24, 2001:db8::/32, 10.0.0.5/255.0.0.255 or a host name"
        }
    }
}

fn client_of(kind: RuleKind, client: ClientPattern) -> Result<String, String> {
    let fits = match (kind, &client) {
        (RuleKind::Ip, ClientPattern::Address(_)) => true,
        (RuleKind::Ip, _) => false,
        (RuleKind::Mask, ClientPattern::Address(_) | ClientPattern::Host(_)) => false,
        (RuleKind::Client, client) if !client.is_narrow() => {
            return Err("narrow enough: everybody could send through this server to anywhere".to_owned());
        }
        _ => true,
    };
    if fits { Ok(client.to_string()) } else { Err(must_be(kind).to_owned()) }
}
