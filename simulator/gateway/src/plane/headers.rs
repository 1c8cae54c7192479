//! Headers that belong to one connection only, and those that tell a backend about the client.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Uri, Version, uri};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that a `Connection` header may name and that are still passed on: without them the
/// message would mean something else.
const ESSENTIAL: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

/// Headers that mean the next hop without a `Connection` header that says so.
const ONE_HOP: [HeaderName; 5] = [
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
];

/// The client's address in the form of a header, made once per connection.
pub(super) fn client_value(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address is made of header characters")
}

/// The host that a request is for, as the client wrote it. RFC 9112 §3.2 asks for a 400 where
/// there is none or more than one.
pub(super) fn host_header(request: &Parts) -> Result<HeaderValue, &'static str> {
    let mut given = request.headers.get_all(header::HOST).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err("more than one Host header");
    }
    if let Some(authority) = request.uri.authority() {
        let host = authority.as_str();
        // A host that only looks like one is how `a@b` gets past whoever reads `a`.
        if host.is_empty() || host.contains('@') {
            return Err("the host of the target is not valid");
        }
        // RFC 9112 §3.2.2 lets a proxy choose the target's; another may have chosen otherwise.
        if first.is_some_and(|first| !first.as_bytes().eq_ignore_ascii_case(host.as_bytes())) {
            return Err("the Host header is not the host of the target");
        }
        return HeaderValue::from_str(host).map_err(|_| "the host is not valid");
    }
    match first {
        Some(host) if is_host(host) => Ok(host.clone()),
        Some(_) => Err("the Host header is not valid"),
        None if request.version == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        None => Err("no Host header"),
    }
}

fn is_host(value: &HeaderValue) -> bool {
    value.is_empty()
        || uri::Authority::try_from(value.as_bytes())
            .is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// The protocol that the client wants to change to, if it may.
pub(super) fn upgrade_wanted(request: &Parts) -> Option<HeaderValue> {
    let asks =
        request.version == Version::HTTP_11 && connection_names(&request.headers, b"upgrade");
    let protocol = request.headers.get(header::UPGRADE).filter(|_| asks)?;
    // Changing to HTTP/2 on the way is a matter between the client and us, and we do not.
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// True where a `Connection` header names this token.
pub(super) fn connection_names(headers: &HeaderMap, token: &[u8]) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|found| found.trim_ascii().eq_ignore_ascii_case(token))
}

/// Removes what is meant for the next hop only.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .filter(|name| !ESSENTIAL.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in &ONE_HOP {
        headers.remove(name);
    }
    // The one value that means something end to end: gRPC asks for trailers with it.
    if headers
        .get(header::TE)
        .is_some_and(|value| value != "trailers")
    {
        headers.remove(header::TE);
    }
}

/// Asks the next hop to change the protocol, too.
pub(super) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Tells the backend who asked, for which host and how.
pub(super) fn tell_client(
    headers: &mut HeaderMap,
    client: &HeaderValue,
    host: &HeaderValue,
    secure: bool,
) {
    let chain = match headers.get(&X_FORWARDED_FOR) {
        None => client.clone(),
        Some(before) => {
            let chain = [before.as_bytes(), b", ", client.as_bytes()].concat();
            HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.clone())
        }
    };
    headers.insert(X_FORWARDED_FOR, chain);
    let scheme = if secure { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(X_FORWARDED_HOST, host.clone());
}

/// HTTP/1.1 sends a path where HTTP/2 and clients of proxies send a whole URI, and one Cookie
/// header where HTTP/2 may send many (RFC 9113 §8.2.3).
pub(super) fn in_http1_form(request: &mut Parts) {
    if request.uri.scheme().is_some() || request.uri.authority().is_some() {
        let path = request.uri.path_and_query().cloned();
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
        request.uri = Uri::from_parts(parts).expect("a path alone is a URI");
    }
    if request.version == Version::HTTP_2 {
        join_cookies(&mut request.headers);
    }
    request.version = Version::HTTP_11;
}

fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn headers_of_one_hop_do_not_travel_further() {
        let mut headers = map(&[
            ("connection", "close, X-Private"),
            ("connection", "Host"),
            ("x-private", "1"),
            ("host", "example.com"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host"]);
    }

    #[test]
    fn the_chain_of_clients_grows_at_its_end() {
        let (client, host) = (
            client_value([10, 0, 0, 7].into()),
            HeaderValue::from_static("a.b"),
        );
        let mut headers = map(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "gopher"),
        ]);
        tell_client(&mut headers, &client, &host, false);
        assert_eq!(headers["x-forwarded-for"], "1.2.3.4, 10.0.0.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "a.b");
    }

    #[track_caller]
    fn host(version: Version, uri: &str, hosts: &[&str], expected: Result<&str, &str>) {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let found = host_header(&parts);
        assert_eq!(
            found
                .as_ref()
                .map(|host| host.to_str().unwrap())
                .map_err(|e| *e),
            expected
        );
    }

    #[test]
    fn a_request_is_for_exactly_one_host() {
        host(Version::HTTP_11, "/", &["a.b:80"], Ok("a.b:80"));
        host(Version::HTTP_11, "http://c.d/", &["C.D"], Ok("c.d"));
        host(
            Version::HTTP_11,
            "http://c.d/",
            &["a.b"],
            Err("the Host header is not the host of the target"),
        );
        host(
            Version::HTTP_2,
            "http://a.b@c.d/",
            &[],
            Err("the host of the target is not valid"),
        );
        host(Version::HTTP_2, "http://c.d/", &[], Ok("c.d"));
        host(Version::HTTP_10, "/", &[], Ok(""));
        host(Version::HTTP_11, "/", &[], Err("no Host header"));
        host(
            Version::HTTP_11,
            "/",
            &["a", "b"],
            Err("more than one Host header"),
        );
        host(
            Version::HTTP_11,
            "/",
            &["a b"],
            Err("the Host header is not valid"),
        );
        host(
            Version::HTTP_11,
            "/",
            &["user@a"],
            Err("the Host header is not valid"),
        );
    }

    #[test]
    fn cookies_of_http2_become_one_header() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers);
        assert_eq!(
            headers.get_all("cookie").iter().collect::<Vec<_>>(),
            ["a=1; b=2"]
        );
    }
}
