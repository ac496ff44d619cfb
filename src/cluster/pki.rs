//! The cluster CA and node certificates (rcgen), and the checks of them. Writes no file: what it
//! gives as text, others store.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::mail::ids::{NodeId, Timestamp};

/// A CA outlives the boxes; it is rotated by hand with a bundle of two.
const CA_DAYS: u64 = 20 * 365;
/// A node's certificate is renewed long before, at half its life ([`NodeIdentity::renew_after`]).
const NODE_DAYS: u64 = 2 * 365;
/// Boxes whose clocks differ by a day must still find each other.
const BACKDATED_DAYS: u64 = 2;
/// An identity file is text of a few certificates.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;
/// A bundle holds the CA in use and the one to come.
const CAS_MAX: usize = 2;
/// An uncompressed P-256 point (SEC 1, 2.3.3).
const PUBLIC_KEY_BYTES: usize = 65;

/// Names a cluster for ever: a random uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for ClusterId {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if digits.len() != 32 || text.len() != 36 {
            return Err(PkiError::ClusterId(text.to_owned()));
        }
        let mut id = [0; 16];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(PkiError::ClusterId(text.to_owned()));
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PkiError::ClusterId(text.to_owned()))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| PkiError::ClusterId(text.to_owned()))?;
        }
        Ok(Self(id))
    }
}

/// BLAKE3 of a certificate's DER: what a join token pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub fn of(der: &[u8]) -> Self {
        Self(*blake3::hash(der).as_bytes())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    #[error("{0:?} is not a cluster id (a uuid is expected)")]
    ClusterId(String),
    #[error("the {what} cannot be used: {why}")]
    Unusable { what: &'static str, why: String },
}

impl PkiError {
    fn unusable(what: &'static str, why: impl fmt::Display) -> Self {
        Self::Unusable { what, why: why.to_string() }
    }
}

/// The certificate authority of one cluster.
pub struct ClusterCa {
    cluster: ClusterId,
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl ClusterCa {
    pub fn create(cluster: ClusterId, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(|why| PkiError::unusable("new CA key", why))?;
        let params = ca_params(cluster, now)?;
        let certificate =
            params.self_signed(&key).map_err(|why| PkiError::unusable("new CA certificate", why))?;
        Ok(Self {
            cluster,
            certificate_pem: certificate.pem(),
            certificate_der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads what [`ClusterCa::certificate_pem`] and [`ClusterCa::key_pem`] gave.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|why| PkiError::unusable("CA certificate", why))?;
        let key = read_key("CA key", key)?;
        let cluster = cluster_of_ca(&der)?;
        // The times do not matter in an issuer: it is known by its name and key alone.
        let issuer = Issuer::new(ca_params(cluster, Timestamp(0))?, key);
        if public_key_of(&der)? != issuer.key().public_key_raw() {
            return Err(PkiError::unusable("CA key", "it does not belong to the CA certificate"));
        }
        Ok(Self { cluster, certificate_pem: certificate.to_owned(), certificate_der: der, issuer })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Secret: whoever has it can make nodes.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Secret as well; what other keys are made of.
    pub fn key_der(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate_der)
    }

    /// A fresh key and its certificate, for the first node of a cluster.
    pub fn issue(&self, node: NodeId, now: Timestamp) -> Result<NodeIdentity, PkiError> {
        let key = NodeKey::generate()?;
        let chain_pem = self.certify(node, key.public(), now)?;
        Ok(NodeIdentity { chain_pem, key_pem: key.key_pem(), ca_pem: self.certificate_pem.clone() })
    }

    /// A certificate for a key made elsewhere ([`NodeKey::public`]), as PEM chain that ends in the CA.
    pub fn certify(&self, node: NodeId, public: &[u8], now: Timestamp) -> Result<String, PkiError> {
        let public = PublicKey::parse(public)?;
        let name = node_name(node, self.cluster);
        let mut params = CertificateParams::new(vec![name.clone()])
            .map_err(|why| PkiError::unusable("node's name", why))?;
        params.distinguished_name = common_name(&name);
        set_validity(&mut params, now, NODE_DAYS)?;
        params.serial_number = Some(serial(node, &public.0, now));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&public, &self.issuer)
            .map_err(|why| PkiError::unusable("new node certificate", why))?;
        Ok(format!("{}{}", certificate.pem(), self.certificate_pem))
    }
}

fn ca_params(cluster: ClusterId, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params =
        CertificateParams::new(Vec::new()).map_err(|why| PkiError::unusable("CA's name", why))?;
    params.distinguished_name = common_name(&format!("{CA_NAME_PREFIX}{cluster}"));
    set_validity(&mut params, now, CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

const CA_NAME_PREFIX: &str = "Pollux cluster ";

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, now: Timestamp, days: u64) -> Result<(), PkiError> {
    let today = i64::try_from(now.0)
        .ok()
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .ok_or_else(|| PkiError::unusable("clock", "it is far off: set the date"))?;
    let from = today - Days::new(BACKDATED_DAYS);
    let until = today + Days::new(days);
    params.not_before = rcgen::date_time_ymd(from.year(), from.month() as u8, from.day() as u8);
    params.not_after = rcgen::date_time_ymd(until.year(), until.month() as u8, until.day() as u8);
    Ok(())
}

fn serial(node: NodeId, public: &[u8], now: Timestamp) -> SerialNumber {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&node.0.to_be_bytes()).update(&now.0.to_be_bytes()).update(public);
    // RFC 5280 4.1.2.2: positive, at most 20 octets.
    let mut serial = hasher.finalize().as_bytes()[..16].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from(serial)
}

/// A joiner's public key, as it came over the wire.
struct PublicKey(Vec<u8>);

impl PublicKey {
    fn parse(bytes: &[u8]) -> Result<Self, PkiError> {
        if bytes.len() != PUBLIC_KEY_BYTES || bytes[0] != 4 {
            return Err(PkiError::unusable("new node's public key", "it is no P-256 point"));
        }
        Ok(Self(bytes.to_vec()))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A node's private key, before and after it has a certificate.
pub struct NodeKey {
    pair: KeyPair,
}

impl NodeKey {
    pub fn generate() -> Result<Self, PkiError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|why| PkiError::unusable("new node key", why))?;
        Ok(Self { pair })
    }

    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        Ok(Self { pair: read_key("node's key", pem)? })
    }

