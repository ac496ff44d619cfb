//! The mbox format (RFC 4155), read in all its kinds and written as mboxrd: lines that begin with `From ` behind any number
//! of `>` get one more, so that nothing is lost. Flags stand in Status, X-Status and X-Keywords, as mutt, Thunderbird and Dovecot have them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::item::{At, Item, Key, Problem, at, header_value, is_keyword, with_crlf, written_date};
use super::maildir::without_cr;
use super::ours::Message;
use crate::mail::date::{DateTime, format_imap_date_time, month_name, parse_rfc5322};
use crate::store::files;

/// Octets of a message that is looked at; a longer one cannot be taken.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;
/// Headers in which flags stand; they are ours to make, and no part of the message.
const FLAG_FIELDS: [&str; 3] = ["Status", "X-Status", "X-Keywords"];

/// One file, for one folder.
pub struct Mbox {
    path: PathBuf,
    folder: String,
}

impl Mbox {
    pub fn new(path: PathBuf, folder: String) -> Self {
        Self { path, folder }
    }

    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// In the file's order.
    pub fn list(&self) -> Result<Vec<Item>, Problem> {
        let file = File::open(&self.path).map_err(|error| self.at(&error))?;
        let spans = spans(BufReader::new(file)).map_err(|error| self.at(&error))?;
        if spans.is_empty() && self.path.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            return Err(format!("{} is no mbox: it does not begin with \"From \"", self.path.display()));
        }
        let mut items = Vec::new();
        for Span { from, to, separator } in spans {
            let (content, flags) = self.read(from, to)?;
            let date = parse_separator(&separator).or_else(|| written_date(&content));
            items.push(Item { key: Key::of(&content, date.as_ref()), date, flags, at: At::Span(from, to) });
        }
        Ok(items)
    }

    pub fn content(&self, item: &Item) -> Result<Vec<u8>, Problem> {
        match item.at {
            At::Span(from, to) => self.read(from, to).map(|(content, _)| content),
            At::File(_) | At::Uid(_) | At::Body(_) => Err("it is no message of an mbox".to_owned()),
        }
    }

    fn read(&self, from: u64, to: u64) -> Result<(Vec<u8>, Vec<String>), Problem> {
        if to - from > MESSAGE_BYTES_MAX {
            return Err(format!("{}: the message at octet {from} is longer than 1 GiB", self.path.display()));
        }
        let mut raw = vec![0; (to - from) as usize];
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut raw)
        });
        read.map_err(|error| self.at(&error))?;
        let content = with_crlf(&unquoted(&raw));
        let flags = flags_in(&content);
        Ok((without_flag_fields(&content), flags))
    }

    fn at(&self, error: &io::Error) -> Problem {
        at(&self.path, error)
    }
}

/// Where a message lies, behind its separator.
struct Span {
    from: u64,
    to: u64,
    separator: Vec<u8>,
}

/// A separator begins the file, or stands behind an empty line and has a date: a line of a text that somebody forgot to
/// quote does not.
fn spans(mut file: impl BufRead) -> io::Result<Vec<Span>> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut at, mut behind_empty, mut line) = (0_u64, true, Vec::new());
    loop {
        line.clear();
        let length = file.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        let separates = text.starts_with(b"From ") && (spans.is_empty() || parse_separator(text).is_some());
        if behind_empty && separates {
            spans.push(Span { from: at + length, to: at + length, separator: text.to_vec() });
        } else if let Some(last) = spans.last_mut() {
            last.to = at + length;
        } else if !text.is_empty() {
            // Something stands before the first message: it is another kind of file.
            break;
        }
        behind_empty = text.is_empty();
        at += length;
    }
    Ok(spans)
}

/// Without the empty line that ends it in the file, and each `>From ` with one `>` less.
fn unquoted(raw: &[u8]) -> Vec<u8> {
    let raw = match raw {
        [rest @ .., b'\n', b'\r', b'\n'] | [rest @ .., b'\n', b'\n'] => &raw[..=rest.len()],
        all => all,
    };
    let mut out = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(if is_quoted(line) { &line[1..] } else { line });
    }
    out
}

