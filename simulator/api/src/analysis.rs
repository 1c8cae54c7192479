//! The analysis types of Argo Rollouts (`argoproj.io/v1alpha1`): AnalysisTemplate,
//! ClusterAnalysisTemplate and AnalysisRun.
//!
//! Field names and meanings follow
//! <https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>. What the schema allows but
//! this product does not do (other metric providers, authentication) is kept as it was written, so
//! that it can be refused by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// API group of every kind in this module.
pub const GROUP: &str = "argoproj.io";
/// Version of every kind in this module.
pub const VERSION: &str = "v1alpha1";

macro_rules! kind {
    ($(#[$doc:meta])* $type:ident, $scope:ty, $plural:literal, $spec:ty $(, $status:ty)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $type {
            /// `argoproj.io/v1alpha1`.
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
            $(
                /// What was observed.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub status: Option<$status>,
            )?
        }

        impl kube_core::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;
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
    /// Metrics that say whether a release is good, for the Rollouts of a namespace.
    AnalysisTemplate, NamespaceResourceScope, "analysistemplates", AnalysisTemplateSpec
);
kind!(
    /// The same, for every namespace.
    ClusterAnalysisTemplate, ClusterResourceScope, "clusteranalysistemplates", AnalysisTemplateSpec
);
kind!(
    /// One run of the metrics of one or more templates.
    AnalysisRun, NamespaceResourceScope, "analysisruns", AnalysisRunSpec, AnalysisRunStatus
);

/// Declares structs whose JSON is camelCase, with absent options left out.
macro_rules! types {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

types! {
    /// Spec of an [`AnalysisTemplate`] and of a [`ClusterAnalysisTemplate`].
    AnalysisTemplateSpec {
        /// What is measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metrics: Option<Vec<Metric>>,
        /// What the template asks of whoever uses it; an argument with a value has a default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<Vec<Argument>>,
        /// Metrics whose outcome does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<Vec<DryRun>>,
        /// How many measurements are kept, by metric.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        measurement_retention: Option<Vec<MeasurementRetention>>,
        /// Further templates, whose metrics are added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        templates: Option<Vec<AnalysisTemplateRef>>,
    }

    /// A template named by another one, or by a Rollout.
    AnalysisTemplateRef {
        /// Name of the template.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template_name: Option<String>,
        /// True where it is a ClusterAnalysisTemplate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cluster_scope: Option<bool>,
    }

    /// One thing that is measured, once or again and again.
    Metric {
        /// Unique within the run.
        #[serde(default)]
        name: String,
        /// Time between two measurements (`30s`, `5m`); absent for one measurement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        /// Time before the first measurement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initial_delay: Option<String>,
        /// Number of measurements; absent with an interval: until the run is stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<IntOrString>,
        /// An expression over `result`; true means that the measurement is Successful.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        success_condition: Option<String>,
        /// An expression over `result`; true means that the measurement Failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure_condition: Option<String>,
        /// Failed measurements that are forgiven; −1 forgives all. 0 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure_limit: Option<IntOrString>,
        /// Inconclusive measurements that are forgiven. 0 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inconclusive_limit: Option<IntOrString>,
        /// Errors in a row that are forgiven. 4 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consecutive_error_limit: Option<IntOrString>,
        /// Successes in a row that are enough; 0 (the default) asks for `count` of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consecutive_success_limit: Option<IntOrString>,
        /// Where the measurement comes from.
        #[serde(default)]
        provider: MetricProvider,
    }

    /// Where measurements come from; exactly one is set.
    MetricProvider {
        /// A PromQL query.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prometheus: Option<PrometheusMetric>,
        /// An HTTP request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        web: Option<WebMetric>,
        /// A Job that succeeds or fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobMetric>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kayenta: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datadog: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wavefront: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_relic: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cloud_watch: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        graphite: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        influxdb: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        skywalking: Option<Value>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plugin: Option<Value>,
    }

    /// A PromQL query.
    PrometheusMetric {
        /// `http://HOST:PORT` of the Prometheus API.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The query.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query: Option<String>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authentication: Option<Value>,
        /// Seconds; 30 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<i64>,
        /// True where the server's certificate is not verified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        insecure: Option<bool>,
        /// Headers to send.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers: Option<Vec<MetricHeader>>,
        /// A query over a range of time instead of the present moment. Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        range_query: Option<Value>,
    }

    /// A header of a request.
    MetricHeader {
        /// Name.
        #[serde(default)]
        key: String,
        /// Value.
        #[serde(default)]
        value: String,
    }

    /// An HTTP request whose answer is measured.
    WebMetric {
        /// GET (the default), POST or PUT.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
        /// Address.
        #[serde(default)]
        url: String,
        /// Headers to send.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers: Option<Vec<MetricHeader>>,
        /// Body, as a text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// Body, as JSON. Not together with `body`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json_body: Option<Value>,
        /// Seconds; 10 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_seconds: Option<i64>,
        /// What of the answer is the result; `{$}`, all of it, by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        json_path: Option<String>,
        /// True where the server's certificate is not verified.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        insecure: Option<bool>,
        /// Refused by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authentication: Option<Value>,
    }

    /// A Job whose end is the measurement: Complete is Successful, Failed is Failed.
    JobMetric {
        /// Labels and annotations of the Job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<ObjectMeta>,
        /// Spec of the Job.
        spec: JobSpec,
    }

    /// A metric whose outcome does not count.
    DryRun {
        /// Name of the metric, or a regular expression that matches names; `*` means all.
        #[serde(default)]
        metric_name: String,
    }

    /// How many measurements of a metric are kept.
    MeasurementRetention {
        /// Name of the metric, or a regular expression that matches names; `*` means all.
        #[serde(default)]
        metric_name: String,
        /// How many.
        #[serde(default)]
        limit: i32,
    }

    /// A value by name; `{{args.NAME}}` in a metric stands for it.
    Argument {
        /// Name.
        #[serde(default)]
        name: String,
        /// Value; in a template, the default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// Where the value comes from instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_from: Option<ValueFrom>,
    }

    /// Where an [`Argument`]'s value comes from.
    ValueFrom {
        /// A key of a Secret in the run's namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_key_ref: Option<SecretKeyRef>,
        /// A field of the Rollout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field_ref: Option<FieldRef>,
    }

    /// A key of a Secret.
    SecretKeyRef {
        /// Name of the Secret.
        #[serde(default)]
        name: String,
        /// Key of its data.
        #[serde(default)]
        key: String,
    }

    /// A field of an object.
    FieldRef {
        /// Such as `metadata.labels['app']`.
        #[serde(default)]
        field_path: String,
    }

    /// Spec of an [`AnalysisRun`].
    AnalysisRunSpec {
        /// What is measured.
        #[serde(default)]
        metrics: Vec<Metric>,
        /// Values of the arguments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<Vec<Argument>>,
        /// True asks the run to end early.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terminate: Option<bool>,
        /// Metrics whose outcome does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run: Option<Vec<DryRun>>,
        /// How many measurements are kept, by metric; ten where it is silent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        measurement_retention: Option<Vec<MeasurementRetention>>,
        /// When the finished run is deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_strategy: Option<TtlStrategy>,
    }

    /// When a finished run is deleted, in seconds after its end.
    TtlStrategy {
        /// However it ended, unless one of the others says more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_after_completion: Option<i32>,
        /// After it Failed or ended in Error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_after_failure: Option<i32>,
        /// After it was Successful.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_after_success: Option<i32>,
    }

    /// Status of an [`AnalysisRun`].
    AnalysisRunStatus {
        /// How far it has come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<AnalysisPhase>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// What each metric showed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        metric_results: Vec<MetricResult>,
        /// When it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Time>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        completed_at: Option<Time>,
        /// Metrics that count, by outcome.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_summary: Option<RunSummary>,
        /// Metrics that do not count, by outcome.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dry_run_summary: Option<RunSummary>,
    }

    /// Metrics by outcome.
    RunSummary {
        /// All of them.
        #[serde(default, skip_serializing_if = "is_zero")]
        count: i32,
        /// Successful.
        #[serde(default, skip_serializing_if = "is_zero")]
        successful: i32,
        /// Failed.
        #[serde(default, skip_serializing_if = "is_zero")]
        failed: i32,
        /// Inconclusive.
        #[serde(default, skip_serializing_if = "is_zero")]
        inconclusive: i32,
        /// Ended in Error.
        #[serde(default, skip_serializing_if = "is_zero")]
        error: i32,
    }

    /// What one metric showed.
    MetricResult {
        /// Name of the metric.
        #[serde(default)]
        name: String,
        /// How far it has come.
        #[serde(default)]
        phase: AnalysisPhase,
        /// The latest measurements, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        measurements: Vec<Measurement>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Measurements that came to a result: errors do not count.
        #[serde(default, skip_serializing_if = "is_zero")]
        count: i32,
        /// Successful measurements.
        #[serde(default, skip_serializing_if = "is_zero")]
        successful: i32,
        /// Failed measurements.
        #[serde(default, skip_serializing_if = "is_zero")]
        failed: i32,
        /// Inconclusive measurements.
        #[serde(default, skip_serializing_if = "is_zero")]
        inconclusive: i32,
        /// Measurements that could not be taken.
        #[serde(default, skip_serializing_if = "is_zero")]
        error: i32,
        /// Of these, the latest in a row.
        #[serde(default, skip_serializing_if = "is_zero")]
        consecutive_error: i32,
        /// True where the outcome does not count.
        #[serde(default, skip_serializing_if = "is_false")]
        dry_run: bool,
        /// What the provider has to say about the metric, such as the query as it was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<BTreeMap<String, String>>,
        /// Successful measurements, the latest in a row.
        #[serde(default, skip_serializing_if = "is_zero")]
        consecutive_success: i32,
    }

    /// One measurement.
    Measurement {
        /// Its outcome, or Running.
        #[serde(default)]
        phase: AnalysisPhase,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// When it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<Time>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished_at: Option<Time>,
        /// What was measured, as a text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// What the provider has to say about it, such as the name of a Job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<BTreeMap<String, String>>,
        /// When to look at it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_at: Option<Time>,
    }
}

/// How far a run, a metric or a measurement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AnalysisPhase {
    /// Not begun.
    #[default]
    #[serde(alias = "")]
    Pending,
    /// Under way.
    Running,
    /// Ended well.
    Successful,
    /// Ended badly.
    Failed,
    /// Could not be measured.
    Error,
    /// Neither good nor bad: a person has to decide.
    Inconclusive,
}

impl AnalysisPhase {
    /// True where it does not change any more.
    #[must_use]
    pub fn is_completed(self) -> bool {
        match self {
            Self::Successful | Self::Failed | Self::Error | Self::Inconclusive => true,
            Self::Pending | Self::Running => false,
        }
    }

    /// True where `self` is worse than `other`: Successful, Running, Pending, Inconclusive,
    /// Error, Failed is the order from best to worst.
    #[must_use]
    pub fn is_worse_than(self, other: Self) -> bool {
        self.badness() > other.badness()
    }

    fn badness(self) -> u8 {
        match self {
            Self::Successful => 0,
            Self::Running => 1,
            Self::Pending => 2,
            Self::Inconclusive => 3,
            Self::Error => 4,
            Self::Failed => 5,
        }
    }

    /// As written in a status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

impl fmt::Display for AnalysisPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MetricProvider {
    /// Names of the providers that are set, as the field is spelt.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let set = [
            ("prometheus", self.prometheus.is_some()),
            ("web", self.web.is_some()),
            ("job", self.job.is_some()),
            ("kayenta", self.kayenta.is_some()),
            ("datadog", self.datadog.is_some()),
            ("wavefront", self.wavefront.is_some()),
            ("newRelic", self.new_relic.is_some()),
            ("cloudWatch", self.cloud_watch.is_some()),
            ("graphite", self.graphite.is_some()),
            ("influxdb", self.influxdb.is_some()),
            ("skywalking", self.skywalking.is_some()),
            ("plugin", self.plugin.is_some()),
        ];
        set.into_iter()
            .filter_map(|(name, is_set)| is_set.then_some(name))
            .collect()
    }
}

