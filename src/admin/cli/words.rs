//! Words of the command line that are not plain strings: durations, sizes, passwords, policy files. Pure.

use crate::admin::control::request::Quota;
use crate::mail::ids::Timestamp;

/// Characters of a password; a longer one is no safer.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// `90s`, `30m`, `1h`, `2d`.
pub fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a time such as 30m, 1h or 2d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(factor).ok_or_else(wrong)
}

/// A moment as RFC 3339 writes it.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let moment = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|_| "write a moment such as 2026-11-27T13:00:00Z or 2026-11-27T14:00:00+01:00".to_owned())?;
    u64::try_from(moment.timestamp_millis()).map(Timestamp).map_err(|_| "that was before 1970".to_owned())
}

/// `default`, or bytes with K, M, G or T (powers of 1024).
pub fn quota(text: &str) -> Result<Quota, String> {
    if text == "default" {
        return Ok(Quota::Default);
    }
    let wrong = || "write a size such as 500M or 5G, or 'default'".to_owned();
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(1 << shift).map(Quota::Bytes).ok_or_else(wrong)
}

/// One line of standard input as a password.
pub fn password(line: &str) -> Result<String, String> {
    let password = line.strip_suffix('\n').unwrap_or(line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err("the password is empty; give one line on standard input".to_owned());
    }
    if password.len() > PASSWORD_BYTES_MAX || password.contains(['\0', '\n', '\r']) {
        return Err(format!("a password is one line of at most {PASSWORD_BYTES_MAX} bytes"));
    }
    Ok(password.to_owned())
}

/// Settings out of TOML: `smtp.port = 25` and `[smtp]` with `port = 25` are the same.
pub fn policy_file(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message().replace('\n', ", "))
    })?;
    let mut settings = Vec::new();
    flatten("", &table, &mut settings)?;
    Ok(settings)
}

fn flatten(
    prefix: &str,
    table: &toml::Table,
    into: &mut Vec<(String, Option<String>)>,
) -> Result<(), String> {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, into)?,
            toml::Value::String(text) => into.push((key, Some(text.clone()))),
            toml::Value::Integer(number) => into.push((key, Some(number.to_string()))),
            toml::Value::Boolean(flag) => into.push((key, Some(flag.to_string()))),
            toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) => {
                return Err(format!(
                    "{key}: write its value as text in quotes, a whole number, true or false"
                ));
            }
        }
    }
    Ok(())
}

/// One line of an exported policy.
pub fn policy_line(key: &str, value: &str) -> String {
    format!("{key} = {}\n", toml::Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("1h"), Ok(3_600));
        assert_eq!(seconds("2d"), Ok(172_800));
        for wrong in
            ["", "h", "1", "1w", "-1h", "1.5h", "99999999999999999999d", "18446744073709551615d", "1é"]
        {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(moment("1970-01-01T01:00:01+01:00"), Ok(Timestamp(1_000)));
        for wrong in ["", "yesterday", "2026-11-27", "1969-12-31T23:59:59Z"] {
            assert!(moment(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(quota("default"), Ok(Quota::Default));
        assert_eq!(quota("0"), Ok(Quota::Bytes(0)));
        assert_eq!(quota("5G"), Ok(Quota::Bytes(5 << 30)));
        assert_eq!(quota("16777215T"), Ok(Quota::Bytes(16_777_215 << 40)));
        for wrong in ["", "G", "5X", "-1", "16777216T", "5 G"] {
            assert!(quota(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_password_is_one_line() {
        assert_eq!(password("demo-bob\r\n"), Ok("demo-bob".to_owned()));
        assert_eq!(password(" spaces count "), Ok(" spaces count ".to_owned()));
        assert!(password("\n").is_err());
        assert!(password("two\nlines\n").is_err());
        assert!(password(&"x".repeat(PASSWORD_BYTES_MAX)).is_ok());
        assert!(password(&"x".repeat(PASSWORD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_policy_file_gives_flat_keys_and_what_is_exported_can_be_imported() {
        let text = "smtp.port = 2525\n[imap]\nbanner = \"hello \\\"you\\\"\"\n[auth]\nplaintext_without_tls = false\n";
        let settings = policy_file(text).unwrap();
        let find =
            |key: &str| settings.iter().find(|(found, _)| found == key).and_then(|(_, value)| value.clone());
        assert_eq!(find("smtp.port"), Some("2525".to_owned()));
        assert_eq!(find("imap.banner"), Some("hello \"you\"".to_owned()));
        assert_eq!(find("auth.plaintext_without_tls"), Some("false".to_owned()));
        let exported: String = settings
            .iter()
            .map(|(key, value)| policy_line(key, value.as_deref().unwrap_or_default()))
            .collect();
        let mut again = policy_file(&exported).unwrap();
        again.sort();
        let mut settings = settings;
        settings.sort();
        assert_eq!(again, settings);
    }

    #[test]
    fn a_broken_policy_file_is_answered_with_its_line() {
        assert!(policy_file("a = 1\nb =\n").unwrap_err().starts_with("line 2: "));
        assert!(policy_file("a = [1]\n").unwrap_err().starts_with("a: "));
    }
}
