//! Rules for HTTPRoutes, and for what GRPCRoutes share with them, in the words of the Gateway API's schema.
//! <https://gateway-api.sigs.k8s.io/reference/spec/#httproute>

use std::collections::BTreeSet;

use lab_api::gateway::{
    HttpBackendRef, HttpPathMatch, HttpRequestMirror, HttpRouteFilter, HttpRouteMatch,
    HttpRouteRule, HttpRouteSpec, HttpValueMatch, ParentReference,
};

use super::custom::{
    broken, validate_choice, validate_hostname, validate_not_empty, validate_pattern,
    validate_range,
};
use crate::validation::FieldError;

const PATH_TYPES: &[&str] = &["Exact", "PathPrefix", "RegularExpression"];
const VALUE_TYPES: &[&str] = &["Exact", "RegularExpression"];
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
const REDIRECT_CODES: &[u16] = &[301, 302, 303, 307, 308];
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// Most host names of a route.
const HOSTNAMES_MAX: usize = 16;
/// Most rules of a route.
const RULES_MAX: usize = 16;
/// Most matches of a rule.
const MATCHES_MAX: usize = 64;
/// Matches of all rules stay below this.
const ALL_MATCHES: usize = 128;
/// Greatest weight of a backend.
const WEIGHT_MAX: i64 = 1_000_000;

/// Checks a route's spec.
pub(super) fn validate(spec: &HttpRouteSpec, errors: &mut Vec<FieldError>) {
    validate_parents(spec.parent_refs.as_deref().unwrap_or_default(), errors);
    validate_hostnames(spec.hostnames.as_deref().unwrap_or_default(), errors);
    let rules = spec.rules.as_deref().unwrap_or_default();
    let outlines = rules.iter().map(|rule| RuleOutline {
        name: rule.name.as_deref(),
        matches: rule.matches.as_ref().map_or(0, Vec::len),
    });
    validate_outlines(outlines, errors);
    for (index, rule) in rules.iter().enumerate() {
        validate_rule(rule, &format!("spec.rules[{index}]"), errors);
    }
}

/// What the rules of every kind of route have.
pub(super) struct RuleOutline<'a> {
    /// Unique within the route.
    pub(super) name: Option<&'a str>,
    /// How many matches the rule lists.
    pub(super) matches: usize,
}

/// Checks names and numbers of rules.
pub(super) fn validate_outlines<'a>(
    rules: impl ExactSizeIterator<Item = RuleOutline<'a>>,
    errors: &mut Vec<FieldError>,
) {
    let path = "spec.rules";
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(path, rules.len(), RULES_MAX));
    }
    let (mut names, mut all) = (BTreeSet::new(), 0);
    for (index, rule) in rules.enumerate() {
        all += rule.matches;
        if rule.matches > MATCHES_MAX {
            let place = format!("{path}[{index}].matches");
            errors.push(FieldError::too_many(place, rule.matches, MATCHES_MAX));
        }
        if rule.name.is_some_and(|name| !names.insert(name)) {
            let rule = "Rule name must be unique within the route";
            errors.push(broken(path, "array", rule));
        }
    }
    if all > ALL_MATCHES {
        let rule = "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must be less than 128";
        errors.push(broken(path, "array", rule));
    }
}

/// Checks the host names of a route.
pub(super) fn validate_hostnames(hostnames: &[String], errors: &mut Vec<FieldError>) {
    let path = "spec.hostnames";
    if hostnames.len() > HOSTNAMES_MAX {
        errors.push(FieldError::too_many(path, hostnames.len(), HOSTNAMES_MAX));
    }
    for (index, hostname) in hostnames.iter().enumerate() {
        validate_hostname(hostname, &format!("{path}[{index}]"), errors);
    }
}

