//! The Rollout type of Argo Rollouts (`argoproj.io/v1alpha1`).
//!
//! Field names and meanings follow
//! <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>. Fields that
//! upstream has and this product does not support are there as plain JSON, so that the
//! controller can refuse them by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// API group of the kinds of Argo Rollouts.
pub const GROUP: &str = "argoproj.io";
/// Version of the kinds of Argo Rollouts.
pub const VERSION: &str = "v1alpha1";

/// Marks a Rollout's ReplicaSets, their pods, and the selectors of its Services.
pub const POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";
/// Names, on a Service, the Rollout that writes its selector.
pub const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
/// Revision number of a Rollout or of one of its ReplicaSets.
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Earlier revision numbers of a ReplicaSet, comma-separated.
pub const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
/// Replicas that the Rollout wanted when it last scaled this ReplicaSet.
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
/// When an old ReplicaSet is to be scaled down, as RFC 3339.
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
/// Label of an AnalysisRun: why it was made.
pub const ROLLOUT_TYPE: &str = "rollout-type";
/// Label of an AnalysisRun: the canary step it belongs to.
pub const STEP_INDEX: &str = "step-index";
/// The traffic router plugin that this product has built in.
pub const GATEWAY_PLUGIN: &str = "argoproj-labs/gatewayAPI";
/// Label that the plugin sets on a route while a canary gets traffic.
pub const IN_PROGRESS: &str = "rollouts.argoproj.io/gatewayapi-canary";

/// Replicas in versions: the new one is tried on a share of the traffic before it gets it all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// `argoproj.io/v1alpha1`.
    #[serde(default)]
    pub api_version: String,
    /// `Rollout`.
    #[serde(default)]
    pub kind: String,
    /// Standard metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub spec: RolloutSpec,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RolloutStatus>,
}

impl kube_core::Resource for Rollout {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;
    fn kind(_: &()) -> Cow<'_, str> {
        "Rollout".into()
    }
    fn group(_: &()) -> Cow<'_, str> {
        GROUP.into()
    }
    fn version(_: &()) -> Cow<'_, str> {
        VERSION.into()
    }
    fn plural(_: &()) -> Cow<'_, str> {
        "rollouts".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Declares structs all of whose fields may be left out, as in a CustomResourceDefinition.
macro_rules! optional {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }
    )*};
}

