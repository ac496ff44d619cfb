//! Dates as mail writes them: RFC 5322 and IMAP forms. Reading never fails loudly: what is no date is `None`.

use super::ids::Timestamp;

/// Bytes of a Date field that are looked at; a date is far shorter.
const DATE_FIELD_BYTES_MAX: usize = 256;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_PER_DAY: i64 = 86_400;

/// A calendar date, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 0-9999
    pub year: u16,
    /// 1-12
    pub month: u8,
    /// 1-31, and no more than the month has.
    pub day: u8,
}

/// A date and time of day in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    pub date: Date,
    pub hour: u8,
    pub minute: u8,
    /// 0-60
    pub second: u8,
    /// Minutes east of UTC.
    pub zone_minutes: i16,
}

impl Date {
    /// `None` for a day that the calendar does not have.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let fits = year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        fits.then_some(Self { year, month, day })
    }

    /// The day of that instant in UTC; years beyond 0-9999 are clamped.
    pub fn from_unix(unix_seconds: i64) -> Self {
        DateTime::from_unix(unix_seconds, 0).date
    }

    /// Days since 1970-01-01.
    fn unix_days(self) -> i64 {
        // Years start in March, so that the leap day is the last of its year.
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    fn from_unix_days(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year: year as u16, month: month as u8, day: day as u8 }
    }
}

impl DateTime {
    /// The wall clock of that zone at that instant; years beyond 0-9999 are clamped.
    pub fn from_unix(unix_seconds: i64, zone_minutes: i16) -> Self {
        let first = Date { year: 0, month: 1, day: 1 }.unix_days() * SECONDS_PER_DAY;
        let last =
            Date { year: 9999, month: 12, day: 31 }.unix_days() * SECONDS_PER_DAY + SECONDS_PER_DAY - 1;
        let local = unix_seconds.saturating_add(i64::from(zone_minutes) * 60).clamp(first, last);
        let second_of_day = local.rem_euclid(SECONDS_PER_DAY);
        Self {
            date: Date::from_unix_days(local.div_euclid(SECONDS_PER_DAY)),
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            zone_minutes,
        }
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn unix_seconds(&self) -> i64 {
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        self.date.unix_days() * SECONDS_PER_DAY + time - i64::from(self.zone_minutes) * 60
    }
}

/// IMAP `date-text`, without quotes: `1-Feb-1994` (RFC 9051 9).
pub fn parse_imap_date(text: &[u8]) -> Option<Date> {
    let mut parts = text.splitn(3, |byte| *byte == b'-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if !(1..=2).contains(&day.len()) || year.len() != 4 || month.len() != 3 {
        return None;
    }
    Date::new(number(year)?, month_number(month)?, number(day)? as u8)
}

/// IMAP `date-time`, without quotes: ` 1-Feb-1994 12:34:56 +0000`. The day is two places wide; one digit is let pass.
pub fn parse_imap_date_time(text: &[u8]) -> Option<DateTime> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let mut parts = text.splitn(3, |byte| *byte == b' ');
    let date = parse_imap_date(parts.next()?)?;
    let time = parts.next()?;
    let zone_minutes = numeric_zone(parts.next()?)?;
    if time.len() != 8 {
        return None;
    }
    let (hour, minute, second) = time_of_day(time)?;
    Some(DateTime { date, hour, minute, second, zone_minutes })
}

/// IMAP `date-time`, without quotes.
pub fn format_imap_date_time(when: &DateTime) -> String {
    let DateTime { date, hour, minute, second, zone_minutes } = *when;
    let sign = if zone_minutes < 0 { '-' } else { '+' };
    let zone = zone_minutes.unsigned_abs();
    let month = month_name(date.month);
    format!(
        "{:2}-{month}-{:04} {hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
        date.day,
        date.year,
        zone / 60,
        zone % 60
    )
}