fn is_quoted(line: &[u8]) -> bool {
    line.starts_with(b">")
        && line[line.iter().take_while(|byte| **byte == b'>').count()..].starts_with(b"From ")
}

/// `From sender Thu Jan  1 00:00:00 1970`, in UTC as the RFC has it.
fn parse_separator(line: &[u8]) -> Option<DateTime> {
    let rest = line.strip_prefix(b"From ")?;
    let date = &rest[rest.iter().position(|byte| *byte == b' ')? + 1..];
    parse_rfc5322(date)
}

fn flags_in(content: &[u8]) -> Vec<String> {
    let letters = |name| header_value(content, name).unwrap_or_default();
    let mut flags: Vec<String> = letters("Status")
        .into_iter()
        .chain(letters("X-Status"))
        .filter_map(|letter| match letter {
            b'R' => Some("\\Seen"),
            b'A' => Some("\\Answered"),
            b'F' => Some("\\Flagged"),
            b'D' => Some("\\Deleted"),
            b'T' => Some("\\Draft"),
            _ => None,
        })
        .map(str::to_owned)
        .collect();
    let words = String::from_utf8(letters("X-Keywords")).unwrap_or_default();
    flags.extend(words.split_whitespace().filter(|word| is_keyword(word)).map(str::to_owned));
    flags
}

fn without_flag_fields(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let (mut in_header, mut leaving_out) = (true, false);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if in_header && line.trim_ascii().is_empty() {
            (in_header, leaving_out) = (false, false);
        } else if in_header && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            leaving_out = FLAG_FIELDS.iter().any(|field| is_field(line, field));
        }
        if !leaving_out {
            out.extend_from_slice(line);
        }
    }
    out
}

fn is_field(line: &[u8], name: &str) -> bool {
    let (head, rest) = line.split_at(name.len().min(line.len()));
    head.eq_ignore_ascii_case(name.as_bytes()) && rest.trim_ascii_start().starts_with(b":")
}

/// A file that is made as a whole, and put in its place when it is whole.
pub struct Writer {
    path: PathBuf,
    waiting: PathBuf,
    file: io::BufWriter<File>,
}

impl Writer {
    pub fn create(path: PathBuf) -> Result<Self, Problem> {
        let waiting = path.with_extension("unfinished");
        let file = File::create(&waiting).map_err(|error| at(&waiting, &error))?;
        Ok(Self { path, waiting, file: io::BufWriter::new(file) })
    }

    pub fn write(&mut self, message: &Message) -> Result<(), Problem> {
        self.try_write(message).map_err(|error| at(&self.waiting, &error))
    }

    fn try_write(&mut self, message: &Message) -> io::Result<()> {
        let content = without_cr(&without_flag_fields(&message.content));
        writeln!(self.file, "{}", separator(message.date.as_ref()))?;
        let header = content.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 1);
        self.put(&content[..header])?;
        self.file.write_all(flag_fields(&message.flags).as_bytes())?;
        self.put(&content[header..])?;
        let end: &[u8] = if content.ends_with(b"\n") { b"\n" } else { b"\n\n" };
        self.file.write_all(end)
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b"From ") || is_quoted(line) {
                self.file.write_all(b">")?;
            }
            self.file.write_all(line)?;
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<(), Problem> {
        let done = (|| {
            self.file.flush()?;
            files::sync_file(self.file.get_ref())?;
            files::rename_durably(&self.waiting, &self.path)
        })();
        done.map_err(|error| at(&self.path, &error))
    }
}

fn separator(date: Option<&DateTime>) -> String {
    let utc = DateTime::from_unix(date.map_or(0, DateTime::unix_seconds), 0);
    // The day of the week is for people, and wrong ones are read as well as right ones: the RFC's own date has it.
    let week = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = week[utc.unix_seconds().div_euclid(86_400).rem_euclid(7) as usize];
    let text = format_imap_date_time(&utc);
    let time = text.split(' ').rev().nth(1).unwrap_or_default();
    let month = month_name(utc.date.month);
    format!("From MAILER-DAEMON {day} {month} {:2} {time} {:04}", utc.date.day, utc.date.year)
}

