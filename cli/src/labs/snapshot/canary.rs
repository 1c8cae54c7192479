//! A Rollout that was under way: two versions at once, some of the steps done.
//!
//! A Rollout that is made with the new version has never had another, and would have nothing to
//! roll back to. So it is made with the stable version first, then given the new one, then told
//! how far it was.

use lab_api::rollouts::POD_TEMPLATE_HASH;
use serde_json::{Map, Value};

/// What of a Rollout's status says how far it is.
const PROGRESS: [&str; 5] = [
    "currentStepIndex",
    "pauseConditions",
    "controllerPause",
    "abort",
    "abortedAt",
];

/// A Rollout between two versions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Midway {
    /// It, with the stable version.
    pub(super) before: Value,
    /// How far it was; none where it need not be told.
    pub(super) status: Option<Value>,
    stable: String,
    present: String,
}

impl Midway {
    /// Of an object as it was kept; none where it is no Rollout, or had one version only.
    pub(super) fn of(object: &Value, revisions: Option<&Vec<Value>>) -> Option<Self> {
        if object["kind"] != "Rollout" {
            return None;
        }
        let status = &object["status"];
        let stable = status["stableRS"]
            .as_str()
            .filter(|hash| !hash.is_empty())?;
        let present = status["currentPodHash"].as_str()?;
        if stable == present {
            return None;
        }
        let is_stable = |set: &&Value| set["metadata"]["labels"][POD_TEMPLATE_HASH] == stable;
        let set = revisions?.iter().find(is_stable)?;
        let mut template = set["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove(POD_TEMPLATE_HASH);
        }
        let mut before = object.clone();
        // Where the template is another object's, there is none to be replaced.
        *before["spec"].get_mut("template")? = template;
        let known = PROGRESS.iter().filter_map(|field| {
            let value = status.get(*field)?;
            Some(((*field).to_owned(), value.clone()))
        });
        let known: Map<_, _> = known.collect();
        Some(Self {
            before,
            status: (!known.is_empty()).then_some(Value::Object(known)),
            stable: stable.to_owned(),
            present: present.to_owned(),
        })
    }

    /// True once the stable version is in place.
    pub(super) fn is_before(&self, status: &Value) -> bool {
        status["stableRS"] == self.stable.as_str()
            && status["currentPodHash"] == self.stable.as_str()
            && status["phase"] == "Healthy"
    }

    /// True once the rollout to the new version has begun.
    pub(super) fn is_begun(&self, status: &Value) -> bool {
        status["currentPodHash"] == self.present.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(present: &str) -> Value {
        json!({
            "kind": "Rollout",
            "spec": {"template": {"image": present}},
            "status": {"stableRS": "a", "currentPodHash": present, "currentStepIndex": 1,
                "pauseConditions": [{"reason": "CanaryPauseStep"}], "phase": "Paused"}
        })
    }

    fn set(hash: &str) -> Value {
        let labels = json!({POD_TEMPLATE_HASH: hash, "app": "hello"});
        json!({
            "metadata": {"labels": labels},
            "spec": {"template": {"image": hash, "metadata": {"labels": labels}}}
        })
    }

    #[test]
    fn a_canary_begins_with_its_stable_version_and_goes_on_where_it_was() {
        let midway = Midway::of(&rollout("b"), Some(&vec![set("b"), set("a")])).unwrap();
        let template = &midway.before["spec"]["template"];
        assert_eq!(template["image"], "a");
        assert_eq!(template["metadata"]["labels"], json!({"app": "hello"}));
        let status = midway.status.as_ref().unwrap();
        assert_eq!(status["currentStepIndex"], 1);
        assert_eq!(status.get("phase"), None);
        let healthy = json!({"stableRS": "a", "currentPodHash": "a", "phase": "Healthy"});
        assert!(midway.is_before(&healthy) && !midway.is_begun(&healthy));
        assert!(midway.is_begun(&json!({"currentPodHash": "b"})));
    }

    #[test]
    fn a_rollout_of_one_version_needs_no_detour() {
        assert_eq!(Midway::of(&rollout("a"), Some(&vec![set("a")])), None);
        assert_eq!(Midway::of(&json!({"kind": "Deployment"}), None), None);
    }
}
