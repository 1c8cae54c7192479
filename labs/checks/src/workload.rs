//! A Deployment with the pods that are truly its own.
//!
//! Counters in `.status` say how many; only owner references say whose. A check that trusted
//! counters or labels alone would pass on pods of an old version or of somebody else.

use std::collections::BTreeSet;

use futures::try_join;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerPort, Event, Pod, PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use lab_api::{names, objects, pods};

use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::read;

/// What was read about workloads, before any judgement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads {
    /// Of all namespaces.
    pub(crate) deployments: Vec<Deployment>,
    /// Of the learner's namespace, as all that follows.
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) events: Vec<Event>,
}

impl Workloads {
    pub(crate) async fn read(context: &CheckContext) -> Result<Self, Diagnosis> {
        let (client, namespace) = (&context.client, context.namespace.as_str());
        let (deployments, replica_sets, pods, events) = try_join!(
            read::everywhere(client, namespace),
            read::here(client, namespace),
            read::here(client, namespace),
            read::here(client, namespace),
        )?;
        Ok(Self {
            deployments,
            replica_sets,
            pods,
            events,
        })
    }

    /// The workload of a Deployment.
    pub(crate) fn of(&self, name: &str, namespace: &str) -> Result<Workload<'_>, Diagnosis> {
        let deployment = read::named(&self.deployments, name, namespace)?;
        let uid = deployment.uid().unwrap_or_default();
        let sets = self
            .replica_sets
            .iter()
            .filter(|set| objects::is_controlled_by(&set.metadata, &uid));
        let (current, old): (Vec<_>, Vec<_>) =
            sets.partition(|set| is_of_template(set, deployment));
        Ok(Workload {
            seen: self,
            deployment,
            current: current.first().copied(),
            old,
        })
    }
}

/// True where the ReplicaSet was made from the Deployment's present template, which is how the
/// Deployment controller itself finds the newest one: equal but for the hash label.
fn is_of_template(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let template = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        if let Some(metadata) = &mut template.metadata
            && let Some(labels) = &mut metadata.labels
        {
            labels.remove(names::POD_TEMPLATE_HASH);
        }
        template
    };
    let wanted = deployment
        .spec
        .as_ref()
        .map(|spec| template(&spec.template));
    wanted.is_some()
        && set
            .spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref())
            .map(template)
            == wanted
}

/// A Deployment, its ReplicaSets and its pods.
#[derive(Clone, Debug)]
pub(crate) struct Workload<'a> {
    /// Everything that was read.
    pub(crate) seen: &'a Workloads,
    pub(crate) deployment: &'a Deployment,
    /// The ReplicaSet of the present template; none before the controller made it.
    pub(crate) current: Option<&'a ReplicaSet>,
    /// ReplicaSets of earlier templates.
    old: Vec<&'a ReplicaSet>,
}

impl<'a> Workload<'a> {
    pub(crate) fn name(&self) -> String {
        self.deployment.name_any()
    }

    /// Active pods of the present template.
    pub(crate) fn pods(&self) -> Vec<&'a Pod> {
        self.current
            .map(|set| self.pods_of(set))
            .unwrap_or_default()
    }

    /// Active pods of earlier templates.
    pub(crate) fn old_pods(&self) -> Vec<&'a Pod> {
        self.old.iter().flat_map(|set| self.pods_of(set)).collect()
    }

    fn pods_of(&self, set: &ReplicaSet) -> Vec<&'a Pod> {
        let uid = set.uid().unwrap_or_default();
        let own =
            |pod: &&Pod| objects::is_controlled_by(&pod.metadata, &uid) && pods::is_active(pod);
        self.seen.pods.iter().filter(own).collect()
    }

    /// Active pods of any template: whoever answers for this Deployment is one of them.
    pub(crate) fn all_pods(&self) -> Vec<&'a Pod> {
        let mut all = self.pods();
        all.extend(self.old_pods());
        all
    }

    /// Pods of the present template that are Ready.
    pub(crate) fn ready_pods(&self) -> Vec<&'a Pod> {
        self.pods()
            .into_iter()
            .filter(|pod| pods::is_ready(pod))
            .collect()
    }

    /// `spec.replicas`.
    pub(crate) fn wanted(&self) -> i32 {
        self.deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
    }

    /// The pods' spec in the template.
    pub(crate) fn pod_spec(&self) -> Option<&'a PodSpec> {
        self.deployment.spec.as_ref()?.template.spec.as_ref()
    }

    /// The image of the first container.
    pub(crate) fn image(&self) -> &'a str {
        self.pod_spec()
            .and_then(|spec| spec.containers.first()?.image.as_deref())
            .unwrap_or_default()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.paused)
            .unwrap_or(false)
    }

    pub(crate) fn events(&self) -> &'a [Event] {
        &self.seen.events
    }
}

/// Ports that the containers of a pod say they listen on.
pub(crate) fn container_ports(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    spec.containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
}

/// Ports as a list for people.
pub(crate) fn port_list<'a>(ports: impl Iterator<Item = &'a ContainerPort>) -> String {
    let texts = ports.map(|port| match &port.name {
        Some(name) => format!("{} ({name})", port.container_port),
        None => port.container_port.to_string(),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Names of objects as a list for people.
pub(crate) fn name_list<'a, K: kube::Resource + 'a>(
    objects: impl IntoIterator<Item = &'a K>,
) -> String {
    objects
        .into_iter()
        .map(ResourceExt::name_any)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Names of the nodes that pods run on, each once.
pub(crate) fn nodes_of(pods: &[&Pod]) -> BTreeSet<String> {
    pods.iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect()
}

/// Since when all of these pods have been Ready.
pub(crate) fn ready_since(ready: &[&Pod]) -> Option<jiff::Timestamp> {
    let times = ready.iter().filter_map(|pod| {
        pods::pod_condition(pod, "Ready")?
            .last_transition_time
            .as_ref()
    });
    times.map(|time| time.0).max()
}
