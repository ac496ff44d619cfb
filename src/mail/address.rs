//! Mailbox addresses and paths (RFC 5321 4.1.2, RFC 6531), normalised for comparison.
//!
//! Parses what the grammar allows and nothing more; keeps the sender's spelling. Source routes are
//! read and thrown away (RFC 5321 appendix C). Who an address belongs to is `state::routing`'s affair.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

// RFC 5321 4.5.3.1, octets.
pub const LOCAL_BYTES_MAX: usize = 64;
pub const DOMAIN_BYTES_MAX: usize = 255;
/// With its angle brackets.
pub const PATH_BYTES_MAX: usize = 256;
/// Of a local part that holds another address (SRS): RFC 5321 4.5.3.1 asks for no bound where there need be none.
pub const REWRITTEN_BYTES_MAX: usize = PATH_BYTES_MAX;
/// RFC 1035 2.3.4, without the dot at the end: what a name that can be looked up may have.
pub const NAME_BYTES_MAX: usize = 253;
pub const LABEL_BYTES_MAX: usize = 63;

/// One mailbox: `local@domain`. The parts keep the sender's spelling; [`Address::canonical`] compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: String,
}

/// MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: notices, to which nobody answers.
    Null,
    Address(Address),
}

impl ReversePath {
    /// Without its angle brackets; empty is the null sender.
    pub fn bare(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Address(address) => address.to_string(),
        }
    }
}

/// RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain (RFC 5321 4.1.1.3), in any case.
    Postmaster,
    Address(Address),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address is malformed")]
    Syntax,
    #[error("the local part is longer than {LOCAL_BYTES_MAX} octets")]
    LocalTooLong,
    #[error("the domain is longer than {DOMAIN_BYTES_MAX} octets")]
    DomainTooLong,
    #[error("the path is longer than {PATH_BYTES_MAX} octets")]
    PathTooLong,
    #[error("the address needs SMTPUTF8")]
    NeedsUtf8,
}

impl Address {
    /// `local@domain`, without angle brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match mailbox(text)? {
            (address, "") => Ok(address),
            _ => Err(AddressError::Syntax),
        }
    }

    /// Of its parts, the local one without quotes and backslashes.
    pub fn of(local: &str, domain: &str) -> Result<Self, AddressError> {
        let address = Address { local: local.to_owned(), domain: domain.to_owned() };
        Self::parse(&address.to_string())
    }

    /// The local part with quotes and backslashes taken off.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// As given: a domain name, or an address literal in its brackets.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Lower case, domain in A-labels: equal strings are equal addresses.
    pub fn canonical(&self) -> String {
        let local = self.local.to_lowercase();
        let domain = canonical_domain(&self.domain).unwrap_or_else(|| self.domain.to_ascii_lowercase());
        Address { local, domain }.to_string()
    }

    /// True when a part holds characters beyond ASCII.
    pub fn is_utf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }
}

/// The wire form: the local part quoted where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{quoted}\"@{}", self.domain)
    }
}

