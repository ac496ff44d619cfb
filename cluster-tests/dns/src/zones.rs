//! What the server knows, and what it says to a question.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::message;

const CNAME: u16 = 5;
const KINDS: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", CNAME),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("TLSA", 52),
    ("HTTPS", 65),
    ("SPF", 99),
];
const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
/// Octets of one string in a TXT record.
const STRING_BYTES_MAX: usize = 255;

/// How a name misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    ServFail,
    Refused,
    /// No answer comes.
    Silent,
    /// Over UDP the answer is only a word to come by TCP.
    Truncated,
}

/// The data of one record.
#[derive(Debug, Clone)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Txt(Vec<Vec<u8>>),
    Ptr(String),
    Cname(String),
    /// Type and octets.
    Other(u16, Vec<u8>),
}

#[derive(Debug, Clone)]
pub struct Record {
    pub owner: String,
    pub kind: u16,
    pub data: Vec<u8>,
}

/// What is said to one question.
#[derive(Debug, Default)]
pub struct Answer {
    pub code: u8,
    pub records: Vec<Record>,
    /// What was asked for is not there.
    pub negative: bool,
    pub truncated: bool,
    /// All names that it is about are validated.
    pub secure: bool,
}

#[derive(Debug, Default)]
pub struct Zones {
    records: BTreeMap<String, Vec<Record>>,
    /// Where a CNAME leads.
    aliases: BTreeMap<String, String>,
    behaviours: Vec<(String, Option<u16>, Behaviour)>,
    /// Names that are validated, with those below them.
    secure: Vec<String>,
}

impl Zones {
    /// Panics, with the line, where it is none.
    pub fn parse(text: &str) -> Self {
        let mut zones = Self::default();
        for line in text.lines() {
            let mut words = words(line).into_iter();
            let Some(name) = words.next() else { continue };
            let rest: Vec<String> = words.collect();
            let read = zones.read(&name, &rest);
            assert!(read.is_some(), "no line of a zone: {line}");
        }
        zones
    }

    fn read(&mut self, name: &str, rest: &[String]) -> Option<()> {
        let (kind, values) = rest.split_first()?;
        let one = || values.first().filter(|_| values.len() == 1);
        let data = match kind.as_str() {
            "A" => Data::A(one()?.parse().ok()?),
            "AAAA" => Data::Aaaa(one()?.parse().ok()?),
            "MX" => Data::Mx(values.first()?.parse().ok()?, values.get(1)?.clone()),
            "TXT" => Data::Txt(values.iter().map(|value| value.clone().into_bytes()).collect()),
            "PTR" => Data::Ptr(one()?.clone()),
            "CNAME" => Data::Cname(one()?.clone()),
            "SRV" => Data::Other(33, srv(values)?),
            "TLSA" => Data::Other(52, tlsa(values)?),
            "SECURE" => {
                self.secure.push(canonical(name));
                return Some(());
            }
            behaviour => {
                let of = values.first().map(|kind| kind_of(kind));
                self.misbehave(name, of, behaviour_of(behaviour)?);
                return Some(());
            }
        };
        self.add(name, data);
        Some(())
    }

    pub fn add(&mut self, name: &str, data: Data) {
        let owner = canonical(name);
        let (kind, data) = match data {
            Data::A(address) => (1, address.octets().to_vec()),
            Data::Aaaa(address) => (28, address.octets().to_vec()),
            Data::Mx(preference, host) => {
                (15, [&preference.to_be_bytes()[..], &message::name(&host)].concat())
            }
            Data::Txt(strings) => (16, strings.iter().flat_map(|string| string_of(string)).collect()),
            Data::Ptr(host) => (12, message::name(&host)),
            Data::Cname(target) => {
                self.aliases.insert(owner.clone(), canonical(&target));
                (CNAME, message::name(&target))
            }
            Data::Other(kind, data) => (kind, data),
        };
        let record = Record { owner: owner.clone(), kind, data };
        self.records.entry(owner).or_default().push(record);
    }

    /// `kind`: to questions of this type alone.
    pub fn misbehave(&mut self, name: &str, kind: Option<u16>, how: Behaviour) {
        self.behaviours.push((canonical(name), kind, how));
    }

    /// `None`: silence.
    pub(crate) fn answer(&self, name: &str, kind: u16) -> Option<Answer> {
        let mut answer = Answer { secure: true, ..Answer::default() };
        let (mut name, mut seen) = (name, BTreeSet::from([name]));
        loop {
            answer.secure &= self.secure.iter().any(|of| is_below(name, of));
            let applies =
                |it: &&(String, Option<u16>, Behaviour)| it.0 == name && it.1.is_none_or(|of| of == kind);
            match self.behaviours.iter().find(applies).map(|it| it.2) {
                Some(Behaviour::Silent) => return None,
                Some(Behaviour::ServFail) => return Some(Answer { code: SERVFAIL, ..Answer::default() }),
                Some(Behaviour::Refused) => return Some(Answer { code: REFUSED, ..Answer::default() }),
                Some(Behaviour::Truncated) => answer.truncated = true,
                None => {}
            }
            let here = self.records.get(name).map_or(&[][..], Vec::as_slice);
            let alias = self.aliases.get(name).filter(|_| kind != CNAME);
            let wanted = if alias.is_some() { CNAME } else { kind };
            let found = here.iter().filter(|record| record.kind == wanted).cloned();
            answer.records.extend(found);
            match alias {
                // A loop is told as far as it goes.
                Some(target) if seen.insert(target.as_str()) => name = target,
                Some(_) => return Some(answer),
                None => break,
            }
        }
        let asked_for = answer.records.last().is_some_and(|record| record.kind == kind);
        answer.negative = !asked_for;
        answer.code = if self.is_there(name) { NO_ERROR } else { NXDOMAIN };
        Some(answer)
    }

