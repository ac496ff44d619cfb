//! Maildir (D. J. Bernstein) and Maildir++ (Courier): read with flags, keywords (dovecot-keywords) and dates, and written so
//! that Dovecot and Courier read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::item::{At, Item, Key, Problem, at, inbox_first, is_keyword, with_crlf, written_date};
use super::ours::Message;
use crate::mail::date::DateTime;
use crate::mail::utf7::{decode_utf7, encode_utf7};
use crate::store::files;

/// Levels of folders in folders (LAYOUT=fs).
const LEVELS_MAX: usize = 32;
/// Letters behind which keywords hide, `a` to `z`.
const KEYWORDS_MAX: usize = 26;
const KEYWORDS_FILE: &str = "dovecot-keywords";

/// A tree of them: INBOX at the root, the others in `.Folder.Sub` beside it, or in `Folder/Sub` below it.
pub struct Maildir {
    root: PathBuf,
    /// By the folder's name.
    found: BTreeMap<String, PathBuf>,
}

impl Maildir {
    pub fn new(root: PathBuf) -> Self {
        Self { root, found: BTreeMap::new() }
    }

    pub fn folders(&mut self) -> Result<Vec<String>, Problem> {
        if !self.root.is_dir() {
            return Err(format!("{} is no folder", self.root.display()));
        }
        if is_maildir(&self.root) {
            self.found.insert("INBOX".to_owned(), self.root.clone());
        }
        let root = self.root.clone();
        self.walk(&root, "", 0)?;
        if self.found.is_empty() {
            return Err(format!(
                "{} is no Maildir: there is no cur and new in it, nor in what is below",
                root.display()
            ));
        }
        let names: Vec<String> = self.found.keys().cloned().collect();
        Ok(inbox_first(names))
    }

