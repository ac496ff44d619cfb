//! Macros of SPF (RFC 7208 7): a domain-spec is parsed once and expanded for a mail. Pure.

use std::net::IpAddr;

use super::record::Malformed;
use crate::mail::address::NAME_BYTES_MAX;

/// A domain with macros in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Macro(Expand),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expand {
    letter: Letter,
    /// Of the right, that are kept; 0: all.
    parts: usize,
    reverse: bool,
    delimiters: String,
    escape: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    Local,
    SenderDomain,
    Domain,
    Address,
    Validated,
    Family,
    Helo,
}

/// What macros stand for.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    pub address: IpAddr,
    /// `local@domain`.
    pub sender: &'a str,
    /// That is checked.
    pub domain: &'a str,
    pub helo: &'a str,
    /// The client's name by the DNS, where a macro asks for it.
    pub validated: &'a str,
}

impl Spec {
    /// RFC 7208 7.1: ends in a macro, or in a label that a top-level domain could be, behind a dot.
    pub fn domain(text: &str) -> Result<Self, Malformed> {
        let spec = Self::text(text)?;
        let ends_well = match spec.0.last() {
            Some(Part::Macro(_)) => true,
            Some(Part::Literal(literal)) => ends_in_a_top_label(literal),
            None => false,
        };
        if ends_well { Ok(spec) } else { Err(Malformed) }
    }

    /// A macro-string, of any end.
    pub fn text(text: &str) -> Result<Self, Malformed> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(char) = rest.chars().next() {
            rest = &rest[char.len_utf8()..];
            if char != '%' {
                if !char.is_ascii_graphic() {
                    return Err(Malformed);
                }
                literal.push(char);
                continue;
            }
            let kind = rest.chars().next().ok_or(Malformed)?;
            rest = &rest[kind.len_utf8()..];
            match kind {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (inner, after) = rest.split_once('}').ok_or(Malformed)?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Macro(Expand::parse(inner)?));
                    rest = after;
                }
                _ => return Err(Malformed),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self(parts))
    }

    pub fn needs_validated(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Macro(expand) if expand.letter == Letter::Validated))
    }

    pub fn expand(&self, values: &Values<'_>) -> String {
        let expand = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Macro(expand) => expand.expand(values),
        };
        let mut name: String = self.0.iter().map(expand).collect();
        if name.ends_with('.') {
            name.pop();
        }
        // RFC 7208 7.3: longer names lose labels on the left.
        while name.len() > NAME_BYTES_MAX {
            let Some(dot) = name.find('.') else { break };
            name.drain(..=dot);
        }
        name
    }
}

fn ends_in_a_top_label(literal: &str) -> bool {
    let text = literal.strip_suffix('.').unwrap_or(literal);
    let Some((before, label)) = text.rsplit_once('.') else { return false };
    let bytes = label.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let ends = bytes.first() != Some(&b'-') && bytes.last() != Some(&b'-');
    let named = bytes.iter().any(|byte| !byte.is_ascii_digit());
    !bytes.is_empty() && bytes.len() < 64 && bytes.iter().all(fits) && ends && named && !before.ends_with('.')
}

impl Expand {
    fn parse(inner: &str) -> Result<Self, Malformed> {
        let first = inner.chars().next().ok_or(Malformed)?;
        let letter = match first.to_ascii_lowercase() {
            's' => Letter::Sender,
            'l' => Letter::Local,
            'o' => Letter::SenderDomain,
            'd' => Letter::Domain,
            'i' => Letter::Address,
            'p' => Letter::Validated,
            'v' => Letter::Family,
            'h' => Letter::Helo,
            // `c`, `r` and `t` belong to explanations, which nobody reads here.
            _ => return Err(Malformed),
        };
        let rest = &inner[first.len_utf8()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let parts = match &rest[..digits] {
            "" => 0,
            number => number.parse().ok().filter(|parts| *parts > 0).ok_or(Malformed)?,
        };
        let rest = &rest[digits..];
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(after) => (true, after),
            None => (false, rest),
        };
        if !delimiters.chars().all(|char| ".-+,/_=".contains(char)) {
            return Err(Malformed);
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters }.to_owned();
        Ok(Self { letter, parts, reverse, delimiters, escape: first.is_ascii_uppercase() })
    }

    fn expand(&self, values: &Values<'_>) -> String {
        let (local, sender_domain) = values.sender.rsplit_once('@').unwrap_or(("postmaster", values.sender));
        let value = match self.letter {
            Letter::Sender => values.sender.to_owned(),
            Letter::Local => local.to_owned(),
            Letter::SenderDomain => sender_domain.to_owned(),
            Letter::Domain => values.domain.to_owned(),
            Letter::Address => dotted(values.address),
            Letter::Validated => values.validated.to_owned(),
            Letter::Family if values.address.is_ipv4() => "in-addr".to_owned(),
            Letter::Family => "ip6".to_owned(),
            Letter::Helo => values.helo.to_owned(),
        };
        let mut parts: Vec<&str> = value.split(|char| self.delimiters.contains(char)).collect();
        if self.reverse {
            parts.reverse();
        }
        if self.parts > 0 {
            parts.drain(..parts.len().saturating_sub(self.parts));
        }
        let joined = parts.join(".");
        if self.escape { escaped(&joined) } else { joined }
    }
}

/// RFC 7208 7.3: an IPv6 address by its nibbles.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let nibble = |octet: u8| [octet >> 4, octet & 15].map(|nibble| format!("{nibble:x}"));
            address.octets().into_iter().flat_map(nibble).collect::<Vec<_>>().join(".")
        }
    }
}

/// RFC 3986 2.3: all but the unreserved.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(spec: &str, address: &str) -> String {
        let values = Values {
            address: address.parse().unwrap(),
            sender: "strong-bad@email.example.com",
            domain: "email.example.com",
            helo: "mx.example.org",
            validated: "unknown",
        };
        Spec::text(spec).unwrap().expand(&values)
    }

    /// RFC 7208 7.4.
    #[test]
    fn macros_expand_as_in_the_examples_of_the_rfc() {
        for (spec, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{S}%%%_%-", "strong-bad%40email.example.com% %20"),
        ] {
            assert_eq!(expand(spec, "192.0.2.3"), expected, "{spec}");
        }
        let expected = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com";
        assert_eq!(expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"), expected);
    }

    #[test]
    fn names_that_are_too_long_lose_labels_on_the_left() {
        let label = "x".repeat(63);
        let long = format!("%{{l}}.a.{label}.{label}.{label}.{}.test", "y".repeat(53));
        let expanded = expand(&long, "192.0.2.3");
        assert!(
            expanded.len() <= NAME_BYTES_MAX && expanded.starts_with(&format!("a.{label}")),
            "{expanded}"
        );
    }

    #[test]
    fn what_no_domain_can_end_in_is_refused() {
        for good in ["a.test", "a.test.", "%{d}", "a.%{d}", "a.x-1", "a..test%{d}"] {
            assert!(Spec::domain(good).is_ok(), "{good}");
        }
        for bad in [
            "", "test", "a.123", "a.-x", "a.x-", "a..test", "%", "%{", "%{}", "%{d0}", "%{d!}", "%x", "%{t}",
            "a b.test",
        ] {
            assert!(Spec::domain(bad).is_err(), "{bad}");
        }
    }
}
