//! Requests and limits of a container, and the quality of service that follows from them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lab_api::quantity::parse_millis;

use super::syntax::qualified_name_problems;
use crate::validation::FieldError;

type Resources = BTreeMap<String, Quantity>;

/// Resources of the core group; any other needs a domain.
const CORE: &[&str] = &["cpu", "memory", "ephemeral-storage", "storage"];

/// Checks `resources` at `path`.
pub(super) fn validate(resources: &ResourceRequirements, path: &str, errors: &mut Vec<FieldError>) {
    let empty = Resources::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    validate_list(limits, &format!("{path}.limits"), errors);
    validate_list(requests, &format!("{path}.requests"), errors);
    for (resource, request) in requests {
        if let Some(limit) = limits.get(resource)
            && millis(request) > millis(limit)
        {
            let detail = format!(
                "must be less than or equal to {resource} limit of {}",
                limit.0
            );
            errors.push(FieldError::invalid(
                format!("{path}.requests"),
                &request.0,
                detail,
            ));
        }
    }
}

fn validate_list(list: &Resources, path: &str, errors: &mut Vec<FieldError>) {
    for (resource, quantity) in list {
        let place = format!("{path}[{resource}]");
        validate_name(resource, &place, errors);
        if millis(quantity) < 0 {
            let rule = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(&place, &quantity.0, rule));
        } else if CORE[1..].contains(&resource.as_str()) {
            continue;
        } else if resource != "cpu" && millis(quantity) % 1000 != 0 {
            errors.push(FieldError::invalid(
                place,
                &quantity.0,
                "must be an integer",
            ));
        }
    }
}

fn validate_name(resource: &str, place: &str, errors: &mut Vec<FieldError>) {
    let problems = qualified_name_problems(resource);
    if !problems.is_empty() {
        super::syntax::push_problems(errors, place, resource, problems);
    } else if !resource.contains('/')
        && !CORE.contains(&resource)
        && !resource.starts_with("hugepages-")
    {
        let rule = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(place, resource, rule));
    }
}

fn millis(quantity: &Quantity) -> i128 {
    parse_millis(&quantity.0).unwrap_or_default()
}

/// The quality of service of a pod: Guaranteed where every container's CPU and memory limits
/// equal its requests, BestEffort where there are none at all, else Burstable.
///
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
pub(super) fn qos_class(spec: &PodSpec) -> &'static str {
    let containers = || {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    };
    let positive = |container: &Container, resource: &str| {
        let get = |list: &Option<Resources>| list.as_ref()?.get(resource).map(millis);
        let resources = container.resources.as_ref();
        let request = resources.and_then(|r| get(&r.requests)).filter(|&v| v > 0);
        let limit = resources.and_then(|r| get(&r.limits)).filter(|&v| v > 0);
        (request, limit)
    };
    let pairs =
        || containers().flat_map(|c| ["cpu", "memory"].map(|resource| positive(c, resource)));
    if pairs().all(|pair| pair == (None, None)) {
        "BestEffort"
    } else if pairs().all(|(request, limit)| limit.is_some() && request == limit) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn qos(resources: &[Value], expected: &str) {
        let containers: Vec<Value> = resources
            .iter()
            .map(|resources| json!({"name": "c", "resources": resources}))
            .collect();
        let spec: PodSpec = serde_json::from_value(json!({ "containers": containers })).unwrap();
        assert_eq!(qos_class(&spec), expected);
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        qos(&[json!({})], "BestEffort");
        qos(&[json!({"requests": {"cpu": "1"}})], "Burstable");
        qos(&[json!({"requests": full, "limits": full})], "Guaranteed");
        qos(
            &[json!({"requests": full, "limits": full}), json!({})],
            "Burstable",
        );
        qos(
            &[json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})],
            "Burstable",
        );
    }

    #[track_caller]
    fn case(resources: Value, expected: &[&str]) {
        let resources: ResourceRequirements = serde_json::from_value(resources).unwrap();
        let mut errors = Vec::new();
        validate(&resources, "r", &mut errors);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn requests_stay_within_limits() {
        case(
            json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}),
            &[],
        );
        case(
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            &[r#"r.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#],
        );
        case(
            json!({"limits": {"memory": "-1"}}),
            &[r#"r.limits[memory]: Invalid value: "-1": must be greater than or equal to 0"#],
        );
        case(
            json!({"limits": {"ram": "1Gi"}}),
            &[
                r#"r.limits[ram]: Invalid value: "ram": must be a standard resource type or fully qualified"#,
            ],
        );
    }
}
