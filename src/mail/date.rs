//! Dates as mail writes them: RFC 5322 and IMAP forms.
