//! Which certificate a client of an HTTPS port gets.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Hostname;

/// The TLS side of one port: one certificate (or several) for each host of its listeners.
///
/// A changed certificate makes a new one; connections that were opened with the old one go on.
#[derive(Clone)]
pub(crate) struct TlsPort {
    names: Arc<Names>,
    config: Arc<ServerConfig>,
}

/// The hosts of a port, the most specific first.
#[derive(Debug)]
struct Names(Vec<(Hostname, Vec<Arc<CertifiedKey>>)>);

impl TlsPort {
    /// A port with these certificates.
    pub(crate) fn new(mut names: Vec<(Hostname, Vec<Arc<CertifiedKey>>)>) -> Self {
        names.sort_by_key(|(hostname, _)| Reverse(hostname.precedence()));
        let names = Arc::new(Names(names));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring serves the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&names) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            names,
            config: Arc::new(config),
        }
    }

    /// How connections to the port begin.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// True where both answer every client alike, so that the older one, which remembers
    /// sessions, can stay.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (one, other) = (&self.names.0, &other.names.0);
        one.len() == other.len()
            && one
                .iter()
                .zip(other)
                .all(|((host, keys), (other, others))| {
                    host == other
                        && keys.len() == others.len()
                        && keys
                            .iter()
                            .zip(others)
                            .all(|(key, other)| Arc::ptr_eq(key, other))
                })
    }
}

impl fmt::Debug for TlsPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("TlsPort").field(&self.names).finish()
    }
}

impl ResolvesServerCert for Names {
    /// The certificate of the most specific listener for the host that the client names; a
    /// client that names none gets the one of the listener for every host. Without one, the
    /// client hears that the name is unknown.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let keys = self.keys(name.as_deref())?;
        let usable = || {
            keys.iter()
                .filter(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
        };
        let fitting = name.and_then(|name| usable().find(|key| names(key, &name)));
        fitting.or_else(|| usable().next()).cloned()
    }
}

impl Names {
    fn keys(&self, name: Option<&str>) -> Option<&[Arc<CertifiedKey>]> {
        let found = self.0.iter().find(|(hostname, _)| match name {
            Some(name) => hostname.matches(name),
            None => *hostname == Hostname::Any,
        });
        found.map(|(_, keys)| keys.as_slice())
    }
}

fn names(key: &CertifiedKey, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else {
        return false;
    };
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::certificates::Certificate;
    use crate::testing::tls_secret;

    fn key(hosts: &[&str]) -> Arc<CertifiedKey> {
        let secret = serde_json::from_value(tls_secret("a", hosts)).unwrap();
        Certificate::of(secret).key.unwrap()
    }

    fn port(names: &[(&str, &[&Arc<CertifiedKey>])]) -> TlsPort {
        let names = names.iter().map(|(hostname, keys)| {
            let keys = keys.iter().map(|key| Arc::clone(key)).collect();
            (Hostname::parse(Some(hostname)), keys)
        });
        TlsPort::new(names.collect())
    }

    /// The certificate that a client gets who trusts `trusted` and asks for `name`.
    async fn certificate(
        port: &TlsPort,
        trusted: &[&Arc<CertifiedKey>],
        name: &str,
    ) -> Option<CertificateDer<'static>> {
        let mut roots = RootCertStore::empty();
        for key in trusted {
            roots.add(key.cert[0].clone()).unwrap();
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (client, server) = tokio::io::duplex(1 << 14);
        let accepting = TlsAcceptor::from(Arc::clone(port.config())).accept(server);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, client);
        let (connected, _accepted) = tokio::join!(connecting, accepting);
        let certificates = connected.ok()?.get_ref().1.peer_certificates()?.to_vec();
        certificates.into_iter().next()
    }

    #[tokio::test]
    async fn a_client_gets_the_certificate_of_the_most_specific_listener() {
        let (any, wide, narrow) = (
            key(&["any.test", "127.0.0.1"]),
            key(&["*.example.com"]),
            key(&["a.example.com"]),
        );
        let port = port(&[
            ("", &[&any]),
            ("*.example.com", &[&wide]),
            ("a.example.com", &[&narrow]),
        ]);
        let all = [&any, &wide, &narrow];
        for (name, expected) in [
            ("a.example.com", &narrow),
            ("A.Example.com", &narrow),
            ("b.example.com", &wide),
            ("any.test", &any),
            // A client that connects to an address names no host.
            ("127.0.0.1", &any),
        ] {
            let found = certificate(&port, &all, name).await;
            assert_eq!(found.as_ref(), Some(&expected.cert[0]), "{name}");
        }
    }

    #[tokio::test]
    async fn a_host_without_a_listener_gets_no_certificate() {
        let shop = key(&["shop.test", "other.test", "127.0.0.1"]);
        let port = port(&[("shop.test", &[&shop])]);
        assert!(certificate(&port, &[&shop], "shop.test").await.is_some());
        assert!(certificate(&port, &[&shop], "other.test").await.is_none());
        assert!(certificate(&port, &[&shop], "127.0.0.1").await.is_none());
    }

    #[tokio::test]
    async fn of_several_certificates_the_one_for_the_name_is_taken() {
        let (one, two) = (key(&["one.test"]), key(&["two.test"]));
        let port = port(&[("", &[&one, &two])]);
        for (name, expected) in [("one.test", &one), ("two.test", &two)] {
            let found = certificate(&port, &[&one, &two], name).await;
            assert_eq!(found.as_ref(), Some(&expected.cert[0]), "{name}");
        }
    }

    #[test]
    fn the_same_certificates_are_recognised() {
        let (one, two) = (key(&["one.test"]), key(&["two.test"]));
        assert!(port(&[("", &[&one])]).is_same(&port(&[("", &[&one])])));
        assert!(!port(&[("", &[&one])]).is_same(&port(&[("", &[&two])])));
        assert!(!port(&[("", &[&one])]).is_same(&port(&[("one.test", &[&one])])));
    }
}
