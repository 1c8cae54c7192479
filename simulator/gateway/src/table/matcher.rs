//! Which requests a rule of a route means, and which rule goes first.
//!
//! <https://gateway-api.sigs.k8s.io/reference/spec/#httproutematch>

use std::cmp::Reverse;

use http::request::Parts;
use http::{HeaderName, Method};
use lab_api::gateway::{
    GrpcMethodMatch, GrpcRouteMatch, HttpPathMatch, HttpRouteMatch, HttpValueMatch,
};
use regex::Regex;

/// All of it must hold for a request to match.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    path: PathMatch,
    method: Option<Method>,
    headers: Vec<(HeaderName, ValueMatch)>,
    query: Vec<(Box<str>, ValueMatch)>,
}

#[derive(Clone, Debug)]
enum PathMatch {
    Exact(Box<str>),
    /// Without a final `/`, so that the root is empty.
    Prefix(Box<str>),
    Regex(Regex),
    /// `/method` after any one element, which is a gRPC service.
    Method(Box<str>),
    /// Everything that nothing else matches.
    Rest,
}

#[derive(Clone, Debug)]
enum ValueMatch {
    Exact(Box<str>),
    Regex(Regex),
}

/// Smaller goes first: exact path, regular expression, longest prefix; then a method, then the
/// most headers, then the most query parameters. Where the specification leaves the place of
/// regular expressions open, they go between, as in the other implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence(u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>);

/// How a request matched: the length of the path prefix, which a rewrite replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matched {
    /// In bytes; 0 for anything but a prefix.
    pub(crate) prefix: usize,
}

impl Matcher {
    /// Reads one match; the error says which value is not understood.
    pub(crate) fn parse(spec: &HttpRouteMatch) -> Result<Self, String> {
        let method = match spec.method.as_deref() {
            Some(name) => Some(
                name.parse()
                    .map_err(|_| format!("method {name:?} is not one"))?,
            ),
            None => None,
        };
        Ok(Self {
            path: PathMatch::parse(spec.path.as_ref())?,
            method,
            headers: parse_headers(spec.headers.as_deref().unwrap_or_default())?,
            query: parse_query(spec.query_params.as_deref().unwrap_or_default())?,
        })
    }

    /// Reads one match of a GRPCRoute. A call is a POST to `/service/method`.
    pub(crate) fn parse_grpc(spec: &GrpcRouteMatch) -> Result<Self, String> {
        let path = match &spec.method {
            Some(method) => PathMatch::parse_method(method)?,
            None => PathMatch::Prefix("".into()),
        };
        Ok(Self {
            headers: parse_headers(spec.headers.as_deref().unwrap_or_default())?,
            ..Self::of(path)
        })
    }

    /// The match of a path of an Ingress: `Exact`, `Prefix`, or `ImplementationSpecific`, which
    /// is a prefix, too.
    pub(crate) fn parse_ingress(type_: &str, path: Option<&str>) -> Result<Self, String> {
        let type_ = match type_ {
            "Exact" => "Exact",
            "Prefix" | "ImplementationSpecific" => "PathPrefix",
            other => return Err(format!("pathType {other:?} is not supported")),
        };
        let spec = HttpPathMatch {
            type_: Some(type_.to_owned()),
            value: path.filter(|path| !path.is_empty()).map(str::to_owned),
        };
        PathMatch::parse(Some(&spec)).map(Self::of)
    }

    /// The match of a rule that lists none: every path.
    pub(crate) fn everything() -> Self {
        Self::of(PathMatch::Prefix("".into()))
    }

    /// What nothing else matches: the default backend of an Ingress.
    pub(crate) fn rest() -> Self {
        Self::of(PathMatch::Rest)
    }

    fn of(path: PathMatch) -> Self {
        Self {
            path,
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }
    }

    /// True for a match on a path prefix, the only kind whose prefix can be replaced.
    pub(crate) fn is_prefix(&self) -> bool {
        match self.path {
            PathMatch::Prefix(_) => true,
            PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Method(_) | PathMatch::Rest => {
                false
            }
        }
    }

