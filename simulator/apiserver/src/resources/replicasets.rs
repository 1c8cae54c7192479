//! ReplicaSet: a number of pods made from one template.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};

use super::columns::{self, count, int_at};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, pod_template};
use crate::validation::FieldError;

/// The definition of ReplicaSet.
pub(super) fn definition() -> ResourceDef {
    let mut all = vec![
        columns::name(),
        count("Desired", "Wanted pods.", |o| int_at(o, "/spec/replicas")),
        count("Current", "Pods that exist.", |o| {
            int_at(o, "/status/replicas")
        }),
        count("Ready", "Pods that are ready.", |o| {
            int_at(o, "/status/readyReplicas")
        }),
        columns::age(),
    ];
    all.extend(columns::workload());
    ResourceDef {
        short_names: words(&["rs"]),
        categories: words(&["all"]),
        subresources: vec![Subresource::Status, Subresource::Scale],
        columns: all,
        ..define::<ReplicaSet>("apps", "ReplicaSet", "replicasets")
    }
}

impl Kind for ReplicaSet {
    const SCOPE: Scope = Scope::Namespaced;
    const SELECTABLE: &'static [&'static str] = &["status.replicas"];

    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        pod_template::set_defaults(spec.template.get_or_insert_default());
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(ReplicaSetStatus::default());
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let Some(spec) = &self.spec else { return };
        pod_template::validate_count(spec.replicas, "spec.replicas", errors);
        pod_template::validate_count(spec.min_ready_seconds, "spec.minReadySeconds", errors);
        match &spec.template {
            Some(template) => pod_template::validate(&spec.selector, template, errors),
            None => errors.push(FieldError::required("spec.template", "")),
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if let (Some(spec), Some(old)) = (&self.spec, &old.spec) {
            pod_template::validate_selector_update(&spec.selector, &old.selector, errors);
        }
    }
}
