//! Writes ENVELOPE (RFC 9051 7.5.2) of a message's header. Encoded-words stay as they are: decoding is the client's.

use bytes::{BufMut, BytesMut};

use super::string::{write_nstring, write_string};
use crate::mail::header::{self, Address, Field, Mailbox};

/// The fields of an ENVELOPE, each the first of its name.
#[derive(Default)]
struct Envelope<'a> {
    date: Option<Field<'a>>,
    subject: Option<Field<'a>>,
    from: Vec<Address>,
    sender: Vec<Address>,
    reply_to: Vec<Address>,
    to: Vec<Address>,
    cc: Vec<Address>,
    bcc: Vec<Address>,
    in_reply_to: Option<Field<'a>>,
    message_id: Option<Field<'a>>,
}

/// Writes the parenthesised list. `header` is the header block of the message, or the raw message.
pub fn write_envelope(header: &[u8], out: &mut BytesMut) {
    let envelope = Envelope::read(header);
    let text = |field: &Option<Field>, out: &mut BytesMut| {
        let line = field.as_ref().map(|field| header::unfold(field.value));
        write_nstring(line.as_deref(), out);
    };
    // RFC 9051 7.5.2: absent or empty Sender and Reply-To are those of From.
    let or_from = |list: &[Address], out: &mut BytesMut| {
        write_addresses(if list.is_empty() { &envelope.from } else { list }, out);
    };
    out.put_u8(b'(');
    text(&envelope.date, out);
    out.put_u8(b' ');
    text(&envelope.subject, out);
    out.put_u8(b' ');
    write_addresses(&envelope.from, out);
    out.put_u8(b' ');
    or_from(&envelope.sender, out);
    out.put_u8(b' ');
    or_from(&envelope.reply_to, out);
    for list in [&envelope.to, &envelope.cc, &envelope.bcc] {
        out.put_u8(b' ');
        write_addresses(list, out);
    }
    out.put_u8(b' ');
    text(&envelope.in_reply_to, out);
    out.put_u8(b' ');
    text(&envelope.message_id, out);
    out.put_u8(b')');
}

impl<'a> Envelope<'a> {
    fn read(header: &'a [u8]) -> Self {
        let mut envelope = Self::default();
        for field in header::fields(header) {
            match field.name.to_ascii_lowercase().as_slice() {
                b"date" => _ = envelope.date.get_or_insert(field),
                b"subject" => _ = envelope.subject.get_or_insert(field),
                b"in-reply-to" => _ = envelope.in_reply_to.get_or_insert(field),
                b"message-id" => _ = envelope.message_id.get_or_insert(field),
                b"from" => add(&mut envelope.from, &field),
                b"sender" => add(&mut envelope.sender, &field),
                b"reply-to" => add(&mut envelope.reply_to, &field),
                b"to" => add(&mut envelope.to, &field),
                b"cc" => add(&mut envelope.cc, &field),
                b"bcc" => add(&mut envelope.bcc, &field),
                _ => {}
            }
        }
        envelope
    }
}

/// RFC 5322 4.5: several fields of one kind are one list.
fn add(list: &mut Vec<Address>, field: &Field) {
    if list.len() < header::ADDRESSES_MAX {
        list.extend(header::addresses(field.value));
    }
}

