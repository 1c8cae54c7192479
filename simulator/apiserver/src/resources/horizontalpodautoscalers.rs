//! HorizontalPodAutoscaler: a number of replicas that follows metrics.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/>

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
    MetricIdentifier, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lab_api::quantity::parse_millis;
use serde_json::Value;

use super::columns::{self, count, int_at, list_at, str_at, text};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, quantities};
use crate::validation::FieldError;

/// The definition of HorizontalPodAutoscaler.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        version: "v2".into(),
        short_names: words(&["hpa"]),
        categories: words(&["all"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Reference", "What is scaled.", |o| {
                let path = |field| str_at(o, &format!("/spec/scaleTargetRef/{field}")).to_owned();
                format!("{}/{}", path("kind"), path("name"))
            }),
            text(
                "Targets",
                "Present and wanted values of the metrics.",
                targets,
            ),
            text("MinPods", "Fewest replicas.", |o| {
                let min = o.pointer("/spec/minReplicas").and_then(Value::as_i64);
                min.map_or_else(|| "<unset>".to_owned(), |min| min.to_string())
            }),
            count("MaxPods", "Most replicas.", |o| {
                int_at(o, "/spec/maxReplicas")
            }),
            count("Replicas", "Present replicas.", |o| {
                int_at(o, "/status/currentReplicas")
            }),
            columns::age(),
        ],
        ..define::<HorizontalPodAutoscaler>(
            "autoscaling",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
        )
    }
}

/// CPU that pods may use of what they request, where no metric is named.
const CPU_PERCENT: i32 = 80;
/// Seconds that a smaller size is wanted before it is taken.
const SCALE_DOWN_STABILIZATION: i32 = 300;
/// The longest period and the longest window, in seconds.
const LONGEST_PERIOD: i32 = 1800;
const LONGEST_WINDOW: i32 = 3600;

impl Kind for HorizontalPodAutoscaler {
    const SCOPE: Scope = Scope::Namespaced;

    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            spec.metrics = Some(vec![cpu_metric()]);
        }
        for metric in spec.metrics.iter_mut().flatten() {
            if let Some(target) = target_mut(metric) {
                canonicalize(&mut target.value);
                canonicalize(&mut target.average_value);
            }
        }
        if let Some(behavior) = &mut spec.behavior {
            default_behavior(behavior);
        }
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(HorizontalPodAutoscalerStatus::default());
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let spec = &self.spec;
        validate_reference(&spec.scale_target_ref, "spec.scaleTargetRef", errors);
        validate_bounds(spec, errors);
        for (index, metric) in spec.metrics.iter().flatten().enumerate() {
            validate_metric(metric, &format!("spec.metrics[{index}]"), errors);
        }
        if let Some(behavior) = &spec.behavior {
            for (rules, direction) in [
                (&behavior.scale_up, "scaleUp"),
                (&behavior.scale_down, "scaleDown"),
            ] {
                if let Some(rules) = rules {
                    validate_rules(rules, &format!("spec.behavior.{direction}"), errors);
                }
            }
        }
    }
}

fn cpu_metric() -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(CPU_PERCENT),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn target_mut(metric: &mut MetricSpec) -> Option<&mut MetricTarget> {
    let MetricSpec {
        container_resource,
        external,
        object,
        pods,
        resource,
        type_: _,
    } = metric;
    let targets = [
        container_resource.as_mut().map(|source| &mut source.target),
        external.as_mut().map(|source| &mut source.target),
        object.as_mut().map(|source| &mut source.target),
        pods.as_mut().map(|source| &mut source.target),
        resource.as_mut().map(|source| &mut source.target),
    ];
    targets.into_iter().flatten().next()
}

fn canonicalize(quantity: &mut Option<Quantity>) {
    if let Some(Quantity(text)) = quantity {
        *text = quantities::canonical(text);
    }
}

fn default_behavior(behavior: &mut HorizontalPodAutoscalerBehavior) {
    let policy = |type_: &str, value| HPAScalingPolicy {
        type_: type_.to_owned(),
        value,
        period_seconds: 15,
    };
    let up = behavior.scale_up.get_or_insert_default();
    up.stabilization_window_seconds.get_or_insert(0);
    default_rules(up, || vec![policy("Pods", 4), policy("Percent", 100)]);
    let down = behavior.scale_down.get_or_insert_default();
    down.stabilization_window_seconds
        .get_or_insert(SCALE_DOWN_STABILIZATION);
    default_rules(down, || vec![policy("Percent", 100)]);
}

