//! What FETCH may ask for (RFC 9051 6.4.5, RFC 3501 6.4.5), as parsed.

use bytes::BytesMut;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    Flags,
    InternalDate,
    Rfc822Size,
    Uid,
    ModSeq,
    Envelope,
    /// `BODY` without a section: the structure without extension data.
    Body,
    BodyStructure,
    Section(SectionItem),
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
    pub start: u32,
    pub count: u32,
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
        let _ = out;
        todo!()
    }
}

impl FetchItem {
    /// True when the answer needs the message's bytes.
    pub fn needs_body(&self) -> bool {
        matches!(self, Self::Envelope | Self::Body | Self::BodyStructure | Self::Section(_))
    }
}
