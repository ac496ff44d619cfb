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
    pub fn parse(mut bytes: &[u8]) -> Journal {
        let mut changes = Vec::new();
        while !bytes.is_empty() {
            let kind = u32_from(&mut bytes);
            let name_length = u32_from(&mut bytes) as usize;
            let (at, count) = (u64_from(&mut bytes), u64_from(&mut bytes));
            let name = String::from_utf8(take(&mut bytes, name_length).to_vec()).expect("names are text");
            let data = if matches!(kind, 2 | 4) { take(&mut bytes, count as usize) } else { &[] };
            changes.push(change(kind, name, at, data));
        }
        changes.retain(
            |change| !matches!(change, Change::Create(name) | Change::Length { name, .. } if name == MARKS),
        );
        Journal { changes }
    }
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

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at_checked(count).expect("the journal is whole");
    *bytes = rest;
    taken
}

fn u32_from(bytes: &mut &[u8]) -> u32 {
    u32::from_ne_bytes(take(bytes, 4).try_into().expect("four octets"))
}

fn u64_from(bytes: &mut &[u8]) -> u64 {
    u64::from_ne_bytes(take(bytes, 8).try_into().expect("eight octets"))
}