    fn walk(&mut self, dir: &Path, above: &str, level: usize) -> Result<(), Problem> {
        if level > LEVELS_MAX {
            return Err(format!("{}: more than {LEVELS_MAX} folders in each other", dir.display()));
        }
        for entry in fs::read_dir(dir).map_err(|error| at(dir, &error))? {
            let path = entry.map_err(|error| at(dir, &error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(format!("{}: its name is not UTF-8; rename it", path.display()));
            };
            if !path.is_dir() || ["cur", "new", "tmp"].contains(&name) {
                continue;
            }
            // Maildir++ has all levels in one name, at the root alone; else a folder is a level.
            let (plus, levels) = match name.strip_prefix('.') {
                Some(rest) if level == 0 => (true, from_disk(rest)),
                Some(_) => continue,
                None => (false, name.to_owned()),
            };
            let decoded = decode_utf7(levels.as_bytes()).unwrap_or(levels);
            let folder = if above.is_empty() { decoded } else { format!("{above}/{decoded}") };
            if is_maildir(&path) {
                self.found.insert(folder.clone(), path.clone());
            }
            if !plus {
                self.walk(&path, &folder, level + 1)?;
            }
        }
        Ok(())
    }

    /// The oldest first.
    pub fn list(&mut self, folder: &str) -> Result<Vec<Item>, Problem> {
        let Some(dir) = self.found.get(folder).cloned() else { return Ok(Vec::new()) };
        let keywords = Keywords::read(&dir).map_err(|error| at(&dir, &error))?;
        let mut items = Vec::new();
        for part in ["new", "cur"] {
            let part = dir.join(part);
            for entry in fs::read_dir(&part).map_err(|error| at(&part, &error))? {
                let path = entry.map_err(|error| at(&part, &error))?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                if name.starts_with('.') || !path.is_file() {
                    continue;
                }
                let content = fs::read(&path).map_err(|error| at(&path, &error))?;
                items.push(item(path, &name, &with_crlf(&content), &keywords));
            }
        }
        items.sort_by_key(|item| (item.key.unix_seconds, file_name(&item.at)));
        Ok(items)
    }

    pub fn content(&self, item: &Item) -> Result<Option<Vec<u8>>, Problem> {
        let At::File(path) = &item.at else { return Ok(None) };
        match fs::read(path) {
            Ok(content) => Ok(Some(with_crlf(&content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path, &error)),
        }
    }
}

fn file_name(place: &At) -> String {
    match place {
        At::File(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned(),
        At::Span(..) | At::Uid(_) | At::Body(_) => String::new(),
    }
}

fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() && path.join("new").is_dir()
}

fn item(path: PathBuf, name: &str, content: &[u8], keywords: &Keywords) -> Item {
    // Dovecot and Courier keep the internal date there.
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
    let seconds =
        modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs() as i64);
    let date = seconds.map(|seconds| DateTime::from_unix(seconds, 0)).or_else(|| written_date(content));
    Item { key: Key::of(content, date.as_ref()), date, flags: flags_in(name, keywords), at: At::File(path) }
}

/// What stands behind `:2,` of a file's name.
fn flags_in(name: &str, keywords: &Keywords) -> Vec<String> {
    let Some((_, letters)) = name.rsplit_once(":2,") else { return Vec::new() };
    let letters = letters.split(',').next().unwrap_or_default();
    letters
        .chars()
        .filter_map(|letter| match letter {
            'P' => Some("$Forwarded".to_owned()),
            'R' => Some("\\Answered".to_owned()),
            'S' => Some("\\Seen".to_owned()),
            'T' => Some("\\Deleted".to_owned()),
            'D' => Some("\\Draft".to_owned()),
            'F' => Some("\\Flagged".to_owned()),
            other => keywords.of(other),
        })
        .collect()
}

/// What the letters `a` to `z` stand for in one folder.
#[derive(Debug, Default)]
struct Keywords(Vec<String>);

impl Keywords {
    fn read(dir: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(dir.join(KEYWORDS_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut words = vec![String::new(); KEYWORDS_MAX];
        for line in text.lines() {
            if let Some((number, word)) = line.split_once(' ')
                && let Some(place) = number.parse::<usize>().ok().and_then(|at| words.get_mut(at))
            {
                *place = word.to_owned();
            }
        }
        Ok(Self(words))
    }

    fn of(&self, letter: char) -> Option<String> {
        let at = (letter as usize).checked_sub('a' as usize)?;
        self.0.get(at).filter(|word| is_keyword(word)).cloned()
    }

    /// The letter of a word, which gets one if there is one left.
    fn letter(&mut self, word: &str) -> Option<char> {
        let at = match self.0.iter().position(|known| known == word) {
            Some(at) => at,
            None if self.0.len() < KEYWORDS_MAX => {
                self.0.push(word.to_owned());
                self.0.len() - 1
            }
            None => return None,
        };
        Some((b'a' + at as u8) as char)
    }

    fn to_text(&self) -> String {
        self.0.iter().enumerate().map(|(at, word)| format!("{at} {word}\n")).collect()
    }
}

/// One folder of a Maildir++ that is written. Each message is there as a whole or not at all.
pub struct Writer {
    dir: PathBuf,
    uid_validity: u32,
    keywords: Keywords,
    /// Keywords that found no letter.
    pub keywords_left_out: usize,
    there: BTreeSet<u32>,
}

impl Writer {
    pub fn open(root: &Path, folder: &str, uid_validity: u32) -> Result<Self, Problem> {
        let dir = match folder {
            "INBOX" => root.to_owned(),
            _ => root.join(format!(".{}", on_disk(folder))),
        };
        for part in ["tmp", "new", "cur"] {
            let path = dir.join(part);
            files::create_dir_durably(&path).map_err(|error| at(&path, &error))?;
        }
        let mut keywords = Keywords::read(&dir).map_err(|error| at(&dir, &error))?;
        while keywords.0.last().is_some_and(String::is_empty) {
            keywords.0.pop();
        }
        let cur = dir.join("cur");
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&cur).map_err(|error| at(&cur, &error))? {
            let name = entry.map_err(|error| at(&cur, &error))?.file_name();
            there.extend(name.to_str().and_then(|name| uid_in(name, uid_validity)));
        }
        Ok(Self { dir, uid_validity, keywords, keywords_left_out: 0, there })
    }

    /// Written by a run before.
    pub fn has(&self, uid: u32) -> bool {
        self.there.contains(&uid)
    }

    pub fn write(&mut self, uid: u32, message: &Message) -> Result<(), Problem> {
        let words = self.keywords.0.len();
        let mut letters: Vec<char> = message.flags.iter().filter_map(|flag| self.letter(flag)).collect();
        // What a letter means is there before it is used.
        if self.keywords.0.len() > words {
            let path = self.dir.join(KEYWORDS_FILE);
            let text = self.keywords.to_text();
            files::write_atomically(&path, text.as_bytes()).map_err(|error| at(&path, &error))?;
        }
        letters.sort_unstable();
        let letters: String = letters.into_iter().collect();
        let seconds = message.date.as_ref().map_or(0, DateTime::unix_seconds);
        // By the numbers a later run knows that it is there.
        let name = format!("{seconds}.U{uid}V{}.pollux:2,{letters}", self.uid_validity);
        let path = self.dir.join("cur").join(&name);
        let waiting = self.dir.join("tmp").join(format!("U{uid}V{}.pollux", self.uid_validity));
        let written = (|| {
            fs::write(&waiting, without_cr(&message.content))?;
            let file = fs::File::options().write(true).open(&waiting)?;
            file.set_modified(instant(seconds))?;
            files::sync_file(&file)?;
            files::rename_durably(&waiting, &path)
        })();
        written.map_err(|error| at(&path, &error))
    }

    fn letter(&mut self, flag: &str) -> Option<char> {
        match flag {
            "$Forwarded" => Some('P'),
            "\\Answered" => Some('R'),
            "\\Seen" => Some('S'),
            "\\Deleted" => Some('T'),
            "\\Draft" => Some('D'),
            "\\Flagged" => Some('F'),
            word => {
                let letter = self.keywords.letter(word);
                self.keywords_left_out += usize::from(letter.is_none());
                letter
            }
        }
    }
}

/// The number in a name that [`Writer::write`] gave.
fn uid_in(name: &str, uid_validity: u32) -> Option<u32> {
    let (_, rest) = name.split_once(".U")?;
    let (uid, rest) = rest.split_once('V')?;
    let (validity, _) = rest.split_once(".pollux:2,")?;
    (validity == uid_validity.to_string()).then(|| uid.parse().ok()).flatten()
}

/// A dot is what parts levels there, so one within a name becomes `%2E`.
fn on_disk(folder: &str) -> String {
    let levels = folder.split('/').map(|level| encode_utf7(level).replace('%', "%25").replace('.', "%2E"));
    levels.collect::<Vec<_>>().join(".")
}

fn from_disk(name: &str) -> String {
    name.replace('.', "/").replace("%2E", ".").replace("%25", "%")
}

fn instant(unix_seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_seconds.max(0) as u64)
}

/// As Unix programs write it.
pub fn without_cr(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for (at, byte) in content.iter().enumerate() {
        if *byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, part: &str, name: &str, text: &str, unix_seconds: i64) {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let path = dir.join(part).join(name);
        fs::write(&path, text).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(instant(unix_seconds)).unwrap();
    }

    fn listed(maildir: &mut Maildir, folder: &str) -> Vec<(i64, Vec<String>, String)> {
        let items = maildir.list(folder).unwrap();
        let read = |item: &Item| String::from_utf8(maildir.content(item).unwrap().unwrap()).unwrap();
        items.iter().map(|item| (item.key.unix_seconds, item.flags.clone(), read(item))).collect()
    }

    fn flags(flags: &[&str]) -> Vec<String> {
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    #[test]
    fn what_courier_and_dovecot_leave_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "new", "1.a", "Subject: new\n\n", 2_000);
        put(root, "cur", "2.b:2,FS", "Subject: old\n\n", 1_000);
        put(root, "cur", "3.c:2,PRTDa", "Subject: all\n\n", 3_000);
        put(root, "cur", ".hidden", "", 1);
        fs::write(root.join(KEYWORDS_FILE), "0 NonJunk\n1 not an atom\n").unwrap();
        put(&root.join(".Sent.2024"), "cur", "1.a:2,S", "Subject: sent\n\n", 5);
        put(&root.join(".Entw&APw-rfe"), "new", "1.a", "x", 5);
        put(&root.join(".a%2Eb"), "new", "1.a", "x", 5);
        let mut maildir = Maildir::new(root.to_owned());
        assert_eq!(maildir.folders().unwrap(), ["INBOX", "Entw\u{fc}rfe", "Sent/2024", "a.b"]);
        assert_eq!(
            listed(&mut maildir, "INBOX"),
            [
                (1_000, flags(&["\\Flagged", "\\Seen"]), "Subject: old\r\n\r\n".to_owned()),
                (2_000, flags(&[]), "Subject: new\r\n\r\n".to_owned()),
                (
                    3_000,
                    flags(&["$Forwarded", "\\Answered", "\\Deleted", "\\Draft", "NonJunk"]),
                    "Subject: all\r\n\r\n".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn folders_in_folders_are_read_too() {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("Work/2024"), "cur", "1.a:2,", "x", 5);
        let mut maildir = Maildir::new(dir.path().to_owned());
        assert_eq!(maildir.folders().unwrap(), ["Work/2024"]);
        assert!(Maildir::new(dir.path().join("Work/2024/cur")).folders().unwrap_err().contains("no Maildir"));
        assert!(Maildir::new(dir.path().join("nowhere")).folders().unwrap_err().contains("no folder"));
    }

    #[test]
    fn what_is_written_is_read_again_and_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let message = |words: &[&str], text: &str| Message {
            flags: flags(words),
            date: Some(DateTime::from_unix(1_700_000_000, 60)),
            content: text.as_bytes().to_vec(),
        };
        let folder = "Entw\u{fc}rfe/a.b";
        for _ in 0..2 {
            let mut writer = Writer::open(dir.path(), folder, 7).unwrap();
            for (uid, words) in [(3, &["\\Seen", "NonJunk", "$Forwarded"][..]), (9, &["Other"])] {
                if !writer.has(uid) {
                    writer.write(uid, &message(words, &format!("Subject: {uid}\r\n\r\ntext\r\n"))).unwrap();
                }
            }
        }
        assert!(!Writer::open(dir.path(), folder, 8).unwrap().has(3), "of another UIDVALIDITY");
        let mut maildir = Maildir::new(dir.path().to_owned());
        assert_eq!(maildir.folders().unwrap(), [folder]);
        let read = listed(&mut maildir, folder);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].0, 1_700_000_000);
        assert_eq!(read[0].1, ["$Forwarded", "\\Seen", "NonJunk"]);
        assert_eq!(read[1].1, ["Other"]);
        assert_eq!(read[1].2, "Subject: 9\r\n\r\ntext\r\n");
    }

    #[test]
    fn keywords_beyond_the_letters_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), "INBOX", 7).unwrap();
        for at in 0..=KEYWORDS_MAX {
            let flags = vec![format!("word{at}")];
            writer.write(at as u32 + 1, &Message { flags, date: None, content: b"x".to_vec() }).unwrap();
        }
        assert_eq!(writer.keywords_left_out, 1);
    }
}
