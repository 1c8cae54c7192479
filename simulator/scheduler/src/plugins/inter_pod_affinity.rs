//! Pods that want to be near other pods, or away from them.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity>.
//! Namespaces are not watched: a namespace selector sees only the label
//! `kubernetes.io/metadata.name` that every namespace has.

use std::collections::{BTreeMap, HashMap, HashSet};

use k8s_openapi::api::core::v1::{PodAffinityTerm, WeightedPodAffinityTerm};
use lab_api::selector::Selector;

use super::{Plugin, PluginDef, Scale, object};
use crate::{Node, PodInfo, Snapshot};

pub(super) const DEF: PluginDef = PluginDef {
    name: "InterPodAffinity",
    prepare,
};

/// Weight in kube-scheduler's default configuration.
const WEIGHT: i64 = 2;

fn prepare<'a>(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Plugin<'a> {
    let plugin = match Required::find(pod, snapshot) {
        None => Plugin::default(),
        Some(required) => Plugin::filter(move |node| {
            if !required.attracts(node) {
                return object("node(s) didn't match pod affinity rules");
            }
            if required.avoided.hold(node) {
                return object("node(s) didn't match pod anti-affinity rules");
            }
            if required.repelled.hold(node) {
                return object("node(s) didn't satisfy existing pods anti-affinity rules");
            }
            Ok(())
        }),
    };
    match preferences(pod, snapshot) {
        None => plugin,
        Some(weights) => plugin.and_score(WEIGHT, Scale::Range, move |node| {
            let here = weights.iter().filter(|((key, value), _)| {
                node.labels.get(*key).map(String::as_str) == Some(value)
            });
            here.map(|(_, weight)| weight).sum()
        }),
    }
}

/// A label and its value on some node: what "near" means.
type Domain<'a> = (&'a str, &'a str);

#[derive(Default)]
struct Domains<'a>(HashSet<Domain<'a>>);

impl<'a> Domains<'a> {
    fn add(&mut self, key: &'a str, node: &'a Node) {
        if let Some(value) = node.labels.get(key) {
            self.0.insert((key, value));
        }
    }

    /// True where `node` lies in one of them.
    fn hold(&self, node: &Node) -> bool {
        self.0
            .iter()
            .any(|(key, value)| node.labels.get(*key).map(String::as_str) == Some(value))
    }
}

/// What must hold.
struct Required<'a> {
    /// Topology keys of the affinity terms.
    near: Vec<&'a str>,
    /// Where there is a pod that all affinity terms match.
    attracting: Domains<'a>,
    /// The pod is the first of a group that wants to be near itself.
    first_of_its_kind: bool,
    /// Where there is a pod that an anti-affinity term matches.
    avoided: Domains<'a>,
    /// Where there is a pod whose anti-affinity matches this one.
    repelled: Domains<'a>,
}

impl<'a> Required<'a> {
    /// `None` where nothing is required of any node.
    fn find(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<Self> {
        let near = affinity_terms(pod);
        let away = anti_affinity_terms(pod);
        let mut repelled = Domains::default();
        for (node, other) in snapshot.repelling() {
            let terms = anti_affinity_terms(other);
            for term in terms.iter().filter(|term| term.matches(pod)) {
                repelled.add(term.key, node);
            }
        }
        if near.is_empty() && away.is_empty() && repelled.0.is_empty() {
            return None;
        }
        let (mut attracting, mut avoided) = (Domains::default(), Domains::default());
        for node in snapshot.nodes() {
            for other in node.usage.pods.values() {
                if !near.is_empty() && near.iter().all(|term| term.matches(other)) {
                    near.iter().for_each(|term| attracting.add(term.key, node));
                }
                for term in away.iter().filter(|term| term.matches(other)) {
                    avoided.add(term.key, node);
                }
            }
        }
        Some(Self {
            first_of_its_kind: attracting.0.is_empty() && near.iter().all(|t| t.matches(pod)),
            near: near.into_iter().map(|term| term.key).collect(),
            attracting,
            avoided,
            repelled,
        })
    }

    fn attracts(&self, node: &Node) -> bool {
        self.near.iter().all(|&key| {
            node.labels.get(key).is_some_and(|value| {
                self.first_of_its_kind || self.attracting.0.contains(&(key, value.as_str()))
            })
        })
    }
}

/// The summed weights of the preferred terms in each domain; `None` without such terms.
fn preferences<'a>(pod: &'a PodInfo, snapshot: &'a Snapshot) -> Option<HashMap<Domain<'a>, i64>> {
    let affinity = &pod.template.affinity;
    let near = affinity.pod_affinity.as_ref();
    let near = near.and_then(|a| {
        a.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let away = affinity.pod_anti_affinity.as_ref();
    let away = away.and_then(|a| {
        a.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let weighted = |sign| {
        move |term: &'a WeightedPodAffinityTerm| {
            let weight = sign * i64::from(term.weight);
            (Term::of(pod, &term.pod_affinity_term), weight)
        }
    };
    let near = near.into_iter().flatten().map(weighted(1));
    let away = away.into_iter().flatten().map(weighted(-1));
    let terms: Vec<_> = near.chain(away).collect();
    if terms.is_empty() {
        return None;
    }
    let mut weights = HashMap::new();
    for node in snapshot.nodes() {
        for other in node.usage.pods.values() {
            for (term, weight) in terms.iter().filter(|(term, _)| term.matches(other)) {
                if let Some(value) = node.labels.get(term.key) {
                    *weights.entry((term.key, value.as_str())).or_default() += weight;
                }
            }
        }
    }
    Some(weights)
}

fn affinity_terms(pod: &PodInfo) -> Vec<Term<'_>> {
    let affinity = pod.template.affinity.pod_affinity.as_ref();
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let terms = required.into_iter().flatten();
    terms.map(|term| Term::of(pod, term)).collect()
}

fn anti_affinity_terms(pod: &PodInfo) -> Vec<Term<'_>> {
    let affinity = pod.template.affinity.pod_anti_affinity.as_ref();
    let required = affinity.and_then(|a| {
        a.required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let terms = required.into_iter().flatten();
    terms.map(|term| Term::of(pod, term)).collect()
}

/// A term of `owner`, ready to be matched.
struct Term<'a> {
    key: &'a str,
    /// `None` matches no pod.
    selector: Option<Selector>,
    namespaces: &'a [String],
    namespace_selector: Option<Selector>,
    own_namespace: &'a str,
}

impl<'a> Term<'a> {
    fn of(owner: &'a PodInfo, term: &'a PodAffinityTerm) -> Self {
        let namespace_selector = term.namespace_selector.as_ref();
        Self {
            key: &term.topology_key,
            selector: term
                .label_selector
                .as_ref()
                .map(Selector::from_label_selector),
            namespaces: term.namespaces.as_deref().unwrap_or_default(),
            namespace_selector: namespace_selector.map(Selector::from_label_selector),
            own_namespace: &owner.namespace,
        }
    }

    fn matches(&self, pod: &PodInfo) -> bool {
        self.covers(&pod.namespace)
            && self
                .selector
                .as_ref()
                .is_some_and(|s| s.matches(&pod.template.labels))
    }

    fn covers(&self, namespace: &str) -> bool {
        match &self.namespace_selector {
            None if self.namespaces.is_empty() => namespace == self.own_namespace,
            None => self.lists(namespace),
            Some(selector) => {
                let label = (
                    "kubernetes.io/metadata.name".to_owned(),
                    namespace.to_owned(),
                );
                self.lists(namespace) || selector.matches(&BTreeMap::from([label]))
            }
        }
    }

    fn lists(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|listed| listed == namespace)
    }
}