/// Checks what a route attaches to.
pub(super) fn validate_parents(parents: &[ParentReference], errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, parent) in parents.iter().enumerate() {
        let path = format!("spec.parentRefs[{index}]");
        validate_not_empty(&parent.name, &format!("{path}.name"), errors);
        if let Some(port) = parent.port {
            validate_range(
                i64::from(port),
                (1, 65_535),
                &format!("{path}.port"),
                errors,
            );
        }
        let place = (
            &parent.kind,
            &parent.namespace,
            &parent.name,
            &parent.section_name,
            parent.port,
        );
        if !seen.insert(place) {
            let rule = "sectionName must be unique when parentRefs includes 2 or more references to the same parent";
            errors.push(broken("spec.parentRefs", "array", rule));
        }
    }
}

fn validate_rule(rule: &HttpRouteRule, path: &str, errors: &mut Vec<FieldError>) {
    for (index, one) in rule.matches.iter().flatten().enumerate() {
        validate_match(one, &format!("{path}.matches[{index}]"), errors);
    }
    let filters = rule.filters.as_deref().unwrap_or_default();
    validate_filters(filters, &FILTERS, &format!("{path}.filters"), errors);
    let backends = rule.backend_refs.as_deref().unwrap_or_default();
    for (index, backend) in backends.iter().enumerate() {
        validate_backend(backend, &format!("{path}.backendRefs[{index}]"), errors);
    }
    if filters.iter().any(|f| f.request_redirect.is_some()) && !backends.is_empty() {
        let text = "RequestRedirect filter must not be used together with backendRefs";
        errors.push(broken(path, "object", text));
    }
    let replaces_prefix = filters.iter().any(replaces_prefix);
    if replaces_prefix && !matches_one_prefix(rule.matches.as_deref().unwrap_or_default()) {
        let text = "When using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified";
        let rewrite = "When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified";
        let redirects = filters
            .iter()
            .any(|filter| filter.request_redirect.is_some());
        errors.push(broken(
            path,
            "object",
            if redirects { text } else { rewrite },
        ));
    }
    validate_timeouts(rule, path, errors);
}

/// Which prefix to replace is known only where the rule matches exactly one.
fn replaces_prefix(filter: &HttpRouteFilter) -> bool {
    let redirect = filter
        .request_redirect
        .as_ref()
        .and_then(|redirect| redirect.path.as_ref());
    let rewrite = filter
        .url_rewrite
        .as_ref()
        .and_then(|rewrite| rewrite.path.as_ref());
    redirect
        .or(rewrite)
        .is_some_and(|path| path.type_ == "ReplacePrefixMatch")
}

fn matches_one_prefix(matches: &[HttpRouteMatch]) -> bool {
    let is_prefix = |path: &HttpPathMatch| path.type_.as_deref() == Some("PathPrefix");
    matches!(matches, [one] if one.path.as_ref().is_some_and(is_prefix))
}

fn validate_match(one: &HttpRouteMatch, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(path_match) = &one.path {
        validate_path(path_match, &format!("{path}.path"), errors);
    }
    validate_choice(
        one.method.as_deref(),
        METHODS,
        &format!("{path}.method"),
        errors,
    );
    for (field, values) in [
        ("headers", &one.headers),
        ("queryParams", &one.query_params),
    ] {
        let values = values.as_deref().unwrap_or_default();
        validate_values(values, &format!("{path}.{field}"), errors);
    }
}

/// Checks matches on headers or query parameters.
pub(super) fn validate_values(values: &[HttpValueMatch], path: &str, errors: &mut Vec<FieldError>) {
    for (index, value) in values.iter().enumerate() {
        let path = format!("{path}[{index}]");
        validate_choice(
            value.type_.as_deref(),
            VALUE_TYPES,
            &format!("{path}.type"),
            errors,
        );
        validate_not_empty(&value.name, &format!("{path}.name"), errors);
        validate_not_empty(&value.value, &format!("{path}.value"), errors);
    }
}

