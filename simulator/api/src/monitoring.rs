//! The kinds of the Prometheus Operator (`monitoring.coreos.com/v1`) that this product serves:
//! what is scraped, and which rules are watched.
//!
//! What is not among the fields here lands in `unsupported`, so that it can be refused by name.
//! <https://prometheus-operator.dev/docs/api-reference/api/>

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// API group of every kind in this module.
pub const GROUP: &str = "monitoring.coreos.com";
/// Version of every kind in this module.
pub const VERSION: &str = "v1";
/// Namespace of the Service that leads to the cluster's metrics.
pub const NAMESPACE: &str = "monitoring";
/// Name of the Service that leads to the cluster's metrics, and its port.
pub const SERVICE: &str = "prometheus";
/// Port of that Service.
pub const PORT: u16 = 9090;
/// On an alerting rule: the alert aborts the Rollout that its label `rollout` names.
pub const ABORT_ROLLOUT: &str = "devops-lab.dev/abort-rollout";

macro_rules! kind {
    ($(#[$doc:meta])* $type:ident, $plural:literal, $spec:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $type {
            /// `monitoring.coreos.com/v1`.
            #[serde(default)]
            pub api_version: String,
            /// The kind's name.
            #[serde(default)]
            pub kind: String,
            /// Standard metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
        }

        impl kube_core::Resource for $type {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;
            fn kind(_: &()) -> Cow<'_, str> { stringify!($type).into() }
            fn group(_: &()) -> Cow<'_, str> { GROUP.into() }
            fn version(_: &()) -> Cow<'_, str> { VERSION.into() }
            fn plural(_: &()) -> Cow<'_, str> { $plural.into() }
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
        }
    };
}

kind!(
    /// Scrapes the endpoints of Services.
    ServiceMonitor, "servicemonitors", ServiceMonitorSpec
);
kind!(
    /// Scrapes pods.
    PodMonitor, "podmonitors", PodMonitorSpec
);
kind!(
    /// Recording and alerting rules.
    PrometheusRule, "prometheusrules", PrometheusRuleSpec
);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Fields that are not supported here, by name.
            #[serde(flatten)]
            pub unsupported: BTreeMap<String, Value>,
        }
    )*};
}

types! {
    /// Spec of a [`ServiceMonitor`].
    ServiceMonitorSpec {
        /// Which Services.
        #[serde(default)]
        selector: LabelSelector,
        /// In which namespaces; the monitor's own when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace_selector: Option<NamespaceSelector>,
        /// What to scrape of each.
        #[serde(default)]
        endpoints: Vec<Endpoint>,
        /// Label of the Service that gives the job its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_label: Option<String>,
        /// Labels of the Service that its series get.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_labels: Option<Vec<String>>,
        /// Labels of the pod that its series get.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod_target_labels: Option<Vec<String>>,
    }

    /// Spec of a [`PodMonitor`].
    PodMonitorSpec {
        /// Which pods.
        #[serde(default)]
        selector: LabelSelector,
        /// In which namespaces; the monitor's own when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace_selector: Option<NamespaceSelector>,
        /// What to scrape of each.
        #[serde(default)]
        pod_metrics_endpoints: Vec<Endpoint>,
        /// Label of the pod that gives the job its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job_label: Option<String>,
        /// Labels of the pod that its series get.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod_target_labels: Option<Vec<String>>,
    }

    /// Which namespaces.
    NamespaceSelector {
        /// All of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        any: Option<bool>,
        /// These.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        match_names: Option<Vec<String>>,
    }

    /// What to scrape of a Service or pod.
    Endpoint {
        /// Name of the port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<String>,
        /// Name or number of the container's port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target_port: Option<IntOrString>,
        /// Path; `/metrics` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Only `http` is supported.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheme: Option<String>,
        /// Parameters of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<BTreeMap<String, Vec<String>>>,
        /// Time between two scrapes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        /// Longest time of one scrape.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scrape_timeout: Option<String>,
        /// Whether the target's own labels win over those of the target.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        honor_labels: Option<bool>,
        /// Whether times that the target gives are taken; they are when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        honor_timestamps: Option<bool>,
    }

    /// Spec of a [`PrometheusRule`].
    PrometheusRuleSpec {
        /// Groups of rules, each evaluated in its own rhythm.
        #[serde(default)]
        groups: Vec<RuleGroup>,
    }

    /// Rules that are evaluated one after another.
    RuleGroup {
        /// Its name, unique within the object.
        name: String,
        /// Time between two evaluations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        /// Labels of every rule's series and alerts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<BTreeMap<String, String>>,
        /// The rules.
        #[serde(default)]
        rules: Vec<Rule>,
    }

    /// A rule: it records a series, or raises an alert.
    Rule {
        /// Name of the series that it records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<String>,
        /// Name of the alert that it raises.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alert: Option<String>,
        /// PromQL: what is recorded, or what is wrong where it gives anything.
        #[serde(default)]
        expr: Option<IntOrString>,
        /// How long it must be wrong before the alert fires.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        for_: Option<String>,
        /// How long the alert goes on firing after it was last wrong.
        #[serde(rename = "keep_firing_for", default, skip_serializing_if = "Option::is_none")]
        keep_firing_for: Option<String>,
        /// Labels of the series or alert.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<BTreeMap<String, String>>,
        /// What is told of the alert.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<BTreeMap<String, String>>,
    }
}

impl Rule {
    /// The PromQL, which YAML may have read as a number.
    #[must_use]
    pub fn query(&self) -> String {
        match &self.expr {
            Some(IntOrString::String(text)) => text.clone(),
            Some(IntOrString::Int(number)) => number.to_string(),
            None => String::new(),
        }
    }
}

/// Milliseconds of a duration as Prometheus writes it (`30s`, `1h30m`): units from `y` down to
/// `ms`, each once. `None` for what is none.
#[must_use]
pub fn duration_ms(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut next) = (text, 0_i64, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let place = UNITS
            .iter()
            .position(|(unit, _)| *unit == &rest[..letters])?;
        if place < next {
            return None;
        }
        next = place + 1;
        rest = &rest[letters..];
        total = total.checked_add(count.checked_mul(UNITS[place].1)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        for (text, ms) in [
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("30m1h", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("1.5h", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
    }
}
