//! Writes BODY and BODYSTRUCTURE (RFC 9051 7.5.2) of a message taken apart. Without recursion: mail nests as deep as it likes.

use bytes::{BufMut, BytesMut};

use super::envelope::write_envelope;
use super::string::{write_nstring, write_string};
use crate::mail::header::{self, Param};
use crate::mail::mime::{Part, PartId, PartKind, Structure};

/// BODY has no extension data; BODYSTRUCTURE has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Body,
    BodyStructure,
}

/// Writes the parenthesised list for the whole message.
pub fn write_bodystructure(raw: &[u8], structure: &Structure, form: Form, out: &mut BytesMut) {
    let mut writer = Writer { raw, form, out };
    let mut todo = vec![Task::Open(0)];
    while let Some(task) = todo.pop() {
        match task {
            Task::Open(id) => {
                let part = structure.part(id);
                writer.open(part);
                todo.push(Task::Close(id));
                match &part.kind {
                    PartKind::Leaf => {}
                    PartKind::Multipart(children) => {
                        todo.extend(children.iter().rev().map(|id| Task::Open(*id)))
                    }
                    PartKind::Message(child) => {
                        write_envelope(&raw[structure.part(*child).header.clone()], writer.out);
                        writer.out.put_u8(b' ');
                        todo.push(Task::Open(*child));
                    }
                }
            }
            Task::Close(id) => writer.close(structure.part(id)),
        }
    }
}

enum Task {
    /// What stands before the children.
    Open(PartId),
    /// What stands after them.
    Close(PartId),
}

/// The fields of a part that BODYSTRUCTURE shows, each the first of its name.
#[derive(Default)]
struct Shown<'a> {
    id: Option<&'a [u8]>,
    description: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
    md5: Option<&'a [u8]>,
    disposition: Option<&'a [u8]>,
    language: Option<&'a [u8]>,
    location: Option<&'a [u8]>,
}

struct Writer<'a> {
    raw: &'a [u8],
    form: Form,
    out: &'a mut BytesMut,
}

impl Writer<'_> {
    fn open(&mut self, part: &Part) {
        self.out.put_u8(b'(');
        match &part.kind {
            PartKind::Multipart(children) => {
                if children.is_empty() {
                    self.no_parts();
                }
            }
            PartKind::Leaf => self.fields_and_size(part, has_structure(part)),
            PartKind::Message(_) => {
                self.fields_and_size(part, false);
                self.out.put_u8(b' ');
            }
        }
    }

    /// RFC 9051 9: a multipart has a part. One that has none shows an empty text.
    fn no_parts(&mut self) {
        self.out.put_slice(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0");
        if self.form == Form::BodyStructure {
            self.out.put_slice(b" NIL NIL NIL NIL");
        }
        self.out.put_u8(b')');
    }

    /// `body-type-basic`. A container that was not taken apart, being beyond a bound, is `opaque`: as what it
    /// says it is, the grammar would want its parts.
    fn fields_and_size(&mut self, part: &Part, opaque: bool) {
        let shown = Shown::read(self.raw, part);
        let content_type = &part.content_type;
        if opaque {
            self.out.put_slice(b"\"application\" \"octet-stream\" NIL");
        } else {
            write_string(&content_type.main, self.out);
            self.out.put_u8(b' ');
            write_string(&content_type.sub, self.out);
            self.out.put_u8(b' ');
            let charset = content_type.is_main("text") && content_type.param("charset").is_none();
            write_params(&content_type.params, charset, self.out);
        }
        for field in [shown.id, shown.description] {
            self.out.put_u8(b' ');
            write_field(field, self.out);
        }
        self.out.put_u8(b' ');
        let encoding = shown.encoding.and_then(header::disposition).map(|(token, _)| token);
        write_string(encoding.as_deref().unwrap_or(b"7bit"), self.out);
        self.out.put_slice(format!(" {}", part.body.len()).as_bytes());
    }

    fn close(&mut self, part: &Part) {
        let has_lines = match part.kind {
            PartKind::Leaf => part.content_type.is_main("text"),
            PartKind::Multipart(_) => false,
            PartKind::Message(_) => true,
        };
        if has_lines {
            self.out.put_slice(format!(" {}", part.lines).as_bytes());
        }
        let multipart = matches!(part.kind, PartKind::Multipart(_));
        if multipart {
            self.out.put_u8(b' ');
            write_string(&part.content_type.sub, self.out);
        }
        if self.form == Form::BodyStructure {
            self.extension(part, multipart);
        }
        self.out.put_u8(b')');
    }

    fn extension(&mut self, part: &Part, multipart: bool) {
        let shown = Shown::read(self.raw, part);
        self.out.put_u8(b' ');
        if multipart {
            write_params(&part.content_type.params, false, self.out);
        } else {
            write_field(shown.md5, self.out);
        }
        self.out.put_u8(b' ');
        match shown.disposition.and_then(header::disposition) {
            Some((kind, params)) => {
                self.out.put_u8(b'(');
                write_string(&kind, self.out);
                self.out.put_u8(b' ');
                write_params(&params, false, self.out);
                self.out.put_u8(b')');
            }
            None => self.out.put_slice(b"NIL"),
        }
        self.out.put_u8(b' ');
        write_list(&shown.language.map(header::token_list).unwrap_or_default(), self.out);
        self.out.put_u8(b' ');
        write_field(shown.location, self.out);
    }
}