fn default_rules(rules: &mut HPAScalingRules, policies: impl Fn() -> Vec<HPAScalingPolicy>) {
    rules.select_policy.get_or_insert_with(|| "Max".to_owned());
    if rules.policies.as_ref().is_none_or(Vec::is_empty) {
        rules.policies = Some(policies());
    }
    canonicalize(&mut rules.tolerance);
}

fn validate_reference(
    reference: &CrossVersionObjectReference,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for (value, field) in [(&reference.kind, "kind"), (&reference.name, "name")] {
        if value.is_empty() {
            errors.push(FieldError::required(format!("{path}.{field}"), ""));
        }
    }
}

fn validate_bounds(spec: &HorizontalPodAutoscalerSpec, errors: &mut Vec<FieldError>) {
    let (min, max) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    if min < 1 {
        let rule = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.minReplicas", min, rule));
    }
    if max < 1 {
        let rule = "must be greater than 0";
        errors.push(FieldError::invalid("spec.maxReplicas", max, rule));
    }
    if max < min {
        let rule = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", max, rule));
    }
}

const TYPES: [&str; 5] = [
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];

fn validate_metric(metric: &MetricSpec, path: &str, errors: &mut Vec<FieldError>) {
    let at = |field: &str| format!("{path}.{field}");
    if metric.type_.is_empty() {
        errors.push(FieldError::required(
            at("type"),
            "must specify a metric source type",
        ));
        return;
    }
    let sources = [
        (
            "ContainerResource",
            "containerResource",
            metric.container_resource.is_some(),
        ),
        ("External", "external", metric.external.is_some()),
        ("Object", "object", metric.object.is_some()),
        ("Pods", "pods", metric.pods.is_some()),
        ("Resource", "resource", metric.resource.is_some()),
    ];
    if !TYPES.contains(&metric.type_.as_str()) {
        errors.push(FieldError::not_supported(at("type"), &metric.type_, &TYPES));
    }
    for (type_, field, given) in sources {
        if type_ == metric.type_ && !given {
            let rule = "must populate information for the given metric source";
            errors.push(FieldError::required(at(field), rule));
        }
        if type_ != metric.type_ && given {
            let rule = "must populate the given metric source only";
            errors.push(FieldError::forbidden(at(field), rule));
        }
    }
    if let Some(source) = &metric.resource {
        validate_resource(&source.name, &source.target, &at("resource"), errors);
    }
    if let Some(source) = &metric.container_resource {
        let path = at("containerResource");
        validate_resource(&source.name, &source.target, &path, errors);
        if source.container.is_empty() {
            errors.push(FieldError::required(
                format!("{path}.container"),
                "must specify a container name",
            ));
        }
    }
    if let Some(source) = &metric.pods {
        let path = at("pods");
        validate_identifier(&source.metric, &path, errors);
        validate_target(&source.target, &format!("{path}.target"), errors);
        if source.target.average_value.is_none() {
            let rule = "must specify a positive target averageValue";
            errors.push(FieldError::required(
                format!("{path}.target.averageValue"),
                rule,
            ));
        }
    }
    if let Some(source) = &metric.object {
        let path = at("object");
        let described = format!("{path}.describedObject");
        validate_reference(&source.described_object, &described, errors);
        validate_identifier(&source.metric, &path, errors);
        validate_value(&source.target, &format!("{path}.target"), errors);
    }
    if let Some(source) = &metric.external {
        let path = at("external");
        validate_identifier(&source.metric, &path, errors);
        validate_value(&source.target, &format!("{path}.target"), errors);
    }
}

fn validate_identifier(metric: &MetricIdentifier, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.metric.name");
    if metric.name.is_empty() {
        errors.push(FieldError::required(path, "must specify a metric name"));
    } else if metric.name.contains(['/', '%']) || matches!(metric.name.as_str(), "." | "..") {
        let rule = "must be usable as a segment of a path: no '/', no '%', not '.' or '..'";
        errors.push(FieldError::invalid(path, &metric.name, rule));
    }
}

fn validate_resource(name: &str, target: &MetricTarget, path: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.name"),
            "must specify a resource name",
        ));
    } else if !matches!(name, "cpu" | "memory") {
        // A real server accepts any name, and the autoscaler then never finds a value.
        errors.push(FieldError::not_supported(
            format!("{path}.name"),
            name,
            &["cpu", "memory"],
        ));
    }
    let target_path = format!("{path}.target");
    validate_target(target, &target_path, errors);
    let given = (target.average_utilization, &target.average_value);
    match given {
        (None, None) => errors.push(FieldError::required(
            format!("{target_path}.averageUtilization"),
            "must set either a target raw value or a target utilization",
        )),
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(
            format!("{target_path}.averageValue"),
            "may not set both a target raw value and a target utilization",
        )),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