    /// The uncompressed P-256 point, 65 octets.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    pub fn key_pem(&self) -> String {
        self.pair.serialize_pem()
    }
}

fn read_key(what: &'static str, pem: &str) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem).map_err(|why| PkiError::unusable(what, why))
}

/// What a node shows to others, and by what it checks them.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's certificate, then its CA's.
    pub chain_pem: String,
    pub key_pem: String,
    /// The CAs trusted: one, or two while it is being rotated.
    pub ca_pem: String,
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeIdentity({:?})", self.name())
    }
}

impl NodeIdentity {
    /// Node and cluster as the certificate names them.
    pub fn name(&self) -> Result<(NodeId, ClusterId), PkiError> {
        let chain = self.chain()?;
        name_in(&chain[0])
    }

    /// The node's certificate first. Never empty.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        certificates("node's certificate", &self.chain_pem)
    }

    pub fn key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|why| PkiError::unusable("node's key", why))
    }

    /// The trusted CAs. Never empty, at most two.
    pub fn cas(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let cas = certificates("cluster's CA certificate", &self.ca_pem)?;
        if cas.len() > CAS_MAX {
            return Err(PkiError::unusable("cluster's CA certificate", "more than two CAs are given"));
        }
        Ok(cas)
    }

    /// From half of the certificate's life on it should be renewed.
    pub fn renew_after(&self) -> Result<Timestamp, PkiError> {
        let chain = self.chain()?;
        let validity = parse(&chain[0])?.validity().clone();
        let half_s = validity.not_before.timestamp().midpoint(validity.not_after.timestamp());
        Ok(Timestamp(u64::try_from(half_s).unwrap_or(0) * 1000))
    }

    /// Checks that the three parts belong together.
    pub fn check(&self) -> Result<(), PkiError> {
        let chain = self.chain()?;
        let key = read_key("node's key", &self.key_pem)?;
        if public_key_of(&chain[0])? != key.public_key_raw() {
            return Err(PkiError::unusable("node's key", "it does not belong to the node's certificate"));
        }
        let (_, cluster) = name_in(&chain[0])?;
        for ca in self.cas()? {
            if cluster_of_ca(&ca)? != cluster {
                return Err(PkiError::unusable("cluster's CA certificate", "it is of another cluster"));
            }
        }
        Ok(())
    }

    /// All three parts in one PEM file's bytes. Secret, for it holds the key.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.chain_pem, SECTION_MARK, &self.key_pem, SECTION_MARK, &self.ca_pem].concat().into_bytes()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PkiError> {
        let unusable = |why: &str| PkiError::unusable("identity file", why);
        if bytes.len() > IDENTITY_BYTES_MAX {
            return Err(unusable("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unusable("it is no text"))?;
        let mut parts = text.split(SECTION_MARK).map(str::to_owned);
        let (Some(chain_pem), Some(key_pem), Some(ca_pem), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(unusable("a part of it is missing"));
        };
        let identity = Self { chain_pem, key_pem, ca_pem };
        identity.check()?;
        Ok(identity)
    }
}

/// PEM readers skip lines between blocks, so the file stays one that any tool reads.
const SECTION_MARK: &str = "# --\n";

/// The name in a node's certificate, and the server name its callers ask for.
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("node-{node}.{cluster}.internal")
}

/// Who a (verified) certificate says its holder is.
pub fn name_in(certificate: &[u8]) -> Result<(NodeId, ClusterId), PkiError> {
    let parsed = parse(certificate)?;
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    match names {
        [x509_parser::extensions::GeneralName::DNSName(name)] => parse_node_name(name),
        _ => None,
    }
    .ok_or_else(|| PkiError::unusable("certificate", "it does not name a node"))
}

