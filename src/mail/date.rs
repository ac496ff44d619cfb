//! Dates as mail writes them: RFC 5322 and IMAP forms.

/// A calendar date, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    pub year: u16,
    /// 1-12
    pub month: u8,
    /// 1-31
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

impl DateTime {
    /// The wall clock of that zone at that instant.
    pub fn from_unix(unix_seconds: i64, zone_minutes: i16) -> Self {
        let _ = (unix_seconds, zone_minutes);
        todo!()
    }

    /// Seconds since 1970-01-01 UTC.
    pub fn unix_seconds(&self) -> i64 {
        todo!()
    }
}

/// IMAP `date-text`, without quotes: `1-Feb-1994` (RFC 9051 9).
pub fn parse_imap_date(text: &[u8]) -> Option<Date> {
    let _ = text;
    todo!()
}

/// IMAP `date-time`, without quotes: ` 1-Feb-1994 12:34:56 +0000`.
pub fn parse_imap_date_time(text: &[u8]) -> Option<DateTime> {
    let _ = text;
    todo!()
}

/// IMAP `date-time`, without quotes.
pub fn format_imap_date_time(when: &DateTime) -> String {
    let _ = when;
    todo!()
}

/// The value of a Date field (RFC 5322 3.3), obsolete forms included.
pub fn parse_rfc5322(value: &[u8]) -> Option<DateTime> {
    let _ = value;
    todo!()
}
