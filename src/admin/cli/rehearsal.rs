//! `pollux policy test`: what would be made of a mail, and why.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::arguments::PolicyTest;
use super::{Problem, print};
use crate::admin::control::client;
use crate::admin::control::request::{LINE_BYTES_MAX, Request, WantedRehearsal};

/// Octets of a message: in base64 they fit a request.
const TEXT_BYTES_MAX: usize = LINE_BYTES_MAX / 8 * 5;

pub fn run(socket: &Path, test: PolicyTest) -> Result<(), Problem> {
    let PolicyTest { ip, helo, from, rcpt, file, json } = test;
    let text = file.as_deref().map(read).transpose()?.map(|text| STANDARD.encode(text));
    let helo = helo.unwrap_or_else(|| match ip {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    });
    let wanted = WantedRehearsal { client: ip, helo, sender: bare(&from), recipients: rcpt, text };
    let answer =
        client::ask(socket, Request::PolicyTest { wanted }).map_err(|failure| failure.to_string())?;
    print(&if json { format!("{answer:#}\n") } else { told(&answer) });
    Ok(())
}

/// `<>` is how one writes nobody.
fn bare(address: &str) -> String {
    address.trim_matches(['<', '>']).to_owned()
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    let (mut text, limit) = (Vec::new(), TEXT_BYTES_MAX as u64 + 1);
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut text)),
    };
    read.map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "{}: a message of more than {TEXT_BYTES_MAX} bytes is not tried",
            file.display()
        ));
    }
    Ok(text)
}

fn told(answer: &Value) -> String {
    let mut out = format!("MAIL: {}", said(&answer["sender"]));
    for recipient in answer["recipients"].as_array().into_iter().flatten() {
        out.push_str(&format!("RCPT {}: {}", word(&recipient["to"]), said(recipient)));
    }
    let message = &answer["message"];
    if message.is_object() {
        out.push_str(&format!("DATA: {}{}\n", word(&message["outcome"]), decided_by(message)));
        for found in message["found"].as_array().into_iter().flatten() {
            out.push_str(&format!("    {}\n", word(found)));
        }
    }
    out
}

fn said(said: &Value) -> String {
    let mut out = format!("{}{}\n", word(&said["reply"]), decided_by(said));
    let words = |key: &str| -> Vec<String> { said[key].as_array().into_iter().flatten().map(word).collect() };
    let allowed_by = words("allowed_by");
    if !allowed_by.is_empty() {
        let (rules, checks) = (allowed_by.join(", "), words("let_off").join(", "));
        out.push_str(&format!(
            "    let off by {rules}: {}\n",
            if checks.is_empty() { "nothing" } else { &checks }
        ));
    }
    out
}

fn decided_by(value: &Value) -> String {
    match word(&value["decided_by"]).as_str() {
        "" => String::new(),
        rule => format!("  ({rule})"),
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_answer_stands_with_what_decided_it() {
        let answer = json!({
            "sender": { "reply": "250 2.1.0 Sender ok", "decided_by": "", "let_off": ["spf"], "allowed_by": ["partner"] },
            "recipients": [{ "to": "a@a.test", "reply": "554 5.7.1 No", "decided_by": "dnsbl.zones", "let_off": [], "allowed_by": [] }],
            "message": { "outcome": "taken, to Junk", "decided_by": "spf.fail", "found": ["spf=fail", "dkim=none"] },
        });
        assert_eq!(
            told(&answer),
            "MAIL: 250 2.1.0 Sender ok\n    let off by partner: spf\n\
             RCPT a@a.test: 554 5.7.1 No  (dnsbl.zones)\n\
             DATA: taken, to Junk  (spf.fail)\n    spf=fail\n    dkim=none\n"
        );
        assert_eq!((bare("<>"), bare("a@a.test")), (String::new(), "a@a.test".to_owned()));
    }
}