    /// Whether, and how, this request matches.
    pub(crate) fn matches(&self, request: &Parts) -> Option<Matched> {
        let matched = self.path.matches(request.uri.path())?;
        let method = self
            .method
            .as_ref()
            .is_none_or(|method| *method == request.method);
        let others = method && self.headers_match(request) && self.query_matches(request);
        others.then_some(matched)
    }

    fn headers_match(&self, request: &Parts) -> bool {
        self.headers.iter().all(|(name, wanted)| {
            let value = request.headers.get(name);
            value.is_some_and(|value| wanted.matches_bytes(value.as_bytes()))
        })
    }

    fn query_matches(&self, request: &Parts) -> bool {
        if self.query.is_empty() {
            return true;
        }
        let query = request.uri.query().unwrap_or_default();
        self.query.iter().all(|(name, wanted)| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| *key == **name)
                .is_some_and(|(_, value)| wanted.matches(&value))
        })
    }

    /// Place of this match among those of all routes of a listener.
    pub(crate) fn precedence(&self) -> Precedence {
        let (class, length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Regex(regex) => (1, regex.as_str().len()),
            PathMatch::Prefix(path) => (2, path.len()),
            // Behind every service, before what matches all calls.
            PathMatch::Method(_) => (2, 1),
            PathMatch::Rest => (3, 0),
        };
        Precedence(
            class,
            Reverse(length),
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.query.len()),
        )
    }
}

impl PathMatch {
    fn parse(spec: Option<&HttpPathMatch>) -> Result<Self, String> {
        let value = spec.and_then(|path| path.value.as_deref()).unwrap_or("/");
        let absolute = |value: &str| match value.starts_with('/') {
            true => Ok(()),
            false => Err(format!("path {value:?} does not start with \"/\"")),
        };
        match spec
            .and_then(|path| path.type_.as_deref())
            .unwrap_or("PathPrefix")
        {
            "Exact" => absolute(value).map(|()| Self::Exact(value.into())),
            "PathPrefix" => {
                absolute(value).map(|()| Self::Prefix(value.trim_end_matches('/').into()))
            }
            "RegularExpression" => regex(value).map(Self::Regex),
            other => Err(format!("path match type {other:?} is not supported")),
        }
    }

    fn parse_method(spec: &GrpcMethodMatch) -> Result<Self, String> {
        let service = spec.service.as_deref().filter(|name| !name.is_empty());
        let method = spec.method.as_deref().filter(|name| !name.is_empty());
        match spec.type_.as_deref().unwrap_or("Exact") {
            "Exact" => Ok(match (service, method) {
                (Some(service), Some(method)) => Self::Exact(format!("/{service}/{method}").into()),
                (Some(service), None) => Self::Prefix(format!("/{service}").into()),
                (None, Some(method)) => Self::Method(format!("/{method}").into()),
                (None, None) => return Err("method names neither service nor method".to_owned()),
            }),
            "RegularExpression" => {
                let part = |part: Option<&str>| format!("(?:{})", part.unwrap_or("[^/]+"));
                regex(&format!("/{}/{}", part(service), part(method))).map(Self::Regex)
            }
            other => Err(format!("method match type {other:?} is not supported")),
        }
    }

    fn matches(&self, path: &str) -> Option<Matched> {
        match self {
            Self::Exact(wanted) => (path == &**wanted).then_some(Matched { prefix: 0 }),
            Self::Prefix(prefix) => {
                let rest = path.strip_prefix(&**prefix)?;
                let whole = rest.is_empty() || rest.starts_with('/') || prefix.is_empty();
                whole.then_some(Matched {
                    prefix: prefix.len(),
                })
            }
            Self::Regex(regex) => regex.is_match(path).then_some(Matched { prefix: 0 }),
            Self::Method(method) => {
                let service = path.strip_prefix('/')?.strip_suffix(&**method)?;
                let one = !service.is_empty() && !service.contains('/');
                one.then_some(Matched { prefix: 0 })
            }
            Self::Rest => Some(Matched { prefix: 0 }),
        }
    }
}

