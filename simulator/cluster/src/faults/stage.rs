//! Where faults happen: a cluster's record, its parts, its API, and what can be hit there.

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use lab_context::Context;
use serde_json::{Value, json};

use crate::lifecycle;
use crate::provider::Provider;
use crate::record::{ClusterDir, Record};

/// A cluster in which faults are injected.
pub struct Stage {
    /// Its directory.
    pub dir: ClusterDir,
    /// Its record.
    pub record: Record,
    /// An administrator's client.
    pub client: Client,
    /// Its parts.
    pub provider: Box<dyn Provider>,
    /// Clock and chance: seeded chance makes the same choices again.
    pub context: Context,
}

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "default" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

impl Place {
    /// `NAME` or `NAMESPACE/NAME`.
    pub(super) fn parse(text: &str) -> Self {
        let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn of(object: &impl ResourceExt) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl Stage {
    /// Of a cluster; with a seed, random choices are the same every time.
    ///
    /// # Errors
    /// Where the engine's daemon or the record's certificate is of no use.
    pub async fn open(dir: ClusterDir, record: Record, seed: Option<u64>) -> anyhow::Result<Self> {
        let client = lifecycle::client(&record)?;
        let provider = lifecycle::provider(&record, &dir).await?;
        let context = match seed {
            Some(seed) => Context::seeded(seed, record.speed),
            None => Context::system(record.speed),
        };
        Ok(Self {
            dir,
            record,
            client,
            provider,
            context,
        })
    }

    /// One of several, by chance.
    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a short list"
        )]
        let place = (self.context.random() * from.len() as f64) as usize;
        from.get(place.min(from.len().checked_sub(1)?))
    }

    /// The node asked for, or one that is Ready, rather one that has pods.
    pub(super) async fn node(&self, asked: Option<&str>) -> anyhow::Result<String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let nodes = nodes.list(&ListParams::default()).await;
        let nodes = nodes.context("the API does not answer")?.items;
        let mut names: Vec<_> = nodes.iter().map(ResourceExt::name_any).collect();
        names.sort();
        if let Some(asked) = asked {
            if !names.iter().any(|name| name == asked) {
                bail!("there is no node {asked:?}; there are {}", names.join(", "));
            }
            return Ok(asked.to_owned());
        }
        let ready = nodes.iter().filter(|node| lifecycle::is_ready(node));
        let mut ready: Vec<_> = ready.map(ResourceExt::name_any).collect();
        ready.sort();
        let pods = self.running_pods().await?;
        let on = |node: &String| {
            pods.iter().any(|pod| {
                let spec = pod.spec.as_ref();
                spec.and_then(|spec| spec.node_name.as_ref()) == Some(node)
            })
        };
        let busy: Vec<_> = ready.iter().filter(|node| on(node)).cloned().collect();
        let from = if busy.is_empty() { &ready } else { &busy };
        self.pick(from)
            .cloned()
            .context("no node is Ready; see devops-lab status")
    }

    /// Pods that run, outside the system's namespaces, by name.
    pub(super) async fn running_pods(&self) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let pods = pods.list(&ListParams::default()).await;
        let mut pods = pods.context("the API does not answer")?.items;
        pods.retain(|pod| {
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            phase == Some("Running")
                && pod.metadata.deletion_timestamp.is_none()
                && !pod.namespace().unwrap_or_default().starts_with("kube-")
        });
        pods.sort_by_key(|pod| (pod.namespace(), pod.name_any()));
        Ok(pods)
    }

    /// The pod asked for, or one that runs.
    pub(super) async fn pod(&self, asked: Option<&str>) -> anyhow::Result<Place> {
        let pods = self.running_pods().await?;
        let places: Vec<_> = pods.iter().map(Place::of).collect();
        self.among("running pod", &places, asked)
    }

    /// The object of a kind that was asked for, or one by chance.
    pub(super) async fn object(
        &self,
        kind: &ApiResource,
        word: &str,
        asked: Option<&str>,
        counts: impl Fn(&DynamicObject) -> bool,
    ) -> anyhow::Result<Place> {
        let places = self.places(kind, counts).await?;
        self.among(word, &places, asked)
    }

    /// Where the objects of a kind are that count, by name.
    pub(super) async fn places(
        &self,
        kind: &ApiResource,
        counts: impl Fn(&DynamicObject) -> bool,
    ) -> anyhow::Result<Vec<Place>> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), kind);
        let found = api.list(&ListParams::default()).await;
        let found = found.with_context(|| format!("the API does not list {}", kind.plural))?;
        let counted = found.items.iter().filter(|object| counts(object));
        let mut places: Vec<_> = counted.map(Place::of).collect();
        places.sort_by_key(ToString::to_string);
        Ok(places)
    }

    fn among(&self, word: &str, places: &[Place], asked: Option<&str>) -> anyhow::Result<Place> {
        let Some(asked) = asked else {
            let chosen = self.pick(places).cloned();
            return chosen.with_context(|| format!("there is no {word}"));
        };
        let wanted = Place::parse(asked);
        if places.contains(&wanted) {
            return Ok(wanted);
        }
        let names: Vec<_> = places.iter().map(ToString::to_string).collect();
        match names.as_slice() {
            [] => bail!("there is no {word} {asked:?}, nor any other"),
            names => bail!(
                "there is no {word} {asked:?}; there are {}",
                names.join(", ")
            ),
        }
    }

    /// Sets annotations of an object; null removes one.
    pub(super) async fn annotate(
        &self,
        kind: &ApiResource,
        place: &Place,
        annotations: Value,
    ) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"annotations": annotations}});
        self.patch(kind, place, patch).await
    }

    /// Merges into an object.
    pub(super) async fn patch(
        &self,
        kind: &ApiResource,
        place: &Place,
        patch: Value,
    ) -> anyhow::Result<()> {
        let client = self.client.clone();
        let api: Api<DynamicObject> = if place.namespace.is_empty() {
            Api::all_with(client, kind)
        } else {
            Api::namespaced_with(client, &place.namespace, kind)
        };
        api.patch(&place.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
            .with_context(|| format!("{} {place} cannot be changed", kind.kind))
    }
}

/// A kind by group, version and name.
pub(super) fn kind(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// A node as the place of an object.
pub(super) fn cluster_wide(name: &str) -> Place {
    Place {
        namespace: String::new(),
        name: name.to_owned(),
    }
}
