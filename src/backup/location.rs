//! Where backups are to lie, as operators name it, and what opens a place that is somebody else's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::storage::sealed::Passphrase;

const BUCKET: &str = "s3://";
const REGION: &str = "us-east-1";
/// Octets of what is below the bucket.
const PREFIX_BYTES_MAX: usize = 512;

/// A folder, or `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    Folder(PathBuf),
    /// `prefix`: names joined by slashes, or empty.
    Bucket {
        bucket: String,
        prefix: String,
    },
}

/// What an object store asks for, and the passphrase that seals what lies there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub key_id: String,
    pub secret_key: String,
    pub session_token: Option<String>,
    pub region: String,
    /// `None`: Amazon's own.
    pub endpoint: Option<String>,
    /// Whom to trust beside the system, in PEM.
    pub authorities: Option<String>,
    pub passphrase: Passphrase,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(BUCKET) else {
            return match text.contains("://") {
                true => {
                    Err(format!("{text} is no place for backups: name a folder, or {BUCKET}BUCKET/PREFIX"))
                }
                false => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        // Amazon's rules for names of buckets.
        let of_bucket =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(of_bucket) {
            return Err(format!(
                "{bucket:?} is no name of a bucket: 3 to 63 small letters, digits, dots and dashes"
            ));
        }
        // Names that need no encoding are the same in every store.
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(of_name) && !["..", "."].contains(&name);
        if prefix.len() > PREFIX_BYTES_MAX || !(prefix.is_empty() || prefix.split('/').all(is_name)) {
            return Err(format!(
                "{prefix:?} is no prefix: letters, digits, dots, dashes and underscores between slashes, at most \
                 {PREFIX_BYTES_MAX} octets"
            ));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl TryFrom<String> for Location {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => write!(f, "{}", dir.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "{BUCKET}{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "{BUCKET}{bucket}/{prefix}"),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, region, endpoint, .. } = self;
        let mut shown = f.debug_struct("Access");
        shown.field("key_id", key_id).field("region", region).field("endpoint", endpoint);
        shown.finish_non_exhaustive()
    }
}

impl Access {
    /// Out of the variables that other programs read too; `read` reads a file.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &str, what: &str| set(name).ok_or_else(|| format!("{name} is not set: {what}"));
        let file = |name: &str| -> Result<Option<String>, String> {
            let Some(path) = set(name) else { return Ok(None) };
            read(&path).map(Some).map_err(|error| format!("{name}: {path}: {error}"))
        };
        let what = "the file that holds the passphrase of the backups";
        needed(PASSPHRASE_FILE, what)?;
        let passphrase = file(PASSPHRASE_FILE)?.unwrap_or_default();
        let passphrase = passphrase.trim_end_matches(['\r', '\n']).to_owned();
        Ok(Self {
            key_id: needed("AWS_ACCESS_KEY_ID", "the store's key")?,
            secret_key: needed("AWS_SECRET_ACCESS_KEY", "the store's secret key")?,
            session_token: set("AWS_SESSION_TOKEN"),
            region: set("AWS_REGION")
                .or_else(|| set("AWS_DEFAULT_REGION"))
                .unwrap_or_else(|| REGION.to_owned()),
            endpoint: set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL")),
            authorities: file("AWS_CA_BUNDLE")?,
            passphrase: passphrase.try_into().map_err(|error| format!("{PASSPHRASE_FILE}: {error}"))?,
        })
    }
}

const PASSPHRASE_FILE: &str = "POLLUX_BACKUP_PASSPHRASE_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        for same in ["/mnt/backups", "relative", "s3://office", "s3://of.fice-1/mail/a_b", "s3x"] {
            assert_eq!(same.parse::<Location>().unwrap().to_string(), same);
        }
        let bucket =
            |prefix: &str| Location::Bucket { bucket: "office".to_owned(), prefix: prefix.to_owned() };
        assert_eq!("s3://office/".parse(), Ok(bucket("")));
        assert_eq!("s3://office/mail/".parse(), Ok(bucket("mail")));
        let long = format!("s3://office/{}", "x".repeat(PREFIX_BYTES_MAX + 1));
        assert!(long[..long.len() - 1].parse::<Location>().is_ok());
        for none in [
            "s3://",
            "s3:///x",
            "s3://ab",
            "s3://Office",
            "s3://office/a//b",
            "s3://office/../b",
            "sftp://x",
            &long,
        ] {
            assert!(none.parse::<Location>().is_err(), "{none}");
        }
    }

    fn access(set: &[(&str, &str)]) -> Result<Access, String> {
        let variable =
            |name: &str| set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        Access::of_environment(variable, |path| match path {
            "/passphrase" => Ok("correct horse\n".to_owned()),
            "/short" => Ok("horse\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn what_lacks_is_named() {
        let all = [
            ("POLLUX_BACKUP_PASSPHRASE_FILE", "/passphrase"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let read = access(&all).unwrap();
        assert_eq!((read.region.as_str(), &read.endpoint), ("us-east-1", &None));
        assert_eq!(String::from(read.passphrase.clone()), "correct horse");
        assert!(
            !format!("{read:?}").contains("secret") && !format!("{read:?}").contains("horse"),
            "{read:?}"
        );
        for at in 0..all.len() {
            let (name, _) = all[at];
            let but_one: Vec<_> = all.iter().copied().filter(|(it, _)| *it != name).collect();
            assert!(access(&but_one).unwrap_err().starts_with(name));
        }
        let with = |name, value| access(&[&all[1..], &[(name, value)]].concat());
        for file in ["/short", "/missing"] {
            let said = with("POLLUX_BACKUP_PASSPHRASE_FILE", file).unwrap_err();
            assert!(said.starts_with("POLLUX_BACKUP_PASSPHRASE_FILE: "), "{said}");
        }
        let more = [("AWS_ENDPOINT_URL", "a"), ("AWS_ENDPOINT_URL_S3", "b"), ("AWS_DEFAULT_REGION", "r")];
        let read = access(&[&all[..], &more].concat()).unwrap();
        assert_eq!((read.region.as_str(), read.endpoint.as_deref()), ("r", Some("b")));
    }
}
