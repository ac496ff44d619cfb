//! `v=X; tag=value; …`, as DKIM, DMARC, MTA-STS and TLS-RPT have it (RFC 6376 3.2).

/// The tags of a record, their values without blanks; `None`: it is of another kind.
pub fn read<'a>(record: &'a str, version: &str) -> Option<Vec<(&'a str, String)>> {
    let mut tags = record.split(';').map(|tag| {
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        (name.trim(), value.chars().filter(|c| !c.is_whitespace()).collect::<String>())
    });
    let first = tags.next()?;
    let is_it = first.0.eq_ignore_ascii_case("v") && first.1.eq_ignore_ascii_case(version);
    is_it.then(|| tags.filter(|(name, _)| !name.is_empty()).collect())
}

pub fn get<'a>(tags: &'a [(&str, String)], name: &str) -> Option<&'a str> {
    tags.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Whether a list of flags (`t=y:s`) has this one.
pub fn has_flag(tags: &[(&str, String)], name: &str, flag: &str) -> bool {
    get(tags, name).is_some_and(|flags| flags.split(':').any(|it| it.eq_ignore_ascii_case(flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_they_are_written_in_the_wild() {
        let tags = read("v=DKIM1;k=rsa; t=s:Y ;p=AB CD\tEF;", "DKIM1").unwrap();
        assert_eq!((get(&tags, "p"), get(&tags, "K"), get(&tags, "x")), (Some("ABCDEF"), Some("rsa"), None));
        assert!(has_flag(&tags, "t", "y") && has_flag(&tags, "t", "s") && !has_flag(&tags, "t", "z"));
        assert_eq!(read("v=spf1 -all", "DKIM1"), None);
        assert_eq!(read("k=rsa; v=DKIM1", "DKIM1"), None);
        assert_eq!(read("", "DKIM1"), None);
    }
}