impl AnalysisRun {
    /// Its phase; Pending before the controller has seen it.
    #[must_use]
    pub fn phase(&self) -> AnalysisPhase {
        self.status
            .as_ref()
            .and_then(|status| status.phase)
            .unwrap_or_default()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(count: &i32) -> bool {
    *count == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_comes_back_as_it_was_written() {
        let run = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": {"name": "a"},
            "spec": {
                "metrics": [{"name": "errors", "interval": "30s", "count": 3, "failureLimit": "{{args.limit}}",
                    "successCondition": "result[0] < 0.05",
                    "provider": {"prometheus": {"address": "http://prometheus:9090", "query": "up"}}}],
                "args": [{"name": "limit", "value": "2"}]
            },
            "status": {"phase": "Running", "metricResults": [{"name": "errors", "phase": "Running",
                "measurements": [{"phase": "Successful", "value": "[0.01]"}], "count": 1, "successful": 1}],
                "runSummary": {"count": 1}}
        });
        let read: AnalysisRun = serde_json::from_value(run.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), run);
        assert_eq!(read.phase(), AnalysisPhase::Running);
    }

    #[test]
    fn failed_is_the_worst_and_successful_the_best() {
        let order = [
            AnalysisPhase::Successful,
            AnalysisPhase::Running,
            AnalysisPhase::Pending,
            AnalysisPhase::Inconclusive,
            AnalysisPhase::Error,
            AnalysisPhase::Failed,
        ];
        for pair in order.windows(2) {
            assert!(pair[1].is_worse_than(pair[0]), "{pair:?}");
        }
    }
}
