//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), our side of it: messages in, messages and a proof out.
//! Pure: keys and nonces come from [`super::login`].
//!
//! The client proves that it knows the password without sending it, and hears the proof that we know it, too. With
//! -PLUS both proofs cover what names the TLS connection, so that nobody in between can pass them on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::channel::ChannelBindings;
use super::login::Keys;
use crate::state::scram_keys::{KEY_BYTES, ScramKeys, hmac_sha256, prepared, sha256};

/// Bytes of a client's message; names and nonces within are shorter.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a client's nonce. A shorter one protects only the client itself.
const NONCE_BYTES_MAX: usize = 512;

/// Why an exchange ends early. The client learns no more than that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Not as RFC 5802 7 has it.
    #[error("the message is not SCRAM's")]
    Malformed,
    /// Understood, and not taken: another binding than there is, a mandatory extension, acting for somebody else.
    #[error("the exchange is not taken")]
    Refused,
}

/// The client's first message: who it is, and what it knows of the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst {
    /// Prepared (RFC 4013).
    pub login: String,
    /// What `c=` must come to in the final message.
    channel: Vec<u8>,
    bare: String,
    nonce: String,
}

impl ClientFirst {
    /// `plus`: the mechanism was SCRAM-SHA-256-PLUS. `bindings`: what can be had of this connection.
    pub fn parse(message: &[u8], plus: bool, bindings: &ChannelBindings) -> Result<Self, Failed> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (flag, authzid, bare) =
            (parts.next(), parts.next().ok_or(Failed::Malformed)?, parts.next().ok_or(Failed::Malformed)?);
        let binding = binding(flag.unwrap_or_default(), plus, bindings)?;
        let mut fields = bare.split(',');
        let name = match fields.next().ok_or(Failed::Malformed)? {
            // RFC 5802 5.1: a mandatory extension is one that we do not know.
            mandatory if mandatory.starts_with("m=") => return Err(Failed::Refused),
            name => sasl_name(name.strip_prefix("n=").ok_or(Failed::Malformed)?)?,
        };
        if !authzid.is_empty() {
            let other = sasl_name(authzid.strip_prefix("a=").ok_or(Failed::Malformed)?)?;
            if other != name {
                return Err(Failed::Refused);
            }
        }
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Failed::Malformed)?;
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failed::Malformed);
        }
        // Optional extensions may follow, and are passed over.
        let login = prepared(&name).ok_or(Failed::Refused)?;
        let header = &text[..text.len() - bare.len()];
        let channel = [header.as_bytes(), binding].concat();
        Ok(Self { login, channel, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }
}

/// RFC 5802 6: what the client says of channel binding, held against what it was offered. The bytes of the binding.
fn binding<'a>(flag: &str, plus: bool, bindings: &'a ChannelBindings) -> Result<&'a [u8], Failed> {
    match flag {
        "n" if !plus => Ok(&[]),
        // It could, and believes that we cannot: somebody took -PLUS out of what we offer.
        "y" if !plus && bindings.any() => Err(Failed::Refused),
        "y" if !plus => Ok(&[]),
        "n" | "y" => Err(Failed::Refused),
        _ => {
            let name = flag.strip_prefix("p=").ok_or(Failed::Malformed)?;
            if !plus {
                return Err(Failed::Refused);
            }
            bindings.named(name).ok_or(Failed::Refused)
        }
    }
}

/// We have said our nonce and the salt; the proof is awaited.
#[derive(Debug)]
pub struct Challenge {
    first: ClientFirst,
    server_first: String,
    keys: Keys,
}

impl Challenge {
    pub fn new(first: ClientFirst, keys: Keys) -> Self {
        let ScramKeys { salt, iterations, .. } = &keys.scram;
        let salt = STANDARD.encode(salt);
        let server_first = format!("r={}{},s={salt},i={iterations}", first.nonce, keys.nonce);
        Self { first, server_first, keys }
    }

    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Looks at the client's proof. What it came to is for [`super::login`] to judge; the message is our own proof,
    /// to be sent only once that has said yes.
    pub fn prove(self, message: &[u8]) -> Result<(Proof, String), Failed> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failed::Malformed)?;
        let mut fields = without_proof.split(',');
        let channel = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(Failed::Malformed)?;
        let channel = STANDARD.decode(channel).map_err(|_| Failed::Malformed)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Failed::Malformed)?;
        let proof = STANDARD.decode(proof).map_err(|_| Failed::Malformed)?;
        let proof: [u8; KEY_BYTES] = proof.try_into().map_err(|_| Failed::Malformed)?;

        let signed: [&[u8]; 5] =
            [self.first.bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let ScramKeys { stored_key, server_key, .. } = &self.keys.scram;
        let signature = hmac_sha256(stored_key, &signed);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(octet, mask)| *octet ^= mask);
        let is_proven = sha256(&client_key).ct_eq(stored_key)
            & channel.ct_eq(&self.first.channel)
            & nonce.as_bytes().ct_eq(format!("{}{}", self.first.nonce, self.keys.nonce).as_bytes());
        let server_final = format!("v={}", STANDARD.encode(hmac_sha256(server_key, &signed)));
        Ok((Proof { login: self.first.login, keys: self.keys, is_right: is_proven.into() }, server_final))
    }
}

