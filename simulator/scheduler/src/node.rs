//! Nodes as the scheduler keeps them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use lab_api::pods::Requests;
use lab_api::quantity;

use crate::PodInfo;

/// The kubelet's default for `maxPods`, taken for a node that does not say.
const DEFAULT_MAX_PODS: usize = 110;

/// What a pod without requests counts as when nodes are compared, so that many of them still
/// weigh something: a tenth of a core and 200 MB, as in kube-scheduler.
const UNREQUESTED: Requests = Requests {
    cpu_millis: 100,
    memory_bytes: 200 << 20,
};

/// One node: what it offers, and what is on it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<k8s::Taint>,
    /// True while `kubectl cordon` holds.
    pub cordoned: bool,
    /// True while its Ready condition is True.
    pub ready: bool,
    /// CPU and memory for pods.
    pub allocatable: Requests,
    /// Room for this many pods.
    pub max_pods: usize,
    /// What the pods on it take, those included that were bound a moment ago.
    pub usage: Usage,
}

/// What the pods on one node add up to.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Sum of the requests.
    pub requested: Requests,
    /// The same, with a default for what does not request: for comparing nodes only.
    pub weighed: Requests,
    /// The pods, by uid.
    pub pods: HashMap<Arc<str>, Arc<PodInfo>>,
    /// How many pods each controller has here, without those on their way out: their
    /// replacements may come where they were.
    pub by_owner: HashMap<Arc<str>, usize>,
}

impl Node {
    /// What `node` offers, with nothing on it.
    #[must_use]
    pub fn read(node: &k8s::Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let offered = |resource| allocatable.and_then(|all| all.get(resource));
        let ready = |c: &k8s::NodeCondition| c.type_ == "Ready" && c.status == "True";
        let max_pods = offered("pods").and_then(|q| quantity::parse_units(&q.0).ok());
        Self {
            name: Arc::from(node.metadata.name.as_deref().unwrap_or_default()),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|s| s.taints.clone()).unwrap_or_default(),
            cordoned: spec.and_then(|s| s.unschedulable).unwrap_or_default(),
            ready: status.is_some_and(|s| s.conditions.iter().flatten().any(ready)),
            allocatable: Requests {
                cpu_millis: quantity::cpu_millis(offered("cpu")),
                memory_bytes: quantity::memory_bytes(offered("memory")),
            },
            max_pods: max_pods
                .and_then(|pods| usize::try_from(pods).ok())
                .unwrap_or(DEFAULT_MAX_PODS),
            usage: Usage::default(),
        }
    }

    /// True where both offer the same, whatever runs on them.
    pub(crate) fn offers_the_same(&self, other: &Self) -> bool {
        let Self {
            name,
            labels,
            taints,
            cordoned,
            ready,
            allocatable,
            max_pods,
            usage: _,
        } = self;
        *name == other.name
            && *labels == other.labels
            && *taints == other.taints
            && *cordoned == other.cordoned
            && *ready == other.ready
            && *allocatable == other.allocatable
            && *max_pods == other.max_pods
    }
}

impl Usage {
    /// Adds a pod that is not yet here.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        let template = &pod.template;
        self.requested = plus(self.requested, template.requests);
        self.weighed = plus(self.weighed, weighed(template.requests));
        if let Some(owner) = sibling_of(&pod) {
            *self.by_owner.entry(Arc::clone(owner)).or_default() += 1;
        }
        self.pods.insert(Arc::clone(&pod.uid), pod);
    }

    /// Takes a pod away; `None` where it is not here.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        let template = &pod.template;
        self.requested = minus(self.requested, template.requests);
        self.weighed = minus(self.weighed, weighed(template.requests));
        if let Some(owner) = sibling_of(&pod)
            && let Some(count) = self.by_owner.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.by_owner.remove(owner);
            }
        }
        Some(pod)
    }
}

/// The controller whose pods this one is spread with.
fn sibling_of(pod: &PodInfo) -> Option<&Arc<str>> {
    pod.template.owner.as_ref().filter(|_| !pod.terminating)
}

/// `requests`, with the default where nothing is requested.
pub(crate) fn weighed(requests: Requests) -> Requests {
    let or_default = |value, default| if value == 0 { default } else { value };
    Requests {
        cpu_millis: or_default(requests.cpu_millis, UNREQUESTED.cpu_millis),
        memory_bytes: or_default(requests.memory_bytes, UNREQUESTED.memory_bytes),
    }
}

/// The sum. Saturating, because a quantity may be as large as a learner can type; the
/// difference then errs on the side of room.
pub(crate) fn plus(a: Requests, b: Requests) -> Requests {
    Requests {
        cpu_millis: a.cpu_millis.saturating_add(b.cpu_millis),
        memory_bytes: a.memory_bytes.saturating_add(b.memory_bytes),
    }
}

fn minus(a: Requests, b: Requests) -> Requests {
    Requests {
        cpu_millis: a.cpu_millis.saturating_sub(b.cpu_millis),
        memory_bytes: a.memory_bytes.saturating_sub(b.memory_bytes),
    }
}
