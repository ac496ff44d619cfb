//! The mail that a script's mailbox is filled with: `NAME.mbox`, or `default.mbox`.

use super::value::with_crlf;

/// A message of an mbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// With line ends as they travel.
    pub raw: Vec<u8>,
    /// What the `From ` line says of when it came, as APPEND takes it: `"22-Feb-2008 23:00:01 +0200"`.
    pub date: Option<String>,
}

/// The messages of an mbox.
pub fn messages(mbox: &[u8]) -> Vec<Mail> {
    let mut messages = Vec::new();
    let mut current: Option<(Option<String>, Vec<u8>)> = None;
    let finish = |(date, raw): (Option<String>, Vec<u8>)| Mail { raw: with_crlf(&raw), date };
    for line in mbox.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"From ") {
            let date = date_of(&String::from_utf8_lossy(line));
            messages.extend(current.replace((date, Vec::new())).map(finish));
        } else if let Some((_, raw)) = &mut current {
            raw.extend_from_slice(line);
        }
    }
    messages.extend(current.map(finish));
    messages
}

/// `From user@domain  Fri Feb 22 23:00:01 2008 +0200`; without a zone it is UTC.
fn date_of(from_line: &str) -> Option<String> {
    let words: Vec<&str> = from_line.split_whitespace().collect();
    let [_, _, _, month, day, time, year, zone @ ..] = words.as_slice() else { return None };
    let zone = zone.first().filter(|zone| zone.starts_with(['+', '-'])).unwrap_or(&"+0000");
    let day: u8 = day.parse().ok()?;
    time.contains(':').then(|| format!("\"{day:2}-{month}-{year} {time} {zone}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mbox_is_cut_at_its_from_lines() {
        let mbox = b"From a@b Fri Feb  2 23:00:01 2008 +0200\nSubject: 1\n\nFrom here\nFrom a@b Fri Feb 22 23:00:01 2008\nSubject: 2\r\n\n>From x\n";
        let messages = messages(mbox);
        let raw: Vec<&[u8]> = messages.iter().map(|mail| &mail.raw[..]).collect();
        assert_eq!(raw, [&b"Subject: 1\r\n\r\n"[..], b"", b"Subject: 2\r\n\r\n>From x\r\n"]);
        let dates: Vec<Option<&str>> = messages.iter().map(|mail| mail.date.as_deref()).collect();
        assert_eq!(
            dates,
            [Some("\" 2-Feb-2008 23:00:01 +0200\""), None, Some("\"22-Feb-2008 23:00:01 +0000\"")]
        );
        assert!(super::messages(b"no mail").is_empty());
    }
}
