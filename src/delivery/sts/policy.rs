//! What a domain publishes: that it has a policy (RFC 8461 3.1), and the policy (3.2). Pure.

use crate::mail::address::canonical_domain;
use crate::state::sts::{AGE_SECONDS_MAX, ID_BYTES_MAX, PATTERNS_BYTES_MAX, PATTERNS_MAX, StsMode};

/// A policy as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub mode: StsMode,
    pub mx: Vec<String>,
    pub age_seconds: u64,
}

/// The policy's id, by the TXT records at `_mta-sts`. `None`: there is none, or more than one.
pub fn id(records: &[Vec<u8>]) -> Option<String> {
    let mut ids = records.iter().filter_map(|record| {
        let record = std::str::from_utf8(record).ok()?;
        let fields = record.strip_prefix("v=STSv1")?.trim_start_matches([' ', '\t']).strip_prefix(';')?;
        Some(fields)
    });
    let (fields, more) = (ids.next()?, ids.next());
    if more.is_some() {
        return None;
    }
    let id = fields.split(';').find_map(|field| field.trim().strip_prefix("id="))?.trim_end();
    let good = (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    good.then(|| id.to_owned())
}

/// `Err` says what is wrong with it; it then counts as if it could not be had.
pub fn read(text: &str) -> Result<Read, String> {
    let (mut version, mut mode, mut age, mut mx) = (None, None, None, Vec::new());
    for line in text.split('\n').map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once(':').ok_or("a line of it has no colon")?;
        let value = value.trim();
        // RFC 8461 3.2: of what may stand there once, the first counts; what is not known is passed over.
        match key.trim_end() {
            "version" => _ = version.get_or_insert(value),
            "mode" => _ = mode.get_or_insert(value),
            "max_age" => _ = age.get_or_insert(value),
            "mx" => mx.push(pattern(value).ok_or("it names what is no host")?),
            _ => {}
        }
    }
    if version != Some("STSv1") {
        return Err("it is not of version STSv1".to_owned());
    }
    let mode = match mode {
        Some("enforce") => StsMode::Enforce,
        Some("testing") => StsMode::Testing,
        Some("none") => StsMode::None,
        _ => return Err("it has no mode that is known".to_owned()),
    };
    let age = age.filter(|age| age.len() <= 10 && age.bytes().all(|byte| byte.is_ascii_digit()));
    let age_seconds = age.and_then(|age| age.parse::<u64>().ok()).ok_or("it has no max_age")?;
    if mx.is_empty() && mode != StsMode::None {
        return Err("it names no host".to_owned());
    }
    if mx.len() > PATTERNS_MAX || mx.iter().map(String::len).sum::<usize>() > PATTERNS_BYTES_MAX {
        return Err("it names more hosts than are kept here".to_owned());
    }
    Ok(Read { mode, mx, age_seconds: age_seconds.min(AGE_SECONDS_MAX) })
}

fn pattern(text: &str) -> Option<String> {
    match text.strip_prefix("*.") {
        Some(domain) => canonical_domain(domain).map(|domain| format!("*.{domain}")),
        None => canonical_domain(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_record_says_that_there_is_a_policy() {
        for (records, found) in [
            (&["v=STSv1; id=20160831085700Z;"][..], Some("20160831085700Z")),
            (&["v=STSv1;id=1"], Some("1")),
            (&["v=STSv1 ; x=y; id=1 ; z=1"], Some("1")),
            (&["v=spf1 -all", "v=STSv1; id=1;"], Some("1")),
            (&["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
            (&["v=STSv1; id=a-b;"], None),
            (&["v=STSv1; id=;"], None),
            (&["v=STSv1;"], None),
            (&["v=STSv2; id=1;"], None),
            (&["v=STSv10; id=1;"], None),
            (&["v=STSv1; id=123456789012345678901234567890123;"], None),
            (&["\u{fc}"], None),
            (&[], None),
        ] {
            let records: Vec<_> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
            assert_eq!(id(&records).as_deref(), found, "{records:?}");
        }
    }

    #[test]
    fn a_policy_is_read_as_it_stands_or_not_at_all() {
        let whole =
            "version: STSv1\r\nmode: enforce\r\nmx: Mail.A.Test\r\nmx: *.b.test\r\nmax_age: 604800\r\n";
        let mx = vec!["mail.a.test".to_owned(), "*.b.test".to_owned()];
        let policy = Read { mode: StsMode::Enforce, mx: mx.clone(), age_seconds: 604_800 };
        assert_eq!(read(whole), Ok(policy.clone()));
        assert_eq!(read(&whole.replace("\r\n", "\n")), Ok(policy.clone()));
        // The first of each counts, and what is not known does not.
        let more = format!("{whole}mode: none\nversion: STSv2\nmax_age: 1\nx-y: z\n\n");
        assert_eq!(read(&more), Ok(policy.clone()));
        let long = read(&whole.replace("604800", "9999999999")).unwrap();
        assert_eq!(long.age_seconds, AGE_SECONDS_MAX);
        let none = read("version: STSv1\nmode: none\nmax_age: 86400").unwrap();
        assert_eq!((none.mode, none.mx.len()), (StsMode::None, 0));
        assert_eq!(read(&whole.replace("enforce", "testing")).unwrap().mode, StsMode::Testing);
        for (from, to) in [
            ("STSv1", "STSv2"),
            ("enforce", "Enforce"),
            ("mode: enforce\r\n", ""),
            ("604800", "-1"),
            ("604800", "12345678901"),
            ("604800", ""),
            ("*.b.test", "*.*.test"),
            ("*.b.test", "a b"),
            ("mx: Mail.A.Test\r\nmx: *.b.test\r\n", ""),
            ("mode", "<html>"),
            ("max_age: 604800", "max_age"),
        ] {
            let text = whole.replace(from, to);
            assert!(read(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_a_bound() {
        let with = |count: usize, host: &str| {
            let mx = format!("mx: {host}\n").repeat(count);
            read(&format!("version: STSv1\nmode: enforce\nmax_age: 1\n{mx}")).is_ok()
        };
        assert!(with(PATTERNS_MAX, "a.test") && !with(PATTERNS_MAX + 1, "a.test"));
        let long = format!("{}.test", "a".repeat(59));
        assert!(with(PATTERNS_BYTES_MAX / 64, &long) && !with(PATTERNS_BYTES_MAX / 64 + 1, &long));
    }

    proptest! {
        /// Whatever is published is read within the bounds, or not at all.
        #[test]
        fn hostile_policies_are_judged(
            lines in prop::collection::vec("(version: STSv1|mode: (enforce|none)|mx: [*.a\u{fc}]{0,9}|max_age: [0-9]{0,12}|.{0,20})\r?\n", 0..8),
            record: Vec<u8>,
        ) {
            if let Ok(read) = read(&lines.concat()) {
                prop_assert!(read.age_seconds <= AGE_SECONDS_MAX && read.mx.len() <= PATTERNS_MAX);
            }
            let record = [b"v=STSv1; id=", &record[..]].concat();
            if let Some(id) = id(&[record]) {
                prop_assert!((1..=ID_BYTES_MAX).contains(&id.len()));
            }
        }
    }
}
