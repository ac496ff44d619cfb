//! What counters are told apart by. Each has a handful of values, known here.

use super::instruments::Label;

macro_rules! labels {
    ($($(#[$about:meta])* $label:ident { $($(#[$of:meta])* $value:ident: $($name:literal = $word:literal),+;)+ })+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $label {
            $($(#[$of])* $value,)+
        }

        impl $label {
            pub const COUNT: usize = <Self as Label>::ALL.len();
        }

        impl Label for $label {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn at(self) -> usize {
                self as usize
            }

            fn pairs(self) -> &'static [(&'static str, &'static str)] {
                match self {
                    $(Self::$value => &[$(($name, $word)),+],)+
                }
            }
        }
    )+};
}

labels! {
    /// What a client speaks.
    Protocol {
        Smtp: "protocol" = "smtp";
        Submission: "protocol" = "submission";
        Lmtp: "protocol" = "lmtp";
        Imap: "protocol" = "imap";
        Pop3: "protocol" = "pop3";
        ManageSieve: "protocol" = "managesieve";
        Http: "protocol" = "http";
    }

    /// The last line of what a command is answered. SMTP is submission and LMTP as well.
    Reply {
        SmtpDone: "protocol" = "smtp", "class" = "2xx";
        SmtpGoOn: "protocol" = "smtp", "class" = "3xx";
        SmtpNotNow: "protocol" = "smtp", "class" = "4xx";
        SmtpNo: "protocol" = "smtp", "class" = "5xx";
        ImapOk: "protocol" = "imap", "class" = "ok";
        ImapNo: "protocol" = "imap", "class" = "no";
        ImapBad: "protocol" = "imap", "class" = "bad";
        Pop3Ok: "protocol" = "pop3", "class" = "ok";
        Pop3Err: "protocol" = "pop3", "class" = "err";
        SieveOk: "protocol" = "managesieve", "class" = "ok";
        SieveNo: "protocol" = "managesieve", "class" = "no";
        SieveBye: "protocol" = "managesieve", "class" = "bye";
    }

    Login {
        Accepted: "result" = "accepted";
        /// Wrong, unknown or disabled.
        Refused: "result" = "refused";
        /// Too many were being checked, or the cluster could not be asked.
        Unchecked: "result" = "unchecked";
    }

    /// What became of a mail that was read.
    Arrival {
        Taken: "outcome" = "taken";
        Junk: "outcome" = "junk";
        Discarded: "outcome" = "discarded";
        Refused: "outcome" = "refused";
    }

    /// What a refusal is about, by its enhanced code (RFC 3463 3).
    Cause {
        Address: "cause" = "address";
        Mailbox: "cause" = "mailbox";
        System: "cause" = "system";
        Network: "cause" = "network";
        Protocol: "cause" = "protocol";
        Content: "cause" = "content";
        Policy: "cause" = "policy";
        Other: "cause" = "other";
    }

    /// What came of a try with a recipient elsewhere.
    Leaving {
        Sent: "outcome" = "sent";
        Deferred: "outcome" = "deferred";
        Failed: "outcome" = "failed";
    }

    Proposed {
        Applied: "outcome" = "applied";
        /// By the state: a quota, a name that is taken.
        Refused: "outcome" = "refused";
        /// No majority, no room, or the node stops. Without a majority it may still be applied later.
        Failed: "outcome" = "failed";
    }
}

impl Reply {
    /// By the code's first digit.
    pub fn smtp(code: u16) -> Self {
        match code / 100 {
            2 => Self::SmtpDone,
            3 => Self::SmtpGoOn,
            4 => Self::SmtpNotNow,
            _ => Self::SmtpNo,
        }
    }
}

impl Cause {
    /// Of a reply such as `550 5.7.1 …`; `Other` where it has no enhanced code.
    pub fn of_reply(said: &str) -> Self {
        let enhanced = said.split(' ').nth(1).unwrap_or_default();
        let subject = enhanced.strip_prefix("4.").or_else(|| enhanced.strip_prefix("5."));
        match subject.and_then(|rest| rest.split('.').next()) {
            Some("1") => Self::Address,
            Some("2") => Self::Mailbox,
            Some("3") => Self::System,
            Some("4") => Self::Network,
            Some("5") => Self::Protocol,
            Some("6") => Self::Content,
            Some("7") => Self::Policy,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_enhanced_code() {
        for (said, cause) in [
            ("550 5.1.1 No such user here", Cause::Address),
            ("452 4.2.2 The mailbox has no room", Cause::Mailbox),
            ("554 5.7.1 Relay access denied", Cause::Policy),
            ("554 5.9.1 x", Cause::Other),
            ("554 no.7 x", Cause::Other),
            ("421", Cause::Other),
            ("", Cause::Other),
        ] {
            assert_eq!(Cause::of_reply(said), cause, "{said}");
        }
    }

    #[test]
    fn each_label_counts_by_itself() {
        for (at, label) in Reply::ALL.iter().enumerate() {
            assert_eq!(label.at(), at);
        }
        assert_eq!([250, 354, 451, 550].map(Reply::smtp), [0, 1, 2, 3].map(|at| Reply::ALL[at]));
    }
}