/// `Sat, 21 Nov 2026 21:30:00 +0000`. In UTC: a node's zone is nobody's business.
pub fn rfc5322_date(at: Timestamp) -> String {
    let instant =
        chrono::DateTime::from_timestamp_millis(i64::try_from(at.0).unwrap_or(0)).unwrap_or_default();
    instant.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The value of a Date field (RFC 5322 3.3), obsolete forms included (two-digit years, zone names, comments).
///
/// Also takes the order of C's `asctime` and dashes between day, month and year, which old mail has.
pub fn parse_rfc5322(value: &[u8]) -> Option<DateTime> {
    let value = &value[..value.len().min(DATE_FIELD_BYTES_MAX)];
    let text = without_comments(value);
    let mut words = text
        .split(|byte| byte.is_ascii_whitespace() || *byte == b',')
        .flat_map(split_dashes)
        .filter(|word| !word.is_empty())
        .peekable();

    if words.peek().is_some_and(|word| word[0].is_ascii_alphabetic() && month_number(word).is_none()) {
        words.next();
    }
    if words.peek().is_some_and(|word| month_number(word).is_some()) {
        let (month, day) = (month_number(words.next()?)?, number(words.next()?)?);
        let (hour, minute, second) = time_of_day(words.next()?)?;
        let mut year = words.next()?;
        let mut zone = words.next();
        if year[0].is_ascii_alphabetic() {
            (zone, year) = (Some(year), zone?);
        }
        let date = Date::new(full_year(year)?, month, u8::try_from(day).ok()?)?;
        return Some(DateTime { date, hour, minute, second, zone_minutes: zone.map_or(0, zone_or_utc) });
    }
    let day = u8::try_from(number(words.next()?)?).ok()?;
    let month = month_number(words.next()?)?;
    let date = Date::new(full_year(words.next()?)?, month, day)?;
    let (hour, minute, second) = time_of_day(words.next()?)?;
    let zone_minutes = words.next().map_or(0, zone_or_utc);
    Some(DateTime { date, hour, minute, second, zone_minutes })
}

/// The English name of a month, 1-12, in three letters.
pub fn month_name(month: u8) -> &'static str {
    MONTHS[usize::from(month.clamp(1, 12)) - 1]
}

/// `24-Mar-2007` is three words; `-0500` is one.
fn split_dashes(word: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dashed =
        word.first().is_some_and(u8::is_ascii_digit) && word.contains(&b'-') && !word.contains(&b':');
    let pieces = if dashed { 3 } else { 1 };
    word.splitn(pieces, move |byte| dashed && *byte == b'-')
}

fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut depth = 0usize;
    let mut kept = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                kept.push(b' ');
            }
            _ if depth == 0 => kept.push(byte),
            _ => {}
        }
    }
    kept
}

