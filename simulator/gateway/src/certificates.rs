//! Certificates of listeners, read once from their Secrets.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The type of Secrets that hold a certificate and its key.
pub(crate) const TLS_SECRET: &str = "kubernetes.io/tls";

/// What a Secret of type `kubernetes.io/tls` holds. The Secret itself is not kept.
#[derive(Debug)]
pub(crate) struct Certificate {
    metadata: ObjectMeta,
    /// Chain and key, or why they cannot be used.
    pub(crate) key: Result<Arc<CertifiedKey>, String>,
}

impl Certificate {
    /// Reads a Secret. An expired certificate is served all the same: that it has expired is
    /// for the client to say.
    pub(crate) fn of(secret: Secret) -> Self {
        let key = match secret.type_.as_deref() {
            Some(TLS_SECRET) => read(&secret).map(Arc::new),
            other => Err(format!(
                "its type is {}, not {TLS_SECRET}",
                other.unwrap_or("Opaque")
            )),
        };
        Self {
            metadata: secret.metadata,
            key,
        }
    }
}

/// The metadata of the Secret, for caching by name.
impl Resource for Certificate {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "Secret".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "secrets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn read(secret: &Secret) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(entry(secret, "tls.crt")?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("tls.crt is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("tls.crt holds no certificate in PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(entry(secret, "tls.key")?)
        .map_err(|error| format!("tls.key holds no private key in PEM: {error}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| format!("tls.crt and tls.key cannot be used together: {error}"))
}

fn entry<'a>(secret: &'a Secret, name: &str) -> Result<&'a [u8], String> {
    let data = secret.data.as_ref().and_then(|data| data.get(name));
    data.map(|ByteString(bytes)| bytes.as_slice())
        .ok_or_else(|| format!("it has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tls_secret;

    fn certificate(change: impl FnOnce(&mut serde_json::Value)) -> Result<(), String> {
        let mut secret = tls_secret("shop", &["shop.test"]);
        change(&mut secret);
        let certificate = Certificate::of(serde_json::from_value(secret).unwrap());
        certificate.key.map(|_| ())
    }

    #[test]
    fn a_secret_is_read_or_says_what_is_wrong_with_it() {
        let other = tls_secret("other", &["other.test"]);
        let nonsense = serde_json::json!("bm9uc2Vuc2U=");
        assert_eq!(certificate(|_| {}), Ok(()));
        for (told, result) in [
            (
                "its type is Opaque",
                certificate(|secret| secret["type"] = "Opaque".into()),
            ),
            (
                "it has no tls.key",
                certificate(|secret| {
                    secret["data"] = serde_json::json!({"tls.crt": secret["data"]["tls.crt"]})
                }),
            ),
            (
                "tls.crt holds no certificate",
                certificate(|secret| secret["data"]["tls.crt"] = nonsense.clone()),
            ),
            (
                "tls.key holds no private key",
                certificate(|secret| secret["data"]["tls.key"] = nonsense.clone()),
            ),
            (
                "cannot be used together",
                certificate(|secret| secret["data"]["tls.key"] = other["data"]["tls.key"].clone()),
            ),
        ] {
            let why = result.unwrap_err();
            assert!(why.starts_with(told) || why.contains(told), "{why}");
        }
    }
}