optional! {
    /// Spec of a [`Rollout`].
    RolloutSpec {
        /// Pods wanted; 1 by default.
        replicas: i32,
        /// Which pods belong to it.
        selector: LabelSelector,
        /// What the pods are like.
        template: PodTemplateSpec,
        /// A Deployment to take the template from; not supported.
        workload_ref: Value,
        /// Seconds that a pod must be ready to count as available.
        min_ready_seconds: i32,
        /// Old ReplicaSets kept; 10 by default.
        revision_history_limit: i32,
        /// Seconds without progress after which an update has failed; 600 by default.
        progress_deadline_seconds: i32,
        /// Whether an update that made no progress in time is aborted.
        progress_deadline_abort: bool,
        /// Stops an update where it is.
        paused: bool,
        /// Pods older than this are replaced.
        restart_at: Time,
        /// How far back an update may go without its steps.
        rollback_window: RollbackWindow,
        /// How many finished AnalysisRuns are kept.
        analysis: AnalysisHistory,
        /// How a new version takes over.
        strategy: RolloutStrategy,
    }

    /// `spec.rollbackWindow`.
    RollbackWindow {
        /// Number of revisions.
        revisions: i32,
    }

    /// `spec.analysis`.
    AnalysisHistory {
        /// Successful runs kept; 5 by default.
        successful_run_history_limit: i32,
        /// Other finished runs kept; 5 by default.
        unsuccessful_run_history_limit: i32,
    }

    /// `spec.strategy`: one of the two.
    RolloutStrategy {
        /// Two full sets of pods and a switch.
        blue_green: BlueGreenStrategy,
        /// A growing share.
        canary: CanaryStrategy,
    }

    /// `spec.strategy.blueGreen`.
    BlueGreenStrategy {
        /// Service that users are served by.
        active_service: String,
        /// Service that selects the new version before it is promoted.
        preview_service: String,
        /// Replicas of the new version before it is promoted.
        preview_replica_count: i32,
        /// Whether the new version is promoted as soon as it is ready; true by default.
        auto_promotion_enabled: bool,
        /// Seconds before it is promoted.
        auto_promotion_seconds: i32,
        /// Pods that may be missing; 25 % by default.
        max_unavailable: IntOrString,
        /// Seconds that the old version is kept; 30 by default.
        scale_down_delay_seconds: i32,
        /// Old versions kept for that time at most.
        scale_down_delay_revision_limit: i32,
        /// Seconds that the new version is kept after an abort; 30 by default, 0 for ever.
        abort_scale_down_delay_seconds: i32,
        /// Analysis before the switch.
        pre_promotion_analysis: RolloutAnalysis,
        /// Analysis after the switch.
        post_promotion_analysis: RolloutAnalysis,
        /// Not supported.
        preview_metadata: Value,
        /// Not supported.
        active_metadata: Value,
        /// Not supported.
        anti_affinity: Value,
    }

    /// `spec.strategy.canary`.
    CanaryStrategy {
        /// Service that selects the new version.
        canary_service: String,
        /// Service that selects the stable version.
        stable_service: String,
        /// The way from 0 to 100 %.
        steps: Vec<CanaryStep>,
        /// Who divides the traffic; by numbers of pods where absent.
        traffic_routing: TrafficRouting,
        /// Pods above `replicas`; 25 % by default.
        max_surge: IntOrString,
        /// Pods that may be missing; 25 % by default.
        max_unavailable: IntOrString,
        /// Analysis that runs beside the steps.
        analysis: RolloutAnalysis,
        /// Seconds that the old version is kept; 30 by default.
        scale_down_delay_seconds: i32,
        /// Old versions kept for that time at most.
        scale_down_delay_revision_limit: i32,
        /// Seconds that the new version is kept after an abort; 30 by default, 0 for ever.
        abort_scale_down_delay_seconds: i32,
        /// Whether the stable version shrinks as the canary grows.
        dynamic_stable_scale: bool,
        /// Least number of pods of a version that has any.
        min_pods_per_replica_set: i32,
        /// Not supported.
        canary_metadata: Value,
        /// Not supported.
        stable_metadata: Value,
        /// Not supported.
        anti_affinity: Value,
        /// Not supported.
        ping_pong: Value,
        /// Not supported.
        replica_progress_threshold: Value,
    }

    /// `trafficRouting`.
    TrafficRouting {
        /// Configuration of each traffic router plugin by its name.
        plugins: BTreeMap<String, Value>,
        /// Routes that steps may make.
        managed_routes: Vec<ManagedRoute>,
        /// What all weights add up to; 100 by default.
        max_traffic_weight: i32,
        /// Not supported.
        istio: Value,
        /// Not supported.
        nginx: Value,
        /// Not supported.
        alb: Value,
        /// Not supported.
        smi: Value,
        /// Not supported.
        ambassador: Value,
        /// Not supported.
        app_mesh: Value,
        /// Not supported.
        traefik: Value,
        /// Not supported.
        apisix: Value,
    }

    /// A route that steps may make.
    ManagedRoute {
        /// Name.
        name: String,
    }

    /// Configuration of the Gateway API plugin.
    GatewayPlugin {
        /// Namespace of the routes; the Rollout's by default.
        namespace: String,
        /// One HTTPRoute.
        http_route: String,
        /// Several HTTPRoutes.
        http_routes: Vec<PluginRoute>,
        /// One GRPCRoute.
        grpc_route: String,
        /// Several GRPCRoutes.
        grpc_routes: Vec<PluginRoute>,
        /// Whether routes are left unlabelled during an update.
        disable_in_progress_label: bool,
        /// Another label than [`IN_PROGRESS`].
        in_progress_label_key: String,
        /// Another value than `in-progress`.
        in_progress_label_value: String,
    }

    /// A route of the Gateway API plugin.
    PluginRoute {
        /// Name.
        name: String,
        /// Whether steps may make header routes in it.
        use_header_routes: bool,
    }

    /// One step; exactly one field is set.
    CanaryStep {
        /// Share of the traffic for the new version.
        set_weight: i32,
        /// A wait.
        pause: RolloutPause,
        /// An analysis that must succeed.
        analysis: RolloutAnalysis,
        /// Number of pods of the new version, apart from its weight.
        set_canary_scale: SetCanaryScale,
        /// Requests with these headers go to the new version.
        set_header_route: SetHeaderRoute,
        /// Not supported.
        experiment: Value,
        /// Not supported.
        set_mirror_route: Value,
        /// Not supported.
        plugin: Value,
        /// Not supported.
        replica_progress_threshold: Value,
    }

    /// `pause`.
    RolloutPause {
        /// Seconds, or a text such as `1h`; without, until somebody promotes.
        duration: IntOrString,
    }

    /// `setCanaryScale`: one of the three.
    SetCanaryScale {
        /// Share of `replicas`.
        weight: i32,
        /// Number.
        replicas: i32,
        /// As the weight says, after another step said otherwise.
        match_traffic_weight: bool,
    }

    /// `setHeaderRoute`; without matches the route is removed.
    SetHeaderRoute {
        /// One of the managed routes.
        name: String,
        /// All of these must match.
        r#match: Vec<HeaderMatch>,
    }

    /// A header that must be there.
    HeaderMatch {
        /// Name.
        header_name: String,
        /// Value.
        header_value: StringMatch,
    }

    /// One of the three.
    StringMatch {
        /// The whole text.
        exact: String,
        /// Its beginning.
        prefix: String,
        /// A regular expression.
        regex: String,
    }

    /// An analysis as a Rollout asks for it.
    RolloutAnalysis {
        /// Templates that it is made from.
        templates: Vec<TemplateReference>,
        /// Arguments for them.
        args: Vec<RolloutArgument>,
        /// First step of the background analysis.
        starting_step: i32,
        /// Metrics that do not count.
        dry_run: Vec<Value>,
        /// Measurements kept.
        measurement_retention: Vec<Value>,
        /// Labels and annotations of the run.
        analysis_run_metadata: RunMetadata,
    }

    /// A template.
    TemplateReference {
        /// Name.
        template_name: String,
        /// Whether it is a ClusterAnalysisTemplate.
        cluster_scope: bool,
    }

    /// An argument of an analysis.
    RolloutArgument {
        /// Name.
        name: String,
        /// Value.
        value: String,
        /// Where the value is to be found.
        value_from: ArgumentSource,
    }

    /// Where an argument's value is to be found: one of the two.
    ArgumentSource {
        /// Stable or Latest: that version's hash.
        pod_template_hash_value: String,
        /// A field of the Rollout.
        field_ref: ArgumentField,
    }

    /// A field of the Rollout.
    ArgumentField {
        /// Such as `metadata.labels['region']`.
        field_path: String,
    }

    /// Labels and annotations of an AnalysisRun.
    RunMetadata {
        /// Labels.
        labels: BTreeMap<String, String>,
        /// Annotations.
        annotations: BTreeMap<String, String>,
    }
}

