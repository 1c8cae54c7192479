//! What one metric of an autoscaler asks for.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lab_api::quantity::parse_millis;

use super::pods::Samples;
use super::ratio::{self, Answer, Workload};

/// A size, the metric's name in events, and its value for the status.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    pub(super) name: String,
    pub(super) status: MetricStatus,
}

/// Why a metric asks for nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// Reason of the event and the condition.
    pub(super) reason: &'static str,
    /// What went wrong.
    pub(super) message: String,
    /// The same with what it was part of.
    pub(super) context: String,
}

/// What was read for a metric.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// A value of each pod.
    Pods(Samples),
    /// One value, in thousandths.
    Value(i64),
}

/// Which kind a metric is of, with what failures of it are called.
pub(super) fn failure(metric: &MetricSpec, message: &str) -> Failure {
    let name = |source: &str| source.to_owned();
    let (reason, part, context) = match metric.type_.as_str() {
        "Resource" => {
            let source = metric.resource.as_ref();
            let resource = source.map(|source| name(&source.name)).unwrap_or_default();
            let what = kind_of_target(source.map(|source| &source.target));
            (
                "FailedGetResourceMetric",
                format!("failed to get {resource} {what}"),
                format!("failed to get {resource} resource metric value"),
            )
        }
        "ContainerResource" => {
            let source = metric.container_resource.as_ref();
            let resource = source.map(|source| name(&source.name)).unwrap_or_default();
            let what = kind_of_target(source.map(|source| &source.target));
            (
                "FailedGetContainerResourceMetric",
                format!("failed to get {resource} {what}"),
                format!("failed to get {resource} container metric value"),
            )
        }
        "Pods" => (
            "FailedGetPodsMetric",
            "failed to get pods metric".to_owned(),
            "failed to get pods metric value".to_owned(),
        ),
        "Object" => (
            "FailedGetObjectMetric",
            "failed to get object metric".to_owned(),
            "failed to get object metric value".to_owned(),
        ),
        "External" => {
            let source = metric.external.as_ref();
            let metric = source
                .map(|source| name(&source.metric.name))
                .unwrap_or_default();
            (
                "FailedGetExternalMetric",
                format!("failed to get external metric {metric}"),
                format!("failed to get {metric} external metric value"),
            )
        }
        _ => (
            "InvalidMetricSourceType",
            "unknown metric source type".to_owned(),
            "failed to read the metric".to_owned(),
        ),
    };
    let message = format!("{part}: {message}");
    Failure {
        reason,
        context: format!("{context}: {message}"),
        message,
    }
}

fn kind_of_target(target: Option<&MetricTarget>) -> &'static str {
    match target.and_then(|target| target.average_utilization) {
        Some(_) => "utilization",
        None => "usage",
    }
}

/// The size that a metric asks for.
pub(super) fn propose(
    metric: &MetricSpec,
    reading: Reading,
    workload: &Workload<'_>,
    status_replicas: i32,
) -> Result<Proposal, String> {
    let mut status = MetricStatus {
        type_: metric.type_.clone(),
        ..MetricStatus::default()
    };
    let wrong = || "the reading does not fit the metric".to_owned();
    let (replicas, name) = match (metric, reading) {
        (
            MetricSpec {
                resource: Some(source),
                ..
            },
            Reading::Pods(samples),
        ) => {
            let answer = of_resource(workload, samples, (&source.name, None), &source.target)?;
            status.resource = Some(ResourceMetricStatus {
                name: source.name.clone(),
                current: per_pod(&answer),
            });
            (
                answer.replicas,
                resource_name(&source.name, "resource", &source.target),
            )
        }
        (
            MetricSpec {
                container_resource: Some(source),
                ..
            },
            Reading::Pods(samples),
        ) => {
            let of = (source.name.as_str(), Some(source.container.as_str()));
            let answer = of_resource(workload, samples, of, &source.target)?;
            status.container_resource = Some(ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: per_pod(&answer),
            });
            let name = resource_name(&source.name, "container resource", &source.target);
            (answer.replicas, name)
        }
        (
            MetricSpec {
                pods: Some(source), ..
            },
            Reading::Pods(samples),
        ) => {
            let target = positive(source.target.average_value.as_ref())?;
            let answer = ratio::by_average(workload, samples, false, target)?;
            status.pods = Some(PodsMetricStatus {
                metric: source.metric.clone(),
                current: per_pod(&answer),
            });
            (
                answer.replicas,
                format!("pods metric {}", source.metric.name),
            )
        }
        (
            MetricSpec {
                object: Some(source),
                ..
            },
            Reading::Value(value),
        ) => {
            let (replicas, current) = of_value(workload, value, &source.target, status_replicas)?;
            status.object = Some(ObjectMetricStatus {
                described_object: source.described_object.clone(),
                metric: source.metric.clone(),
                current,
            });
            let kind = &source.described_object.kind;
            (replicas, format!("{kind} metric {}", source.metric.name))
        }
        (
            MetricSpec {
                external: Some(source),
                ..
            },
            Reading::Value(value),
        ) => {
            let (replicas, current) = of_value(workload, value, &source.target, status_replicas)?;
            status.external = Some(ExternalMetricStatus {
                metric: source.metric.clone(),
                current,
            });
            let selector = source.metric.selector.as_ref();
            let shown = selector.map_or("nil".to_owned(), |selector| {
                let labels = selector.match_labels.iter().flatten();
                let labels: Vec<_> = labels
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                labels.join(",")
            });
            (
                replicas,
                format!("external metric {}({shown})", source.metric.name),
            )
        }
        _ => return Err(wrong()),
    };
    Ok(Proposal {
        replicas,
        name,
        status,
    })
}

