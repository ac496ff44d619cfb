//! Certificates of the tests' own making, shown to what is demanded.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use ring::digest::{SHA256, SHA512, digest};

use super::*;
use crate::dns::Tlsa;
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
        for demand in [Demand::Verified, Demand::Sts] {
            let config = trust(&demand, HOST, authorities).await.unwrap().config;
            let judged = handshake(config, HOST, &shown).await;
            match wrong {
                None => assert_eq!(judged, Ok(())),
                Some(wrong) => {
                    assert!(judged.as_ref().is_err_and(|error| error.contains(wrong)), "{judged:?}")
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_answers_is_believed_where_no_more_is_demanded() {
    for demand in [Demand::Opportunistic, Demand::Forced, Demand::DaneUnusable] {
        let config = trust(&demand, HOST, &Authorities::default()).await.unwrap().config;
        assert_eq!(handshake(config, HOST, &of_its_own(&["mx.else.test"], 2010)).await, Ok(()));
    }
}

#[tokio::test]
async fn what_is_only_tested_is_believed_and_doubted() {
    let own = ca("own");
    let authorities = authorities(&own.der, None);
    for (shown, doubt) in [
        (own.leaf(&[HOST], 2100), None),
        (own.leaf(&["mx.else.test"], 2100), Some(TlsFailure::OtherName)),
        (own.leaf(&[HOST], 2010), Some(TlsFailure::Expired)),
        (of_its_own(&[HOST], 2100), Some(TlsFailure::NotTrusted)),
    ] {
        let trust = trust(&Demand::StsTesting, HOST, &authorities).await.unwrap();
        assert_eq!(handshake(Arc::clone(&trust.config), HOST, &shown).await, Ok(()));
        assert_eq!((trust.doubt().map(|(failure, _)| failure), trust.word()), (doubt, "opportunistic"));
    }
}

/// A session that was begun where everybody is believed would let the server off its proof.
#[tokio::test]
async fn only_connections_of_one_demand_resume_each_others_sessions() {
    let (own, none) = (authorities(&ca("own").der, None), Authorities::default());
    let of = async |demand, authorities| trust(&demand, HOST, authorities).await.unwrap().config;
    let forced = of(Demand::Forced, &none).await;
    assert!(Arc::ptr_eq(&forced, &of(Demand::Opportunistic, &own).await));
    let verified = of(Demand::Verified, &own).await;
    assert!(!Arc::ptr_eq(&verified, &forced));
    assert!(!Arc::ptr_eq(&verified, &of(Demand::Verified, &own).await));
}

fn association((selector, matching): (u8, u8), certificate: &CertificateDer<'_>) -> Vec<u8> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let content = if selector == 0 { &certificate[..] } else { parsed.tbs_certificate.subject_pki.raw };
    match matching {
        0 => content.to_vec(),
        1 => digest(&SHA256, content).as_ref().to_vec(),
        _ => digest(&SHA512, content).as_ref().to_vec(),
    }
}

fn record(usage: u8, (selector, matching): (u8, u8), certificate: &CertificateDer<'_>) -> Tlsa {
    let data = association((selector, matching), certificate);
    Tlsa { usage, selector, matching, data }
}

/// As the handshake comes out, and by which records.
async fn by_the_dns(records: Vec<Tlsa>, shown: &Shown) -> Result<&'static str, String> {
    let dane = Dane::of(HOST, &[HOST, "corp.test"], records).expect("a usable record");
    let demand = Demand::Dane(Arc::new(dane));
    let trust = trust(&demand, HOST, &Authorities::default()).await.unwrap();
    assert_eq!(trust.word(), "dane", "before it is judged");
    handshake(Arc::clone(&trust.config), demand.name("else.test"), shown).await.map(|()| trust.word())
}

const ALL: [(u8, u8); 6] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];

#[tokio::test]
async fn a_server_is_believed_that_shows_the_certificate_or_the_key_that_the_dns_names() {
    // RFC 7672 3.1.1: whatever its names are, and however old it is.
    let (shown, other) = (of_its_own(&["mx.else.test"], 2010), of_its_own(&[HOST], 2100));
    for kind in ALL {
        let said = by_the_dns(vec![record(3, kind, &shown.chain[0])], &shown).await;
        assert_eq!(said, Ok("dane-ee"), "{kind:?}");
        let said = by_the_dns(vec![record(3, kind, &other.chain[0])], &shown).await;
        assert!(said.as_ref().is_err_and(|why| why.contains("no TLSA record names")), "{kind:?}: {said:?}");
        // One of several is enough, as it must be while a key is changed.
        let both = vec![record(3, kind, &other.chain[0]), record(3, kind, &shown.chain[0])];
        assert_eq!(by_the_dns(both, &shown).await, Ok("dane-ee"), "{kind:?}");
    }
}

#[tokio::test]
async fn a_server_is_believed_whose_chain_ends_at_the_anchor_that_the_dns_names() {
    let (own, other) = (ca("own"), ca("other"));
    let below = own.below("below");
    let chained = |names: &[&str], until: i32, with: &[&Ca]| {
        let mut shown = below.leaf(names, until);
        shown.chain.extend(with.iter().map(|ca| ca.der.clone()));
        shown
    };
    let whole = |names: &[&str], until| chained(names, until, &[&below, &own]);
    for kind in ALL {
        let named = |ca: &Ca| vec![record(2, kind, &ca.der)];
        let refused = async |records, shown: Shown, why: &str| {
            let said = by_the_dns(records, &shown).await;
            assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{kind:?} {why}: {said:?}");
        };
        for anchor in [&own, &below] {
            assert_eq!(by_the_dns(named(anchor), &whole(&[HOST], 2100)).await, Ok("dane-ta"), "{kind:?}");
            // RFC 7672 3.2.2: the domain whose server it is does as well.
            assert_eq!(by_the_dns(named(anchor), &whole(&["corp.test"], 2100)).await, Ok("dane-ta"));
            refused(named(anchor), whole(&["mx.else.test"], 2100), "not valid for name").await;
            refused(named(anchor), whole(&[HOST], 2010), "expired").await;
        }
        refused(named(&other), whole(&[HOST], 2100), if kind.1 == 0 { "invalid peer" } else { "no TLSA" })
            .await;
        // It is shown, and has signed nothing of what is shown.
        refused(named(&other), chained(&[HOST], 2100, &[&below, &own, &other]), "").await;
        // The anchor is not shown: a digest of it proves nothing, the whole of it does.
        let said = by_the_dns(named(&own), &chained(&[HOST], 2100, &[&below])).await;
        assert_eq!(said.is_ok(), kind.1 == 0, "{kind:?}: {said:?}");
    }
    // A leaf is no anchor, and an anchor no leaf.
    let leaf = whole(&[HOST], 2100);
    for (usage, certificate) in [(2, &leaf.chain[0]), (3, &own.der)] {
        let said = by_the_dns(vec![record(usage, (0, 1), certificate)], &leaf).await;
        assert!(said.is_err(), "{usage}: {said:?}");
    }
}

#[test]
fn records_of_no_use_are_none_and_the_strongest_digest_counts() {
    let record =
        |usage, selector, matching, length| Tlsa { usage, selector, matching, data: vec![7; length] };
    for (usage, selector, matching, length, usable) in [
        (3, 1, 1, 32, true),
        (2, 0, 2, 64, true),
        (3, 0, 0, 1, true),
        (0, 1, 1, 32, false),
        (1, 1, 1, 32, false),
        (4, 1, 1, 32, false),
        (255, 1, 1, 32, false),
        (3, 2, 1, 32, false),
        (3, 1, 3, 32, false),
        (3, 1, 1, 31, false),
        (3, 1, 2, 32, false),
        (3, 0, 0, 0, false),
    ] {
        let made = Dane::of(HOST, &[], vec![record(usage, selector, matching, length)]);
        assert_eq!(made.is_some(), usable, "{usage} {selector} {matching} of {length}");
    }
    let of = |records| Dane::of(HOST, &[], records);
    let strong = of(vec![record(3, 1, 2, 64)]);
    assert_eq!(of(vec![record(3, 1, 1, 32), record(3, 1, 2, 64)]), strong);
    assert_ne!(of(vec![record(3, 0, 1, 32), record(3, 1, 2, 64)]), strong, "of another thing");
    let many =
        |count| of((0..count).map(|at| Tlsa { data: vec![at as u8; 32], ..record(3, 1, 1, 32) }).collect());
    assert_eq!(many(dane::RECORDS_MAX + 1), many(dane::RECORDS_MAX));
    assert_ne!(many(dane::RECORDS_MAX), many(dane::RECORDS_MAX - 1));
}
