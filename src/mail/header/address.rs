//! Address lists (RFC 5322 3.4, with 4.4), kept as ENVELOPE shows them.
//! What breaks the syntax still yields an address: a mail client must see that there was one.

use super::lexer::{Lexer, is_atext, is_atext_or_dot};

/// Entries taken from one list; the rest of it is left out.
pub const ADDRESSES_MAX: usize = 10_000;

/// An entry of an address list: encoded-words are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Mailbox(Mailbox),
    GroupStart(Vec<u8>),
    GroupEnd,
}

/// A mailbox with what of it was there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mailbox {
    pub name: Option<Vec<u8>>,
    /// The obsolete source route, with its `@`.
    pub route: Option<Vec<u8>>,
    /// Quoting removed.
    pub local: Option<Vec<u8>>,
    pub domain: Option<Vec<u8>>,
}

impl Address {
    /// `None`: it only begins or ends a group.
    pub fn into_mailbox(self) -> Option<Mailbox> {
        match self {
            Address::Mailbox(mailbox) => Some(mailbox),
            Address::GroupStart(_) | Address::GroupEnd => None,
        }
    }
}

/// Takes an address-list apart.
pub fn addresses(value: &[u8]) -> Vec<Address> {
    let mut list = List { lexer: Lexer::new(value), found: Vec::new(), in_group: false };
    list.lexer.skip_blanks();
    while list.lexer.peek().is_some() && list.found.len() < ADDRESSES_MAX {
        if !list.lexer.take(b',') {
            list.address();
        }
    }
    list.found
}

struct List<'a> {
    lexer: Lexer<'a>,
    found: Vec<Address>,
    in_group: bool,
}

