//! Return addresses of mail that is passed on (SRS, the Sender Rewriting Scheme by Shevek): a sender elsewhere is written as an
//! address of ours, so that the next server sees a sender for whom we may send, and notices find their way back through
//! us. Pure.
//!
//! `SRS0=HASH=DAY=host=local@ours` leads to `local@host`; `SRS1=HASH=host==…@ours` leads to the server `host`, which was the
//! first to write an address anew, and which knows the way from there. The hash is made with a secret of the cluster, so
//! that nobody can send to the world through us by making up such addresses; the day bounds for how long one is good.

use std::borrow::Cow;

use bincode::{Decode, Encode};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::secret::Secret;
use crate::mail::address::{Address, PATH_BYTES_MAX, canonical_domain, rewritten_tag};
use crate::mail::ids::Timestamp;

/// Days for which a return address is good: longer than any server tries a mail.
pub const AGE_DAYS_MAX: u16 = 21;
/// Octets of a secret.
pub const SECRET_BYTES: usize = 32;
/// Characters of a hash, of five bits each.
const HASH_CHARS: usize = 6;
/// Days are counted in two characters.
const DAYS: u16 = 1_024;
const DAY_MS: u64 = 86_400_000;
/// RFC 4648 6: means the same in upper and in lower case, as local parts lose theirs on the way.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// An address of ours that was written anew by us once more, and that is all there can be.
const TURNS_MAX: usize = 2;

/// What hashes are made with: the secret in use, and the one before it, of which addresses may still be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrsSecrets {
    pub current: SrsSecret,
    pub previous: Option<SrsSecret>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SrsSecret {
    /// In hexadecimal.
    pub secret: Secret,
    /// By the clock of the node that made it.
    pub made: Timestamp,
}

/// A secret that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewSrsSecret {
    pub secret: Secret,
    /// In the place of one that there is; else that one stays.
    pub replaces: bool,
}

/// The address would be longer than a path may be (RFC 5321 4.5.3.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Why an address leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// We did not make it, or not with a secret that we still know.
    Forged,
    /// Made too long ago.
    Stale,
}

impl NewSrsSecret {
    pub fn of(dice: [u8; SECRET_BYTES], replaces: bool) -> Self {
        let hex: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { secret: Secret(hex), replaces }
    }
}

impl SrsSecrets {
    /// The sender as an address in `domain`, which is ours.
    pub fn rewrite(&self, sender: &Address, domain: &str, now: Timestamp) -> Result<Address, TooLong> {
        let local = self.local(sender, now);
        let address = Address::of(&local, domain).map_err(|_| TooLong)?;
        // With its angle brackets.
        match address.to_string().len() + 2 <= PATH_BYTES_MAX {
            true => Ok(address),
            false => Err(TooLong),
        }
    }

    fn local(&self, sender: &Address, now: Timestamp) -> String {
        let host = canonical_domain(sender.domain()).map_or(Cow::Borrowed(sender.domain()), Cow::Owned);
        let secret = &self.current.secret;
        let inner = match rewritten_tag(sender.local()) {
            Some((b'0', rest)) => Some((host.clone(), rest)),
            // Whoever wrote it anew last is left out: the first one knows the way.
            Some((_, rest)) => of_srs1(rest).map(|(_, first, rest)| (Cow::Owned(first.to_owned()), rest)),
            None => None,
        };
        match inner {
            Some((first, rest)) => format!("SRS1={}={first}={rest}", hash(secret, &["1", &first, rest])),
            None => {
                let (day, local) = (day_word(day_of(now)), sender.local());
                format!("SRS0={}={day}={host}={local}", hash(secret, &["0", &day, &host, local]))
            }
        }
    }

