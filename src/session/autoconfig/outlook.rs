//! Outlook's autodiscover in its plain form ([MS-OXDSCLI], "POX"): an address is posted, accounts come back.

use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;

use super::offer::{Policy, Protection, Protocol};
use crate::http::Document;

const NAMESPACE: &str = "http://schemas.microsoft.com/exchange/autodiscover";

/// The address that is asked about; `None` for what is not such a request.
pub fn address_in(body: &[u8]) -> Option<String> {
    let mut reader = Reader::from_str(std::str::from_utf8(body).ok()?);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) if element.local_name().as_ref() == "EMailAddress" => {
                let text = reader.read_text(element.name()).ok()?;
                let address = unescape(&text).ok()?.trim().to_owned();
                return address.contains('@').then_some(address);
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The first of a kind is the one that Outlook takes: IMAP before POP3.
pub fn autodiscover(policy: &Policy, address: &str) -> Document {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"{NAMESPACE}/responseschema/2006\">\n  \
         <Response xmlns=\"{NAMESPACE}/outlook/responseschema/2006a\">\n    <Account>\n      \
         <AccountType>email</AccountType>\n      <Action>settings</Action>\n"
    );
    for server in policy.best([Protocol::Imap, Protocol::Pop3, Protocol::Smtp]) {
        let kind = match server.protocol {
            Protocol::Imap => "IMAP",
            Protocol::Pop3 => "POP3",
            Protocol::Smtp => "SMTP",
        };
        let (tls, encryption) = match server.protection {
            Protection::Tls => ("on", "SSL"),
            Protection::StartTls => ("on", "TLS"),
            Protection::None => ("off", "None"),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{}</Server>\n        \
             <Port>{}</Port>\n        <LoginName>{}</LoginName>\n        <DomainRequired>off</DomainRequired>\n        \
             <SPA>off</SPA>\n        <SSL>{tls}</SSL>\n        <Encryption>{encryption}</Encryption>\n        \
             <AuthRequired>on</AuthRequired>\n      </Protocol>\n",
            escape(&policy.hostname),
            server.port,
            escape(address)
        );
    }
    text.push_str("    </Account>\n  </Response>\n</Autodiscover>\n");
    Document { kind: "text/xml; charset=utf-8", text }
}
