//! A profile for Apple's mail programs ("Configuration Profile Reference", com.apple.mail.managed). Not signed.

use std::fmt::Write;

use quick_xml::escape::escape;

use super::offer::{Policy, Protection, Protocol, Server};
use crate::http::Document;

pub fn profile(policy: &Policy, address: &str) -> Document {
    let incoming = policy.best([Protocol::Imap, Protocol::Pop3]).next();
    let kind = match incoming.map(|server| server.protocol) {
        Some(Protocol::Pop3) => "EmailTypePOP",
        _ => "EmailTypeIMAP",
    };
    let mut account = format!(
        "{}{}{}",
        string("EmailAccountType", kind),
        string("EmailAddress", address),
        string("EmailAccountDescription", address)
    );
    let outgoing = policy.of(Protocol::Smtp).next();
    for (server, prefix) in [(incoming, "Incoming"), (outgoing, "Outgoing")] {
        let Some(server) = server else { continue };
        write_server(&mut account, (server, prefix), &policy.hostname, address);
    }
    account.push_str(&payload("com.apple.mail.managed", address));
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n\
         <key>PayloadContent</key>\n<array>\n<dict>\n{account}</dict>\n</array>\n{}{}</dict>\n</plist>\n",
        string("PayloadDisplayName", address),
        payload("Configuration", address),
    );
    Document { kind: "application/x-apple-aspen-config; charset=utf-8", text }
}

fn write_server(text: &mut String, (server, prefix): (&Server, &str), hostname: &str, address: &str) {
    let tls = server.protection != Protection::None;
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{}<key>{prefix}MailServerPortNumber</key>\n<integer>{}</integer>\n<key>{prefix}MailServerUseSSL</key>\n<{tls}/>\n{}{}",
        string(&format!("{prefix}MailServerHostName"), hostname),
        server.port,
        string(&format!("{prefix}MailServerUsername"), address),
        string(&format!("{prefix}MailServerAuthentication"), "EmailAuthPassword"),
    );
}

/// What every payload has. The same address gives the same identifiers: a profile loaded again replaces itself.
fn payload(kind: &str, address: &str) -> String {
    let hash = blake3::hash(format!("{kind} {}", address.to_lowercase()).as_bytes());
    let hex = hash.to_hex();
    // RFC 9562 5.8: version 8, whose content is the maker's own.
    let uuid = format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30]);
    format!(
        "{}{}{}<key>PayloadVersion</key>\n<integer>1</integer>\n",
        string("PayloadType", kind),
        string("PayloadIdentifier", &format!("pollux.{}", &hex[..16])),
        string("PayloadUUID", &uuid)
    )
}

fn string(key: &str, value: &str) -> String {
    format!("<key>{key}</key>\n<string>{}</string>\n", escape(value))
}