fn validate_value(target: &MetricTarget, path: &str, errors: &mut Vec<FieldError>) {
    validate_target(target, path, errors);
    match (&target.value, &target.average_value) {
        (None, None) => errors.push(FieldError::required(
            format!("{path}.averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(
            format!("{path}.value"),
            "may not set both a target value for metric and a per-pod target",
        )),
        (Some(_), None) | (None, Some(_)) => {}
    }
}

fn validate_target(target: &MetricTarget, path: &str, errors: &mut Vec<FieldError>) {
    const SUPPORTED: [&str; 3] = ["AverageValue", "Utilization", "Value"];
    let at = |field: &str| format!("{path}.{field}");
    match target.type_.as_str() {
        "" => errors.push(FieldError::required(
            at("type"),
            "must specify a metric target type",
        )),
        type_ if !SUPPORTED.contains(&type_) => {
            errors.push(FieldError::not_supported(at("type"), type_, &SUPPORTED));
        }
        _ => {}
    }
    for (quantity, field) in [
        (&target.value, "value"),
        (&target.average_value, "averageValue"),
    ] {
        if let Some(Quantity(text)) = quantity
            && parse_millis(text).is_ok_and(|millis| millis <= 0)
        {
            errors.push(FieldError::invalid(at(field), text, "must be positive"));
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        let rule = "must be greater than 0";
        errors.push(FieldError::invalid(at("averageUtilization"), percent, rule));
    }
}

fn validate_rules(rules: &HPAScalingRules, path: &str, errors: &mut Vec<FieldError>) {
    let at = |field: &str| format!("{path}.{field}");
    if let Some(window) = rules.stabilization_window_seconds {
        let path = at("stabilizationWindowSeconds");
        if window < 0 {
            let rule = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(path, window, rule));
        } else if window > LONGEST_WINDOW {
            let rule = format!("must be less than or equal to {LONGEST_WINDOW}");
            errors.push(FieldError::invalid(path, window, rule));
        }
    }
    if let Some(select) = &rules.select_policy {
        const SUPPORTED: [&str; 3] = ["Disabled", "Max", "Min"];
        if !SUPPORTED.contains(&select.as_str()) {
            errors.push(FieldError::not_supported(
                at("selectPolicy"),
                select,
                &SUPPORTED,
            ));
        }
    }
    if let Some(Quantity(text)) = &rules.tolerance
        && parse_millis(text).is_ok_and(|millis| millis < 0)
    {
        let rule = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(at("tolerance"), text, rule));
    }
    for (index, policy) in rules.policies.iter().flatten().enumerate() {
        validate_policy(policy, &at(&format!("policies[{index}]")), errors);
    }
}

fn validate_policy(policy: &HPAScalingPolicy, path: &str, errors: &mut Vec<FieldError>) {
    const SUPPORTED: [&str; 2] = ["Percent", "Pods"];
    let at = |field: &str| format!("{path}.{field}");
    if !SUPPORTED.contains(&policy.type_.as_str()) {
        errors.push(FieldError::not_supported(
            at("type"),
            &policy.type_,
            &SUPPORTED,
        ));
    }
    if policy.value <= 0 {
        let rule = "must be greater than zero";
        errors.push(FieldError::invalid(at("value"), policy.value, rule));
    }
    let (path, period) = (at("periodSeconds"), policy.period_seconds);
    if period <= 0 {
        errors.push(FieldError::invalid(
            path,
            period,
            "must be greater than zero",
        ));
    } else if period > LONGEST_PERIOD {
        let rule = format!("must be less than or equal to {LONGEST_PERIOD}");
        errors.push(FieldError::invalid(path, period, rule));
    }
}

/// How many metrics the Targets column shows.
const SHOWN: usize = 2;

