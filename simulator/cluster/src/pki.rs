//! The certificate of the API server, and tokens.
//!
//! The API is served over TLS with bearer tokens even on loopback: a web page open in a browser
//! can reach 127.0.0.1 too, and an API that starts programs must not take orders from it.

use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};

/// A certificate authority's certificate and what it signed for the API server, as PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pki {
    /// The authority's certificate; clients trust it.
    pub ca_pem: String,
    /// The API server's certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Pki {
    /// A fresh authority and a server certificate for these names and addresses.
    ///
    /// # Errors
    /// Where the random source or the encoding fails.
    pub fn generate(cluster: &str, names: &[String]) -> Result<Self, rcgen::Error> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name
            .push(DnType::CommonName, format!("devops-lab {cluster}"));
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (ca.not_before, ca.not_after) = validity();
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(names.to_vec())?;
        server
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        (server.not_before, server.not_after) = validity();
        let certificate = server.signed_by(&key, &issuer)?;
        Ok(Self {
            ca_pem: ca_certificate.pem(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Long enough that no class outlives it; it begins early because laptops' clocks lag.
fn validity() -> (time::OffsetDateTime, time::OffsetDateTime) {
    (date_time_ymd(2020, 1, 1), date_time_ymd(2050, 1, 1))
}

/// A bearer token with 192 bits of randomness.
#[must_use]
pub fn token() -> String {
    let bytes: [u8; 24] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
