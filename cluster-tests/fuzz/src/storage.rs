//! The frames of the log and the headers of stored bodies, from any bytes: total; what is written is read; what is
//! cut is torn and never taken for whole.

use pollux::mail::ids::BodyId;
use pollux::store::log::frame::{FileHeader, FrameBuilder, FrameHeader, Record, Tail, judge_tail};
use pollux::store::segments::record::{HEADER_BYTES, Header, next_header};

use super::dice::Dice;

const SALT: u64 = 0x5a17;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let (cut, offset, batch) = (dice.number(), dice.number(), dice.number());
    let rest = dice.rest();
    if let Some(header) = FileHeader::decode(rest) {
        assert_eq!(header.encode(), rest[..header.encode().len()]);
    }
    let _ = FrameHeader::decode(rest, SALT).map(|header| header.body(rest).is_some());
    let _ = judge_tail(rest, offset, batch, SALT);
    if let Some(records) = Record::decode_all(rest) {
        frames(&records, rest, (cut, offset, batch));
    }
    segments(rest, cut);
}

fn frames(records: &[Record], body: &[u8], (cut, offset, batch): (u64, u64, u64)) {
    let mut builder = FrameBuilder::new();
    records.iter().for_each(|record| builder.push(record));
    let frame = builder.finish(batch, SALT);
    let header = FrameHeader::decode(&frame, SALT).expect("a frame just built");
    assert_eq!((header.batch, header.frame_bytes()), (batch, frame.len() as u64));
    assert_eq!(header.body(&frame), Some(body));
    let cut = (cut % frame.len() as u64) as usize;
    assert_eq!(header.body(&frame[..cut]), None, "a frame that is cut is not whole");
    if cut > 0 {
        assert_eq!(judge_tail(&frame[..cut], offset % (1 << 40), batch, SALT), Tail::Torn);
    }
    let mut flipped = frame.clone();
    flipped[cut] ^= 1;
    let whole = FrameHeader::decode(&flipped, SALT).and_then(|header| header.body(&flipped).map(<[u8]>::len));
    assert_eq!(whole, None, "a flipped bit went unseen");
}

fn segments(rest: &[u8], length: u64) {
    let _ = Header::decode(rest);
    let header = Header { id: BodyId::of(rest), length };
    let written = header.encode();
    assert_eq!((Header::decode(&written), written.len()), (Some(header), HEADER_BYTES));
    let found = next_header(&[rest, &written].concat()).expect("there is one at the end");
    assert!(found <= rest.len());
}
