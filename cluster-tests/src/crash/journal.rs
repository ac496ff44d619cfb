//! What a workload did to its files, in order.

/// The file in which the workload says what was begun and what was acknowledged.
pub const MARKS: &str = "marks";

/// One change of a file or a name. Names are relative to the recorded folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create(String),
    Write {
        name: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Length {
        name: String,
        length: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    Folder(String),
    /// A file's content, or a folder's names, are durable.
    Sync(String),
    /// The workload begins a step.
    Begun(u64),
    /// The workload was told that a step is durable.
    Acknowledged(u64),
}

pub struct Journal {
    pub changes: Vec<Change>,
}

impl Journal {
    /// Panics on a journal that the shim did not write.
    pub fn parse(bytes: &[u8]) -> Journal {
        let (journal, rest) = Self::parse_killed(bytes);
        assert_eq!(rest, 0, "the journal is whole");
        journal
    }

    /// The same of a process that was killed: its last entry may be there in part. Returns how many octets of it are.
    pub fn parse_killed(mut bytes: &[u8]) -> (Journal, usize) {
        let mut changes = Vec::new();
        while let Some(change) = next(&mut bytes) {
            changes.push(change);
        }
        changes.retain(
            |change| !matches!(change, Change::Create(name) | Change::Length { name, .. } if name == MARKS),
        );
        (Journal { changes }, bytes.len())
    }
}

/// `None` where no whole entry is left.
fn next(bytes: &mut &[u8]) -> Option<Change> {
    let mut rest = *bytes;
    let kind = u32::from_ne_bytes(*take(&mut rest, 4)?.first_chunk()?);
    let name_length = u32::from_ne_bytes(*take(&mut rest, 4)?.first_chunk()?) as usize;
    let at = u64::from_ne_bytes(*take(&mut rest, 8)?.first_chunk()?);
    let count = u64::from_ne_bytes(*take(&mut rest, 8)?.first_chunk()?);
    let name = take(&mut rest, name_length)?;
    let data = if matches!(kind, 2 | 4) { take(&mut rest, count as usize)? } else { &[] };
    *bytes = rest;
    Some(change(kind, String::from_utf8(name.to_vec()).expect("names are text"), at, data))
}

fn change(kind: u32, name: String, at: u64, data: &[u8]) -> Change {
    match kind {
        1 => Change::Create(name),
        2 if name == MARKS => {
            let (number, kind) = data.split_first_chunk::<8>().expect("a mark has nine octets");
            let number = u64::from_le_bytes(*number);
            if kind == [0] { Change::Begun(number) } else { Change::Acknowledged(number) }
        }
        2 => Change::Write { name, at, bytes: data.to_vec() },
        3 => Change::Length { name, length: at },
        4 => {
            let to = String::from_utf8(data.to_vec()).expect("names are text");
            Change::Rename { from: name, to }
        }
        5 => Change::Remove(name),
        6 => Change::Folder(name),
        7 => Change::Sync(name),
        other => panic!("the journal has an entry of kind {other}"),
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}
