//! Which checks a mail is let off.

/// `true`: the check is made, and what it finds does not speak against the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skip {
    pub dnsbl: bool,
    pub spf: bool,
    pub antivirus: bool,
    pub dkim: bool,
    pub dmarc: bool,
    pub greylist: bool,
}

impl Skip {
    /// What either lets off.
    pub fn or(self, other: Self) -> Self {
        Self {
            dnsbl: self.dnsbl || other.dnsbl,
            spf: self.spf || other.spf,
            antivirus: self.antivirus || other.antivirus,
            dkim: self.dkim || other.dkim,
            dmarc: self.dmarc || other.dmarc,
            greylist: self.greylist || other.greylist,
        }
    }

    /// What both let off: of a mail to several recipients.
    pub fn and(self, other: Self) -> Self {
        Self {
            dnsbl: self.dnsbl && other.dnsbl,
            spf: self.spf && other.spf,
            antivirus: self.antivirus && other.antivirus,
            dkim: self.dkim && other.dkim,
            dmarc: self.dmarc && other.dmarc,
            greylist: self.greylist && other.greylist,
        }
    }
}
