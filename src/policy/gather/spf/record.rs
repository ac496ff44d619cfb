//! An SPF record as text and as terms (RFC 7208 4.6, 5, 6, 12). Pure; what is not of the grammar is an error of all of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::Spec;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub directives: Vec<Directive>,
    pub redirect: Option<Spec>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub qualifier: Qualifier,
    pub mechanism: Mechanism,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// `None` for a domain is the one that is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    Include(Spec),
    A(Option<Spec>, Prefixes),
    Mx(Option<Spec>, Prefixes),
    Ptr(Option<Spec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Spec),
}

/// Bits that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

/// What is wrong with a record; nobody needs to know more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// RFC 7208 4.5: `v=spf1`, alone or before a blank.
pub fn is_spf(record: &[u8]) -> bool {
    let version = record.get(..6).is_some_and(|version| version.eq_ignore_ascii_case(b"v=spf1"));
    version && record.get(6).is_none_or(|next| *next == b' ')
}

impl Record {
    /// Of a text that [`is_spf`].
    pub fn parse(record: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(&record[6..]).ok().filter(|text| text.is_ascii()).ok_or(Malformed)?;
        let (mut parsed, mut explained) = (Self::default(), false);
        for term in text.split(' ').filter(|term| !term.is_empty()) {
            match modifier(term) {
                Some(("redirect", value)) => {
                    let second = parsed.redirect.replace(Spec::domain(value)?).is_some();
                    if second {
                        return Err(Malformed);
                    }
                }
                Some(("exp", value)) => {
                    Spec::domain(value)?;
                    if std::mem::replace(&mut explained, true) {
                        return Err(Malformed);
                    }
                }
                // RFC 7208 6: unknown ones are ignored, where they are well formed.
                Some((_, value)) => drop(Spec::text(value)?),
                None => parsed.directives.push(directive(term)?),
            }
        }
        Ok(parsed)
    }
}

/// `name=value`, the name in lower case where it is one that is known.
fn modifier(term: &str) -> Option<(&'static str, &str)> {
    let (name, value) = term.split_once('=')?;
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !first || !name.bytes().all(rest) {
        return None;
    }
    let known = ["redirect", "exp"].into_iter().find(|known| name.eq_ignore_ascii_case(known));
    Some((known.unwrap_or_default(), value))
}

fn directive(term: &str) -> Result<Directive, Malformed> {
    let (qualifier, term) = match term.as_bytes().first() {
        Some(b'+') => (Qualifier::Pass, &term[1..]),
        Some(b'-') => (Qualifier::Fail, &term[1..]),
        Some(b'~') => (Qualifier::SoftFail, &term[1..]),
        Some(b'?') => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    Ok(Directive { qualifier, mechanism: mechanism(term)? })
}

fn mechanism(term: &str) -> Result<Mechanism, Malformed> {
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    // What follows the colon, if there is one.
    let value = rest.strip_prefix(':');
    match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Ok(Mechanism::All),
        "include" => Ok(Mechanism::Include(Spec::domain(value.ok_or(Malformed)?)?)),
        "exists" => Ok(Mechanism::Exists(Spec::domain(value.ok_or(Malformed)?)?)),
        "ptr" if rest.is_empty() => Ok(Mechanism::Ptr(None)),
        "ptr" => Ok(Mechanism::Ptr(Some(Spec::domain(value.ok_or(Malformed)?)?))),
        "a" => address(rest).map(|(spec, prefixes)| Mechanism::A(spec, prefixes)),
        "mx" => address(rest).map(|(spec, prefixes)| Mechanism::Mx(spec, prefixes)),
        "ip4" => {
            let (address, bits) = network(value.ok_or(Malformed)?, 32)?;
            Ok(Mechanism::Ip4(address.parse().map_err(|_| Malformed)?, bits))
        }
        "ip6" => {
            let (address, bits) = network(value.ok_or(Malformed)?, 128)?;
            Ok(Mechanism::Ip6(address.parse().map_err(|_| Malformed)?, bits))
        }
        _ => Err(Malformed),
    }
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`.
fn address(rest: &str) -> Result<(Option<Spec>, Prefixes), Malformed> {
    let (rest, v6) = match rest.rsplit_once("//") {
        Some((before, digits)) => (before, bits(digits, 128)?),
        None => (rest, 128),
    };
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, v4) = match rest.rsplit_once('/') {
        Some((before, digits)) if is_number(digits) => (before, bits(digits, 32)?),
        _ => (rest, 32),
    };
    let spec = match rest.strip_prefix(':') {
        Some(domain) => Some(Spec::domain(domain)?),
        None if rest.is_empty() => None,
        None => return Err(Malformed),
    };
    Ok((spec, Prefixes { v4, v6 }))
}

fn network(text: &str, most: u8) -> Result<(&str, u8), Malformed> {
    match text.split_once('/') {
        Some((address, digits)) => Ok((address, bits(digits, most)?)),
        None => Ok((text, most)),
    }
}

/// No sign, no leading zero.
fn bits(digits: &str, most: u8) -> Result<u8, Malformed> {
    let plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    let number = digits.parse().ok().filter(|bits| plain && *bits <= most);
    number.ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(terms: &str) -> Result<Record, Malformed> {
        Record::parse(format!("v=spf1 {terms}").as_bytes())
    }

    #[test]
    fn only_the_version_itself_is_spf() {
        for record in ["v=spf1", "V=SPF1 -all", "v=spf1 "] {
            assert!(is_spf(record.as_bytes()), "{record}");
        }
        for record in ["", "v=spf", "v=spf10", "v=spf1\t-all", " v=spf1", "v=spf2.0/pra"] {
            assert!(!is_spf(record.as_bytes()), "{record}");
        }
    }

    #[test]
    fn terms_are_those_of_the_grammar() {
        let parsed =
            parse("ip4:192.0.2.0/24  -IP6:2001:db8::/32 ~a/24//64 ?mx:b.test ALL x.y-z=%{d} redirect=c.test");
        let parsed = parsed.unwrap();
        let qualifiers: Vec<_> = parsed.directives.iter().map(|directive| directive.qualifier).collect();
        use Qualifier::{Fail, Neutral, Pass, SoftFail};
        assert_eq!(qualifiers, [Pass, Fail, SoftFail, Neutral, Pass]);
        assert_eq!(parsed.directives[2].mechanism, Mechanism::A(None, Prefixes { v4: 24, v6: 64 }));
        assert!(parsed.redirect.is_some());
        for good in [
            "",
            "a:b.test/0",
            "ip4:1.2.3.4/32",
            "ip6:::1/128",
            "exists:%{i}.b.test",
            "ptr:b.test",
            "exp=%{d}.b.test",
            "a=b.test all=",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "all:b.test",
            "all/8",
            "include",
            "include:",
            "exists",
            "exists:b.test/24",
            "ip4",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/08",
            "ip4:1.2.3.4/",
            "ip4:1.2.3.4//32",
            "ip6:::1/129",
            "ip6:1.2.3.4",
            "a:/24",
            "a/33",
            "a//129",
            "a:b..test",
            "a:b.test:80",
            "mx:b_.123",
            "ptr/0",
            "ptr:",
            "moo",
            "redirect=a.test redirect=b.test",
            "exp=a.test exp=b.test",
            "redirect=",
            "redirect:a.test",
            "a:%{x}.b.test",
            "a:%{c}.b.test",
            "x=%",
            "-",
            "a:b.test\u{fc}",
        ] {
            assert_eq!(parse(bad), Err(Malformed), "{bad}");
        }
    }
}