/// True for what Go's `omitempty` leaves out.
fn is_empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares structs whose empty fields are left out, as Go's `omitempty` does.
macro_rules! observed {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(default, skip_serializing_if = "is_empty")]
                pub $field: $type,
            )*
        }
    )*};
}

/// Status of a [`Rollout`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutStatus {
    /// True where the update was given up.
    #[serde(skip_serializing_if = "is_empty")]
    pub abort: bool,
    /// Since when.
    #[serde(skip_serializing_if = "is_empty")]
    pub aborted_at: Option<Time>,
    /// Why the controller waits.
    #[serde(skip_serializing_if = "is_empty", deserialize_with = "null_is_empty")]
    pub pause_conditions: Vec<PauseCondition>,
    /// True where the controller paused; with no pause condition left, a person resumed.
    #[serde(skip_serializing_if = "is_empty")]
    pub controller_pause: bool,
    /// True where a person wants to skip what is left of the update.
    #[serde(skip_serializing_if = "is_empty")]
    pub promote_full: bool,
    /// Hash of the template that is wanted.
    #[serde(skip_serializing_if = "is_empty")]
    pub current_pod_hash: String,
    /// Hash of the steps.
    #[serde(skip_serializing_if = "is_empty")]
    pub current_step_hash: String,
    /// The step being done, counted from 0.
    #[serde(skip_serializing_if = "is_empty")]
    pub current_step_index: Option<i32>,
    /// Hash of the version that serves users: not the name of a ReplicaSet.
    #[serde(rename = "stableRS", skip_serializing_if = "is_empty")]
    pub stable_rs: String,
    /// Pods that exist.
    #[serde(skip_serializing_if = "is_empty")]
    pub replicas: i32,
    /// Pods of the wanted template.
    #[serde(skip_serializing_if = "is_empty")]
    pub updated_replicas: i32,
    /// Pods that are ready.
    #[serde(skip_serializing_if = "is_empty")]
    pub ready_replicas: i32,
    /// Pods that have been ready for `minReadySeconds`.
    #[serde(skip_serializing_if = "is_empty")]
    pub available_replicas: i32,
    /// Pods that an autoscaler counts.
    #[serde(rename = "HPAReplicas", skip_serializing_if = "is_empty")]
    pub hpa_replicas: i32,
    /// Which pods an autoscaler counts, as in a query.
    #[serde(skip_serializing_if = "is_empty")]
    pub selector: String,
    /// The generation that this status is about, as a text.
    #[serde(skip_serializing_if = "is_empty")]
    pub observed_generation: String,
    /// Hashes that were taken.
    #[serde(skip_serializing_if = "is_empty")]
    pub collision_count: Option<i32>,
    /// The restart that was done last.
    #[serde(skip_serializing_if = "is_empty")]
    pub restarted_at: Option<Time>,
    /// Progressing, Available, Paused, Completed, Healthy, InvalidSpec, ReplicaFailure.
    #[serde(skip_serializing_if = "is_empty", deserialize_with = "null_is_empty")]
    pub conditions: Vec<RolloutCondition>,
    /// Healthy, Degraded, Progressing or Paused.
    #[serde(skip_serializing_if = "is_empty")]
    pub phase: String,
    /// Why.
    #[serde(skip_serializing_if = "is_empty")]
    pub message: String,
    /// What is particular to canaries.
    pub canary: CanaryStatus,
    /// What is particular to blue/green.
    pub blue_green: BlueGreenStatus,
    /// Not used.
    #[serde(skip_serializing_if = "is_empty")]
    pub workload_observed_generation: String,
}

