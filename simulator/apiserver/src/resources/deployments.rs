//! Deployment: replicas of one pod template, changed step by step.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::columns::{self, count, int_at, text};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, pod_spec_defaults, pod_template};
use crate::validation::FieldError;

/// The definition of Deployment.
pub(super) fn definition() -> ResourceDef {
    let mut all = vec![
        columns::name(),
        text("Ready", "Ready replicas of the wanted ones.", |o| {
            let ready = int_at(o, "/status/readyReplicas");
            format!("{ready}/{}", int_at(o, "/spec/replicas"))
        }),
        count(
            "Up-to-date",
            "Replicas made from the present template.",
            |o| int_at(o, "/status/updatedReplicas"),
        ),
        count(
            "Available",
            "Replicas ready for at least minReadySeconds.",
            |o| int_at(o, "/status/availableReplicas"),
        ),
        columns::age(),
    ];
    all.extend(columns::workload());
    ResourceDef {
        short_names: words(&["deploy"]),
        categories: words(&["all"]),
        subresources: vec![Subresource::Status, Subresource::Scale],
        columns: all,
        ..define::<Deployment>("apps", "Deployment", "deployments")
    }
}

/// Revisions kept for a rollback.
const REVISION_HISTORY_LIMIT: i32 = 10;
/// Seconds without progress after which a rollout has failed.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// Share of the replicas that a rolling update may add, and may miss.
const ROLLING_SHARE: &str = "25%";

impl Kind for Deployment {
    const SCOPE: Scope = Scope::Namespaced;

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        pod_template::set_defaults(&mut spec.template);
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit
            .get_or_insert(REVISION_HISTORY_LIMIT);
        spec.progress_deadline_seconds
            .get_or_insert(PROGRESS_DEADLINE_SECONDS);
        default_strategy(spec.strategy.get_or_insert_default());
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(DeploymentStatus::default());
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let Some(spec) = &self.spec else { return };
        pod_template::validate_count(spec.replicas, "spec.replicas", errors);
        pod_template::validate(&spec.selector, &spec.template, errors);
        if let Some(strategy) = &spec.strategy {
            validate_strategy(strategy, errors);
        }
        pod_template::validate_count(spec.min_ready_seconds, "spec.minReadySeconds", errors);
        let limit = spec.revision_history_limit;
        pod_template::validate_count(limit, "spec.revisionHistoryLimit", errors);
        validate_deadline(spec, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if let (Some(spec), Some(old)) = (&self.spec, &old.spec) {
            pod_template::validate_selector_update(&spec.selector, &old.selector, errors);
        }
    }
}

fn default_strategy(strategy: &mut DeploymentStrategy) {
    pod_spec_defaults::text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() != Some("RollingUpdate") {
        return;
    }
    let rolling = strategy.rolling_update.get_or_insert_default();
    let share = || IntOrString::String(ROLLING_SHARE.to_owned());
    rolling.max_unavailable.get_or_insert_with(share);
    rolling.max_surge.get_or_insert_with(share);
}

fn validate_strategy(strategy: &DeploymentStrategy, errors: &mut Vec<FieldError>) {
    let rolling = strategy.rolling_update.as_ref();
    match strategy.type_.as_deref().unwrap_or_default() {
        "Recreate" if rolling.is_some() => errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" => {}
        "RollingUpdate" => match rolling {
            Some(rolling) => validate_rolling(rolling, errors),
            None => errors.push(FieldError::required(
                "spec.strategy.rollingUpdate",
                "this should be defaulted and never be nil",
            )),
        },
        type_ => errors.push(FieldError::not_supported(
            "spec.strategy.type",
            type_,
            &["Recreate", "RollingUpdate"],
        )),
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, errors: &mut Vec<FieldError>) {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let path = "spec.strategy.rollingUpdate.maxUnavailable";
    pod_template::validate_share(unavailable, path, errors);
    pod_template::validate_share(surge, "spec.strategy.rollingUpdate.maxSurge", errors);
    let is_zero = |share: &IntOrString| match share {
        IntOrString::Int(count) => *count == 0,
        IntOrString::String(_) => pod_template::percent(share) == Some(0),
    };
    if is_zero(unavailable) && is_zero(surge) {
        let rule = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(path, unavailable, rule));
    }
    if pod_template::percent(unavailable).is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(
            path,
            unavailable,
            "must not be greater than 100%",
        ));
    }
}

fn validate_deadline(spec: &DeploymentSpec, errors: &mut Vec<FieldError>) {
    let path = "spec.progressDeadlineSeconds";
    pod_template::validate_count(spec.progress_deadline_seconds, path, errors);
    if let Some(deadline) = spec.progress_deadline_seconds
        && deadline <= spec.min_ready_seconds.unwrap_or_default()
    {
        let rule = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid(path, deadline, rule));
    }
}
