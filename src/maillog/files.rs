//! The files: lines are added to the newest of a kind, and the oldest is removed whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::Bounds;
use super::event::Event;
use super::query::{Found, LINE_BYTES_MAX, Newest, Query};

/// So many files share what a kind may have.
const FILES: u64 = 16;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const KINDS: [&str; 2] = ["mail", "refused"];

pub(super) struct Files {
    folder: PathBuf,
    /// In the order of [`KINDS`].
    open: [Option<Open>; 2],
    /// The disk is in trouble, and that was said.
    troubled: bool,
}

/// The file that lines are added to.
struct Open {
    file: BufWriter<File>,
    bytes: u64,
    /// Of its first line, milliseconds since 1970.
    began: u64,
}

impl Files {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: [None, None], troubled: false }
    }

    pub fn write(&mut self, event: &Event, bounds: Bounds) {
        let result = self.add(event, bounds);
        self.note(result);
    }

    pub fn flush(&mut self) {
        let result = self.open.iter_mut().flatten().try_for_each(|open| open.file.flush());
        self.note(result);
    }

    /// Trouble is told once, and begins with a new file.
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.troubled = false,
            Err(error) => {
                self.open = [None, None];
                if !std::mem::replace(&mut self.troubled, true) {
                    warn!("the log of mails in {} cannot be written: {error}", self.folder.display());
                }
            }
        }
    }

    fn add(&mut self, event: &Event, bounds: Bounds) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if line.len() > LINE_BYTES_MAX {
            return Ok(());
        }
        let kind = usize::from(event.what.is_refusal());
        let bytes_max = bounds.bytes_max / FILES;
        let is_full = |open: &Open| {
            open.bytes + line.len() as u64 > bytes_max || event.at.saturating_sub(open.began) >= DAY_MS
        };
        if self.open[kind].as_ref().is_none_or(is_full) {
            if let Some(mut open) = self.open[kind].take() {
                open.file.flush()?;
            }
            self.open[kind] = Some(self.begin(kind, event.at, bounds)?);
        }
        if let Some(open) = &mut self.open[kind] {
            open.file.write_all(&line)?;
            open.bytes += line.len() as u64;
        }
        Ok(())
    }

    /// A file of its own for each start, each day, and each share of the room. Makes room for it first.
    fn begin(&self, kind: usize, at: u64, bounds: Bounds) -> io::Result<Open> {
        fs::create_dir_all(&self.folder)?;
        let files = files(&self.folder, kind)?;
        let too_old = at.saturating_sub(bounds.days_max.saturating_mul(DAY_MS));
        // A file may have lines until the next one begins.
        let ends = files.iter().skip(1).map(|(began, ..)| *began).chain([at]);
        let mut kept: Vec<&(u64, u64, PathBuf)> = Vec::new();
        for (file, end) in files.iter().zip(ends) {
            match end < too_old {
                true => fs::remove_file(&file.2)?,
                false => kept.push(file),
            }
        }
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        let room = bounds.bytes_max - bounds.bytes_max / FILES;
        for (_, size, path) in kept {
            if bytes <= room {
                break;
            }
            fs::remove_file(path)?;
            bytes -= size;
        }
        let mut began = at;
        loop {
            // The clock may have gone back, and two files may begin within a millisecond.
            began = files.last().map_or(began, |(last, ..)| began.max(last + 1));
            let path = self.folder.join(format!("{}-{began:015}.jsonl", KINDS[kind]));
            match OpenOptions::new().append(true).create_new(true).open(path) {
                Ok(file) => return Ok(Open { file: BufWriter::new(file), bytes: 0, began: at }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => began += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// When each began, its octets and its place; oldest first.
fn files(folder: &Path, kind: usize) -> io::Result<Vec<(u64, u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let began = name.to_str().and_then(|name| {
            name.strip_prefix(KINDS[kind])?.strip_prefix('-')?.strip_suffix(".jsonl")?.parse().ok()
        });
        if let Some(began) = began {
            found.push((began, entry.metadata()?.len(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn find(folder: &Path, query: &Query) -> io::Result<Found> {
    let mut newest = Newest::default();
    for kind in 0..KINDS.len() {
        let mut of_kind = Newest::default();
        for (.., path) in files(folder, kind)? {
            match read(&path, query, &mut of_kind) {
                // Its time was over meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        newest = newest.with(of_kind);
    }
    Ok(newest.found())
}

/// A line that a crash cut off, or that a later build wrote, is passed over.
fn read(path: &Path, query: &Query, into: &mut Newest) -> io::Result<()> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut lines).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if query.may_fit(&line)
            && let Ok(event) = serde_json::from_slice::<Event>(&line)
            && query.fits(&event)
        {
            into.push(event, line.len());
        }
    }
}