impl ValueMatch {
    fn parse(spec: &HttpValueMatch) -> Result<Self, String> {
        match spec.type_.as_deref().unwrap_or("Exact") {
            "Exact" => Ok(Self::Exact(spec.value.as_str().into())),
            "RegularExpression" => regex(&spec.value).map(Self::Regex),
            other => Err(format!(
                "match type {other:?} of {:?} is not supported",
                spec.name
            )),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => value == &**wanted,
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    fn matches_bytes(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => value == wanted.as_bytes(),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text)),
        }
    }
}

/// The whole value has to match, as in Envoy, whose users expect `/v[12]` not to mean `/v10`.
fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|_| format!("{pattern:?} is not a regular expression that can be used"))
}

/// The first of several entries with the same name counts, as the specification asks.
fn parse_headers(specs: &[HttpValueMatch]) -> Result<Vec<(HeaderName, ValueMatch)>, String> {
    let mut headers: Vec<(HeaderName, ValueMatch)> = Vec::with_capacity(specs.len());
    for spec in specs {
        let name: HeaderName = spec
            .name
            .parse()
            .map_err(|_| format!("header name {:?} is not one", spec.name))?;
        if headers.iter().all(|(known, _)| *known != name) {
            headers.push((name, ValueMatch::parse(spec)?));
        }
    }
    Ok(headers)
}

