//! Real clients against both nodes: Python's own libraries, curl, swaks, mbsync, offlineimap, fetchmail, mpop, mutt, sieve-connect and gsasl, over TLS and
//! without, compressed and not. Every mail of the corpora arrives byte for byte, once, whichever way it comes and goes.

use std::path::Path;
use std::process::Command;

use cluster_tests::cluster::Cluster;
use cluster_tests::node::{Node, PORT_OFFSET, Role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

#[test]
fn real_clients() {
    let authority = Authority::new();
    let Some(cluster) = Cluster::start_with(|node| authority.certify(node)) else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).expect("the certificate is written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/run.py");
    let ports = |node: &Node| format!("{}:{PORT_OFFSET}", node.address);
    let status = Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(ca)
        .args(cluster.data_nodes().iter().map(ports))
        .status()
        .expect("python3 is installed");
    assert!(status.success(), "the clients found something; see above");
    cluster.wait_until_caught_up();
}

/// Whom the clients trust.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Pollux story CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).expect("the authority signs itself").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Gives a data node a certificate for its address, before its first start.
    fn certify(&self, node: &Node) {
        if node.role == Role::Witness {
            return;
        }
        let address = node.address.to_string();
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::new(vec![address.clone()]).expect("an address is a name");
        // mbsync looks for an address in the common name alone.
        params.distinguished_name.push(DnType::CommonName, address);
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        // In place of the one that the node has made for itself.
        std::fs::write(node.dir.join("tls/cert.pem"), certificate.pem()).expect("the certificate is written");
        std::fs::write(node.dir.join("tls/key.pem"), key.serialize_pem()).expect("the key is written");
    }
}
