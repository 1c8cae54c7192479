//! Host names of listeners, routes and requests.

use std::borrow::Cow;
use std::fmt;

/// A host name as a listener or a route writes it.
///
/// The order of the variants and of their lengths is the order of precedence, most specific
/// last: any, shorter wildcard, longer wildcard, exact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hostname {
    /// Every host.
    Any,
    /// `*.example.com` of an Ingress, kept as `.example.com`: exactly one label before it.
    OneLabel(Box<str>),
    /// `*.example.com`, kept as `.example.com`: any number of labels before it, but not none.
    Wildcard(Box<str>),
    /// One host.
    Exact(Box<str>),
}

impl Hostname {
    /// Reads the form of a spec; absent and empty mean every host.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default().to_ascii_lowercase();
        match text.strip_prefix('*') {
            _ if text.is_empty() => Self::Any,
            Some("") => Self::Any,
            Some(suffix) => Self::Wildcard(suffix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Reads the form of an Ingress, whose wildcard stands for one label.
    pub(crate) fn parse_ingress(text: Option<&str>) -> Self {
        match Self::parse(text) {
            Self::Wildcard(suffix) => Self::OneLabel(suffix),
            other @ (Self::Any | Self::OneLabel(_) | Self::Exact(_)) => other,
        }
    }

    /// True where `host`, in lower case and without a port, is meant.
    pub(crate) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneLabel(suffix) => host
                .strip_suffix(&**suffix)
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
            Self::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            Self::Exact(name) => host == &**name,
        }
    }

    /// Larger is more specific.
    pub(crate) fn precedence(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, 2 * suffix.len()),
            Self::OneLabel(suffix) => (1, 2 * suffix.len() + 1),
            Self::Exact(name) => (2, name.len()),
        }
    }

    /// The hosts that both mean, if any: the narrower of the two.
    pub(crate) fn intersect(&self, other: &Self) -> Option<Self> {
        let (narrow, wide) = if self.precedence() >= other.precedence() {
            (self, other)
        } else {
            (other, self)
        };
        let fits = match (narrow, wide) {
            (_, Self::Any) => true,
            (Self::Exact(name), wide) => wide.matches(name),
            (
                Self::Wildcard(narrow) | Self::OneLabel(narrow),
                Self::Wildcard(wide) | Self::OneLabel(wide),
            ) => narrow.ends_with(&**wide),
            (Self::Any, _) | (Self::Wildcard(_) | Self::OneLabel(_), Self::Exact(_)) => false,
        };
        fits.then(|| narrow.clone())
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("*"),
            Self::Wildcard(suffix) | Self::OneLabel(suffix) => write!(out, "*{suffix}"),
            Self::Exact(name) => out.write_str(name),
        }
    }
}

/// The host in a `Host` header or an authority: without the port, in lower case. Allocates
/// only for capital letters.
pub(crate) fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn meets(one: &str, other: &str, expected: Option<&str>) {
        let (a, b) = (Hostname::parse(Some(one)), Hostname::parse(Some(other)));
        let expected = expected.map(str::to_owned);
        assert_eq!(
            a.intersect(&b).map(|both| both.to_string()),
            expected,
            "{one} and {other}"
        );
        assert_eq!(
            b.intersect(&a).map(|both| both.to_string()),
            expected,
            "{other} and {one}"
        );
    }

    #[test]
    fn a_listener_and_a_route_share_the_narrower_host() {
        meets("", "", Some("*"));
        meets("", "a.example.com", Some("a.example.com"));
        meets("", "*.example.com", Some("*.example.com"));
        meets("*.example.com", "a.example.com", Some("a.example.com"));
        meets("*.example.com", "a.b.example.com", Some("a.b.example.com"));
        meets("*.example.com", "example.com", None);
        meets("*.example.com", "*.com", Some("*.example.com"));
        meets("*.example.com", "*.b.example.com", Some("*.b.example.com"));
        meets("*.example.com", "*.example.org", None);
        meets("a.example.com", "b.example.com", None);
        meets("A.Example.com", "a.example.com", Some("a.example.com"));
    }

    #[test]
    fn a_wildcard_takes_any_number_of_labels_but_not_none() {
        let wildcard = Hostname::parse(Some("*.example.com"));
        assert!(wildcard.matches("a.example.com"));
        assert!(wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com"));
        assert!(!wildcard.matches("aexample.com"));
    }

    #[test]
    fn the_wildcard_of_an_ingress_takes_one_label() {
        let wildcard = Hostname::parse_ingress(Some("*.example.com"));
        assert!(wildcard.matches("a.example.com"));
        assert!(!wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com"));
    }

    #[test]
    fn the_host_of_a_request_has_no_port_and_no_capitals() {
        for (authority, host) in [
            ("example.com", "example.com"),
            ("Example.com:8080", "example.com"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}
