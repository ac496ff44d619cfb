//! That a domain wants reports, and where they go (RFC 8460 3). Pure.

use crate::mail::address::{Address, canonical_domain};
use crate::state::tls_reports::MAILS_MAX;

/// Where a domain's reports go, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// At most [`MAILS_MAX`].
    pub mails: Vec<Address>,
    /// At most [`POSTS_MAX`].
    pub posts: Vec<Url>,
}

pub const POSTS_MAX: usize = 4;
const URI_BYTES_MAX: usize = 1_000;
pub const HTTPS_PORT: u16 = 443;

/// `https://host[:port]/path?query`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    pub port: u16,
    /// With its first slash, and the query.
    pub path: String,
}

/// By the TXT records at `_smtp._tls`. `None`: it wants none, or there is more than one that says so.
pub fn wanted(records: &[Vec<u8>]) -> Option<Wanted> {
    let mut all = records.iter().filter_map(|record| {
        let record = std::str::from_utf8(record).ok()?;
        record.strip_prefix("v=TLSRPTv1")?.trim_start_matches([' ', '\t']).strip_prefix(';')
    });
    let (fields, more) = (all.next()?, all.next());
    if more.is_some() {
        return None;
    }
    let uris = fields.split(';').find_map(|field| {
        let (name, value) = field.split_once('=')?;
        (name.trim() == "rua").then_some(value)
    })?;
    let mut wanted = Wanted::default();
    for uri in uris.split(',').map(str::trim).filter(|uri| uri.len() <= URI_BYTES_MAX) {
        if let Some(mail) = after_scheme(uri, "mailto:").and_then(mailbox) {
            if wanted.mails.len() < MAILS_MAX && !wanted.mails.contains(&mail) {
                wanted.mails.push(mail);
            }
        } else if let Some(url) = after_scheme(uri, "https://").and_then(url)
            && wanted.posts.len() < POSTS_MAX
            && !wanted.posts.contains(&url)
        {
            wanted.posts.push(url);
        }
    }
    (wanted != Wanted::default()).then_some(wanted)
}

fn after_scheme<'a>(uri: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, rest) = uri.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Without the fields that RFC 6068 lets follow: a report has its own.
fn mailbox(text: &str) -> Option<Address> {
    let address = text.split('?').next().unwrap_or_default();
    Address::parse(&decoded(address)?).ok().filter(|address| !address.is_utf8())
}

/// RFC 3986 2.1; what the record's own grammar uses (`,`, `;`, `!`) comes so.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn url(text: &str) -> Option<Url> {
    let end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (authority, rest) = text.split_at(end);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (authority, HTTPS_PORT),
    };
    let path = rest.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    // What goes into the question's first line must not end it.
    path.bytes().all(|byte| byte.is_ascii_graphic()).then_some(())?;
    Some(Url { host: canonical_domain(host)?, port, path })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(record: &str) -> Option<Vec<String>> {
        let wanted = wanted(&[record.as_bytes().to_vec()])?;
        let mails = wanted.mails.iter().map(Address::to_string);
        let posts = wanted.posts.iter().map(|it| format!("{}:{}{}", it.host, it.port, it.path));
        Some(mails.chain(posts).collect())
    }

    #[test]
    fn a_record_says_where_reports_go() {
        for (record, to) in [
            ("v=TLSRPTv1; rua=mailto:tls@x.test", Some(vec!["tls@x.test"])),
            (
                "v=TLSRPTv1;rua=MAILTO:a%2Cb@x.test?subject=y,https://X.test/r?d=1;",
                Some(vec!["x.test:443/r?d=1"]),
            ),
            (
                "v=TLSRPTv1; x=y; rua = mailto:a@x.test , mailto:a@x.test,https://x.test:8443",
                Some(vec!["a@x.test", "x.test:8443/"]),
            ),
            ("v=TLSRPTv1; rua=ftp://x.test,https://y.test?q#f", Some(vec!["y.test:443/?q"])),
            ("v=TLSRPTv1; rua=http://x.test", None),
            ("v=TLSRPTv1; rua=https://x.test:0/", None),
            ("v=TLSRPTv1; rua=https://x.test/a b", None),
            ("v=TLSRPTv1; rua=https://u@x.test/", None),
            ("v=TLSRPTv1; rua=mailto:a%0D%0A@x.test", None),
            ("v=TLSRPTv1; rua=mailto:%", None),
            ("v=TLSRPTv1; rua=", None),
            ("v=TLSRPTv1", None),
            ("v=TLSRPTv10; rua=mailto:a@x.test", None),
            ("v=TLSRPTv2; rua=mailto:a@x.test", None),
        ] {
            let to = to.map(|to| to.into_iter().map(str::to_owned).collect());
            assert_eq!(shown(record), to, "{record}");
        }
        let one = b"v=TLSRPTv1; rua=mailto:a@x.test".to_vec();
        assert!(wanted(&[b"v=spf1 -all".to_vec(), one.clone()]).is_some());
        assert_eq!(wanted(&[one.clone(), one]), None, "which one?");
        assert_eq!(wanted(&[]), None);
    }

    #[test]
    fn no_more_is_sent_than_the_bounds_say() {
        let all = |count: usize| {
            let uris = (0..count).flat_map(|n| [format!("mailto:{n}@x.test"), format!("https://x.test/{n}")]);
            let record = format!("v=TLSRPTv1; rua={}", uris.collect::<Vec<_>>().join(","));
            let wanted = wanted(&[record.into_bytes()]).unwrap();
            (wanted.mails.len(), wanted.posts.len())
        };
        assert_eq!(all(MAILS_MAX), (MAILS_MAX, POSTS_MAX));
        assert_eq!(all(MAILS_MAX + 1), (MAILS_MAX, POSTS_MAX));
        let long =
            |bytes: usize| shown(&format!("v=TLSRPTv1; rua=https://x.test/{}", "p".repeat(bytes - 15)));
        assert!(long(URI_BYTES_MAX).is_some() && long(URI_BYTES_MAX + 1).is_none());
    }

    proptest! {
        /// Whatever is published gives an address and a path that end no line.
        #[test]
        fn hostile_records_are_judged(tail in "(mailto:|https://|,|%[0-9a-f]{0,2}|[a-z@.:/?#;=\r\n\u{fc}]){0,12}", bytes: Vec<u8>) {
            for record in [format!("v=TLSRPTv1;rua={tail}").into_bytes(), bytes] {
                if let Some(wanted) = wanted(&[record]) {
                    prop_assert!(wanted.posts.iter().all(|url| url.path.bytes().all(|byte| byte.is_ascii_graphic())));
                    prop_assert!(wanted.mails.iter().all(|mail| !mail.to_string().contains(char::is_control)));
                }
            }
        }
    }
}