/// What an exchange came to. Built only by [`Challenge::prove`].
pub struct Proof {
    login: String,
    keys: Keys,
    is_right: bool,
}

impl Proof {
    pub fn login(&self) -> &str {
        &self.login
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn is_right(&self) -> bool {
        self.is_right
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proof({:?}, …)", self.login)
    }
}

fn text(message: &[u8]) -> Result<&str, Failed> {
    let text = std::str::from_utf8(message).map_err(|_| Failed::Malformed)?;
    if message.len() > MESSAGE_BYTES_MAX || text.contains('\0') { Err(Failed::Malformed) } else { Ok(text) }
}

/// RFC 5802 7 `saslname`: `=2C` is a comma, `=3D` an equals sign, no other `=` may stand there.
fn sasl_name(text: &str) -> Result<String, Failed> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (char, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(Failed::Malformed),
        };
        name.push(char);
        name.push_str(rest);
    }
    if name.is_empty() { Err(Failed::Malformed) } else { Ok(name) }
}

/// The client's side, for tests.
#[cfg(test)]
pub(crate) mod client {
    use super::*;

    pub struct Client {
        pub header: &'static str,
        pub binding: Vec<u8>,
        pub name: &'static str,
        pub password: &'static str,
    }

    pub const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

    impl Client {
        pub fn new(name: &'static str, password: &'static str) -> Self {
            Self { header: "n,,", binding: Vec::new(), name, password }
        }

        fn bare(&self) -> String {
            format!("n={},r={NONCE}", self.name)
        }

        pub fn first(&self) -> String {
            format!("{}{}", self.header, self.bare())
        }

