//! Messages as octets (RFC 1035 4): a question in, an answer out. No compression: nothing obliges to it.

use super::zones::{Answer, Record};

/// RFC 1035 4.2.1, where the client says nothing else (RFC 6891).
const UDP_BYTES_MAX: usize = 512;
const HEADER_BYTES: usize = 12;
/// Of the header's fourth octet.
const AD: u8 = 0x20;
const OPT: u16 = 41;
const SOA: u16 = 6;
const CLASS_IN: u16 = 1;

const TTL_SECONDS: u32 = 300;
/// RFC 2308: of what is not there.
const NEGATIVE_TTL_SECONDS: u32 = 60;

/// One question.
pub struct Query {
    id: [u8; 2],
    /// The question's section as it came: a client may check its letters' case.
    question: Vec<u8>,
    udp_bytes_max: usize,
    extended: bool,
    /// RFC 6840 5.7, RFC 3225: it would know whether the answer was validated.
    asks_for_proof: bool,
    /// In lower case, without the last dot.
    pub name: String,
    pub kind: u16,
}

impl Query {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let id = [*bytes.first()?, *bytes.get(1)?];
        let (mut at, mut labels) = (HEADER_BYTES, Vec::new());
        loop {
            let length = usize::from(*bytes.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
        let question = bytes.get(HEADER_BYTES..at + 4)?.to_vec();
        // RFC 6891 6.1.2: the root as owner, the type, and the client's bound where a class would stand.
        let option = bytes.get(at + 4..).filter(|rest| rest.len() >= 5 && rest[..3] == [0, 0, OPT as u8]);
        let udp_bytes_max =
            option.map_or(UDP_BYTES_MAX, |rest| usize::from(u16::from_be_bytes([rest[3], rest[4]])));
        let extended = option.is_some();
        let asks_for_proof = bytes.get(3)? & AD != 0
            || option.is_some_and(|rest| rest.get(7).is_some_and(|flags| flags & 0x80 != 0));
        let name = labels.join(".");
        Some(Self { id, question, udp_bytes_max, extended, asks_for_proof, name, kind })
    }

    pub fn reply(&self, answer: &Answer, tcp: bool) -> Vec<u8> {
        let whole = self.write(answer, false);
        let truncated = !tcp && (answer.truncated || whole.len() > self.udp_bytes_max);
        if truncated { self.write(answer, true) } else { whole }
    }

    fn write(&self, answer: &Answer, truncated: bool) -> Vec<u8> {
        let records = if truncated { &[][..] } else { &answer.records };
        let negative = !truncated && answer.negative;
        let mut out = self.id.to_vec();
        // A reply; recursion was desired and is available.
        let validated = if self.asks_for_proof && answer.secure { AD } else { 0 };
        out.extend([0x81 | if truncated { 0x02 } else { 0 }, 0x80 | validated | answer.code]);
        for count in [1, records.len(), usize::from(negative), usize::from(self.extended)] {
            out.extend(u16::try_from(count).expect("fixtures are few").to_be_bytes());
        }
        out.extend(&self.question);
        records.iter().for_each(|record| write_record(&mut out, record));
        if negative {
            let root = [0, 0].into_iter();
            let numbers = [1, 3600, 600, 86_400, NEGATIVE_TTL_SECONDS].into_iter().flat_map(u32::to_be_bytes);
            let data = root.chain(numbers).collect();
            let (owner, kind, ttl) = (String::new(), SOA, NEGATIVE_TTL_SECONDS);
            write_with_ttl(&mut out, &Record { owner, kind, data }, ttl);
        }
        if self.extended {
            out.extend([0, 0, OPT as u8, 16, 0, 0, 0, 0, 0, 0, 0]);
        }
        out
    }
}

fn write_record(out: &mut Vec<u8>, record: &Record) {
    write_with_ttl(out, record, TTL_SECONDS);
}

fn write_with_ttl(out: &mut Vec<u8>, record: &Record, ttl: u32) {
    out.extend(name(&record.owner));
    out.extend(record.kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(record.data.len()).expect("fixtures fit a record").to_be_bytes());
    out.extend(&record.data);
}

/// A name on the wire.
pub fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        assert!(label.len() < 64, "a label of a fixture is too long: {label}");
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