impl ReversePath {
    /// Parses `<…>` at the front of `text`; the rest (parameters) is handed back untouched.
    pub fn parse(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        match text.strip_prefix("<>") {
            Some(rest) => Ok((ReversePath::Null, rest)),
            None => path(text, utf8).map(|(address, rest)| (ReversePath::Address(address), rest)),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

impl ForwardPath {
    /// Parses `<…>` at the front of `text`; the rest (parameters) is handed back untouched.
    pub fn parse(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        const POSTMASTER: &str = "<postmaster>";
        match text.split_at_checked(POSTMASTER.len()) {
            Some((first, rest)) if first.eq_ignore_ascii_case(POSTMASTER) => {
                Ok((ForwardPath::Postmaster, rest))
            }
            _ => path(text, utf8).map(|(address, rest)| (ForwardPath::Address(address), rest)),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("<postmaster>"),
            ForwardPath::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// A domain name for comparison and storage: IDNA A-labels, lower case, a leading or trailing dot
/// ignored (requirement 7). `None` if it is not a domain name.
pub fn canonical_domain(domain: &str) -> Option<String> {
    let bare = domain.strip_prefix('.').unwrap_or(domain);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let ascii = match bare.is_ascii() {
        true => bare.to_ascii_lowercase(),
        // Bounded before the costly part: each character becomes at least one octet.
        false if bare.len() > 4 * NAME_BYTES_MAX => return None,
        false => idna::domain_to_ascii_cow(bare.as_bytes(), idna::AsciiDenyList::STD3).ok()?.into_owned(),
    };
    (ascii.len() <= NAME_BYTES_MAX && ascii.split('.').all(is_label)).then_some(ascii)
}

/// Of a local part that holds another address (SRS): the digit behind `SRS`, and what follows, from the separator on.
pub fn rewritten_tag(local: &str) -> Option<(u8, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let [name @ .., digit] = tag.as_bytes() else { return None };
    let is_one = name.eq_ignore_ascii_case(b"SRS") && matches!(digit, b'0' | b'1');
    (is_one && rest.starts_with(['=', '+', '-'])).then_some((*digit, rest))
}

/// Path = "<" [ A-d-l ":" ] Mailbox ">"
fn path(text: &str, utf8: bool) -> Result<(Address, &str), AddressError> {
    let inner = text.strip_prefix('<').ok_or(AddressError::Syntax)?;
    let (address, rest) = mailbox(after_route(inner)?)?;
    let rest = rest.strip_prefix('>').ok_or(AddressError::Syntax)?;
    if text.len() - rest.len() > PATH_BYTES_MAX {
        return Err(AddressError::PathTooLong);
    }
    if !utf8 && address.is_utf8() {
        return Err(AddressError::NeedsUtf8);
    }
    Ok((address, rest))
}

/// A-d-l = At-domain *( "," At-domain )
fn after_route(inner: &str) -> Result<&str, AddressError> {
    if !inner.starts_with('@') {
        return Ok(inner);
    }
    let (route, rest) = inner.split_once(':').ok_or(AddressError::Syntax)?;
    let well_formed = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    if well_formed { Ok(rest) } else { Err(AddressError::Syntax) }
}

/// Mailbox = Local-part "@" ( Domain / address-literal )
fn mailbox(text: &str) -> Result<(Address, &str), AddressError> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = text.find(|c: char| c != '.' && !is_atext(c)).unwrap_or(text.len());
            (text[..end].to_owned(), &text[end..])
        }
    };
    if !text.starts_with('"') && !is_dot_string(&local) {
        return Err(AddressError::Syntax);
    }
    let rest = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
    let end = match rest.starts_with('[') {
        true => rest.find(']').ok_or(AddressError::Syntax)? + 1,
        false => rest.find(|c: char| c.is_ascii() && !is_domain_char(c)).unwrap_or(rest.len()),
    };
    let (domain, rest) = rest.split_at(end);
    let local_bytes_max = if rewritten_tag(&local).is_some() { REWRITTEN_BYTES_MAX } else { LOCAL_BYTES_MAX };
    if local.len() > local_bytes_max {
        return Err(AddressError::LocalTooLong);
    }
    if domain.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::DomainTooLong);
    }
    if !is_domain(domain) && !is_literal(domain) {
        return Err(AddressError::Syntax);
    }
    Ok((Address { local, domain: domain.to_owned() }, rest))
}

/// The content of a Quoted-string after its first quote, and what follows its last.
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((content, &text[at + 1..])),
            // quoted-pairSMTP = %d92 %d32-126
            '\\' => match chars.next() {
                Some((_, escaped @ ' '..='~')) => content.push(escaped),
                _ => return Err(AddressError::Syntax),
            },
            ' '..='~' => content.push(c),
            c if !c.is_ascii() && !c.is_control() => content.push(c),
            _ => return Err(AddressError::Syntax),
        }
    }
    Err(AddressError::Syntax)
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 3.2.3, with UTF-8 as RFC 6531 3.3 adds it.
fn is_atext(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        false => !c.is_control(),
    }
}

fn is_domain_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.'
}