    /// Where an address of ours leads that was written anew, if it was written by us. `now`: `None` where its age does not
    /// matter.
    pub fn way_back(&self, address: &Address, now: Option<Timestamp>) -> Result<Address, Broken> {
        match rewritten_tag(address.local()) {
            Some((b'0', rest)) => {
                let mut parts = rest[1..].splitn(4, '=');
                let mut part = || parts.next().ok_or(Broken::Forged);
                let (hash, day, host, local) = (part()?, part()?, part()?, part()?);
                self.check(hash, &["0", day, host, local])?;
                if !now.is_none_or(|now| is_fresh(day, now)) {
                    return Err(Broken::Stale);
                }
                Address::of(local, host).map_err(|_| Broken::Forged)
            }
            Some((_, rest)) => {
                let (hash, first, rest) = of_srs1(rest).ok_or(Broken::Forged)?;
                self.check(hash, &["1", first, rest])?;
                Address::of(&format!("SRS0{rest}"), first).map_err(|_| Broken::Forged)
            }
            None => Err(Broken::Forged),
        }
    }

    fn check(&self, claimed: &str, of: &[&str]) -> Result<(), Broken> {
        let known = [Some(&self.current), self.previous.as_ref()];
        let made_by = |known: &SrsSecret| is_same(&hash(&known.secret, of), claimed);
        match known.into_iter().flatten().any(made_by) {
            true => Ok(()),
            false => Err(Broken::Forged),
        }
    }
}

/// `address` itself, unless it is one of ours that was written anew: then where it leads.
pub fn way_home(
    (secrets, is_ours): (Option<&SrsSecrets>, impl Fn(&Address) -> bool),
    address: &Address,
    now: Option<Timestamp>,
) -> Result<Address, Broken> {
    let mut address = address.clone();
    for _ in 0..TURNS_MAX {
        match secrets {
            Some(secrets) if is_return(&address) && is_ours(&address) => {
                address = secrets.way_back(&address, now)?;
            }
            _ => return Ok(address),
        }
    }
    Ok(address)
}

/// Whether it has the shape of an address that was written anew, by whomever.
pub fn is_return(address: &Address) -> bool {
    rewritten_tag(address.local()).is_some()
}

/// What follows `SRS1`: the hash, the first server, and what that one made, from the character behind its own tag on.
fn of_srs1(rest: &str) -> Option<(&str, &str, &str)> {
    let mut parts = rest[1..].splitn(3, '=');
    let (hash, first, rest) = (parts.next()?, parts.next()?, parts.next()?);
    (!first.is_empty() && rest.starts_with(['=', '+', '-'])).then_some((hash, first, rest))
}

/// Of the parts in lower case, each with its length, so that none can lend characters to the next.
fn hash(secret: &Secret, of: &[&str]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in of {
        let part = part.to_lowercase();
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let tag = context.sign();
    let bits = tag.as_ref().iter().take(8).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..HASH_CHARS).map(|at| base32(bits >> (59 - 5 * at))).collect()
}

/// In a time that does not tell how much of it is right.
fn is_same(made: &str, claimed: &str) -> bool {
    made.as_bytes().ct_eq(claimed.to_ascii_uppercase().as_bytes()).into()
}

fn day_of(now: Timestamp) -> u16 {
    ((now.0 / DAY_MS) % u64::from(DAYS)) as u16
}

fn day_word(day: u16) -> String {
    [base32(u64::from(day >> 5)), base32(u64::from(day))].iter().collect()
}

/// The last five bits.
fn base32(bits: u64) -> char {
    char::from(BASE32[(bits & 31) as usize])
}

