//! A certificate authority for the demo's mail services, so that a client needs to trust one file.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::admin::cli::found::{good_for_two_years, write_secret};

/// Signs the demo's certificates; lives as long as the demo does.
pub struct DemoCa {
    issuer: Issuer<'static, KeyPair>,
}

impl DemoCa {
    /// Makes the authority and writes its certificate to `path`.
    pub fn create(path: &Path) -> Result<DemoCa, String> {
        let fault = |error: rcgen::Error| format!("the demo's certificate authority cannot be made: {error}");
        let key = KeyPair::generate().map_err(fault)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(fault)?;
        params.distinguished_name.push(DnType::CommonName, "Pollux demo CA");
        good_for_two_years(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(fault)?;
        write(path, &certificate.pem())?;
        Ok(DemoCa { issuer: Issuer::new(params, key) })
    }

    /// Writes a certificate for `hostname`, `localhost` and 127.0.0.1 to `dir/cert.pem` and `dir/key.pem`.
    pub fn issue(&self, hostname: &str, dir: &Path) -> Result<(), String> {
        let fault = |error: rcgen::Error| format!("a certificate for {hostname} cannot be made: {error}");
        let names = [hostname, "localhost", "127.0.0.1"].map(str::to_owned);
        let key = KeyPair::generate().map_err(fault)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(fault)?;
        good_for_two_years(&mut params);
        params.distinguished_name.push(DnType::CommonName, hostname);
        let certificate = params.signed_by(&key, &self.issuer).map_err(fault)?;
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        write(&dir.join("cert.pem"), &certificate.pem())?;
        write_secret(&dir.join("key.pem"), key.serialize_pem().as_bytes())
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
