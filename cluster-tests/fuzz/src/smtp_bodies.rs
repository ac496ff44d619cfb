//! Texts by DATA and BDAT, several in a session: however the bytes are cut into reads, the same is said and the same mails
//! come of it, and no text is two mails. Where a text is stuffed as it should be, it is known which mail it is.

use pollux::session::smtp::Flavor;

use super::dice::Dice;
use super::responses::show;
use super::smtp::{is_accepted, replies, unstuffed};
use super::smtp_desk::{Mail, Terms, has, plain};

/// Texts in one session.
const TEXTS_MAX: usize = 4;
/// Of one text: each behind a refused one is an error, and too many errors end a session.
const CHUNKS_MAX: usize = 5;
/// Of the octets of one session, so that they can be fed one by one.
const SINGLY_BYTES_MAX: usize = 4_000;
const CUTS_MAX: usize = 32;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let kind = Kind::rolled(&mut dice);
    let cuts: Vec<usize> = (0..dice.below(CUTS_MAX)).map(|_| 1 + dice.below(256)).collect();
    let mut stream = Vec::new();
    let mut expected = Some(Vec::new());
    for _ in 0..1 + dice.below(TEXTS_MAX) {
        let recipients = 1 + dice.below(3);
        stream.extend_from_slice(b"RSET\r\nMAIL FROM:<a@b.example>\r\n");
        (0..recipients).for_each(|_| stream.extend_from_slice(b"RCPT TO:<alice@example.test>\r\n"));
        let how = dice.byte();
        let text = match how & 3 {
            0 => by_bdat(&mut stream, &mut dice),
            1 => by_data_as_it_is(&mut stream, &mut dice),
            _ => by_data(&mut stream, &mut dice),
        };
        // A text that ends itself is followed by commands: what becomes of them is not foretold.
        expected = expected.zip(text).map(|(mut all, text)| {
            all.push((text, recipients));
            all
        });
        if dice.is_empty() {
            break;
        }
    }
    let whole = play(&kind, &stream, &[]);
    if stream.len() <= SINGLY_BYTES_MAX {
        assert!(play(&kind, &stream, &[1]) == whole, "octet by octet it is another: {}", show(&stream));
    }
    if !cuts.is_empty() {
        assert!(play(&kind, &stream, &cuts) == whole, "cut by {cuts:?} it is another: {}", show(&stream));
    }
    if let Some(expected) = expected {
        check(&kind, &whole.mails, &expected);
    }
}

struct Kind {
    terms: Terms,
    /// What is said before the first mail.
    hello: &'static [u8],
    /// The header is completed (RFC 6409).
    edited: bool,
}

impl Kind {
    fn rolled(dice: &mut Dice) -> Self {
        let number = dice.below(4);
        let (flavor, checked) =
            [(Flavor::Mx, true), (Flavor::Mx, false), (Flavor::Submission, false), (Flavor::Lmtp, false)]
                [number];
        let mut policy = plain(flavor);
        policy.checked = checked;
        let hello: &[u8] = match flavor {
            Flavor::Mx => b"EHLO c\r\n",
            Flavor::Submission => b"EHLO c\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
            Flavor::Lmtp => b"LHLO c\r\n",
        };
        Self { terms: Terms { policy, tls: false }, hello, edited: flavor == Flavor::Submission }
    }
}

/// What a session came to.
#[derive(PartialEq, Eq)]
struct Played {
    said: Vec<u8>,
    mails: Vec<Mail>,
    ended: bool,
}

/// `cuts`: lengths of the reads, over and over; none: as much as fits.
fn play(kind: &Kind, stream: &[u8], cuts: &[usize]) -> Played {
    let (mut session, desk) = kind.terms.meet();
    session.feed(kind.hello, usize::MAX);
    session.take_said();
    let mut rest = stream;
    for length in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*length));
        session.feed(piece, usize::MAX);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    session.feed(rest, usize::MAX);
    let said = session.take_said();
    let codes = replies(&said);
    let mut desk = desk.borrow_mut();
    let texts = codes.iter().filter(|code| **code == 354).count();
    assert!(desk.mails.len() <= desk.begun && desk.begun <= desk.opened);
    assert!(texts <= desk.begun, "each 354 is a body of its own");
    Played { said, mails: std::mem::take(&mut desk.mails), ended: session.ended }
}

/// As a client should: dots doubled, and an end.
fn by_data(stream: &mut Vec<u8>, dice: &mut Dice) -> Option<Vec<u8>> {
    let mut text = dice.bytes(usize::MAX).to_vec();
    if !text.is_empty() && !text.ends_with(b"\r\n") {
        text.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"DATA\r\n");
    let mut line_start = true;
    for (at, byte) in text.iter().enumerate() {
        if line_start && *byte == b'.' {
            stream.push(b'.');
        }
        stream.push(*byte);
        line_start = text[..=at].ends_with(b"\r\n");
    }
    stream.extend_from_slice(b".\r\n");
    Some(text)
}

/// Whatever comes: it may end itself.
fn by_data_as_it_is(stream: &mut Vec<u8>, dice: &mut Dice) -> Option<Vec<u8>> {
    let sent = [dice.bytes(usize::MAX), b"\r\n.\r\n"].concat();
    stream.extend_from_slice(b"DATA\r\n");
    stream.extend_from_slice(&sent);
    let ends_itself = sent.starts_with(b".\r\n")
        || sent.windows(5).position(|five| five == b"\r\n.\r\n") != Some(sent.len() - 5);
    (!ends_itself).then(|| unstuffed(&sent[..sent.len() - 3]))
}

fn by_bdat(stream: &mut Vec<u8>, dice: &mut Dice) -> Option<Vec<u8>> {
    let (mut text, mut chunks) = (Vec::new(), 0);
    loop {
        let chunk = dice.bytes(usize::MAX);
        chunks += 1;
        let last = dice.is_empty() || chunks == CHUNKS_MAX || dice.flag();
        stream.extend_from_slice(
            format!("BDAT {}{}\r\n", chunk.len(), if last { " LAST" } else { "" }).as_bytes(),
        );
        stream.extend_from_slice(chunk);
        text.extend_from_slice(chunk);
        if last {
            return Some(text);
        }
    }
}

/// Each text that is to be accepted is one mail, in order, and no other is.
fn check(kind: &Kind, mails: &[Mail], texts: &[(Vec<u8>, usize)]) {
    if kind.edited || texts.iter().any(|(text, _)| has(text, b"DISK-FAULT") || has(text, b"JUDGED-BAD")) {
        return;
    }
    let accepted: Vec<_> = texts.iter().filter(|(text, _)| is_accepted(text, true)).collect();
    assert_eq!(mails.len(), accepted.len(), "mails from {} texts", texts.len());
    for (mail, (text, recipients)) in mails.iter().zip(accepted) {
        let mut text = text.clone();
        // A last line without its end gets one.
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.extend_from_slice(b"\r\n");
        }
        assert_eq!(mail.to, *recipients);
        assert!(mail.text.ends_with(&text), "{} became {}", show(&text), show(&mail.text));
        let trace = &mail.text[..mail.text.len() - text.len()];
        assert_eq!(trace.is_empty(), mail.judged, "{}", show(trace));
    }
}
