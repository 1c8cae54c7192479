//! What a rule changes on the way: headers, host, path, or a redirect instead of a backend.
//!
//! <https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter>

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lab_api::gateway::{
    HttpHeader, HttpHeaderModifier, HttpPathModifier, HttpRequestRedirect, HttpRouteFilter,
    HttpUrlRewrite,
};

/// The filters of one rule or of one backend, in the form that requests need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request: HeaderEdits,
    pub(crate) response: HeaderEdits,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) rewrite: Option<Rewrite>,
}

/// Changes to headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderEdits {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    scheme: Option<Box<str>>,
    hostname: Option<Box<str>>,
    path: Option<PathEdit>,
    port: Option<u16>,
    pub(crate) status: StatusCode,
}

/// Where a request came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// True over TLS.
    pub(crate) secure: bool,
    /// Without the port.
    pub(crate) host: &'a str,
    /// Port of the listener.
    pub(crate) port: u16,
}

/// Another host or path for the backend.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    pub(crate) host: Option<HeaderValue>,
    pub(crate) path: Option<PathEdit>,
}

/// A new path.
#[derive(Clone, Debug)]
pub(crate) enum PathEdit {
    /// Instead of the whole path.
    Full(Box<str>),
    /// Instead of the matched prefix.
    Prefix(Box<str>),
}

/// Why filters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilterError {
    /// A value or a type that is not served.
    Unsupported(String),
    /// Filters that exclude each other.
    Incompatible(String),
}

impl Filters {
    /// Reads the filters of a rule or of a backend.
    pub(crate) fn parse(specs: &[HttpRouteFilter]) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for spec in specs {
            let type_ = spec.type_.as_str();
            // Copies may go to many; they are the plan's business, because they have backends.
            if type_ == "RequestMirror" {
                continue;
            }
            if seen.contains(&type_) {
                let text = format!("filter {type_} is given twice in one place");
                return Err(FilterError::Incompatible(text));
            }
            seen.push(type_);
            filters.take(spec).map_err(FilterError::Unsupported)?;
        }
        if filters.redirect.is_some() && filters.rewrite.is_some() {
            let text = "RequestRedirect and URLRewrite exclude each other in one rule";
            return Err(FilterError::Incompatible(text.to_owned()));
        }
        Ok(filters)
    }

    fn take(&mut self, spec: &HttpRouteFilter) -> Result<(), String> {
        let missing = || format!("filter {} has no settings", spec.type_);
        match spec.type_.as_str() {
            "RequestHeaderModifier" => {
                let edits = spec.request_header_modifier.as_ref().ok_or_else(missing)?;
                self.request = HeaderEdits::parse(edits)?;
            }
            "ResponseHeaderModifier" => {
                let edits = spec.response_header_modifier.as_ref().ok_or_else(missing)?;
                self.response = HeaderEdits::parse(edits)?;
            }
            "RequestRedirect" => {
                let redirect = spec.request_redirect.as_ref().ok_or_else(missing)?;
                self.redirect = Some(Redirect::parse(redirect)?);
            }
            "URLRewrite" => {
                let rewrite = spec.url_rewrite.as_ref().ok_or_else(missing)?;
                self.rewrite = Some(Rewrite::parse(rewrite)?);
            }
            other => return Err(format!("filter {other} is not supported")),
        }
        Ok(())
    }

    /// True where a matched prefix is replaced, which only a prefix match allows.
    pub(crate) fn needs_prefix(&self) -> bool {
        let path = match (&self.redirect, &self.rewrite) {
            (Some(redirect), _) => redirect.path.as_ref(),
            (None, Some(rewrite)) => rewrite.path.as_ref(),
            (None, None) => None,
        };
        matches!(path, Some(PathEdit::Prefix(_)))
    }
}