fn of_resource(
    workload: &Workload<'_>,
    samples: Samples,
    (resource, container): (&str, Option<&str>),
    target: &MetricTarget,
) -> Result<Answer, String> {
    match target.average_utilization {
        Some(percent) => ratio::by_utilization(workload, samples, (resource, container), percent),
        None => {
            let target = positive(target.average_value.as_ref())?;
            ratio::by_average(workload, samples, resource == "cpu", target)
        }
    }
}

fn of_value(
    workload: &Workload<'_>,
    value: i64,
    target: &MetricTarget,
    status_replicas: i32,
) -> Result<(i32, MetricValueStatus), String> {
    let Workload {
        replicas,
        pods,
        tolerance,
        ..
    } = *workload;
    if target.average_value.is_some() {
        let target = positive(target.average_value.as_ref())?;
        let answer = ratio::by_total(status_replicas, value, target, tolerance);
        return Ok((answer.replicas, per_pod(&answer)));
    }
    let target = positive(target.value.as_ref())?;
    let ready = pods.iter().filter(|pod| pod.is_ready()).count();
    let wanted = ratio::by_value(replicas, ready, value, target, tolerance);
    let current = MetricValueStatus {
        value: Some(quantity(value)),
        ..MetricValueStatus::default()
    };
    Ok((wanted, current))
}

fn per_pod(answer: &Answer) -> MetricValueStatus {
    MetricValueStatus {
        average_utilization: answer.utilization,
        average_value: Some(quantity(answer.average_milli)),
        value: None,
    }
}

fn resource_name(resource: &str, kind: &str, target: &MetricTarget) -> String {
    match target.average_utilization {
        Some(_) => format!("{resource} {kind} utilization (percentage of request)"),
        None => format!("{resource} {kind}"),
    }
}

fn positive(quantity: Option<&Quantity>) -> Result<i64, String> {
    let milli = quantity.and_then(|quantity| parse_millis(&quantity.0).ok());
    let milli = milli.and_then(|milli| i64::try_from(milli).ok());
    milli
        .filter(|milli| *milli > 0)
        .ok_or_else(|| "invalid metric source: the target must be a positive quantity".to_owned())
}

/// Thousandths as a quantity.
fn quantity(milli: i64) -> Quantity {
    Quantity(if milli % 1000 == 0 {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn failures_read_as_on_a_real_cluster() {
        let metric: MetricSpec = serde_json::from_value(json!({"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}))
        .unwrap();
        let found = failure(
            &metric,
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API",
        );
        assert_eq!(found.reason, "FailedGetResourceMetric");
        assert_eq!(
            found.message,
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"
        );
        assert_eq!(
            found.context,
            "failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"
        );
    }

    #[test]
    fn quantities_need_no_fraction() {
        assert_eq!(quantity(1500).0, "1500m");
        assert_eq!(quantity(3000).0, "3");
    }
}