/// `cpu: 12%/80%, 3/5 (avg) + 1 more...`
fn targets(object: &Value) -> String {
    let specs = list_at(object, "/spec/metrics");
    if specs.is_empty() {
        return columns::NONE.to_owned();
    }
    let current = list_at(object, "/status/currentMetrics");
    let texts: Vec<String> = specs
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(index, spec)| target(spec, current.get(index).unwrap_or(&Value::Null)))
        .collect();
    let shown = texts.join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn target(spec: &Value, status: &Value) -> String {
    let source = match spec["type"].as_str().unwrap_or_default() {
        "ContainerResource" => "containerResource",
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = &spec[source]["target"];
    let current = &status[source]["current"];
    let named = matches!(source, "resource" | "containerResource");
    let prefix = if named {
        format!("{}: ", spec[source]["name"].as_str().unwrap_or_default())
    } else {
        String::new()
    };
    let text = |value: &Value| value.as_str().unwrap_or("<unknown>").to_owned();
    if let Some(average) = wanted["averageValue"].as_str() {
        let suffix = if matches!(source, "external" | "object") {
            " (avg)"
        } else {
            ""
        };
        return format!(
            "{prefix}{}/{average}{suffix}",
            text(&current["averageValue"])
        );
    }
    if named {
        let percent = |value: &Value, none: &str| {
            let number = value.as_i64();
            number.map_or_else(|| none.to_owned(), |percent| format!("{percent}%"))
        };
        let now = percent(&current["averageUtilization"], "<unknown>");
        let goal = percent(&wanted["averageUtilization"], "<auto>");
        return format!("{prefix}{now}/{goal}");
    }
    format!(
        "{prefix}{}/{}",
        text(&current["value"]),
        text(&wanted["value"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn autoscaler(spec: Value) -> Value {
        let mut object = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default"}});
        object["spec"] = spec;
        object
    }

    #[test]
    fn an_autoscaler_without_metrics_follows_cpu() {
        let spec = json!({"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "behavior": {"scaleUp": {"tolerance": "0.05"}}});
        let mut object = autoscaler(spec);
        definition().strategy.default(&mut object);
        assert_eq!(object["spec"]["minReplicas"], 1);
        assert_eq!(targets(&object), "cpu: <unknown>/80%");
        let behavior = &object["spec"]["behavior"];
        assert_eq!(behavior["scaleUp"]["tolerance"], "50m");
        assert_eq!(
            behavior["scaleUp"]["policies"][0],
            json!({"type": "Pods", "value": 4, "periodSeconds": 15})
        );
        assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 300);
        assert_eq!(behavior["scaleDown"]["selectPolicy"], "Max");
    }

    #[track_caller]
    fn refused(spec: Value, field: &str) {
        let mut object = autoscaler(spec);
        let definition = definition();
        definition.strategy.default(&mut object);
        let errors = definition.strategy.validate(&object);
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, [field], "{errors:?}");
    }

    #[test]
    fn what_cannot_work_is_refused_by_field() {
        let with = |more: Value| {
            let mut spec =
                json!({"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
            for (key, value) in more.as_object().unwrap() {
                spec[key] = value.clone();
            }
            spec
        };
        refused(
            with(json!({"maxReplicas": 1, "minReplicas": 2})),
            "spec.maxReplicas",
        );
        refused(with(json!({"minReplicas": 0})), "spec.minReplicas");
        refused(
            with(json!({"scaleTargetRef": {"kind": "Deployment", "name": ""}})),
            "spec.scaleTargetRef.name",
        );
        let cpu = |target: Value| json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
        refused(
            with(json!({"metrics": cpu(json!({"type": "Utilization"}))})),
            "spec.metrics[0].resource.target.averageUtilization",
        );
        refused(
            with(json!({"metrics": [{"type": "Magic"}]})),
            "spec.metrics[0].type",
        );
        refused(
            with(json!({"metrics": [{"type": "Pods"}]})),
            "spec.metrics[0].pods",
        );
        let up = |rules: Value| json!({"behavior": {"scaleUp": rules}});
        refused(
            with(up(
                json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}),
            )),
            "spec.behavior.scaleUp.policies[0].periodSeconds",
        );
        refused(
            with(up(json!({"selectPolicy": "Most"}))),
            "spec.behavior.scaleUp.selectPolicy",
        );
        refused(
            with(up(json!({"stabilizationWindowSeconds": 3601}))),
            "spec.behavior.scaleUp.stabilizationWindowSeconds",
        );
    }

    #[test]
    fn targets_read_as_kubectl_prints_them() {
        let object = json!({
            "spec": {"metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                {"type": "External", "external": {"target": {"averageValue": "5"}}},
                {"type": "Object", "object": {"target": {"value": "3k"}}},
            ]},
            "status": {"currentMetrics": [
                {"type": "Resource", "resource": {"current": {"averageUtilization": 12}}},
                {"type": "External", "external": {"current": {"averageValue": "3"}}},
            ]},
        });
        assert_eq!(targets(&object), "cpu: 12%/80%, 3/5 (avg) + 1 more...");
        let third = &object["spec"]["metrics"][2];
        assert_eq!(target(third, &Value::Null), "<unknown>/3k");
    }
}
