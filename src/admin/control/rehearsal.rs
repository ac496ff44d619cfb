//! `pollux policy test`: what would be made of a mail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::request::{Failure, WantedRehearsal};
use crate::policy::rehearsal::{Rehearsal, Said, Told};

/// Recipients of one question.
const RECIPIENTS_MAX: usize = 100;

pub fn read(wanted: WantedRehearsal) -> Result<Rehearsal, Failure> {
    let WantedRehearsal { client, helo, sender, recipients, text } = wanted;
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(Failure::refused(format!("give 1 to {RECIPIENTS_MAX} recipients")));
    }
    let text = text.map(|text| STANDARD.decode(text)).transpose();
    let text = text.map_err(|_| Failure::malformed("the message is not base64"))?;
    Ok(Rehearsal { client, helo, sender, recipients, text: text.map(|text| with_crlf(&text)) })
}

/// As it would come over SMTP, which knows no other line end.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
        out.extend_from_slice(b"\r\n");
    }
    out
}

pub fn shown(told: &Told, recipients: &[String]) -> Value {
    let each: Vec<Value> = told
        .recipients
        .iter()
        .zip(recipients)
        .map(|(said, to)| {
            let mut value = shown_said(said);
            value["to"] = json!(to);
            value
        })
        .collect();
    let message = told.message.as_ref().map(|message| {
        json!({ "found": message.found, "outcome": message.outcome, "decided_by": message.decided_by })
    });
    json!({ "sender": shown_said(&told.sender), "recipients": each, "message": message })
}

fn shown_said(said: &Said) -> Value {
    json!({
        "reply": said.reply,
        "decided_by": said.decided_by,
        "let_off": said.let_off,
        "allowed_by": said.allowed_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(recipients: usize, text: Option<&str>) -> WantedRehearsal {
        WantedRehearsal {
            client: "192.0.2.1".parse().unwrap(),
            helo: "x.test".to_owned(),
            sender: String::new(),
            recipients: vec!["a@a.test".to_owned(); recipients],
            text: text.map(str::to_owned),
        }
    }

    #[test]
    fn recipients_and_the_message_have_bounds() {
        assert!(read(wanted(0, None)).is_err() && read(wanted(RECIPIENTS_MAX + 1, None)).is_err());
        assert!(read(wanted(RECIPIENTS_MAX, None)).is_ok());
        assert!(read(wanted(1, Some("no base64!"))).is_err());
        let text = STANDARD.encode("A: b\n\nc\r\nd");
        assert_eq!(read(wanted(1, Some(&text))).unwrap().text.unwrap(), b"A: b\r\n\r\nc\r\nd\r\n");
    }
}
