//! What FETCH may ask for (RFC 9051 6.4.5, RFC 3501 6.4.5), as parsed.

use bytes::{BufMut, BytesMut};

use super::string::write_astring;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    Flags,
    InternalDate,
    Rfc822Size,
    Uid,
    ModSeq,
    /// RFC 8514: when it came into this mailbox.
    SaveDate,
    /// RFC 8474.
    EmailId,
    ThreadId,
    /// RFC 8970; lazy: NIL where it is not at hand.
    Preview {
        lazy: bool,
    },
    Envelope,
    /// `BODY` without a section: the structure without extension data.
    Body,
    BodyStructure,
    Section(SectionItem),
    Binary(BinaryItem),
    /// `BINARY.SIZE[…]`: of this part.
    BinarySize(Vec<u32>),
}

/// `BINARY[…]<…>` (RFC 3516): what a part holds when its transfer encoding is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryItem {
    /// Part numbers from 1; empty is the message itself.
    pub part: Vec<u32>,
    /// Of the decoded octets.
    pub partial: Option<Partial>,
    /// True leaves \Seen alone.
    pub peek: bool,
}

/// `BODY[…]<…>` and its old spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionItem {
    pub section: Section,
    pub partial: Option<Partial>,
    /// True leaves \Seen alone.
    pub peek: bool,
    pub spelling: Spelling,
}

/// Octets `start..start + count` of what the section yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    pub start: u64,
    pub count: u64,
}

/// How the client asked, and so how the answer is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    Body,
    Rfc822,
    Rfc822Header,
    Rfc822Text,
}

/// The part and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// Part numbers from 1; empty is the message itself.
    pub part: Vec<u32>,
    pub text: SectionText,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SectionText {
    #[default]
    All,
    Header,
    /// Names as the client spelt them.
    HeaderFields(Vec<Vec<u8>>),
    HeaderFieldsNot(Vec<Vec<u8>>),
    Text,
    /// Only with a part number.
    Mime,
}

impl SectionItem {
    pub fn rfc822() -> Self {
        Self { section: Section::default(), partial: None, peek: false, spelling: Spelling::Rfc822 }
    }

    pub fn rfc822_header() -> Self {
        let section = Section { part: Vec::new(), text: SectionText::Header };
        Self { section, partial: None, peek: true, spelling: Spelling::Rfc822Header }
    }

    pub fn rfc822_text() -> Self {
        let section = Section { part: Vec::new(), text: SectionText::Text };
        Self { section, partial: None, peek: false, spelling: Spelling::Rfc822Text }
    }

    /// Writes the name under which the answer carries this item, such as `BODY[1.HEADER]<0>`.
    pub fn write_label(&self, out: &mut BytesMut) {
        match self.spelling {
            Spelling::Rfc822 => out.put_slice(b"RFC822"),
            Spelling::Rfc822Header => out.put_slice(b"RFC822.HEADER"),
            Spelling::Rfc822Text => out.put_slice(b"RFC822.TEXT"),
            Spelling::Body => {
                out.put_slice(b"BODY[");
                self.section.write(out);
                out.put_u8(b']');
                // RFC 9051 7.5.2: the answer names where the part starts, not how much was asked.
                if let Some(partial) = self.partial {
                    out.put_slice(format!("<{}>", partial.start).as_bytes());
                }
            }
        }
    }
}

impl BinaryItem {
    /// Writes the name under which the answer carries this item, such as `BINARY[1.2]<0>`.
    pub fn write_label(&self, out: &mut BytesMut) {
        out.put_slice(b"BINARY[");
        write_part(&self.part, out);
        out.put_u8(b']');
        if let Some(partial) = self.partial {
            out.put_slice(format!("<{}>", partial.start).as_bytes());
        }
    }
}

/// `1.2.3`.
pub fn write_part(part: &[u32], out: &mut BytesMut) {
    let numbers: Vec<String> = part.iter().map(u32::to_string).collect();
    out.put_slice(numbers.join(".").as_bytes());
}

impl Section {
    /// Writes the `section-spec`, without brackets.
    fn write(&self, out: &mut BytesMut) {
        write_part(&self.part, out);
        if !self.part.is_empty() && self.text != SectionText::All {
            out.put_u8(b'.');
        }
        match &self.text {
            SectionText::All => {}
            SectionText::Header => out.put_slice(b"HEADER"),
            SectionText::HeaderFields(names) => write_names("HEADER.FIELDS", names, out),
            SectionText::HeaderFieldsNot(names) => write_names("HEADER.FIELDS.NOT", names, out),
            SectionText::Text => out.put_slice(b"TEXT"),
            SectionText::Mime => out.put_slice(b"MIME"),
        }
    }
}

fn write_names(label: &str, names: &[Vec<u8>], out: &mut BytesMut) {
    out.put_slice(label.as_bytes());
    out.put_slice(b" (");
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        write_astring(name, out);
    }
    out.put_u8(b')');
}

impl FetchItem {
    /// The same without setting \Seen: for what is sent unasked.
    pub fn peeking(self) -> Self {
        match self {
            Self::Section(item) => Self::Section(SectionItem { peek: true, ..item }),
            Self::Binary(item) => Self::Binary(BinaryItem { peek: true, ..item }),
            item => item,
        }
    }

    /// True when the answer is cut from the message's bytes.
    pub fn needs_raw(&self) -> bool {
        matches!(self, Self::Section(_) | Self::Binary(_) | Self::BinarySize(_))
    }

    /// True when the answer needs what a listing shows of the message.
    pub fn needs_summary(&self) -> bool {
        matches!(self, Self::Envelope | Self::Body | Self::BodyStructure)
    }

    /// RFC 3501 6.4.5, RFC 3516 4.2: fetching this sets \Seen.
    pub fn marks_seen(&self) -> bool {
        match self {
            Self::Section(item) => !item.peek,
            Self::Binary(item) => !item.peek,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(part: &[u32], text: SectionText, partial: Option<Partial>) -> String {
        let section = Section { part: part.to_vec(), text };
        let item = SectionItem { section, partial, peek: true, spelling: Spelling::Body };
        let mut out = BytesMut::new();
        item.write_label(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn answers_are_labelled_as_asked() {
        let names = vec![b"From".to_vec(), b"a b".to_vec(), b"x]".to_vec(), b"".to_vec()];
        assert_eq!(label(&[], SectionText::All, None), "BODY[]");
        assert_eq!(label(&[1, 2], SectionText::All, Some(Partial { start: 5, count: 9 })), "BODY[1.2]<5>");
        assert_eq!(label(&[2], SectionText::Mime, None), "BODY[2.MIME]");
        assert_eq!(label(&[], SectionText::Header, None), "BODY[HEADER]");
        assert_eq!(label(&[3], SectionText::Text, None), "BODY[3.TEXT]");
        assert_eq!(
            label(&[1], SectionText::HeaderFieldsNot(names), None),
            "BODY[1.HEADER.FIELDS.NOT (From \"a b\" \"x]\" \"\")]"
        );
        let mut out = BytesMut::new();
        SectionItem::rfc822_header().write_label(&mut out);
        assert_eq!(out, &b"RFC822.HEADER"[..]);
    }
}