impl<'a> Shown<'a> {
    fn read(raw: &'a [u8], part: &Part) -> Self {
        let mut shown = Self::default();
        for field in header::fields(&raw[part.header.clone()]) {
            let place = match field.name.to_ascii_lowercase().as_slice() {
                b"content-id" => &mut shown.id,
                b"content-description" => &mut shown.description,
                b"content-transfer-encoding" => &mut shown.encoding,
                b"content-md5" => &mut shown.md5,
                b"content-disposition" => &mut shown.disposition,
                b"content-language" => &mut shown.language,
                b"content-location" => &mut shown.location,
                _ => continue,
            };
            place.get_or_insert(field.value);
        }
        shown
    }
}

/// Types whose shape in the grammar is not that of a leaf.
fn has_structure(part: &Part) -> bool {
    part.content_type.is_main("multipart") || part.is_message()
}

fn write_field(value: Option<&[u8]>, out: &mut BytesMut) {
    write_nstring(value.map(header::unfold).as_deref(), out);
}

/// `default_charset` adds the charset that text without one has (RFC 2045 5.2).
fn write_params(params: &[Param], default_charset: bool, out: &mut BytesMut) {
    let mut words: Vec<&[u8]> =
        params.iter().flat_map(|param| [param.name.as_slice(), &param.value]).collect();
    if default_charset {
        words.extend([&b"charset"[..], b"us-ascii"]);
    }
    write_list(&words, out);
}

/// NIL for an empty list.
fn write_list(words: &[impl AsRef<[u8]>], out: &mut BytesMut) {
    if words.is_empty() {
        out.put_slice(b"NIL");
        return;
    }
    for (at, word) in words.iter().enumerate() {
        out.put_u8(if at == 0 { b'(' } else { b' ' });
        write_string(word.as_ref(), out);
    }
    out.put_u8(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;

    fn write(raw: &str, form: Form) -> String {
        let mut out = BytesMut::new();
        write_bodystructure(raw.as_bytes(), &mime::parse(raw.as_bytes()), form, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn body_of_a_multipart() {
        let raw = "From: user@domain.org\r\nContent-Type: multipart/mixed; boundary=\"foo\r\n bar\"\r\n\r\n--foo bar\r\n\
                   Content-Type: text/x-myown; charset=us-ascii\r\n\r\nhello\r\n\r\n--foo bar--\r\n";
        let text = "(\"text\" \"x-myown\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1";
        assert_eq!(write(raw, Form::Body), format!("({text}) \"mixed\")"));
        assert_eq!(
            write(raw, Form::BodyStructure),
            format!("({text} NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"foo bar\") NIL NIL NIL)")
        );
    }

    #[test]
    fn all_fields_of_a_leaf() {
        let raw = "Content-Type: Image/PNG; Name=\"a b\"\nContent-ID: <i@d>\nContent-Description: a\n b\n\
                   Content-Transfer-Encoding: BASE64\nContent-MD5: Q2hlY2s=\nContent-Location: http://x/\n\
                   Content-Disposition: attachment; filename=x.png\nContent-Language: en, de\n\nAAAA\n";
        assert_eq!(
            write(raw, Form::BodyStructure),
            "(\"Image\" \"PNG\" (\"Name\" \"a b\") \"<i@d>\" \"a b\" \"BASE64\" 5 \"Q2hlY2s=\" \
             (\"attachment\" (\"filename\" \"x.png\")) (\"en\" \"de\") \"http://x/\")"
        );
    }

    #[test]
    fn a_message_within() {
        let raw = "Content-Type: message/rfc822\n\nSubject: in\n\nx\ny\n";
        assert_eq!(
            write(raw, Form::Body),
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 2) 4)"
        );
    }

    /// RFC 9051 9, `media-message`.
    #[test]
    fn a_message_in_utf8_within() {
        let raw = "Content-Type: message/global\n\nSubject: \u{e9}\n\nx\n";
        assert_eq!(
            write(raw, Form::Body),
            "(\"message\" \"global\" NIL NIL NIL \"7bit\" 15 (NIL {2}\r\n\u{e9} NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 2 1) 3)"
        );
        let encoded = "Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogYQo=\n";
        assert_eq!(write(encoded, Form::Body), "(\"message\" \"global\" NIL NIL NIL \"base64\" 17)");
    }

    #[test]
    fn containers_without_content_still_fit_the_grammar() {
        let empty = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
        assert_eq!(
            write("Content-Type: multipart/mixed; boundary=a\n\n", Form::Body),
            format!("({empty} \"mixed\")")
        );
        assert_eq!(write("Content-Type: multipart/mixed\n\nx", Form::Body), format!("({empty} \"mixed\")"));
        let deep = "Content-Type: message/rfc822\n\n".repeat(2 * mime::DEPTH_MAX);
        let text = write(&deep, Form::BodyStructure);
        assert_eq!(text.matches("\"rfc822\"").count(), mime::DEPTH_MAX - 1);
        assert_eq!(text.matches("\"octet-stream\"").count(), 1);
        assert_eq!(text.matches('(').count(), text.matches(')').count());
    }
}
