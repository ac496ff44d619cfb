//! Proposals, outcomes and rows as they lie on disk: total, and what is read is written and read again as the same.

use pollux::state::codec::{Record, decode, encode};
use pollux::state::command::Proposal;
use pollux::state::outcome::Outcome;
use pollux::state::stored::*;

pub fn run(bytes: &[u8]) {
    let kind = bytes.first_chunk::<2>().map_or(0, |kind| u16::from_be_bytes(*kind));
    match kind {
        1 => again::<Proposal>(bytes),
        2 => again::<Outcome>(bytes),
        16 => again::<MetaRow>(bytes),
        17 => again::<ReplicasRow>(bytes),
        18 => again::<DomainRow>(bytes),
        19 => again::<UserRow>(bytes),
        20 => again::<AccountRow>(bytes),
        21 => again::<AliasPartRow>(bytes),
        22 => again::<SettingRow>(bytes),
        23 => again::<MailboxRow>(bytes),
        24 => again::<NameRow>(bytes),
        25 => again::<KeywordsPartRow>(bytes),
        26 => again::<ExpungedPartRow>(bytes),
        27 => again::<MessagesRow>(bytes),
        28 => again::<BodyRow>(bytes),
        29 => again::<SlotRow>(bytes),
        30 => again::<SlotPartRow>(bytes),
        31 => again::<CommandRow>(bytes),
        32 => again::<SweepRow>(bytes),
        37 => again::<ScramRow>(bytes),
        38 => again::<StandInRow>(bytes),
        _ => {}
    }
}

/// The header's length is the fuzzer's once, and the right one once, so that it need not be guessed.
fn again<R: Record + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let _ = decode::<R>(bytes);
    let Some((head, body)) = bytes.split_at_checked(8) else { return };
    let whole = [&head[..4], &(body.len() as u32).to_be_bytes(), body].concat();
    if let Ok(record) = decode::<R>(&whole) {
        let written = encode(&record).expect("no longer than what was read");
        assert_eq!(decode::<R>(&written).as_ref(), Ok(&record));
    }
}
