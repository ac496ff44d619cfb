//! Parts of dates (RFC 5260 4.2), as strings.

use crate::mail::date::{DateTime, month_name, parse_rfc5322};

/// Days from 1858-11-17, the first of the modified Julian days, to 1970-01-01.
const JULIAN_DAYS_OF_1970: i64 = 40_587;
const SECONDS_PER_DAY: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The date in a field: all of it, or what follows its last semicolon, as in Received (RFC 5260 4).
pub(super) fn of_field(value: &[u8]) -> Option<DateTime> {
    let behind = || memchr::memrchr(b';', value).and_then(|at| parse_rfc5322(&value[at + 1..]));
    parse_rfc5322(value).or_else(behind)
}

/// The same instant by the clock of that zone.
pub(super) fn in_zone(when: &DateTime, zone_minutes: i16) -> DateTime {
    DateTime::from_unix(when.unix_seconds(), zone_minutes)
}

/// `None` for a name that is no part of a date; compared without case.
pub(super) fn part(when: &DateTime, name: &str) -> Option<String> {
    let DateTime { date, hour, minute, second, zone_minutes } = *when;
    // The day by that zone's clock, wherever it is.
    let days = (when.unix_seconds() + i64::from(zone_minutes) * 60).div_euclid(SECONDS_PER_DAY);
    let weekday = (days + 4).rem_euclid(7);
    let sign = if zone_minutes < 0 { '-' } else { '+' };
    let (zone_hours, minutes) = (zone_minutes.unsigned_abs() / 60, zone_minutes.unsigned_abs() % 60);
    let ymd = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let hms = format!("{hour:02}:{minute:02}:{second:02}");
    Some(match name.to_ascii_lowercase().as_str() {
        "year" => format!("{:04}", date.year),
        "month" => format!("{:02}", date.month),
        "day" => format!("{:02}", date.day),
        "date" => ymd,
        "julian" => (days + JULIAN_DAYS_OF_1970).to_string(),
        "hour" => format!("{hour:02}"),
        "minute" => format!("{minute:02}"),
        "second" => format!("{second:02}"),
        "time" => hms,
        "iso8601" => format!("{ymd}T{hms}{sign}{zone_hours:02}:{minutes:02}"),
        "std11" => {
            let (day, month) = (WEEKDAYS[weekday as usize], month_name(date.month));
            format!("{day}, {:02} {month} {:04} {hms} {sign}{zone_hours:02}{minutes:02}", date.day, date.year)
        }
        "zone" => format!("{sign}{zone_hours:02}{minutes:02}"),
        "weekday" => weekday.to_string(),
        _ => return None,
    })
}
