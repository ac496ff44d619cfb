//! The mail that a script's mailbox is filled with: `NAME.mbox`, or `default.mbox`.

use super::value::with_crlf;

/// The messages of an mbox, with line ends as they travel.
pub fn messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    for line in mbox.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"From ") {
            messages.extend(current.replace(Vec::new()).map(|message| with_crlf(&message)));
        } else if let Some(message) = &mut current {
            message.extend_from_slice(line);
        }
    }
    messages.extend(current.map(|message| with_crlf(&message)));
    messages
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_mbox_is_cut_at_its_from_lines() {
        let mbox = b"From a@b Mon\nSubject: 1\n\nFrom here\nFrom a@b Tue\nSubject: 2\r\n\n>From x\n";
        let messages = super::messages(mbox);
        assert_eq!(messages, [&b"Subject: 1\r\n\r\n"[..], b"", b"Subject: 2\r\n\r\n>From x\r\n"]);
        assert!(super::messages(b"no mail").is_empty());
    }
}