        /// The final message, and what the server is to answer.
        pub fn last(&self, server_first: &str) -> (String, String) {
            let fields: Vec<&str> = server_first.split(',').map(|field| &field[2..]).collect();
            let salt: [u8; 16] = STANDARD.decode(fields[1]).unwrap().try_into().unwrap();
            let iterations = fields[2].parse().unwrap();
            let mut salted = [0; KEY_BYTES];
            let times = std::num::NonZeroU32::new(iterations).unwrap();
            let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
            ring::pbkdf2::derive(algorithm, times, &salt, self.password.as_bytes(), &mut salted);
            let keys = ScramKeys::derive(self.password, salt, iterations);
            let channel = STANDARD.encode([self.header.as_bytes(), &self.binding].concat());
            let without_proof = format!("c={channel},r={}", fields[0]);
            let signed = format!("{},{server_first},{without_proof}", self.bare());
            let mut proof = hmac_sha256(&salted, &[b"Client Key"]);
            let signature = hmac_sha256(&keys.stored_key, &[signed.as_bytes()]);
            proof.iter_mut().zip(signature).for_each(|(octet, mask)| *octet ^= mask);
            let server = STANDARD.encode(hmac_sha256(&keys.server_key, &[signed.as_bytes()]));
            (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={server}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::client::{Client, NONCE};
    use super::*;

    const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn keys() -> Keys {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        Keys::unchecked(ScramKeys::derive("pencil", salt, 4096), OURS)
    }

    fn parse(message: &str, plus: bool) -> Result<ClientFirst, Failed> {
        ClientFirst::parse(message.as_bytes(), plus, &bindings())
    }

    fn bindings() -> ChannelBindings {
        ChannelBindings { exporter: Some([7; 32]), end_point: None }
    }

    /// RFC 7677 3.
    #[test]
    fn the_example_of_the_rfc() {
        let first = parse("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false).unwrap();
        assert_eq!(first.login, "user");
        let challenge = Challenge::new(first, keys());
        assert_eq!(
            challenge.server_first(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (proof, server_final) = challenge.prove(last.as_bytes()).unwrap();
        assert!(proof.is_right());
        assert_eq!(proof.login(), "user");
        assert_eq!(server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    fn exchange(client: &Client, plus: bool, change: impl Fn(String) -> String) -> Result<bool, Failed> {
        let challenge = Challenge::new(parse(&client.first(), plus)?, keys());
        let (last, wanted) = client.last(challenge.server_first());
        let (proof, server_final) = challenge.prove(change(last.clone()).as_bytes())?;
        assert!(!proof.is_right() || server_final == wanted);
        Ok(proof.is_right())
    }

    #[test]
    fn only_the_right_password_with_nothing_changed_is_proven() {
        let right = Client::new("user", "pencil");
        assert_eq!(exchange(&right, false, |last| last), Ok(true));
        assert_eq!(exchange(&Client::new("user", "Pencil"), false, |last| last), Ok(false));
        // Another header than at first; another nonce; an extension slipped in.
        assert_eq!(exchange(&right, false, |last| last.replace("c=biws", "c=eSws")), Ok(false));
        assert_eq!(exchange(&right, false, |last| last.replace("k0,", "k1,")), Ok(false));
        assert_eq!(exchange(&right, false, |last| last.replace(",p=", ",x=1,p=")), Ok(false));
        for bad in ["", "c=biws", "c=biws,r=x", "c=biws,r=x,p=!", "c=biws,r=x,p=AAAA", "c=!,r=x,p=AAAA"] {
            assert_eq!(exchange(&right, false, |_| bad.to_owned()), Err(Failed::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_binding_is_part_of_the_proof() {
        let bound = |binding: &[u8]| Client {
            header: "p=tls-exporter,,",
            binding: binding.to_vec(),
            ..Client::new("user", "pencil")
        };
        assert_eq!(exchange(&bound(&[7; 32]), true, |last| last), Ok(true));
        // Of the connection to whoever stands in between.
        assert_eq!(exchange(&bound(&[8; 32]), true, |last| last), Ok(false));
        assert_eq!(exchange(&bound(&[]), true, |last| last), Ok(false));
    }

    #[test]
    fn headers_say_what_was_offered_and_nothing_else() {
        use Failed::{Malformed, Refused};
        let first = |header: &str| format!("{header}n=user,r={NONCE}");
        for (header, plus, wanted) in [
            ("n,,", false, Ok(())),
            ("n,a=user,", false, Ok(())),
            ("p=tls-exporter,,", true, Ok(())),
            // Somebody took -PLUS out of the offer (RFC 5802 6).
            ("y,,", false, Err(Refused)),
            ("n,,", true, Err(Refused)),
            ("y,,", true, Err(Refused)),
            ("p=tls-exporter,,", false, Err(Refused)),
            ("p=tls-unique,,", true, Err(Refused)),
            ("p=tls-server-end-point,,", true, Err(Refused)),
            ("n,a=other,", false, Err(Refused)),
            ("n,,m=x,", false, Err(Refused)),
            ("n,user,", false, Err(Malformed)),
            ("x,,", false, Err(Malformed)),
            (",,", false, Err(Malformed)),
            ("n,", false, Err(Malformed)),
            ("", false, Err(Malformed)),
        ] {
            assert_eq!(parse(&first(header), plus).map(drop), wanted, "{header:?}, {plus}");
        }
        let unbound = ChannelBindings::default();
        let y = first("y,,");
        assert!(ClientFirst::parse(y.as_bytes(), false, &unbound).is_ok(), "it is right: we cannot");
    }

    #[test]
    fn names_are_unescaped_prepared_and_bounded_with_all_else() {
        let login = |name: &str| parse(&format!("n,,n={name},r=x"), false).map(|first| first.login);
        assert_eq!(login("a=2Cb=3Dc"), Ok("a,b=c".to_owned()));
        assert_eq!(login("I\u{ad}X"), Ok("IX".to_owned()));
        assert_eq!(login("\u{7}"), Err(Failed::Refused));
        for bad in ["", "a=b", "a=2c", "a=", "a=2"] {
            assert_eq!(login(bad), Err(Failed::Malformed), "{bad:?}");
        }
        let nonce = |nonce: &str| parse(&format!("n,,n=a,r={nonce}"), false).map(drop);
        assert_eq!(nonce(&"x".repeat(NONCE_BYTES_MAX)), Ok(()));
        assert_eq!(nonce("x,ext=y"), Ok(()), "an optional extension is passed over");
        for bad in ["", "a b", "\u{fc}", &"x".repeat(NONCE_BYTES_MAX + 1)] {
            assert_eq!(nonce(bad), Err(Failed::Malformed), "{bad:?}");
        }
        assert_eq!(ClientFirst::parse(&[b'n'; 5_000], false, &bindings()), Err(Failed::Malformed));
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=x", false, &bindings()), Err(Failed::Malformed));
        assert_eq!(parse("n,,n=a\0b,r=x", false), Err(Failed::Malformed));
    }
}
