//! As much of YAML as the suites of SPF and ARC use: sections of tests and records, at fixed depths.

/// Keys and values, in their order.
pub type Entry = (String, Vec<(String, String)>);

#[derive(Debug, Default)]
pub struct Section {
    pub tests: Vec<Entry>,
    /// `zonedata` or `txt-records`.
    pub records: Vec<Entry>,
}

pub fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let mut top = String::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let (content, section) = (line.trim(), sections.last_mut().expect("there is one"));
        let entries = if top == "tests" { &mut section.tests } else { &mut section.records };
        match depth {
            _ if line == "---" => sections.push(Section::default()),
            _ if content.starts_with('#') && depth < 6 => {}
            0 if !content.is_empty() => top = content.split(':').next().unwrap_or_default().to_owned(),
            2 if !content.is_empty() => match key_and_value(content) {
                // A record that has but one text.
                (name, text) if !text.is_empty() => entries.push((name, vec![("TXT".to_owned(), text)])),
                (name, _) => entries.push((name, Vec::new())),
            },
            4 if !content.is_empty() && top != "txt-records" => {
                if let Some((_, values)) = entries.last_mut() {
                    values.push(key_and_value(content.trim_start_matches("- ")));
                }
            }
            _ => {
                if let Some((_, value)) = entries.last_mut().and_then(|entry| entry.1.last_mut()) {
                    // Of a block; the sign that began it goes when the value is read.
                    value.push('\n');
                    value.push_str(line.get(6.min(depth)..).unwrap_or_default());
                }
            }
        }
    }
    sections
}

fn key_and_value(text: &str) -> (String, String) {
    let colon = match text.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map_or(text.len(), |end| end + 2),
        None => text.find(':').unwrap_or(text.len()),
    };
    let value = text.get(colon + 1..).unwrap_or_default();
    (text[..colon].trim_matches('"').to_owned(), value.trim().to_owned())
}

pub fn get<'a>(values: &'a [(String, String)], key: &str) -> Option<&'a str> {
    values.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// The lines of a block (`|`), each with its end.
pub fn block(value: &str) -> String {
    let lines: Vec<&str> = value.lines().skip(1).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// A scalar on one line: its quotes undone.
pub fn scalar(value: &str) -> String {
    let line = value.replace('\n', " ");
    let line = line.trim();
    match line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => line.trim_matches('\'').to_owned(),
    }
}

/// `[a, b]`, or a scalar alone.
pub fn list(value: &str) -> Vec<String> {
    let inner = value.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => inner.split(',').map(|part| scalar(part.trim())).collect(),
        None => vec![scalar(value)],
    }
}
