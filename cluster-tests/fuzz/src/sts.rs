//! What another domain publishes by MTA-STS: its TXT records, the answer of its web server however it is cut, the policy in it.

use pollux::delivery::sts::BODY_BYTES_MAX;
use pollux::delivery::sts::policy::{id, read};
use pollux::delivery::sts::response::body;
use pollux::state::sts::{AGE_SECONDS_MAX, ID_BYTES_MAX, PATTERNS_BYTES_MAX, PATTERNS_MAX, StsMode};

use super::dice::Dice;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let kind = dice.below(3);
    match kind {
        0 => records(dice.rest()),
        1 => policy(dice.rest()),
        _ => {
            let step = 1 + dice.below(64);
            answer(dice.rest(), step);
        }
    }
}

/// One record a line.
fn records(text: &[u8]) {
    let records: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let Some(found) = id(&records) else { return };
    assert!(
        (1..=ID_BYTES_MAX).contains(&found.len()) && found.bytes().all(|byte| byte.is_ascii_alphanumeric())
    );
    let twice = [records.as_slice(), records.as_slice()].concat();
    assert_eq!(id(&twice), None, "of two none is obeyed");
}

fn policy(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let found = match read(text) {
        Ok(found) => found,
        Err(why) => return assert!(!why.is_empty() && !why.contains('\n')),
    };
    assert!(found.age_seconds <= AGE_SECONDS_MAX && found.mx.len() <= PATTERNS_MAX);
    assert!(found.mx.iter().map(String::len).sum::<usize>() <= PATTERNS_BYTES_MAX);
    assert!(found.mode == StsMode::None || !found.mx.is_empty());
    // Written anew it is the same.
    let mode = match found.mode {
        StsMode::None => "none",
        StsMode::Testing => "testing",
        StsMode::Enforce => "enforce",
    };
    let mx: String = found.mx.iter().map(|pattern| format!("mx: {pattern}\r\n")).collect();
    let written = format!("version: STSv1\r\nmode: {mode}\r\n{mx}max_age: {}\r\n", found.age_seconds);
    assert_eq!(read(&written), Ok(found));
}

/// It comes in steps, and ends.
fn answer(bytes: &[u8], step: usize) {
    let mut told = None;
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        match body(&bytes[..end], false) {
            Ok(None) => {}
            Ok(Some(body)) => {
                assert!(body.len() <= BODY_BYTES_MAX.min(end));
                told = Some(Ok(body));
                break;
            }
            Err(why) => {
                assert!(!why.is_empty());
                told = Some(Err(why));
                break;
            }
        }
    }
    match (told, body(bytes, true)) {
        (None, Ok(ended)) => assert!(ended.is_some(), "nothing more comes, and it is not judged"),
        (None, Err(_)) | (Some(Err(_)), Err(_)) => {}
        // What is whole stays so, whatever comes behind it.
        (Some(Ok(body)), whole) => assert_eq!(whole, Ok(Some(body))),
        (Some(Err(why)), Ok(whole)) => panic!("refused ({why}), then taken: {whole:?}"),
    }
    if let Ok(Some(body)) = body(bytes, true) {
        policy(&body);
    }
}