fn is_domain(text: &str) -> bool {
    !text.starts_with('.') && !text.ends_with('.') && canonical_domain(text).is_some()
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// RFC 5321 4.1.3.
fn is_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return false;
    };
    match inner.split_once(':') {
        None => inner.parse::<Ipv4Addr>().is_ok(),
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6") => rest.parse::<Ipv6Addr>().is_ok(),
        // General-address-literal: dcontent is printable ASCII without brackets and backslash.
        Some((tag, rest)) => {
            is_label(tag)
                && !rest.is_empty()
                && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"[]\\".contains(&byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local_and_domain(text: &str) -> Option<(String, String)> {
        let address = Address::parse(text).ok()?;
        Some((address.local().to_owned(), address.domain().to_owned()))
    }

    #[test]
    fn the_grammar_of_rfc_5321() {
        for (text, local, domain) in [
            ("alice@example.test", "alice", "example.test"),
            ("a.b+c=d@x", "a.b+c=d", "x"),
            ("\"a b\"@x.test", "a b", "x.test"),
            (r#""q\"\\.@"@x.test"#, "q\"\\.@", "x.test"),
            ("\"\"@x.test", "", "x.test"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
            ("a@[x-tag:anything.goes]", "a", "[x-tag:anything.goes]"),
            ("j\u{fc}rgen@b\u{fc}cher.example", "j\u{fc}rgen", "b\u{fc}cher.example"),
        ] {
            assert_eq!(local_and_domain(text), Some((local.into(), domain.into())), "{text}");
        }
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@x",
            ".a@x",
            "a.@x",
            "a..b@x",
            "a b@x",
            "a@x.",
            "a@.x",
            "a@x..y",
            "a@-x",
            "a@x-",
            "a@x_y",
            "a@[192.0.2.256]",
            "a@[192.0.2.1",
            "a@[IPv6:x]",
            "a@[]",
            "a@b@c",
            "\"a@x",
            "\"a\"b@x",
            "\"a\n\"@x",
            "\"\\\u{fc}\"@x",
            "a\u{7f}@x",
            "a\r\n@x",
            "<a@x>",
            "a@x>",
            "a@x y",
            "a(c)@x",
            "a@\u{fc}_.example",
        ] {
            assert_eq!(local_and_domain(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_hand_back_what_follows() {
        let address = |text| Address::parse(text).unwrap();
        assert_eq!(ReversePath::parse("<> SIZE=1", false), Ok((ReversePath::Null, " SIZE=1")));
        let (path, rest) = ReversePath::parse("<a@x.test>BODY=7BIT", false).unwrap();
        assert_eq!((path, rest), (ReversePath::Address(address("a@x.test")), "BODY=7BIT"));
        assert_eq!(ForwardPath::parse("<PostMaster> X", false), Ok((ForwardPath::Postmaster, " X")));
        let routed = ForwardPath::parse("<@a.test,@b.test:c@d.test>", false).unwrap();
        assert_eq!(routed, (ForwardPath::Address(address("c@d.test")), ""));
        for bad in
            ["a@x.test", "<a@x.test", "< a@x.test>", "<a@x.test >", "<>", "<@a.test:>", "<@a:b>", "<@:a@b>"]
        {
            assert_eq!(ForwardPath::parse(bad, true), Err(AddressError::Syntax), "{bad}");
        }
        assert_eq!(ReversePath::parse("<\u{fc}@x.test>", false), Err(AddressError::NeedsUtf8));
        assert!(ReversePath::parse("<\u{fc}@x.test>", true).is_ok());
    }

    #[test]
    fn each_limit_holds_at_its_last_octet() {
        let domain = |len: usize| {
            let mut domain = "d".repeat(63) + "." + &"d".repeat(63) + "." + &"d".repeat(63) + ".";
            domain.push_str(&"d".repeat(len - domain.len()));
            domain
        };
        let local = |len| "l".repeat(len);
        assert!(Address::parse(&format!("{}@x", local(64))).is_ok());
        assert_eq!(Address::parse(&format!("{}@x", local(65))), Err(AddressError::LocalTooLong));
        let rewritten = |octets: usize| format!("SRS0={}@x", local(octets - 5));
        assert!(Address::parse(&rewritten(REWRITTEN_BYTES_MAX)).is_ok());
        let long = Address::parse(&rewritten(REWRITTEN_BYTES_MAX + 1));
        assert_eq!(long, Err(AddressError::LocalTooLong));
        assert!(Address::parse(&format!("a@{}", domain(NAME_BYTES_MAX))).is_ok());
        assert_eq!(Address::parse(&format!("a@{}", domain(255))), Err(AddressError::Syntax));
        assert_eq!(Address::parse(&format!("a@{}", domain(255) + "d")), Err(AddressError::DomainTooLong));
        let path = |len: usize| format!("<{}@{}>", local(len - 3 - 200), domain(200));
        assert!(ForwardPath::parse(&path(256), false).is_ok());
        assert_eq!(ForwardPath::parse(&path(257), false), Err(AddressError::PathTooLong));
    }

    #[test]
    fn canonical_forms_compare() {
        let canonical = |text| Address::parse(text).unwrap().canonical();
        assert_eq!(canonical("Al.Ice@EXAMPLE.Test"), "al.ice@example.test");
        assert_eq!(canonical("\"alice\"@x.test"), canonical("alice@x.test"));
        assert_eq!(canonical("\u{dc}@B\u{dc}CHER.example"), "\u{fc}@xn--bcher-kva.example");
        assert_eq!(canonical("\"A B\"@x.test"), "\"a b\"@x.test");
        assert_eq!(canonical("a@[IPv6:2001:DB8::1]"), "a@[ipv6:2001:db8::1]");
        assert_eq!(canonical_domain(".X.Example.").as_deref(), Some("x.example"));
        for bad in ["", ".", "..", "a..b", "a b", "a_b", "-a", &"x".repeat(64), &"\u{fc}.".repeat(600)] {
            assert_eq!(canonical_domain(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Every address survives its own wire form, and its canonical form is a fixed point.
        #[test]
        fn the_wire_form_reads_back(local in "[ -~\u{e0}-\u{ff}]{0,40}", domain in "[a-z\u{e0}-\u{f6}]{1,9}(\\.[a-z]{1,9}){0,3}") {
            let address = Address { local, domain };
            prop_assume!(is_domain(&address.domain) && address.local.len() <= LOCAL_BYTES_MAX);
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
            let canonical = Address::parse(&address.canonical()).unwrap().canonical();
            prop_assert_eq!(canonical, address.canonical());
        }

        /// Nothing a client sends makes the parser panic or return more than it read.
        #[test]
        fn garbage_is_refused_quietly(text in "[<@\"\\\\>:,.\\[\\]a\u{fc} -]{0,40}|.{0,400}") {
            let _ = Address::parse(&text);
            let _ = canonical_domain(&text);
            for utf8 in [true, false] {
                if let Ok((path, rest)) = ReversePath::parse(&text, utf8) {
                    prop_assert!(text.ends_with(rest));
                    let wire = path.to_string();
                    prop_assert_eq!(ReversePath::parse(&wire, utf8), Ok((path, "")));
                }
                let _ = ForwardPath::parse(&text, utf8);
            }
        }
    }
}