/// Clients clear a list by writing `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

observed! {
    /// `status.canary`.
    CanaryStatus {
        /// The current step's analysis.
        current_step_analysis_run_status: Option<RunStatus>,
        /// The analysis beside the steps.
        current_background_analysis_run_status: Option<RunStatus>,
        /// How the traffic is divided.
        weights: Option<TrafficWeights>,
        /// Not used.
        current_experiment: String,
        /// Not used.
        stable_ping_pong: String,
    }

    /// `status.blueGreen`.
    BlueGreenStatus {
        /// Hash that the preview Service selects.
        preview_selector: String,
        /// Hash that the active Service selects.
        active_selector: String,
        /// True once the preview has been up and is to grow to full size.
        scale_up_preview_check_point: bool,
        /// The analysis before the switch.
        pre_promotion_analysis_run_status: Option<RunStatus>,
        /// The analysis after the switch.
        post_promotion_analysis_run_status: Option<RunStatus>,
    }
}

/// What a Rollout remembers of an AnalysisRun.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// Name.
    pub name: String,
    /// Phase.
    pub status: String,
    /// Message.
    #[serde(skip_serializing_if = "is_empty")]
    pub message: String,
}

/// How the traffic is divided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficWeights {
    /// For the new version.
    pub canary: WeightDestination,
    /// For the stable version.
    pub stable: WeightDestination,
    /// Whether the router has taken it over.
    #[serde(skip_serializing_if = "is_empty")]
    pub verified: Option<bool>,
}

/// One side's share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDestination {
    /// The share.
    pub weight: i32,
    /// The Service that gets it.
    #[serde(skip_serializing_if = "is_empty")]
    pub service_name: String,
    /// The version behind the Service.
    #[serde(skip_serializing_if = "is_empty")]
    pub pod_template_hash: String,
}

/// Why the controller waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseCondition {
    /// CanaryPauseStep, BlueGreenPause or InconclusiveAnalysisRun.
    pub reason: String,
    /// Since when.
    pub start_time: Time,
}

/// A condition of a Rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutCondition {
    /// Type.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// When anything of it changed.
    pub last_update_time: Time,
    /// When its status changed.
    pub last_transition_time: Time,
    /// Reason, as one word.
    pub reason: String,
    /// For people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rollout_round_trips_without_adding_fields() {
        let text = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "hello"},
            "spec": {"replicas": 3, "paused": false,
                "strategy": {"canary": {"canaryService": "hello-canary", "steps": [
                    {"setWeight": 10}, {"pause": {}}, {"pause": {"duration": "1h"}},
                    {"setHeaderRoute": {"name": "beta", "match": [
                        {"headerName": "x-beta", "headerValue": {"exact": "1"}}]}}]}}},
            "status": {"HPAReplicas": 3, "stableRS": "abc", "canary": {}, "blueGreen": {}}
        });
        let rollout: Rollout = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&rollout).unwrap(), text);
    }

    #[test]
    fn a_status_with_null_lists_is_read() {
        let status: RolloutStatus =
            serde_json::from_value(json!({"pauseConditions": null, "conditions": null})).unwrap();
        assert_eq!(status, RolloutStatus::default());
    }
}