impl List<'_> {
    fn address(&mut self) {
        // Dropped before the copy, lest one huge comment be copied for every address after it.
        self.lexer.comment = None;
        let start = self.lexer.clone();
        match self.phrase() {
            Some(name) if self.lexer.take(b':') => self.group(name),
            _ => {
                self.lexer = start;
                self.mailbox();
            }
        }
    }

    /// What stands between `:` and `;`.
    fn group(&mut self, name: Vec<u8>) {
        self.found.push(Address::GroupStart(name));
        self.in_group = true;
        while self.found.len() < ADDRESSES_MAX {
            match self.lexer.peek() {
                None | Some(b';') => break,
                Some(b',') => _ = self.lexer.take(b','),
                Some(_) => self.mailbox(),
            }
        }
        self.lexer.take(b';');
        self.in_group = false;
        self.found.push(Address::GroupEnd);
    }

    fn mailbox(&mut self) {
        self.lexer.comment = None;
        let start = self.lexer.clone();
        let phrase = self.phrase();
        if self.lexer.peek() == Some(b'<') {
            let mut mailbox = Mailbox { name: phrase.filter(|name| !name.is_empty()), ..Mailbox::default() };
            self.angle_address(&mut mailbox);
            self.skip_to_separator();
            self.found.push(Address::Mailbox(mailbox));
            return;
        }
        self.lexer = start;
        let mut mailbox = Mailbox::default();
        self.address_spec(&mut mailbox);
        mailbox.name = self.lexer.comment.take().filter(|comment| !comment.is_empty());
        // Several words without an address are a name, one is a mailbox without its domain.
        if mailbox.domain.is_none() && mailbox.name.is_none() && phrase != mailbox.local {
            mailbox = Mailbox { name: phrase, ..Mailbox::default() };
        }
        self.skip_to_separator();
        if mailbox != Mailbox::default() {
            self.found.push(Address::Mailbox(mailbox));
        }
    }

    /// `<[@route:]local@domain>`.
    fn angle_address(&mut self, mailbox: &mut Mailbox) {
        self.lexer.take(b'<');
        if self.lexer.peek() == Some(b'@') {
            let route = self.route();
            if self.lexer.take(b':') {
                mailbox.route = Some(route);
            }
        }
        self.address_spec(mailbox);
        self.lexer.take(b'>');
    }

    /// `@one,@two` (RFC 5322 4.4, obs-domain-list).
    fn route(&mut self) -> Vec<u8> {
        let mut route = Vec::new();
        loop {
            match self.lexer.peek() {
                Some(b'@') => {
                    route.push(b'@');
                    self.lexer.take(b'@');
                    self.domain_into(&mut route);
                }
                Some(b',') => {
                    route.push(b',');
                    self.lexer.take(b',');
                }
                _ => return route,
            }
        }
    }

    fn address_spec(&mut self, mailbox: &mut Mailbox) {
        let mut local = Vec::new();
        let mut any = false;
        // RFC 5322 4.4: obs-local-part is words joined by dots, quoted ones among them.
        loop {
            if let Some(quoted) = self.lexer.quoted() {
                local.extend(quoted);
                self.lexer.skip_blanks();
            } else if !self.lexer.dot_atom(&mut local) {
                break;
            }
            any = true;
            if local.last() != Some(&b'.') && self.lexer.peek() != Some(b'.') {
                break;
            }
        }
        if any {
            mailbox.local = Some(local);
        }
        if self.lexer.take(b'@') {
            let mut domain = Vec::new();
            self.domain_into(&mut domain);
            mailbox.domain = (!domain.is_empty()).then_some(domain);
        }
    }

    fn domain_into(&mut self, text: &mut Vec<u8>) {
        if !self.lexer.domain_literal(text) {
            self.lexer.dot_atom(text);
        }
    }

    /// Words with one blank between them (phrase, obs-phrase). `None` if there is not even one.
    fn phrase(&mut self) -> Option<Vec<u8>> {
        if self.lexer.peek() == Some(b'<') {
            return Some(Vec::new());
        }
        let mut phrase: Option<Vec<u8>> = None;
        loop {
            let word = match self.lexer.peek() {
                Some(b'"') => self.lexer.quoted(),
                Some(byte) if is_atext(byte) || (byte == b'.' && phrase.is_some()) => {
                    self.lexer.run(is_atext_or_dot).map(<[u8]>::to_vec)
                }
                _ => None,
            };
            let Some(word) = word else { return phrase };
            match &mut phrase {
                Some(phrase) => {
                    phrase.push(b' ');
                    phrase.extend(word);
                }
                None => phrase = Some(word),
            }
            self.lexer.skip_blanks();
        }
    }

    /// Steps over what cannot belong to an address, up to `,`, in a group `;`, or the end.
    fn skip_to_separator(&mut self) {
        loop {
            match self.lexer.peek() {
                None | Some(b',') => return,
                Some(b';') if self.in_group => return,
                Some(b'"') => _ = self.lexer.quoted(),
                Some(b'(') => self.lexer.skip_blanks(),
                Some(_) => self.lexer.advance(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `name|route|local|domain`, groups as `[name` and `]`.
    fn shown(value: &str) -> String {
        let text = |part: &Option<Vec<u8>>| {
            part.as_ref().map_or("-".into(), |part| String::from_utf8_lossy(part).into_owned())
        };
        let entries = addresses(value.as_bytes()).into_iter().map(|entry| match entry {
            Address::Mailbox(mailbox) => {
                let Mailbox { name, route, local, domain } = &mailbox;
                format!("{}|{}|{}|{}", text(name), text(route), text(local), text(domain))
            }
            Address::GroupStart(name) => format!("[{}", text(&Some(name))),
            Address::GroupEnd => "]".into(),
        });
        entries.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn mailboxes_of_every_form() {
        for (value, expected) in [
            ("user@domain", "-|-|user|domain"),
            ("Real Name <user@domain>", "Real Name|-|user|domain"),
            ("\"Real, \\\"Q\\\" Name\" <user@domain>", "Real, \"Q\" Name|-|user|domain"),
            ("J. R. Doe <j.doe@example.org>", "J. R. Doe|-|j.doe|example.org"),
            ("user@domain (Real (nested) Name)", "Real (nested) Name|-|user|domain"),
            ("<@one,@two:user@domain>", "-|@one,@two|user|domain"),
            ("\"a b\".c@domain", "-|-|a b.c|domain"),
            ("pete (x) . \r\n smith @ (y) [127.0.0.1]", "y|-|pete.smith|[127.0.0.1]"),
            ("=?utf-8?q?J=C3=B6rg?= <j@d>, k@d", "=?utf-8?q?J=C3=B6rg?=|-|j|d -|-|k|d"),
            ("J\u{f6}rg <j@d>", "J\u{f6}rg|-|j|d"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn groups_nest_no_deeper_than_one() {
        assert_eq!(
            shown("group: g1@d1.org, g2@d2.org;, group2: (foo) ;, x@y"),
            "[group -|-|g1|d1.org -|-|g2|d2.org ] [group2 ] -|-|x|y"
        );
        assert_eq!(shown("undisclosed-recipients:"), "[undisclosed-recipients ]");
    }

    #[test]
    fn broken_lists_still_show_what_was_there() {
        assert_eq!(shown(""), "");
        assert_eq!(shown(" , ,(c),"), "");
        assert_eq!(shown("<>"), "-|-|-|-");
        assert_eq!(shown("root"), "-|-|root|-");
        assert_eq!(shown("Someone Else, \"\""), "Someone Else|-|-|- -|-||-");
        assert_eq!(shown("<root>"), "-|-|root|-");
        assert_eq!(shown("Name <a@b> junk, c@d; e@f"), "Name|-|a|b -|-|c|d");
        assert_eq!(shown("a@b <c@d"), "-|-|a|b");
        assert_eq!(shown("(unclosed comment, x@y"), "");
        assert_eq!(shown("\"unclosed, x@y"), "-|-|unclosed, x@y|-");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(value in "[a-c,;:<>@()\"\\\\. \r\n\\[\\]]{0,60}", bytes: Vec<u8>) {
            let found = addresses(value.as_bytes());
            let opened = found.iter().filter(|entry| matches!(entry, Address::GroupStart(_))).count();
            let closed = found.iter().filter(|entry| matches!(entry, Address::GroupEnd)).count();
            prop_assert_eq!(opened, closed);
            let _ = addresses(&bytes);
        }
    }
}
