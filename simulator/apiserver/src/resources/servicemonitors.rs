//! ServiceMonitor: scrapes the endpoints of Services.

use std::collections::BTreeMap;

use lab_api::monitoring::{Endpoint, GROUP, NamespaceSelector, ServiceMonitor, duration_ms};
use serde_json::Value;

use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, columns, custom};
use crate::validation::FieldError;

/// The definition of ServiceMonitor.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["smon"]),
        categories: words(&["prometheus-operator"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<ServiceMonitor>(GROUP, "ServiceMonitor", "servicemonitors")
    }
}

impl Kind for ServiceMonitor {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let spec = &self.spec;
        refuse(&spec.unsupported, "spec", errors);
        validate_namespaces(spec.namespace_selector.as_ref(), errors);
        validate_endpoints(&spec.endpoints, "spec.endpoints", errors);
    }
}

/// Refuses by name what nothing here would heed.
pub(super) fn refuse(
    unsupported: &BTreeMap<String, Value>,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for field in unsupported.keys() {
        let place = format!("{path}.{field}");
        let reason = "this field is not supported by devops-lab, or is misspelt";
        errors.push(FieldError::forbidden(place, reason));
    }
}

pub(super) fn validate_namespaces(
    selector: Option<&NamespaceSelector>,
    errors: &mut Vec<FieldError>,
) {
    if let Some(selector) = selector {
        refuse(&selector.unsupported, "spec.namespaceSelector", errors);
    }
}

pub(super) fn validate_endpoints(endpoints: &[Endpoint], path: &str, errors: &mut Vec<FieldError>) {
    if endpoints.is_empty() {
        errors.push(FieldError::required(
            path,
            "say at least one port to scrape",
        ));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        refuse(&endpoint.unsupported, &path, errors);
        if endpoint.port.is_none() && endpoint.target_port.is_none() {
            let place = format!("{path}.port");
            errors.push(FieldError::required(place, "name the port to scrape"));
        }
        if let Some(scheme) = endpoint.scheme.as_deref()
            && !scheme.eq_ignore_ascii_case("http")
        {
            let place = format!("{path}.scheme");
            errors.push(FieldError::not_supported(place, scheme, &["http"]));
        }
        validate_duration(
            endpoint.interval.as_deref(),
            &format!("{path}.interval"),
            errors,
        );
        let place = format!("{path}.scrapeTimeout");
        validate_duration(endpoint.scrape_timeout.as_deref(), &place, errors);
    }
}

/// Checks a duration as Prometheus writes it.
pub(super) fn validate_duration(duration: Option<&str>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(text) = duration.filter(|text| !text.is_empty() && duration_ms(text).is_none()) {
        let rule = "must be a duration such as 30s, 5m or 1h30m";
        errors.push(FieldError::invalid(path, text, rule));
    }
}