/// Digits alone, at most four of them.
fn number(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.iter()
        .try_fold(0u16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
}

fn month_number(text: &[u8]) -> Option<u8> {
    let name = text.get(..3)?;
    // Full names are met in the wild; a longer word that merely starts alike is none.
    if text.len() > 3 && !text.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    (1..=12).find(|month| month_name(*month).as_bytes().eq_ignore_ascii_case(name))
}

/// RFC 5322 4.3: two digits are 1950-2049, three count from 1900.
fn full_year(text: &[u8]) -> Option<u16> {
    let year = number(text)?;
    match text.len() {
        2 if year < 50 => Some(2000 + year),
        2 | 3 => Some(1900 + year),
        4 => Some(year),
        _ => None,
    }
}

/// `hh:mm` or `hh:mm:ss`.
fn time_of_day(text: &[u8]) -> Option<(u8, u8, u8)> {
    let mut parts = text.split(|byte| *byte == b':');
    let hour = number(parts.next()?)?;
    let minute = number(parts.next()?)?;
    let second = parts.next().map_or(Some(0), number)?;
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    fits.then_some((hour as u8, minute as u8, second as u8))
}

/// `+hhmm` or `-hhmm`.
fn numeric_zone(text: &[u8]) -> Option<i16> {
    let (sign, digits) = text.split_first()?;
    if digits.len() != 4 {
        return None;
    }
    let value = number(digits)? as i16;
    let (hours, minutes) = (value / 100, value % 100);
    if hours >= 24 || minutes >= 60 {
        return None;
    }
    match sign {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

/// RFC 5322 4.3: North American names; every other name is of unknown meaning and counts as UTC.
fn zone_or_utc(text: &[u8]) -> i16 {
    if let Some(minutes) = numeric_zone(text) {
        return minutes;
    }
    let hours = match text.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        _ => 0,
    };
    hours * 60
}

fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(year: u16, month: u8, day: u8) -> Date {
        Date::new(year, month, day).unwrap()
    }

    #[test]
    fn writes_dates_in_utc() {
        assert_eq!(rfc5322_date(Timestamp(1_582_934_400_999)), "Sat, 29 Feb 2020 00:00:00 +0000");
        assert_eq!(rfc5322_date(Timestamp(u64::MAX)), "Thu, 01 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn imap_dates_are_exact() {
        assert_eq!(parse_imap_date(b"1-Feb-1994"), Some(date(1994, 2, 1)));
        assert_eq!(parse_imap_date(b"29-feb-2024"), Some(date(2024, 2, 29)));
        for wrong in [
            "29-Feb-2023",
            "0-Feb-1994",
            "1-Feb-94",
            "1-Foo-1994",
            "1-2-1994",
            "",
            "1-Feb-1994 ",
            "001-Feb-1994",
        ] {
            assert_eq!(parse_imap_date(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn imap_date_times_read_back_as_written() {
        for text in [" 1-Feb-1994 12:34:56 +0000", "17-Jul-1996 02:44:25 -0730", "31-Dec-9999 23:59:60 +2359"]
        {
            let when = parse_imap_date_time(text.as_bytes()).unwrap();
            assert_eq!(format_imap_date_time(&when), text);
        }
        for wrong in [
            "1-Feb-1994 12:34 +0000",
            "1-Feb-1994 24:00:00 +0000",
            "1-Feb-1994 12:34:56",
            "1-Feb-1994 12:34:56 0000",
        ] {
            assert_eq!(parse_imap_date_time(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let when = parse_imap_date_time(b"24-Mar-2007 23:00:00 +0200").unwrap();
        assert_eq!(when.unix_seconds(), 1_174_770_000);
        assert_eq!(DateTime::from_unix(1_174_770_000, 120), when);
        assert_eq!(DateTime::from_unix(0, 0).date, date(1970, 1, 1));
        assert_eq!(DateTime::from_unix(-1, 0).date, date(1969, 12, 31));
        assert_eq!(DateTime::from_unix(i64::MAX, 1439).date, date(9999, 12, 31));
        assert_eq!(DateTime::from_unix(i64::MIN, -1439).date, date(0, 1, 1));
    }

    #[test]
    fn date_fields_of_all_ages() {
        let expected = parse_imap_date_time(b"24-Mar-2007 23:00:05 +0200").unwrap();
        for text in [
            "Sat, 24 Mar 2007 23:00:05 +0200",
            "24 Mar 2007 23:00:05 +0200 (EET)",
            "Sat,24 Mar 07 23:00:05 +0200",
            "Saturday, 24-Mar-07 23:00:05 +0200",
            "Sat (x (y)) , 24\r\n Mar 107 23:00:05\t+0200",
        ] {
            assert_eq!(parse_rfc5322(text.as_bytes()), Some(expected), "{text}");
        }
        assert_eq!(parse_rfc5322(b"Sat Mar 24 23:00:05 2007").unwrap().date, date(2007, 3, 24));
        assert_eq!(parse_rfc5322(b"Sat Mar 24 23:00:05 EST 2007").unwrap().zone_minutes, -300);
        assert_eq!(parse_rfc5322(b"24 Mar 2007 23:00 PDT").unwrap().zone_minutes, -420);
        assert_eq!(parse_rfc5322(b"24 Mar 2007 23:00").unwrap().zone_minutes, 0);
        for wrong in
            ["", "yesterday", "Sat, 32 Mar 2007 23:00:05 +0200", "Sat, 24 Mar 2007", "300 Mar 2007 23:00"]
        {
            assert_eq!(parse_rfc5322(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn instants_survive_the_calendar(seconds in -62_000_000_000i64..253_000_000_000, zone in -1439i16..1440) {
            let when = DateTime::from_unix(seconds, zone);
            prop_assert_eq!(when.unix_seconds(), seconds);
            prop_assert_eq!(parse_imap_date_time(format_imap_date_time(&when).as_bytes()), Some(when));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (parse_rfc5322(&bytes), parse_imap_date(&bytes), parse_imap_date_time(&bytes));
        }
    }
}
