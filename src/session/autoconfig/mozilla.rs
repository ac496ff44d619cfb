//! The autoconfig file, version 1.1 (Thunderbird's "Autoconfiguration" pages; draft-bucksch-autoconfig).

use std::fmt::Write;

use quick_xml::escape::escape;

use super::offer::{Policy, Protection, Protocol, Server};
use crate::http::Document;

pub fn config(policy: &Policy, domain: &str) -> Document {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n  <emailProvider id=\"{0}\">\n    \
         <domain>{0}</domain>\n    <displayName>{0}</displayName>\n    \
         <displayShortName>{0}</displayShortName>\n",
        escape(domain)
    );
    for server in &policy.servers {
        write_server(&mut text, server, &policy.hostname);
    }
    text.push_str("  </emailProvider>\n</clientConfig>\n");
    Document { kind: "text/xml; charset=utf-8", text }
}

fn write_server(text: &mut String, server: &Server, hostname: &str) {
    let (element, kind) = match server.protocol {
        Protocol::Imap => ("incomingServer", "imap"),
        Protocol::Pop3 => ("incomingServer", "pop3"),
        Protocol::Smtp => ("outgoingServer", "smtp"),
    };
    let socket = match server.protection {
        Protection::Tls => "SSL",
        Protection::StartTls => "STARTTLS",
        Protection::None => "plain",
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "    <{element} type=\"{kind}\">\n      <hostname>{}</hostname>\n      <port>{}</port>\n      \
         <socketType>{socket}</socketType>\n      <username>%EMAILADDRESS%</username>\n      \
         <authentication>password-cleartext</authentication>\n    </{element}>\n",
        escape(hostname),
        server.port
    );
}
