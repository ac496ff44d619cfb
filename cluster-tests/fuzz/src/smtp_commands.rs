//! Sequences of commands under every flag of the policy: sent one by one, each gets its reply; sent in groups, the session
//! says the same and takes the same mails, or ends where the client talks before its turn.

use pollux::session::smtp::Flavor;

use super::dice::Dice;
use super::responses::show;
use super::smtp::replies;
use super::smtp_desk::{Mail, RECIPIENTS_MAX, Terms};

const COMMANDS_MAX: usize = 60;
const EARLY_TALK: &[u8] = b"503 5.5.0 You talk before it is your turn\r\n";

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let terms = Terms::rolled(&mut dice);
    let mut script: Vec<Command> = Vec::new();
    while !dice.is_empty() && script.len() < COMMANDS_MAX {
        script.push(Command::rolled(&mut dice, terms.policy.flavor));
    }
    let singly = one_by_one(&terms, &script);
    // The same octets, as far as they were sent, in groups.
    let grouped = in_groups(&terms, &singly.sent);
    let may_end_early = terms.policy.refuse_early_talk && terms.policy.checked;
    let same = grouped.said == singly.said && grouped.mails == singly.mails;
    if !same {
        let began_alike = |said: &[u8]| {
            let before = said.strip_suffix(EARLY_TALK);
            before.is_some_and(|before| singly.said.starts_with(before))
        };
        assert!(
            may_end_early && began_alike(&grouped.said) && singly.mails.starts_with(&grouped.mails),
            "in groups {}, one by one {}",
            show(&grouped.said),
            show(&singly.said)
        );
    }
}

struct Command {
    line: Vec<u8>,
    /// What follows where the reply is 354.
    text: Vec<u8>,
    /// Where it is 334.
    word: &'static [u8],
    /// What follows at once.
    octets: Vec<u8>,
    /// Is a line of its own to the next one, however many are sent together.
    grouped: bool,
}

impl Command {
    fn rolled(dice: &mut Dice, flavor: Flavor) -> Self {
        let number = dice.byte();
        let grouped = number & 0x80 != 0;
        let sender = [
            "",
            "a@b.example",
            "trusted@b.example",
            "unsure@b.example",
            "listed@b.example",
            "fault@b.example",
        ];
        let recipient =
            ["alice", "full", "dropped", "unknown", "relay", "grey", "listed", "fault", "big", "disabled"];
        let (mut text, mut word, mut octets) = (b"\r\n.\r\n".to_vec(), &b"*\r\n"[..], Vec::new());
        let hello = if flavor == Flavor::Lmtp { "LHLO c" } else { "EHLO c" };
        let line = match number & 0x1f {
            0 | 1 => format!("MAIL FROM:<{}>", dice.pick(&sender)),
            2 => format!("MAIL FROM:<{}> SIZE={}", dice.pick(&sender), dice.number()),
            3..=7 => format!("RCPT TO:<{}@example.test>", dice.pick(&recipient)),
            8 => "RCPT TO:<postmaster>".into(),
            9..=11 => {
                // Without an end of its own, which `smtp_bodies` looks at.
                let plain = dice.bytes(2_000).iter().map(|byte| if *byte == b'.' { b',' } else { *byte });
                text.splice(..0, plain);
                "DATA".into()
            }
            12 | 13 => {
                octets = dice.bytes(2_000).to_vec();
                format!("BDAT {}{}", octets.len(), dice.pick(&["", " LAST", " last"]))
            }
            14..=16 => hello.into(),
            17 => "HELO c".into(),
            18 => dice.pick(&["LHLO c", "EHLO c", "EHLO", "EHLO [192.0.2.1]", "HELO a b"]).into(),
            19 => "RSET".into(),
            20 => "NOOP".into(),
            21 => dice.pick(&["VRFY a", "EXPN a", "ETRN a", "HELP", "TURN"]).into(),
            22 => "AUTH PLAIN AGFsaWNlAHNlY3JldA==".into(),
            23 => {
                word = dice.pick(&[
                    &b"AGFsaWNlAHNlY3JldA==\r\n"[..],
                    b"*\r\n",
                    b"AGEAYg==\r\n",
                    b"\r\n",
                    b"!\r\n",
                ]);
                "AUTH PLAIN".into()
            }
            24 => {
                word = b"YWxpY2U=\r\n";
                "AUTH LOGIN".into()
            }
            25 => "AUTH CRAM-MD5".into(),
            26 => "STARTTLS".into(),
            27 => dice.pick(&["QUIT", "NOOP x", "DATA x", "RSET x", "BDAT x", "BDAT 5 FIRST"]).into(),
            _ => {
                let any = String::from_utf8_lossy(dice.bytes(300)).replace(['\r', '\n'], " ");
                // Whose octets would be missing.
                let is_bdat = any.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("BDAT"));
                if is_bdat { format!("X{any}") } else { any }
            }
        };
        let line = [line.as_bytes(), b"\r\n"].concat();
        Self { line, text, word, octets, grouped }
    }
}

struct Played {
    said: Vec<u8>,
    mails: Vec<Mail>,
    /// What the client came to send, a reply apart: each piece may end a group.
    sent: Vec<(Vec<u8>, bool)>,
}

/// Sends each command once the one before is answered.
fn one_by_one(terms: &Terms, script: &[Command]) -> Played {
    let (mut session, desk) = terms.meet();
    let mut played = Played { said: session.take_said(), mails: Vec::new(), sent: Vec::new() };
    for command in script {
        if session.ended {
            break;
        }
        let mut send = |piece: &[u8], grouped: bool| {
            session.feed(piece, usize::MAX);
            played.sent.push((piece.to_vec(), grouped));
            let said = session.take_said();
            let codes = replies(&said);
            played.said.extend_from_slice(&said);
            codes
        };
        // RFC 3030 2: the octets of BDAT follow at once.
        let mut codes = send(&[&command.line[..], &command.octets].concat(), command.grouped);
        let replies_max = if terms.policy.flavor == Flavor::Lmtp { RECIPIENTS_MAX as usize } else { 1 };
        let is_text = command.line.starts_with(b"BDAT");
        let due = 1..=if is_text { replies_max } else { 1 };
        assert!(due.contains(&codes.len()), "one reply to {}: {codes:?}", show(&command.line));
        if codes == [354] {
            codes = send(&command.text, command.grouped);
            assert!((1..=replies_max).contains(&codes.len()), "the end of a text is answered: {codes:?}");
        }
        // At most two words of a login are asked for, and an empty one ends what is still open.
        for word in [command.word, b"c2VjcmV0\r\n", b"*\r\n"] {
            if codes != [334] {
                break;
            }
            codes = send(word, false);
        }
        assert_ne!(codes, [334], "a dialogue without end");
    }
    let mut desk = desk.borrow_mut();
    assert!(desk.mails.len() <= desk.begun && desk.begun <= desk.opened);
    played.mails = std::mem::take(&mut desk.mails);
    played
}

fn in_groups(terms: &Terms, sent: &[(Vec<u8>, bool)]) -> Played {
    let (mut session, desk) = terms.meet();
    let mut group = Vec::new();
    for (piece, grouped) in sent {
        group.extend_from_slice(piece);
        if !grouped {
            session.feed(&std::mem::take(&mut group), usize::MAX);
        }
    }
    session.feed(&group, usize::MAX);
    let said = session.take_said();
    replies(&said);
    let mails = std::mem::take(&mut desk.borrow_mut().mails);
    Played { said, mails, sent: Vec::new() }
}