fn write_addresses(list: &[Address], out: &mut BytesMut) {
    if list.is_empty() {
        out.put_slice(b"NIL");
        return;
    }
    out.put_u8(b'(');
    for address in list {
        match address {
            Address::Mailbox(mailbox) => write_mailbox(mailbox, out),
            Address::GroupStart(name) => {
                out.put_slice(b"(NIL NIL ");
                write_string(name, out);
                out.put_slice(b" NIL)");
            }
            Address::GroupEnd => out.put_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.put_u8(b')');
}

/// NIL as mailbox or host would mean a group: what is missing gets the placeholders that clients know from Dovecot.
fn write_mailbox(mailbox: &Mailbox, out: &mut BytesMut) {
    let Mailbox { name, route, local, domain } = mailbox;
    out.put_u8(b'(');
    write_nstring(name.as_deref().map(header::unfold).as_deref(), out);
    out.put_u8(b' ');
    write_nstring(route.as_deref(), out);
    out.put_u8(b' ');
    write_string(local.as_deref().unwrap_or(b"MISSING_MAILBOX"), out);
    out.put_u8(b' ');
    write_string(domain.as_deref().unwrap_or(b"MISSING_DOMAIN"), out);
    out.put_u8(b')');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(header: &[u8]) -> String {
        let mut out = BytesMut::new();
        write_envelope(header, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn all_fields() {
        let header = b"Message-ID: <msg@id>\r\nIn-Reply-To: <reply@to.id>\r\nDate: Thu, 15 Feb 2007 01:02:03 +0200\r\n\
            Subject: subject header\r\nFrom: From Real <fromuser@fromdomain.org>\r\nTo: To Real <touser@todomain.org>\r\n\
            Cc: Cc Real <ccuser@ccdomain.org>\r\nBcc: Bcc Real <bccuser@bccdomain.org>\r\n\
            Sender: Sender Real <senderuser@senderdomain.org>\r\nReply-To: ReplyTo Real <replytouser@replytodomain.org>\r\n\r\n\
            Subject: body\r\n";
        assert_eq!(
            envelope(header),
            "(\"Thu, 15 Feb 2007 01:02:03 +0200\" \"subject header\" ((\"From Real\" NIL \"fromuser\" \"fromdomain.org\")) \
             ((\"Sender Real\" NIL \"senderuser\" \"senderdomain.org\")) ((\"ReplyTo Real\" NIL \"replytouser\" \"replytodomain.org\")) \
             ((\"To Real\" NIL \"touser\" \"todomain.org\")) ((\"Cc Real\" NIL \"ccuser\" \"ccdomain.org\")) \
             ((\"Bcc Real\" NIL \"bccuser\" \"bccdomain.org\")) \"<reply@to.id>\" \"<msg@id>\")"
        );
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(envelope(b""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
        assert_eq!(envelope(b"Subject:\nDate: \n"), "(\"\" \"\" NIL NIL NIL NIL NIL NIL NIL NIL)");
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let from = "((\"Real Name\" NIL \"user\" \"domain\"))";
        assert_eq!(
            envelope(b"From: user@domain (Real Name)\nSender: \nReply-To: \n\n"),
            format!("(NIL NIL {from} {from} {from} NIL NIL NIL NIL NIL)")
        );
    }

    #[test]
    fn groups_are_pairs_without_host() {
        assert_eq!(
            envelope(b"To: group: g1@d1.org, g2@d2.org;, group2: g3@d3.org;\nCc: group:;, group2: (foo) ;\n"),
            "(NIL NIL NIL NIL NIL ((NIL NIL \"group\" NIL)(NIL NIL \"g1\" \"d1.org\")(NIL NIL \"g2\" \"d2.org\")\
             (NIL NIL NIL NIL)(NIL NIL \"group2\" NIL)(NIL NIL \"g3\" \"d3.org\")(NIL NIL NIL NIL)) \
             ((NIL NIL \"group\" NIL)(NIL NIL NIL NIL)(NIL NIL \"group2\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)"
        );
    }

    #[test]
    fn what_is_written_is_as_the_message_has_it() {
        assert_eq!(
            envelope("Subject: =?utf-8?q?J=C3=B6rg?=\r\n \"x\"\nTo: \u{fc} <root>, <@route:user@domain>\nTo: b@c\n".as_bytes()),
            "(NIL \"=?utf-8?q?J=C3=B6rg?= \\\"x\\\"\" NIL NIL NIL (({2}\r\n\u{fc} NIL \"root\" \"MISSING_DOMAIN\")\
             (NIL \"@route\" \"user\" \"domain\")(NIL NIL \"b\" \"c\")) NIL NIL NIL NIL)"
        );
    }

    proptest! {
        #[test]
        fn any_header_has_an_envelope(header in "((From|To|Subject|Date): [a-c\"<>@,;:() \\r\\n\u{0}\u{fc}]{0,30}\n){0,4}") {
            let text = envelope(header.as_bytes());
            prop_assert!(text.starts_with('(') && text.ends_with(')'));
        }
    }
}