fn validate_path(path_match: &HttpPathMatch, path: &str, errors: &mut Vec<FieldError>) {
    let type_ = path_match.type_.as_deref();
    validate_choice(type_, PATH_TYPES, &format!("{path}.type"), errors);
    if !matches!(type_, Some("Exact" | "PathPrefix")) {
        return;
    }
    let value = path_match.value.as_deref().unwrap_or_default();
    if !value.starts_with('/') {
        let rule = "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']";
        errors.push(broken(path, "object", rule));
    }
    for part in ["//", "/./", "/../", "#"] {
        if value.contains(part) {
            let rule =
                format!("must not contain '{part}' when type one of ['Exact', 'PathPrefix']");
            errors.push(broken(path, "object", &rule));
        }
    }
}

fn validate_backend(backend: &HttpBackendRef, path: &str, errors: &mut Vec<FieldError>) {
    validate_target(backend, path, errors);
    let filters = backend.filters.as_deref().unwrap_or_default();
    validate_filters(filters, &FILTERS, &format!("{path}.filters"), errors);
}

/// Checks a backend without its filters.
pub(super) fn validate_target(backend: &HttpBackendRef, path: &str, errors: &mut Vec<FieldError>) {
    validate_not_empty(&backend.name, &format!("{path}.name"), errors);
    let to_service = backend.group.as_deref().unwrap_or_default().is_empty()
        && matches!(backend.kind.as_deref(), None | Some("Service"));
    match backend.port {
        None if to_service => {
            errors.push(broken(
                path,
                "object",
                "Must have port for Service reference",
            ));
        }
        None => {}
        Some(port) => {
            validate_range(
                i64::from(port),
                (1, 65_535),
                &format!("{path}.port"),
                errors,
            );
        }
    }
    if let Some(weight) = backend.weight {
        validate_range(
            i64::from(weight),
            (0, WEIGHT_MAX),
            &format!("{path}.weight"),
            errors,
        );
    }
}

/// The filters of HTTPRoutes.
const FILTERS: [&str; 6] = [
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
];

/// Filter types, and the name of the field that each fills.
fn fields(filter: &HttpRouteFilter) -> [(&'static str, &'static str, bool); 6] {
    [
        (
            "RequestHeaderModifier",
            "requestHeaderModifier",
            filter.request_header_modifier.is_some(),
        ),
        (
            "ResponseHeaderModifier",
            "responseHeaderModifier",
            filter.response_header_modifier.is_some(),
        ),
        (
            "RequestMirror",
            "requestMirror",
            filter.request_mirror.is_some(),
        ),
        (
            "RequestRedirect",
            "requestRedirect",
            filter.request_redirect.is_some(),
        ),
        ("URLRewrite", "urlRewrite", filter.url_rewrite.is_some()),
        (
            "ExtensionRef",
            "extensionRef",
            filter.extension_ref.is_some(),
        ),
    ]
}

/// Checks filters, which must be of these `types`.
pub(super) fn validate_filters(
    filters: &[HttpRouteFilter],
    types: &[&str],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for (index, filter) in filters.iter().enumerate() {
        validate_filter(filter, types, &format!("{path}[{index}]"), errors);
    }
    let count = |type_: &str| {
        filters
            .iter()
            .filter(|filter| filter.type_ == type_)
            .count()
    };
    for type_ in [
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestRedirect",
        "URLRewrite",
    ] {
        if count(type_) > 1 {
            errors.push(broken(
                path,
                "array",
                &format!("{type_} filter cannot be repeated"),
            ));
        }
    }
    if count("RequestRedirect") > 0 && count("URLRewrite") > 0 {
        let rule = "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both";
        errors.push(broken(path, "array", rule));
    }
}