fn parse_query(specs: &[HttpValueMatch]) -> Result<Vec<(Box<str>, ValueMatch)>, String> {
    let mut query: Vec<(Box<str>, ValueMatch)> = Vec::with_capacity(specs.len());
    for spec in specs {
        if query.iter().all(|(known, _)| **known != *spec.name) {
            query.push((spec.name.as_str().into(), ValueMatch::parse(spec)?));
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn matcher(spec: Value) -> Matcher {
        Matcher::parse(&serde_json::from_value(spec).unwrap()).unwrap()
    }

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn case(spec: &Value, uri: &str, headers: &[(&str, &str)], expected: bool) {
        let matched = matcher(spec.clone())
            .matches(&request("GET", uri, headers))
            .is_some();
        assert_eq!(matched, expected, "{spec} on {uri} {headers:?}");
    }

    #[test]
    fn a_prefix_is_compared_element_by_element() {
        for prefix in ["/foo", "/foo/"] {
            let spec = || json!({"path": {"value": prefix}});
            case(&spec(), "/foo", &[], true);
            case(&spec(), "/foo/", &[], true);
            case(&spec(), "/foo/bar?x=1", &[], true);
            case(&spec(), "/foobar", &[], false);
            case(&spec(), "/", &[], false);
            case(&spec(), "/FOO", &[], false);
        }
        case(&json!({}), "/anything", &[], true);
        case(&json!({"path": {"value": "/"}}), "/", &[], true);
    }

    #[test]
    fn an_exact_path_is_the_whole_path() {
        let spec = || json!({"path": {"type": "Exact", "value": "/one"}});
        case(&spec(), "/one", &[], true);
        case(&spec(), "/one?x=/two", &[], true);
        case(&spec(), "/one/", &[], false);
        case(&spec(), "/one/two", &[], false);
    }

    #[test]
    fn a_regular_expression_has_to_match_the_whole_path() {
        let spec = || json!({"path": {"type": "RegularExpression", "value": "/v[12]|/beta"}});
        case(&spec(), "/v1", &[], true);
        case(&spec(), "/beta", &[], true);
        case(&spec(), "/v10", &[], false);
        case(&spec(), "/x/v1", &[], false);
    }

    #[test]
    fn a_call_is_matched_by_its_service_and_method() {
        let case = |method: Value, path: &str, expected: bool| {
            let spec = json!({"method": method});
            let matcher = Matcher::parse_grpc(&serde_json::from_value(spec).unwrap()).unwrap();
            let found = matcher.matches(&request("POST", path, &[])).is_some();
            assert_eq!(found, expected, "{method} on {path}");
        };
        let both = || json!({"service": "shop.Cart", "method": "Add"});
        case(both(), "/shop.Cart/Add", true);
        case(both(), "/shop.Cart/Remove", false);
        case(both(), "/shop.Other/Add", false);
        let service = || json!({"service": "shop.Cart"});
        case(service(), "/shop.Cart/Add", true);
        case(service(), "/shop.CartX/Add", false);
        let method = || json!({"method": "Add"});
        case(method(), "/shop.Cart/Add", true);
        case(method(), "/shop.Cart/ReAdd", false);
        case(method(), "/a/b/Add", false);
        case(method(), "/Add", false);
        let pattern =
            || json!({"type": "RegularExpression", "service": "shop\\..*", "method": "Add|Remove"});
        case(pattern(), "/shop.Cart/Add", true);
        case(pattern(), "/shop.Cart/Remove", true);
        case(pattern(), "/shop.Cart/RemoveAll", false);
        case(pattern(), "/bank.Cart/Add", false);
    }

    #[test]
    fn header_names_have_no_case_and_the_first_of_a_name_counts() {
        let spec = || {
            json!({"headers": [{"name": "Version", "value": "two"},
                                         {"name": "version", "value": "three"}]})
        };
        case(&spec(), "/", &[("vErSiOn", "two")], true);
        case(&spec(), "/", &[("version", "three")], false);
        case(&spec(), "/", &[("version", "TWO")], false);
        case(&spec(), "/", &[], false);
    }

    #[test]
    fn query_parameters_are_decoded_and_the_first_of_a_name_counts() {
        let spec = || json!({"queryParams": [{"name": "animal", "value": "grey whale"}]});
        case(&spec(), "/?animal=grey%20whale", &[], true);
        case(&spec(), "/?a=b&animal=grey+whale&animal=dolphin", &[], true);
        case(&spec(), "/?animal=dolphin&animal=grey+whale", &[], false);
        case(&spec(), "/", &[], false);
    }

    #[test]
    fn a_method_must_be_the_one_named() {
        let post = matcher(json!({"method": "POST"}));
        assert!(post.matches(&request("POST", "/", &[])).is_some());
        assert!(post.matches(&request("GET", "/", &[])).is_none());
    }

    #[test]
    fn the_more_specific_match_goes_first() {
        let in_order = [
            json!({"path": {"type": "Exact", "value": "/a"}, "method": "GET"}),
            json!({"path": {"type": "Exact", "value": "/a"}}),
            json!({"path": {"type": "RegularExpression", "value": "/a.*"}}),
            json!({"path": {"value": "/a/b"}}),
            json!({"path": {"value": "/a"}, "method": "GET"}),
            json!({"path": {"value": "/a"}, "headers": [{"name": "x", "value": "1"}, {"name": "y", "value": "1"}]}),
            json!({"path": {"value": "/a"}, "headers": [{"name": "x", "value": "1"}], "queryParams": [{"name": "q", "value": "1"}]}),
            json!({"path": {"value": "/a"}, "headers": [{"name": "x", "value": "1"}]}),
            json!({"path": {"value": "/a"}, "queryParams": [{"name": "q", "value": "1"}]}),
            json!({"path": {"value": "/a/"}}),
            json!({}),
        ];
        for pair in in_order.windows(2) {
            let (first, second) = (matcher(pair[0].clone()), matcher(pair[1].clone()));
            assert!(
                first.precedence() < second.precedence(),
                "{} before {}",
                pair[0],
                pair[1]
            );
        }
    }

    #[test]
    fn what_cannot_be_matched_is_refused_by_name() {
        for (spec, told) in [
            (json!({"path": {"value": "foo"}}), "does not start with"),
            (
                json!({"path": {"type": "RegularExpression", "value": "["}}),
                "not a regular expression",
            ),
            (json!({"path": {"type": "Glob", "value": "/"}}), "\"Glob\""),
            (
                json!({"headers": [{"name": "a b", "value": "1"}]}),
                "\"a b\"",
            ),
            (
                json!({"headers": [{"name": "a", "type": "Prefix", "value": "1"}]}),
                "\"Prefix\"",
            ),
            (json!({"method": "GE T"}), "\"GE T\""),
        ] {
            let error = Matcher::parse(&serde_json::from_value(spec).unwrap()).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
