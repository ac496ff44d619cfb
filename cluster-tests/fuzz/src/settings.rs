//! Settings from the operator and the file `pollux.toml`: total, one-line errors, and a canonical value stays one.

use std::path::Path;

use pollux::config::Config;
use pollux::state::directory::Directory;
use pollux::state::settings::{TABLE, validate, validate_changes};

use super::dice::Dice;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let at = dice.below(256);
    let Ok(text) = std::str::from_utf8(dice.rest()) else { return };
    if at == 255 {
        return config(text);
    }
    let key = TABLE[at % TABLE.len()].key;
    value(key, text);
    let (key, after) = text.split_once('=').unwrap_or((text, ""));
    value(key, after);
    changes(text);
}

fn value(key: &str, value: &str) {
    match validate(key, value) {
        Ok(canonical) => assert_eq!(validate(key, &canonical), Ok(canonical), "{key}"),
        Err(why) => assert!(!why.contains(['\n', '\r', '\0']), "{why:?}"),
    }
}

/// `key=value` lines, or `key` alone to unset.
fn changes(text: &str) {
    let change = |line: &str| match line.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (line.to_owned(), None),
    };
    let changes: Vec<_> = text.lines().take(50).map(change).collect();
    let Ok(checked) = validate_changes(&Directory::default(), &changes) else { return };
    assert_eq!(validate_changes(&Directory::default(), &checked), Ok(checked.clone()));
    let mut directory = Directory::default();
    for (key, value) in checked {
        match value {
            Some(value) => directory.settings.insert(key, value),
            None => directory.settings.remove(&key),
        };
    }
    for setting in TABLE {
        assert!(validate(setting.key, directory.settings().get(setting.key)).is_ok(), "{}", setting.key);
    }
}

fn config(text: &str) {
    if let Err(error) = Config::parse(text, Path::new("/etc/pollux.toml")) {
        let error = error.to_string();
        assert!(!error.contains('\n'), "{error:?}");
    }
}
