//! SMTP, submission and LMTP.
