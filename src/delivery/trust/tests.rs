//! Certificates of the tests' own making, shown to what is demanded.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::mail::ids::Timestamp;
use crate::state::authorities::Authority;

pub struct Ca {
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain, leaf first, and its key.
pub struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Vec<u8>,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub fn ca(name: &str) -> Ca {
    let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca { der, issuer: Issuer::new(params, key) }
}

impl Ca {
    pub fn below(&self, name: &str) -> Ca {
        let (params, key) = (ca_params(name), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Ca { der, issuer: Issuer::new(params, key) }
    }

    pub fn leaf(&self, names: &[&str], until: i32) -> Shown {
        let key = KeyPair::generate().unwrap();
        let der = leaf_params(names, until).signed_by(&key, &self.issuer).unwrap().der().clone();
        Shown { chain: vec![der], key: key.serialize_der() }
    }
}

fn leaf_params(names: &[&str], until: i32) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}

pub fn of_its_own(names: &[&str], until: i32) -> Shown {
    let key = KeyPair::generate().unwrap();
    let der = leaf_params(names, until).self_signed(&key).unwrap().der().clone();
    Shown { chain: vec![der], key: key.serialize_der() }
}

/// What the handshake comes to with a server that shows this.
pub async fn handshake(config: Arc<ClientConfig>, host: &str, shown: &Shown) -> Result<(), String> {
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            shown.chain.clone(),
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key.clone())),
        )
        .unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accepting = TlsAcceptor::from(Arc::new(server)).accept(far);
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let (connected, _) = tokio::join!(TlsConnector::from(config).connect(name, near), accepting);
    connected.map(drop).map_err(|error| error.to_string())
}

fn authorities(certificate: &CertificateDer<'_>, hosts: Option<&str>) -> Authorities {
    let (name, hosts) = ("corp".to_owned(), hosts.map(str::to_owned));
    Authorities::new(vec![Authority {
        name,
        hosts,
        certificate: certificate.to_vec(),
        created: Timestamp(0),
    }])
}

const HOST: &str = "mx.corp.test";

#[tokio::test]
async fn a_server_is_verified_by_the_operators_ca_for_its_name_and_its_hosts_alone() {
    let (own, other) = (ca("own"), ca("other"));
    let below = own.below("below");
    let mut chained = below.leaf(&[HOST], 2100);
    chained.chain.push(below.der.clone());
    let self_signed = of_its_own(&[HOST], 2100);
    let for_all = authorities(&own.der, None);
    for (authorities, shown, wrong) in [
        (&for_all, own.leaf(&[HOST], 2100), None),
        (&for_all, own.leaf(&["*.corp.test"], 2100), None),
        (&for_all, chained, None),
        (&for_all, below.leaf(&[HOST], 2100), Some("UnknownIssuer")),
        (&for_all, own.leaf(&["mx.else.test"], 2100), Some("not valid for name")),
        (&for_all, own.leaf(&[HOST], 2010), Some("expired")),
        (&for_all, other.leaf(&[HOST], 2100), Some("UnknownIssuer")),
        (&for_all, of_its_own(&[HOST], 2100), Some("UnknownIssuer")),
        (&authorities(&own.der, Some("corp.test")), own.leaf(&[HOST], 2100), None),
        (&authorities(&own.der, Some("else.test")), own.leaf(&[HOST], 2100), Some("UnknownIssuer")),
        // The very certificate that the server shows.
        (&authorities(&self_signed.chain[0], Some(HOST)), self_signed, None),
    ] {
        let config = config(&Demand::Verified, HOST, authorities).await.unwrap();
        let judged = handshake(config, HOST, &shown).await;
        match wrong {
            None => assert_eq!(judged, Ok(())),
            Some(wrong) => assert!(judged.as_ref().is_err_and(|error| error.contains(wrong)), "{judged:?}"),
        }
    }
}

#[tokio::test]
async fn whoever_answers_is_believed_where_no_more_is_demanded() {
    for demand in [Demand::Opportunistic, Demand::Forced] {
        let config = config(&demand, HOST, &Authorities::default()).await.unwrap();
        assert_eq!(handshake(config, HOST, &of_its_own(&["mx.else.test"], 2010)).await, Ok(()));
    }
}

/// A session that was begun where everybody is believed would let the server off its proof.
#[tokio::test]
async fn only_connections_of_one_demand_resume_each_others_sessions() {
    let (own, none) = (authorities(&ca("own").der, None), Authorities::default());
    let of = async |demand, authorities| config(&demand, HOST, authorities).await.unwrap();
    let forced = of(Demand::Forced, &none).await;
    assert!(Arc::ptr_eq(&forced, &of(Demand::Opportunistic, &own).await));
    let verified = of(Demand::Verified, &own).await;
    assert!(!Arc::ptr_eq(&verified, &forced));
    assert!(!Arc::ptr_eq(&verified, &of(Demand::Verified, &own).await));
}