impl HeaderEdits {
    fn parse(spec: &HttpHeaderModifier) -> Result<Self, String> {
        let remove = spec.remove.as_deref().unwrap_or_default();
        Ok(Self {
            set: headers(spec.set.as_deref())?,
            add: headers(spec.add.as_deref())?,
            remove: remove
                .iter()
                .map(|name| header_name(name))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Changes `headers`.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

fn headers(specs: Option<&[HttpHeader]>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let parse = |header: &HttpHeader| {
        let value = HeaderValue::from_str(&header.value)
            .map_err(|_| format!("value {:?} cannot be sent in a header", header.value))?;
        Ok((header_name(&header.name)?, value))
    };
    specs.unwrap_or_default().iter().map(parse).collect()
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    name.parse()
        .map_err(|_| format!("header name {name:?} is not one"))
}

impl Redirect {
    fn parse(spec: &HttpRequestRedirect) -> Result<Self, String> {
        let status = match spec.status_code.unwrap_or(302) {
            301 => StatusCode::MOVED_PERMANENTLY,
            302 => StatusCode::FOUND,
            303 => StatusCode::SEE_OTHER,
            307 => StatusCode::TEMPORARY_REDIRECT,
            308 => StatusCode::PERMANENT_REDIRECT,
            other => return Err(format!("redirect status {other} is not supported")),
        };
        let scheme = match spec.scheme.as_deref() {
            Some(scheme @ ("http" | "https")) => Some(scheme.into()),
            Some(other) => return Err(format!("redirect scheme {other:?} is not supported")),
            None => None,
        };
        let port = match spec.port.map(u16::try_from) {
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => return Err("redirect port is out of range".to_owned()),
            None => None,
        };
        let path = spec.path.as_ref().map(PathEdit::parse).transpose()?;
        let hostname = spec.hostname.as_deref().map(Into::into);
        Ok(Self {
            scheme,
            hostname,
            path,
            port,
            status,
        })
    }

    /// The `Location` for a request that came to `origin`. Where the redirect names a scheme
    /// but no port, the scheme's own port is meant.
    pub(crate) fn location(&self, origin: Origin<'_>, uri: &http::Uri, prefix: usize) -> String {
        let here = if origin.secure { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(here);
        let usual = if scheme == "https" { 443 } else { 80 };
        let same = if self.scheme.is_some() {
            usual
        } else {
            origin.port
        };
        let port = self.port.unwrap_or(same);
        let host = self.hostname.as_deref().unwrap_or(origin.host);
        let path = match &self.path {
            Some(edit) => edit.apply(uri.path(), prefix),
            None => uri.path().to_owned(),
        };
        let query = uri
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        if port == usual {
            format!("{scheme}://{host}{path}{query}")
        } else {
            format!("{scheme}://{host}:{port}{path}{query}")
        }
    }
}

impl Rewrite {
    fn parse(spec: &HttpUrlRewrite) -> Result<Self, String> {
        let host = match spec.hostname.as_deref() {
            Some(name) => {
                Some(HeaderValue::from_str(name).map_err(|_| format!("{name:?} is no host name"))?)
            }
            None => None,
        };
        Ok(Self {
            host,
            path: spec.path.as_ref().map(PathEdit::parse).transpose()?,
        })
    }
}

impl PathEdit {
    fn parse(spec: &HttpPathModifier) -> Result<Self, String> {
        let given = |value: &Option<String>| {
            value
                .as_deref()
                .map(Into::into)
                .ok_or_else(|| format!("{} has no value", spec.type_))
        };
        match spec.type_.as_str() {
            "ReplaceFullPath" => given(&spec.replace_full_path).map(Self::Full),
            "ReplacePrefixMatch" => given(&spec.replace_prefix_match).map(Self::Prefix),
            other => Err(format!("path modifier {other:?} is not supported")),
        }
    }

    /// The new path of a request whose first `prefix` bytes matched.
    pub(crate) fn apply(&self, path: &str, prefix: usize) -> String {
        let new = match self {
            Self::Full(path) => path.to_string(),
            Self::Prefix(value) => {
                format!(
                    "{}{}",
                    value.trim_end_matches('/'),
                    &path[prefix.min(path.len())..]
                )
            }
        };
        if new.starts_with('/') {
            new
        } else {
            format!("/{new}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn filters(specs: Value) -> Result<Filters, FilterError> {
        let specs: Vec<HttpRouteFilter> = serde_json::from_value(specs).unwrap();
        Filters::parse(&specs)
    }

    /// The table in the specification of `replacePrefixMatch`.
    #[test]
    fn a_replaced_prefix_keeps_the_rest_of_the_path() {
        for (path, prefix, value, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/bar", "", "/xyz", "/xyz/bar"),
        ] {
            let edit = PathEdit::Prefix(value.into());
            assert_eq!(edit.apply(path, prefix.len()), expected, "{path} {value}");
        }
        assert_eq!(PathEdit::Full("/new".into()).apply("/foo/bar", 4), "/new");
    }

    #[track_caller]
    fn redirects(spec: Value, expected: &str) {
        let redirect = Redirect::parse(&serde_json::from_value(spec).unwrap()).unwrap();
        let uri = "/foo/bar?x=1".parse().unwrap();
        let origin = Origin {
            secure: false,
            host: "example.com",
            port: 8080,
        };
        assert_eq!(redirect.location(origin, &uri, 4), expected);
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_change() {
        redirects(json!({}), "http://example.com:8080/foo/bar?x=1");
        redirects(
            json!({"hostname": "new.org"}),
            "http://new.org:8080/foo/bar?x=1",
        );
        redirects(
            json!({"scheme": "https"}),
            "https://example.com/foo/bar?x=1",
        );
        redirects(
            json!({"scheme": "https", "port": 8443}),
            "https://example.com:8443/foo/bar?x=1",
        );
        redirects(json!({"port": 80}), "http://example.com/foo/bar?x=1");
        redirects(
            json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/baz"}}),
            "http://example.com:8080/baz/bar?x=1",
        );
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let filters = filters(
            json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {
                "set": [{"name": "X-Set", "value": "new"}],
                "add": [{"name": "x-add", "value": "second"}],
                "remove": ["X-Gone"]
            }}]),
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-set", "old"),
            ("x-add", "first"),
            ("x-gone", "1"),
            ("x-kept", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        filters.request.apply(&mut headers);
        assert_eq!(headers["x-set"], "new");
        assert_eq!(
            headers.get_all("x-add").iter().collect::<Vec<_>>(),
            ["first", "second"]
        );
        assert!(!headers.contains_key("x-gone") && headers.contains_key("x-kept"));
    }

    #[test]
    fn filters_that_are_not_served_are_refused_by_name() {
        let custom = json!([{"type": "ExtensionRef", "extensionRef": {"name": "x"}}]);
        let error = filters(custom).unwrap_err();
        assert_eq!(
            error,
            FilterError::Unsupported("filter ExtensionRef is not supported".into())
        );

        let both = json!([{"type": "RequestRedirect", "requestRedirect": {}},
                          {"type": "URLRewrite", "urlRewrite": {}}]);
        assert!(matches!(filters(both), Err(FilterError::Incompatible(_))));

        let status = json!([{"type": "RequestRedirect", "requestRedirect": {"statusCode": 300}}]);
        assert!(
            matches!(filters(status), Err(FilterError::Unsupported(text)) if text.contains("300"))
        );
    }
}