fn flag_fields(flags: &[String]) -> String {
    let has = |flag: &str| flags.iter().any(|one| one == flag);
    let status = if has("\\Seen") { "RO" } else { "O" };
    let letters = [("\\Answered", 'A'), ("\\Flagged", 'F'), ("\\Deleted", 'D'), ("\\Draft", 'T')];
    let x_status: String = letters.iter().filter(|(flag, _)| has(flag)).map(|(_, letter)| letter).collect();
    let words: Vec<&str> = flags.iter().map(String::as_str).filter(|flag| !flag.starts_with('\\')).collect();
    let mut fields = format!("Status: {status}\n");
    for (name, value) in [("X-Status", x_status), ("X-Keywords", words.join(" "))] {
        if !value.is_empty() {
            fields.push_str(&format!("{name}: {value}\n"));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Mbox) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mbox");
        std::fs::write(&path, text).unwrap();
        (dir, Mbox::new(path, "Old".to_owned()))
    }

    fn read(mbox: &Mbox) -> Vec<(i64, Vec<String>, String)> {
        let content = |item: &Item| String::from_utf8(mbox.content(item).unwrap()).unwrap();
        let items = mbox.list().unwrap();
        items.iter().map(|item| (item.key.unix_seconds, item.flags.clone(), content(item))).collect()
    }

    #[test]
    fn what_mail_programs_leave_is_read() {
        let (_dir, mbox) = file(
            "From a@a.test Mon Jan  1 10:00:00 2024\nSubject: one\nStatus: RO\nX-Status: AF\nX-Keywords: NonJunk a*\n\nFrom here on\n>From there\n>>From both\n\n\
             From - Tue Jan  2 10:00:00 2024\r\nSubject: two\r\n\r\ntext\r\n\r\n\
             From nobody Wed Jan  3 10:00:00 2024\n\nno end",
        );
        assert_eq!(
            read(&mbox),
            [
                (
                    1_704_103_200,
                    ["\\Seen", "\\Answered", "\\Flagged", "NonJunk"].map(str::to_owned).to_vec(),
                    "Subject: one\r\n\r\nFrom here on\r\nFrom there\r\n>From both\r\n".to_owned()
                ),
                (1_704_189_600, vec![], "Subject: two\r\n\r\ntext\r\n".to_owned()),
                (1_704_276_000, vec![], "\r\nno end".to_owned()),
            ]
        );
        let (_dir, mbox) = file("From nobody\nDate: Wed, 3 Jan 2024 10:00:00 +0000\n\n");
        assert_eq!(read(&mbox)[0].0, 1_704_276_000, "of the message itself");
    }

    #[test]
    fn other_files_are_none() {
        let (_dir, mbox) = file("Subject: one\n\ntext\n");
        assert!(mbox.list().unwrap_err().contains("is no mbox"));
        let (_dir, mbox) = file("");
        assert_eq!(mbox.list().unwrap(), []);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Old.mbox");
        let texts = [
            "Subject: one\r\nX-Status: F\r\n\r\nFrom here\r\n>From there\r\n\r\n",
            "Subject: two\r\n\r\nno end",
            "no header at all\r\n",
        ];
        let flags = [vec!["\\Seen", "\\Draft", "$Forwarded"], vec![], vec!["\\Deleted"]];
        let mut writer = Writer::create(path.clone()).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let flags = flags[at].iter().map(|flag| (*flag).to_owned()).collect();
            let date = Some(DateTime::from_unix(1_700_000_000 + at as i64, 60));
            writer.write(&Message { flags, date, content: text.as_bytes().to_vec() }).unwrap();
        }
        assert!(!path.exists(), "not before it is whole");
        writer.finish().unwrap();
        let read = read(&Mbox::new(path, "Old".to_owned()));
        assert_eq!(
            read.iter().map(|one| one.0).collect::<Vec<_>>(),
            [1_700_000_000, 1_700_000_001, 1_700_000_002]
        );
        assert_eq!(read[0].1, ["\\Seen", "\\Draft", "$Forwarded"]);
        assert_eq!(
            read[0].2, "Subject: one\r\n\r\nFrom here\r\n>From there\r\n\r\n",
            "the flags' own fields are made anew"
        );
        assert_eq!(read[1].2, "Subject: two\r\n\r\nno end\r\n");
        assert_eq!(read[2].1, ["\\Deleted"]);
    }
}
