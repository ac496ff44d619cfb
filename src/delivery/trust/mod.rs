//! What a server must prove before mail goes to it, and the TLS that holds it to that.
//!
//! What it must never do: let a connection that is held to more go on where one that was held to less was begun. So
//! sessions are resumed only between connections of one and the same demand.

pub mod dane;
pub mod failure;
mod named;
mod tested;
#[cfg(test)]
pub(super) mod tests;
mod verifier;

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

use self::dane::{ByTheDns, Dane};
use self::failure::TlsFailure;
use self::named::Named;
use self::tested::Tested;
use self::verifier::{Anyone, Judge, Verifier};
use super::client::Tls;
use crate::state::authorities::Authorities;

/// What is demanded of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Nothing; TLS is not asked for.
    Clear,
    /// TLS where it is offered (RFC 7435).
    Opportunistic,
    /// TLS, or nothing is sent; whoever answers is believed.
    Forced,
    /// TLS with a certificate for the host, by somebody who is trusted.
    Verified,
    /// The same, as the domain itself demands by its policy (RFC 8461).
    Sts,
    /// As opportunistic; what [`Demand::Sts`] would have come to is told (RFC 8461 5).
    StsTesting,
    /// TLS with a certificate that the DNS names.
    Dane(Arc<Dane>),
    /// The DNS names one in a way that is not known here: TLS, and whoever answers is believed (RFC 7672 2.2).
    DaneUnusable,
}

impl Demand {
    /// What SMTP has to do about it.
    pub fn tls(&self) -> Tls {
        match self {
            Self::Clear => Tls::Off,
            Self::Opportunistic | Self::StsTesting => Tls::Opportunistic,
            Self::Forced | Self::Verified | Self::Sts | Self::Dane(_) | Self::DaneUnusable => Tls::Forced,
        }
    }

    /// The name that the server is asked for, and that its certificate is held against.
    pub fn name<'a>(&'a self, host: &'a str) -> &'a str {
        match self {
            Self::Dane(dane) => &dane.base,
            _ => host,
        }
    }

    /// In a word, for logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Clear => CLEAR,
            Self::Opportunistic => "opportunistic",
            Self::Forced => "forced",
            Self::Verified => "verified",
            Self::Sts => "sts",
            Self::StsTesting => "opportunistic",
            Self::Dane(_) => "dane",
            Self::DaneUnusable => "dane-unusable",
        }
    }
}

/// As [`Demand::word`], of a connection without TLS.
pub const CLEAR: &str = "none";

/// What one connection is held to.
pub struct Trust {
    pub config: Arc<ClientConfig>,
    word: &'static str,
    dane: Option<Arc<ByTheDns>>,
    tested: Option<Arc<Tested>>,
}

impl Trust {
    /// How the server was judged, once the handshake is over: as [`Demand::word`], with the kind of record that
    /// decided.
    pub fn word(&self) -> &'static str {
        self.dane.as_ref().and_then(|dane| dane.believed()).unwrap_or(self.word)
    }

    /// Why the server would not have been believed, once the handshake is over.
    pub fn doubt(&self) -> Option<(TlsFailure, String)> {
        self.tested.as_ref().and_then(|tested| tested.doubt())
    }
}

/// For one connection to `host`.
pub async fn trust(demand: &Demand, host: &str, authorities: &Authorities) -> Result<Trust, String> {
    static BELIEVING: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    static BY_THE_SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let (mut by_the_dns, mut tested) = (None, None);
    let config = match demand {
        Demand::Clear | Demand::Opportunistic | Demand::Forced | Demand::DaneUnusable => {
            kept(&BELIEVING, Anyone)?
        }
        Demand::Verified | Demand::Sts => {
            let named = Named::new(host, authorities, &provider()).await?;
            match named.is_by_the_system() {
                true => kept(&BY_THE_SYSTEM, named)?,
                // What is trusted may be taken away again: whom it was believed of is to prove himself anew.
                false => Arc::new(unresumed(made(Arc::new(named))?)),
            }
        }
        Demand::StsTesting => match Named::new(host, authorities, &provider()).await {
            Ok(named) => {
                let judge = Arc::new(Tested::new(named));
                tested = Some(Arc::clone(&judge));
                Arc::new(unresumed(made(judge)?))
            }
            Err(_) => kept(&BELIEVING, Anyone)?,
        },
        Demand::Dane(dane) => {
            let judge = Arc::new(ByTheDns::new(Arc::clone(dane), provider()));
            by_the_dns = Some(Arc::clone(&judge));
            Arc::new(unresumed(made(judge)?))
        }
    };
    Ok(Trust { config, word: demand.word(), dane: by_the_dns, tested })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// One of a kind for all connections, so that sessions are resumed.
fn kept(place: &OnceLock<Arc<ClientConfig>>, judge: impl Judge) -> Result<Arc<ClientConfig>, String> {
    if let Some(config) = place.get() {
        return Ok(Arc::clone(config));
    }
    let config = Arc::new(made(Arc::new(judge))?);
    Ok(Arc::clone(place.get_or_init(|| config)))
}

fn unresumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

fn made(judge: Arc<impl Judge>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?;
    let verifier = Verifier::new(judge, provider());
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}
