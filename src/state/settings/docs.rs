//! docs/settings.md, written from the table.

use super::check::size;
use super::table::{Kind, Setting, TABLE};

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Replicated: set on any node with `pollux policy set KEY VALUE`, in force on all at once, without a restart.\n\
         Several set together are applied as one: all, or none. This file is written from the table in\n\
         `src/state/settings/table.rs`; row *n* is requirement *n*.\n\n\
         | key | value | default | what it does | since |\n|---|---|---|---|---|\n",
    );
    TABLE.iter().for_each(|setting| text.push_str(&row(setting)));
    text
}

fn row(setting: &Setting) -> String {
    let Setting { key, help, since, .. } = setting;
    let default = match (setting.default, setting.kind) {
        ("", _) => "(empty)".to_owned(),
        (text, Kind::Bytes { .. }) => text.parse().map_or(text.to_owned(), size),
        (text, _) => format!("`{text}`"),
    };
    let value = setting.bounds().replace(", nor unlimited", ", or unlimited");
    format!("| `{key}` | {value} | {default} | {help} | {since} |\n")
}