    /// RFC 8020: a name is there if one below it is.
    fn is_there(&self, name: &str) -> bool {
        let below = |owner: &String| is_below(owner, name);
        self.records.keys().any(below) || self.behaviours.iter().any(|(owner, ..)| below(owner))
    }
}

/// RFC 2782: priority, weight, port, target.
fn srv(values: &[String]) -> Option<Vec<u8>> {
    let [priority, weight, port, target] = values else { return None };
    let mut data = Vec::new();
    for number in [priority, weight, port] {
        data.extend(number.parse::<u16>().ok()?.to_be_bytes());
    }
    data.extend(message::name(target));
    Some(data)
}

/// Also of the name itself.
fn is_below(name: &str, of: &str) -> bool {
    name.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Words parted by blanks; one in quotes may hold them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for char in line.chars() {
        match char {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ';' if !quoted => break,
            ' ' | '\t' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

fn behaviour_of(word: &str) -> Option<Behaviour> {
    match word {
        "SERVFAIL" => Some(Behaviour::ServFail),
        "REFUSED" => Some(Behaviour::Refused),
        "SILENT" => Some(Behaviour::Silent),
        "TRUNCATED" => Some(Behaviour::Truncated),
        _ => None,
    }
}

fn kind_of(name: &str) -> u16 {
    let known = KINDS.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("no type of record that is known here: {name}")).1
}

pub(crate) fn kind_name(kind: u16) -> String {
    let known = KINDS.iter().find(|(_, known)| *known == kind);
    known.map_or_else(|| format!("TYPE{kind}"), |(name, _)| (*name).to_owned())
}

/// Cut into strings that a record can hold.
fn string_of(text: &[u8]) -> Vec<u8> {
    if text.is_empty() {
        return vec![0];
    }
    let sized = |part: &[u8]| [&[part.len() as u8], part].concat();
    text.chunks(STRING_BYTES_MAX).flat_map(sized).collect()
}

/// RFC 6698 2.1: usage, selector, matching type, and the rest in hexadecimal digits.
fn tlsa(values: &[String]) -> Option<Vec<u8>> {
    let (numbers, hex) = values.split_at_checked(3)?;
    let numbers: Option<Vec<u8>> = numbers.iter().map(|number| number.parse().ok()).collect();
    let hex = hex.concat();
    let octet = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let octets: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(octet).collect();
    Some([numbers?, octets?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONES: &str = "
        example.test      MX    10 mx1.example.test
        example.test      TXT   \"v=spf1 ; \" \"-all\"   ; two strings
        www.example.test  CNAME Mx1.Example.Test.
        mx1.example.test  A     192.0.2.1
        a.loop.test       CNAME b.loop.test
        b.loop.test       CNAME a.loop.test
        gone.test         CNAME nowhere.test
        broken.test       SERVFAIL
        slow.test         SILENT TXT
        slow.test         A     192.0.2.9
        signed.test       SECURE
        signed.test       MX    10 mx.signed.test
        out.signed.test   CNAME mx1.example.test
        in.example.test   CNAME mx.signed.test
        mx.signed.test    A     192.0.2.2
    ";

    fn kinds(answer: &Answer) -> Vec<u16> {
        answer.records.iter().map(|record| record.kind).collect()
    }

    #[test]
    fn answers_as_a_recursive_server_would() {
        let zones = Zones::parse(ZONES);
        let says = |name: &str, kind: &str| {
            zones.answer(name, kind_of(kind)).map(|it| (it.code, kinds(&it), it.negative))
        };
        assert_eq!(says("example.test", "MX"), Some((NO_ERROR, vec![15], false)));
        assert_eq!(says("example.test", "A"), Some((NO_ERROR, vec![], true)));
        assert_eq!(says("test", "A"), Some((NO_ERROR, vec![], true)), "a longer name ends in it");
        assert_eq!(says("ample.test", "A"), Some((NXDOMAIN, vec![], true)), "no name ends in it");
        assert_eq!(says("www.example.test", "A"), Some((NO_ERROR, vec![CNAME, 1], false)));
        assert_eq!(says("www.example.test", "MX"), Some((NO_ERROR, vec![CNAME], true)));
        assert_eq!(says("gone.test", "A"), Some((NXDOMAIN, vec![CNAME], true)));
        assert_eq!(says("a.loop.test", "A"), Some((NO_ERROR, vec![CNAME, CNAME], false)));
        assert_eq!(says("broken.test", "A"), Some((SERVFAIL, vec![], false)));
        assert_eq!(says("slow.test", "TXT"), None);
        assert_eq!(says("slow.test", "A"), Some((NO_ERROR, vec![1], false)));
        let secure = |name: &str, kind: &str| zones.answer(name, kind_of(kind)).is_some_and(|it| it.secure);
        assert!(
            secure("signed.test", "MX") && secure("mx.signed.test", "A") && secure("no.signed.test", "A")
        );
        assert!(!secure("out.signed.test", "A"), "the alias leads out of what is validated");
        assert!(secure("out.signed.test", "CNAME"), "and is validated itself");
        assert!(!secure("in.example.test", "A") && !secure("notsigned.test", "A"));
        let text = zones.answer("example.test", 16).expect("it answers").records[0].data.clone();
        assert_eq!(text, b"\x09v=spf1 ; \x04-all");
    }
}