fn parse_node_name(name: &str) -> Option<(NodeId, ClusterId)> {
    let (node, cluster) = name.strip_prefix("node-")?.strip_suffix(".internal")?.split_once('.')?;
    let (node, cluster) = (NodeId(node.parse().ok()?), cluster.parse().ok()?);
    // One way to write each name: no leading zeros or capitals.
    (node_name(node, cluster) == name).then_some((node, cluster))
}

fn cluster_of_ca(certificate: &[u8]) -> Result<ClusterId, PkiError> {
    let parsed = parse(certificate)?;
    parsed
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok()?.strip_prefix(CA_NAME_PREFIX)?.parse().ok())
        .ok_or_else(|| PkiError::unusable("CA certificate", "it is not a Pollux cluster's"))
}

fn public_key_of(certificate: &[u8]) -> Result<Vec<u8>, PkiError> {
    Ok(parse(certificate)?.public_key().subject_public_key.data.to_vec())
}

fn parse(certificate: &[u8]) -> Result<x509_parser::certificate::X509Certificate<'_>, PkiError> {
    x509_parser::parse_x509_certificate(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|why| PkiError::unusable("certificate", why))
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| PkiError::unusable(what, why))?;
    if all.is_empty() {
        return Err(PkiError::unusable(what, "no certificate is in it"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const CLUSTER: ClusterId = ClusterId([0xab; 16]);

    #[test]
    fn cluster_ids_are_written_as_uuids() {
        let text = "abababab-abab-abab-abab-abababababab";
        assert_eq!(CLUSTER.to_string(), text);
        assert_eq!(text.parse(), Ok(CLUSTER));
        for wrong in
            ["", "ab", "abababab-abab-abab-abab-ababababab", "+babababab-abab-abab-abab-abababababab"]
        {
            assert!(wrong.parse::<ClusterId>().is_err(), "{wrong}");
        }
        assert!("+bababab-abab-abab-abab-abababababab".parse::<ClusterId>().is_err());
    }

    #[test]
    fn an_identity_names_its_node_and_survives_its_file() {
        let ca = ClusterCa::create(CLUSTER, NOW).unwrap();
        let identity = ca.issue(NodeId(7), NOW).unwrap();
        assert_eq!(identity.name(), Ok((NodeId(7), CLUSTER)));
        let read = NodeIdentity::from_bytes(&identity.to_bytes()).unwrap();
        assert_eq!(read, identity);
        let year_ms = 365 * 86_400_000;
        let renew = read.renew_after().unwrap();
        assert!(renew > NOW && renew < Timestamp(NOW.0 + year_ms + 86_400_000));
    }

    #[test]
    fn a_ca_read_back_signs_as_before() {
        let ca = ClusterCa::create(CLUSTER, NOW).unwrap();
        let again = ClusterCa::from_pem(ca.certificate_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.fingerprint(), ca.fingerprint());
        assert_eq!(again.cluster(), CLUSTER);
        again.issue(NodeId(1), NOW).unwrap().check().unwrap();
        let other = ClusterCa::create(CLUSTER, NOW).unwrap();
        assert!(ClusterCa::from_pem(ca.certificate_pem(), &other.key_pem()).is_err());
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let ca = ClusterCa::create(CLUSTER, NOW).unwrap();
        let (one, two) = (ca.issue(NodeId(1), NOW).unwrap(), ca.issue(NodeId(2), NOW).unwrap());
        let mixed = NodeIdentity { key_pem: two.key_pem, ..one.clone() };
        assert!(mixed.check().unwrap_err().to_string().contains("does not belong"));
        let foreign = ClusterCa::create(ClusterId([1; 16]), NOW).unwrap();
        let mixed = NodeIdentity { ca_pem: foreign.certificate_pem().to_owned(), ..one.clone() };
        assert!(mixed.check().unwrap_err().to_string().contains("another cluster"));
        let three = ca.certificate_pem().repeat(3);
        assert!(NodeIdentity { ca_pem: three, ..one.clone() }.check().is_err());
        let mut bytes = one.to_bytes();
        bytes.truncate(bytes.len() / 2);
        assert!(NodeIdentity::from_bytes(&bytes).is_err());
        assert!(NodeIdentity::from_bytes(&vec![b'x'; IDENTITY_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn only_a_p256_point_is_certified() {
        let ca = ClusterCa::create(CLUSTER, NOW).unwrap();
        let key = NodeKey::generate().unwrap();
        let chain_pem = ca.certify(NodeId(3), key.public(), NOW).unwrap();
        let ca_pem = ca.certificate_pem().to_owned();
        NodeIdentity { chain_pem, key_pem: key.key_pem(), ca_pem }.check().unwrap();
        assert!(ca.certify(NodeId(3), &key.public()[1..], NOW).is_err());
        assert!(ca.certify(NodeId(3), &[0; 65], NOW).is_err());
    }

    #[test]
    fn names_have_one_spelling() {
        let name = node_name(NodeId(12), CLUSTER);
        assert_eq!(parse_node_name(&name), Some((NodeId(12), CLUSTER)));
        assert_eq!(parse_node_name(&name.replace("12", "012")), None);
        assert_eq!(parse_node_name(&name.replace("ab", "AB")), None);
        assert_eq!(parse_node_name("node-1.internal"), None);
    }
}