fn validate_filter(
    filter: &HttpRouteFilter,
    types: &[&str],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    validate_choice(Some(&filter.type_), types, &format!("{path}.type"), errors);
    let fields = fields(filter).into_iter();
    for (type_, field, given) in fields.filter(|(type_, _, _)| types.contains(type_)) {
        if given && filter.type_ != type_ {
            let rule = format!("filter.{field} must be nil if the filter.type is not {type_}");
            errors.push(broken(path, "object", &rule));
        }
        if !given && filter.type_ == type_ {
            let rule = format!("filter.{field} must be specified for {type_} filter.type");
            errors.push(broken(path, "object", &rule));
        }
    }
    if let Some(mirror) = &filter.request_mirror {
        validate_mirror(mirror, &format!("{path}.requestMirror"), errors);
    }
    let code = filter
        .request_redirect
        .as_ref()
        .and_then(|redirect| redirect.status_code);
    if let Some(code) = code.filter(|code| !REDIRECT_CODES.contains(code)) {
        let supported = REDIRECT_CODES
            .iter()
            .map(u16::to_string)
            .collect::<Vec<_>>();
        let supported: Vec<&str> = supported.iter().map(String::as_str).collect();
        let place = format!("{path}.requestRedirect.statusCode");
        errors.push(FieldError::not_supported(place, code, &supported));
    }
}

fn validate_mirror(mirror: &HttpRequestMirror, path: &str, errors: &mut Vec<FieldError>) {
    let backend = HttpBackendRef::from(mirror.backend_ref.clone());
    validate_target(&backend, &format!("{path}.backendRef"), errors);
    if let Some(percent) = mirror.percent {
        let place = format!("{path}.percent");
        validate_range(i64::from(percent), (0, 100), &place, errors);
    }
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        let rule = "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter";
        errors.push(broken(path, "object", rule));
    }
    let Some(fraction) = &mirror.fraction else {
        return;
    };
    let (numerator, place) = (i64::from(fraction.numerator), format!("{path}.fraction"));
    let denominator = i64::from(fraction.denominator.unwrap_or(100));
    for (field, number, least) in [("numerator", numerator, 0), ("denominator", denominator, 1)] {
        let place = format!("{place}.{field}");
        validate_range(number, (least, i64::from(i32::MAX)), &place, errors);
    }
    if numerator > denominator {
        let rule = "numerator must be less than or equal to denominator";
        errors.push(broken(place, "object", rule));
    }
}

fn validate_timeouts(rule: &HttpRouteRule, path: &str, errors: &mut Vec<FieldError>) {
    let Some(timeouts) = &rule.timeouts else {
        return;
    };
    let path = format!("{path}.timeouts");
    let mut lengths = [None, None];
    let fields = [
        ("request", &timeouts.request),
        ("backendRequest", &timeouts.backend_request),
    ];
    for (length, (field, text)) in lengths.iter_mut().zip(fields) {
        let Some(text) = text else { continue };
        *length = milliseconds(text);
        validate_pattern(
            text,
            length.is_some(),
            DURATION,
            &format!("{path}.{field}"),
            errors,
        );
    }
    if let [Some(request), Some(backend)] = lengths
        && request > 0
        && backend > request
    {
        let rule = "backendRequest timeout cannot be longer than request timeout";
        errors.push(broken(path, "object", rule));
    }
}

/// A Gateway API duration: up to four numbers of up to five digits, each with a unit.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut parts) = (text, 0, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok().filter(|_| digits <= 5)?;
        let tail = &rest[digits..];
        let (unit, length) = match tail.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            _ => return None,
        };
        total += number * unit;
        parts += 1;
        rest = &tail[length..];
    }
    (1..=4).contains(&parts).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_gateway_api() {
        assert_eq!(milliseconds("10s"), Some(10_000));
        assert_eq!(milliseconds("1m500ms"), Some(60_500));
        assert_eq!(milliseconds("0s"), Some(0));
        for bad in ["", "10", "s", "100000s", "1.5s", "1s1s1s1s1s"] {
            assert_eq!(milliseconds(bad), None, "{bad}");
        }
    }
}