/// Made within its time; or tomorrow, by a node whose clock is ahead.
fn is_fresh(word: &str, now: Timestamp) -> bool {
    let digit = |byte: u8| BASE32.iter().position(|known| *known == byte.to_ascii_uppercase());
    let [high, low] = word.as_bytes() else { return false };
    let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
    let made = (high << 5 | low) as u16;
    let age = (day_of(now) + 1 + DAYS - made) % DAYS;
    age <= AGE_DAYS_MAX + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::address::LOCAL_BYTES_MAX;

    const NOW: Timestamp = Timestamp(20_000 * DAY_MS + 5);

    fn secret(mark: u8) -> SrsSecret {
        SrsSecret { secret: NewSrsSecret::of([mark; SECRET_BYTES], false).secret, made: Timestamp(0) }
    }

    fn secrets(mark: u8) -> SrsSecrets {
        SrsSecrets { current: secret(mark), previous: None }
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn rewritten(sender: &str, domain: &str) -> Address {
        secrets(1).rewrite(&address(sender), domain, NOW).unwrap()
    }

    #[test]
    fn a_sender_becomes_an_address_of_ours_and_comes_back() {
        let made = rewritten("Joe@far.test", "our.test");
        let text = made.to_string();
        assert!(text.starts_with("SRS0=") && text.ends_with("=RA=far.test=Joe@our.test"), "{text}");
        for sender in [
            "Joe@far.test",
            "a=b=c@far.test",
            "\"a b\"@far.test",
            "x@[192.0.2.1]",
            "d\u{fc}rst@far.test",
            "SRS0@far.test",
            "SRS2=x@far.test",
            "srs1=broken@far.test",
        ] {
            let made = rewritten(sender, "our.test");
            assert_eq!(secrets(1).way_back(&made, Some(NOW)), Ok(address(sender)), "{made}");
        }
        let idn = rewritten("x@b\u{fc}cher.test", "our.test");
        assert_eq!(secrets(1).way_back(&idn, Some(NOW)), Ok(address("x@xn--bcher-kva.test")));
    }

    #[test]
    fn case_that_was_lost_on_the_way_does_no_harm() {
        let made = rewritten("joe@far.test", "our.test").to_string();
        for changed in [made.to_lowercase(), made.to_uppercase()] {
            let found = secrets(1).way_back(&address(&changed), Some(NOW)).unwrap();
            assert_eq!(found.canonical(), "joe@far.test", "{changed}");
        }
    }

    #[test]
    fn what_others_wrote_anew_leads_to_the_first_of_them() {
        for (sender, inner, first) in [
            ("SRS0=abcd=TT=orig.test=joe@one.test", "=abcd=TT=orig.test=joe", "one.test"),
            ("SRS0+abcd=TT=orig.test=joe@one.test", "+abcd=TT=orig.test=joe", "one.test"),
            ("srs0-abcd=TT=orig.test=joe@one.test", "-abcd=TT=orig.test=joe", "one.test"),
            ("SRS1=wxyz=one.test==abcd=TT=orig.test=joe@two.test", "=abcd=TT=orig.test=joe", "one.test"),
            ("SRS1+wxyz=one.test=-abcd=TT=orig.test=joe@two.test", "-abcd=TT=orig.test=joe", "one.test"),
        ] {
            let made = rewritten(sender, "our.test");
            assert!(made.local().ends_with(&format!("={first}={inner}")), "{made}");
            let home = secrets(1).way_back(&made, Some(NOW));
            assert_eq!(home, Ok(address(&format!("SRS0{inner}@{first}"))), "{made}");
        }
        // Round and round does not make it longer.
        let once = rewritten("SRS0=abcd=TT=orig.test=joe@one.test", "our.test");
        let again = rewritten(&once.to_string(), "our.test");
        assert_eq!(once.local().len(), again.local().len());
    }

    #[test]
    fn what_we_did_not_make_leads_nowhere() {
        let made = rewritten("joe@far.test", "our.test").to_string();
        let hash = &made[5..5 + HASH_CHARS];
        for forged in [
            made.replace("=joe@", "=jim@"),
            made.replace("=far.test=", "=fat.test="),
            made.replace("=RA=", "=RB="),
            made.replace(hash, "AAAAAA"),
            made.replace(hash, &hash[1..]),
            made.replace(hash, ""),
            "SRS0=@our.test".to_owned(),
            "SRS0=a=b=c@our.test".to_owned(),
            "SRS1=@our.test".to_owned(),
            format!("SRS1={hash}=far.test==x@our.test"),
            "joe@our.test".to_owned(),
        ] {
            assert_eq!(secrets(1).way_back(&address(&forged), None), Err(Broken::Forged), "{forged}");
        }
        assert_eq!(secrets(2).way_back(&address(&made), None), Err(Broken::Forged));
        let rotated = SrsSecrets { current: secret(2), previous: Some(secret(1)) };
        assert_eq!(rotated.way_back(&address(&made), Some(NOW)), Ok(address("joe@far.test")));
    }

    #[test]
    fn an_address_is_good_for_its_days() {
        // Over the end of the count of days, too.
        for now in [NOW, Timestamp(1_023 * DAY_MS), Timestamp(1_024 * DAY_MS - 1)] {
            let made = secrets(1).rewrite(&address("joe@far.test"), "our.test", now).unwrap();
            let after = |days: u64| secrets(1).way_back(&made, Some(Timestamp(now.0 + days * DAY_MS)));
            let last = u64::from(AGE_DAYS_MAX);
            assert!(after(0).is_ok() && after(last).is_ok());
            assert_eq!(after(last + 1), Err(Broken::Stale));
            assert_eq!(after(1_000), Err(Broken::Stale));
            let ahead = |days: u64| secrets(1).way_back(&made, Some(Timestamp(now.0 - days * DAY_MS)));
            assert!(ahead(1).is_ok(), "another node's clock is ahead");
            assert_eq!(ahead(2), Err(Broken::Stale));
            assert!(secrets(1).way_back(&made, None).is_ok());
        }
    }

    #[test]
    fn a_path_has_its_bound() {
        let overhead = rewritten("x@far.test", "our.test").to_string().len() - 1;
        let room = PATH_BYTES_MAX - 2 - overhead;
        let long = |octets: usize| {
            let local = "x".repeat(LOCAL_BYTES_MAX);
            let rest = octets - LOCAL_BYTES_MAX;
            let labels = ["y".repeat(60), "y".repeat(60), "y".repeat(rest - 122 - 1)].join(".");
            secrets(1).rewrite(&address(&format!("{local}@{labels}.far.test")), "our.test", NOW)
        };
        let longest = long(room).unwrap();
        assert_eq!(longest.to_string().len(), PATH_BYTES_MAX - 2);
        assert!(Address::parse(&longest.to_string()).is_ok(), "it is read when it comes back");
        assert_eq!(long(room + 1), Err(TooLong));
    }

    #[test]
    fn only_what_is_ours_is_asked_for_its_way() {
        let known = secrets(1);
        let home = |text: &str| {
            way_home(
                (Some(&known), |address: &Address| address.domain() == "our.test"),
                &address(text),
                Some(NOW),
            )
        };
        let made = rewritten("joe@far.test", "our.test");
        assert_eq!(home(&made.to_string()), Ok(address("joe@far.test")));
        assert_eq!(home("joe@our.test"), Ok(address("joe@our.test")));
        let others = "SRS0=abcd=TT=orig.test=joe@one.test";
        assert_eq!(home(others), Ok(address(others)));
        let twice = rewritten(&made.to_string(), "our.test");
        assert_eq!(home(&twice.to_string()), Ok(address("joe@far.test")));
        assert_eq!(home("SRS0=abcdef=TT=orig.test=joe@our.test"), Err(Broken::Forged));
        let unknown = way_home((None, |_: &Address| true), &made, None);
        assert_eq!(unknown, Ok(made), "without a secret there are no such addresses");
    }

    proptest! {
        #[test]
        fn whatever_comes_back_is_read_or_refused(local in "SRS[01][-=+][A-Z=+.a-z0-9]{0,40}") {
            if let Ok(address) = Address::parse(&format!("{local}@our.test")) {
                prop_assert_eq!(secrets(1).way_back(&address, None), Err(Broken::Forged));
                prop_assert!(secrets(1).rewrite(&address, "our.test", NOW).is_ok());
            }
        }
    }
}
