//! Rollout of Argo Rollouts: a CustomResourceDefinition on a real cluster, so that almost all
//! of its rules are its controller's, which answers in the status.

use lab_api::rollouts::{GROUP, Rollout, VERSION};
use serde_json::Value;

use super::columns::{self, cell};
use super::typed::{Kind, define, words};
use super::{Column, ResourceDef, Scope, Subresource, custom, pod_template};
use crate::validation::FieldError;

/// The definition of Rollout.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        version: VERSION.into(),
        short_names: words(&["ro"]),
        subresources: vec![Subresource::Status, Subresource::Scale],
        columns: vec![
            columns::name(),
            count("Desired", "Wanted pods.", "/spec/replicas"),
            count("Current", "Pods that exist.", "/status/replicas"),
            count(
                "Up-to-date",
                "Pods made from the present template.",
                "/status/updatedReplicas",
            ),
            count(
                "Available",
                "Pods ready for at least minReadySeconds.",
                "/status/availableReplicas",
            ),
            custom::age(),
        ],
        ..define::<Rollout>(GROUP, "Rollout", "rollouts")
    }
}

/// The number at a JSON pointer; a custom resource shows nothing where there is none.
fn count(name: &'static str, description: &'static str, pointer: &'static str) -> Column {
    cell(name, "integer", description, move |object, _| {
        object.pointer(pointer).cloned().unwrap_or(Value::Null)
    })
}

impl Kind for Rollout {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;
    const SCALE_STATUS: (&'static str, &'static str) = ("HPAReplicas", "selector");

    fn validate(&self, errors: &mut Vec<FieldError>) {
        pod_template::validate_count(self.spec.replicas, "spec.replicas", errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if let (Some(selector), Some(old)) = (&self.spec.selector, &old.spec.selector) {
            pod_template::validate_selector_update(selector, old, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::resources::testing::created;
    use serde_json::json;

    #[test]
    fn nothing_is_filled_in_because_the_controller_knows_the_defaults() {
        let rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "hello"}}, "template": {
                "metadata": {"labels": {"app": "hello"}},
                "spec": {"containers": [{"name": "app", "image": "hello:1"}]}},
                "strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}},
        });
        let stored = created("Rollout", rollout.clone()).unwrap();
        assert_eq!(stored["spec"], rollout["spec"]);
    }
}
