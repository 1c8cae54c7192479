//! Pod: containers that run together on one node.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Toleration};
use lab_api::pods;

use super::typed::{Kind, define, words};
use super::{
    PrepareContext, ResourceDef, Scope, Subresource, pod_columns, pod_spec_defaults,
    pod_spec_validation, resource_requirements,
};
use crate::validation::FieldError;

/// The definition of Pod.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["po"]),
        categories: words(&["all"]),
        subresources: vec![
            Subresource::Status,
            Subresource::Log,
            Subresource::Binding,
            Subresource::Eviction,
            Subresource::Exec,
            Subresource::PortForward,
        ],
        columns: pod_columns::all(),
        ..define::<Pod>("", "Pod", "pods")
    }
}

const SPEC_RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Priority of the classes that Kubernetes brings along.
const SYSTEM_PRIORITIES: &[(&str, i32)] = &[
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

impl Kind for Pod {
    const SCOPE: Scope = Scope::Namespaced;
    const SELECTABLE: &'static [&'static str] = &[
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
        "status.podIPs",
    ];

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        pod_spec_defaults::apply(spec);
        pod_spec_defaults::requests_from_limits(spec);
        spec.enable_service_links.get_or_insert(true);
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        let spec = self.spec.get_or_insert_default();
        set_priority(spec)?;
        if spec
            .ephemeral_containers
            .as_ref()
            .is_some_and(|list| !list.is_empty())
        {
            let rule = "cannot be set on create";
            return Err(FieldError::forbidden("spec.ephemeralContainers", rule));
        }
        self.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(resource_requirements::qos_class(spec).to_owned()),
            ..PodStatus::default()
        });
        Ok(())
    }

    /// A pod that is replaced from its author's file keeps what admission added.
    fn prepare_for_update(
        &mut self,
        old: &Self,
        _context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        if let (Some(spec), Some(old)) = (&mut self.spec, &old.spec) {
            spec.priority = spec.priority.or(old.priority);
            let policy = old.preemption_policy.as_deref().unwrap_or_default();
            pod_spec_defaults::text(&mut spec.preemption_policy, policy);
        }
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let default = PodSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        pod_spec_validation::validate(spec, "spec", errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        let (Some(spec), Some(old)) = (&self.spec, &old.spec) else {
            return;
        };
        if spec.containers.len() != old.containers.len() {
            let rule = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden("spec.containers", rule));
            return;
        }
        validate_deadline(spec, old, errors);
        validate_tolerations(spec, old, errors);
        if with_changeable_fields_of(spec, old) != *spec {
            errors.push(FieldError::forbidden("spec", SPEC_RULE));
        }
    }

    /// A pod that nothing runs yet, or any more, goes at once.
    fn grace_period_seconds(&self, requested: Option<i64>) -> Option<i64> {
        let spec = self.spec.as_ref();
        let wanted = requested
            .or_else(|| spec?.termination_grace_period_seconds)
            .unwrap_or_default();
        let node = spec
            .and_then(|spec| spec.node_name.as_deref())
            .unwrap_or_default();
        if node.is_empty() || pods::is_finished(self) {
            return Some(0);
        }
        Some(if wanted < 0 { 1 } else { wanted })
    }
}

/// What the Priority admission plugin does: the class gives the number.
fn set_priority(spec: &mut PodSpec) -> Result<(), FieldError> {
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let known = SYSTEM_PRIORITIES.iter().find(|(name, _)| *name == class);
    let priority = match (class, known) {
        ("", _) => 0,
        (_, Some((_, priority))) => *priority,
        (class, None) => {
            let rule = format!("no PriorityClass with name {class} was found");
            return Err(FieldError::forbidden("spec.priorityClassName", rule));
        }
    };
    spec.priority = Some(priority);
    pod_spec_defaults::text(&mut spec.preemption_policy, "PreemptLowerPriority");
    Ok(())
}

/// The old spec with what may change taken from the new one: equal to the new one where
/// nothing else changed.
fn with_changeable_fields_of(spec: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut allowed = old.clone();
    let pairs = allowed.containers.iter_mut().zip(&spec.containers);
    let init = allowed.init_containers.iter_mut().flatten();
    let init = init.zip(spec.init_containers.iter().flatten());
    for (container, new) in pairs.chain(init) {
        container.image.clone_from(&new.image);
    }
    allowed.active_deadline_seconds = spec.active_deadline_seconds;
    allowed.tolerations.clone_from(&spec.tolerations);
    if allowed
        .termination_grace_period_seconds
        .is_some_and(|seconds| seconds < 0)
        && spec.termination_grace_period_seconds == Some(1)
    {
        allowed.termination_grace_period_seconds = Some(1);
    }
    if has_gates(old) {
        allow_while_gated(&mut allowed, spec);
    }
    allowed
}

fn has_gates(spec: &PodSpec) -> bool {
    spec.scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty())
}

/// Before a gated pod is scheduled its gates may go and its constraints may become stricter.
fn allow_while_gated(allowed: &mut PodSpec, spec: &PodSpec) {
    allowed.scheduling_gates.clone_from(&spec.scheduling_gates);
    allowed.node_selector.clone_from(&spec.node_selector);
    allowed.affinity.clone_from(&spec.affinity);
}

fn validate_deadline(spec: &PodSpec, old: &PodSpec, errors: &mut Vec<FieldError>) {
    let path = "spec.activeDeadlineSeconds";
    match (spec.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let rule = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(path, new, rule));
        }
        (None, Some(_)) => {
            let rule = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(path, None::<i64>, rule));
        }
        _ => {}
    }
}

fn validate_tolerations(spec: &PodSpec, old: &PodSpec, errors: &mut Vec<FieldError>) {
    let without_seconds = |toleration: &Toleration| Toleration {
        toleration_seconds: None,
        ..toleration.clone()
    };
    let kept = |old: &Toleration| {
        let mut new = spec.tolerations.iter().flatten();
        new.any(|toleration| without_seconds(toleration) == without_seconds(old))
    };
    if !old.tolerations.iter().flatten().all(kept) {
        let rule = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", rule));
    }
}
