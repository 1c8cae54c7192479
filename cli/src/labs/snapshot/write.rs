//! Writing a learner's objects back into a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::canary::Midway;
use super::objects::{Key, NodeMarks, Objects, event_place, outlives, seen};
use super::plan::{Plan, readiness};
use super::restore::SETTLE_LIMIT;
use crate::labs::kinds::Kinds;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(25);
/// How often a write is tried that others got ahead of, or whose kind is not served yet.
const ATTEMPTS: usize = 40;

/// Writes to one cluster.
pub(super) struct Writer<'a> {
    pub(super) client: Client,
    pub(super) kept: &'a Objects,
}

impl Writer<'_> {
    /// Makes the learner's objects what they were; answers what that took.
    ///
    /// # Errors
    /// Naming the object that was refused.
    pub(super) async fn objects(&self) -> anyhow::Result<Plan> {
        let found = Objects::read(&self.client)
            .await
            .context("the API does not answer")?;
        let plan = Plan::new(self.kept, &found);
        let mut kinds = Kinds::of(&self.client).await?;
        self.delete(&kinds, &plan, &found).await?;
        for key in &plan.create {
            self.create(&mut kinds, key).await?;
        }
        for key in &plan.replace {
            let object = self.kept_object(key)?;
            self.write(&mut kinds, key, &object).await?;
        }
        self.midway(&mut kinds, &plan).await?;
        self.mark_nodes(&found).await?;
        Ok(plan)
    }

    fn kept_object(&self, key: &Key) -> anyhow::Result<Value> {
        let object = self.kept.own.get(key);
        object
            .cloned()
            .with_context(|| format!("{} was not kept", key.label()))
    }

    async fn delete(&self, kinds: &Kinds, plan: &Plan, found: &Objects) -> anyhow::Result<()> {
        let each = plan.delete.iter().map(|key| async move {
            let Some(api) = kinds.api(&self.client, &key.typed()) else {
                return Ok(());
            };
            match api.delete(&key.name, &DeleteParams::foreground()).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(error).with_context(|| format!("{} is not removed", key.label())),
            }
        });
        try_join_all(each).await?;
        self.end_pods(plan, found).await?;
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let there = plan.delete.iter().map(|key| async move {
                let api = kinds.api(&self.client, &key.typed())?;
                let left = api.get_opt(&key.name).await.ok()??;
                Some(left.name_any())
            });
            let left: Vec<_> = join_all(there).await.into_iter().flatten().collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "after {} s these are still being removed: {}",
                    SETTLE_LIMIT.as_secs(),
                    left.join(", ")
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Pods of workloads that go need not finish what they do: nobody is to be served now.
    async fn end_pods(&self, plan: &Plan, found: &Objects) -> anyhow::Result<()> {
        let revisions = plan.delete.iter().filter_map(|key| {
            let sets = found.revisions.get(key)?;
            let names = sets.iter().map(|set| Key::of(set).name);
            Some(names.map(|name| (key.namespace.clone(), name)))
        });
        let going: BTreeSet<(String, String)> = revisions.flatten().collect();
        let pods: Api<Pod> = Api::all(self.client.clone());
        let pods = pods.list(&ListParams::default()).await?;
        let of_them = |pod: &&Pod| {
            let namespace = pod.namespace().unwrap_or_default();
            let mut owners = pod.owner_references().iter();
            let goes = owners.any(|owner| going.contains(&(namespace.clone(), owner.name.clone())));
            goes || plan
                .delete
                .iter()
                .any(|key| key.kind == "Namespace" && key.name == namespace)
        };
        let ends = pods.iter().filter(of_them).map(|pod| {
            let namespace = pod.namespace().unwrap_or_default();
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let name = pod.name_any();
            async move {
                // One that is gone already needs no end.
                let _ = api
                    .delete(&name, &DeleteParams::default().grace_period(0))
                    .await;
            }
        });
        join_all(ends).await;
        Ok(())
    }

    /// Makes an object, after its revisions: its controller takes them in.
    async fn create(&self, kinds: &mut Kinds, key: &Key) -> anyhow::Result<()> {
        for set in self.kept.revisions.get(key).into_iter().flatten() {
            self.write(kinds, &Key::of(set), set).await?;
        }
        let object = self.kept_object(key)?;
        let first = Midway::of(&object, self.kept.revisions.get(key));
        let object = first.map_or(object, |midway| midway.before);
        self.write(kinds, key, &object).await
    }

    /// Goes on with canaries that were under way.
    async fn midway(&self, kinds: &mut Kinds, plan: &Plan) -> anyhow::Result<()> {
        for key in &plan.create {
            let object = self.kept_object(key)?;
            let Some(midway) = Midway::of(&object, self.kept.revisions.get(key)) else {
                continue;
            };
            let Some(api) = kinds.api(&self.client, &key.typed()) else {
                continue;
            };
            self.until(&api, key, |status| midway.is_before(status))
                .await?;
            self.write(kinds, key, &object).await?;
            self.until(&api, key, |status| midway.is_begun(status))
                .await?;
            if let Some(status) = midway.status {
                let patch = Patch::Merge(json!({"status": status}));
                api.patch_status(&key.name, &PatchParams::default(), &patch)
                    .await
                    .with_context(|| format!("the progress of {} is refused", key.label()))?;
            }
        }
        Ok(())
    }

    async fn until(
        &self,
        api: &Api<DynamicObject>,
        key: &Key,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let object = api.get_opt(&key.name).await?;
            let status = object.map(|object| object.data["status"].clone());
            if status.is_some_and(|status| holds(&status)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{} does not come back to where it was", key.label());
            }
            sleep(LOOK).await;
        }
    }

    /// Makes an object, or makes it so where it is there already.
    async fn write(&self, kinds: &mut Kinds, key: &Key, object: &Value) -> anyhow::Result<()> {
        let mut object: DynamicObject = serde_json::from_value(object.clone())
            .with_context(|| format!("{} was kept in no useful form", key.label()))?;
        let refused = || format!("{} is refused", key.label());
        for _ in 0..ATTEMPTS {
            let Some(api) = kinds.api(&self.client, &key.typed()) else {
                // Its definition was brought back a moment ago.
                sleep(LOOK).await;
                *kinds = Kinds::of(&self.client).await?;
                continue;
            };
            object.metadata.resource_version = None;
            let error = match api.create(&PostParams::default(), &object).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    match self.replace(&api, key, &object).await {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            match error {
                // Somebody else wrote meanwhile, or it has just gone.
                kube::Error::Api(status) if matches!(status.code, 404 | 409) => sleep(LOOK).await,
                kube::Error::Api(status) if status.code == 422 && drop_addresses(&mut object) => {}
                other => return Err(other).with_context(refused),
            }
        }
        bail!("{}: others write to it all the time", refused())
    }

    async fn replace(
        &self,
        api: &Api<DynamicObject>,
        key: &Key,
        object: &DynamicObject,
    ) -> Result<(), kube::Error> {
        let there = api.get(&key.name).await?;
        let mut object = object.clone();
        object.metadata.resource_version = there.metadata.resource_version;
        match api
            .replace(&key.name, &PostParams::default(), &object)
            .await
        {
            Ok(_) => Ok(()),
            // A field that cannot be changed: it is made anew.
            Err(kube::Error::Api(status)) if status.code == 422 => {
                api.delete(&key.name, &DeleteParams::background().grace_period(0))
                    .await?;
                object.metadata.resource_version = None;
                api.create(&PostParams::default(), &object).await.map(drop)
            }
            Err(error) => Err(error),
        }
    }

    async fn mark_nodes(&self, found: &Objects) -> anyhow::Result<()> {
        let api: Api<Node> = Api::all(self.client.clone());
        for (name, was) in &self.kept.nodes {
            let Some(is) = found.nodes.get(name).filter(|is| *is != was) else {
                continue;
            };
            let node = api.get(name).await?;
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let taints = serde_json::to_value(taints)?;
            let patch = Patch::Merge(marks(was, is, &taints));
            api.patch(name, &PatchParams::default(), &patch)
                .await
                .with_context(|| format!("the labels and taints of {name} are refused"))?;
        }
        Ok(())
    }

    /// Waits until every workload is as ready as it was and no pod is on its way out; answers
    /// which are not.
    pub(super) async fn settle(&self) -> Vec<String> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let left = match Objects::read_with_pods(&self.client).await {
                Ok((objects, pods)) => self.unsettled(&objects, &pods),
                Err(error) => vec![error.to_string()],
            };
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            sleep(LOOK).await;
        }
    }

    fn unsettled(&self, is: &Objects, pods: &[Value]) -> Vec<String> {
        let workloads = self.kept.own.iter().filter_map(|(key, was)| {
            let was = readiness(was)?;
            let is = is.own.get(key).and_then(readiness);
            // What was not ready then need not be so now.
            let enough = is.is_some_and(|is| is.0 >= was.0 && is.1 <= was.1.max(is.0));
            (!enough).then(|| key.label())
        });
        let ending = pods
            .iter()
            .filter(|pod| pod["metadata"].get("deletionTimestamp").is_some());
        workloads
            .chain(ending.map(|pod| Key::of(pod).label()))
            .collect()
    }

    /// Removes the events that came since, and those of pods that are no more: they would tell of
    /// a loss that nobody caused. What is left tells what it told then, and of what an autoscaler
    /// did nothing is missing.
    ///
    /// # Errors
    /// Where the API does not answer.
    pub(super) async fn events(&self, plan: &Plan) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let pods = pods.list(&ListParams::default()).await?;
        let pods: BTreeSet<_> = pods.iter().map(ResourceExt::name_any).collect();
        let events: Api<Event> = Api::all(self.client.clone());
        let events = events.list(&ListParams::default()).await?;
        let there = events.iter().map(|event| {
            let namespace = event.namespace().unwrap_or_default();
            event_place(&namespace, &event.name_any())
        });
        let there: BTreeSet<_> = there.collect();
        let (pods, client, was) = (&pods, &self.client, &self.kept.events);
        let each = events.iter().map(|event| async move {
            let namespace = event.namespace().unwrap_or_default();
            let name = event.name_any();
            let value = serde_json::to_value(event)?;
            let is_stale =
                (plan.touches(&namespace) && !outlives(&value)) || tells_of_gone(event, pods);
            let kept = was.get(&event_place(&namespace, &name));
            let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
            let done = match kept.filter(|_| !is_stale) {
                None => api.delete(&name, &DeleteParams::default()).await.map(drop),
                Some(kept) if seen(&value) == *kept => Ok(()),
                Some(kept) => {
                    let params = PatchParams::default();
                    let patch = Patch::Merge(kept);
                    api.patch(&name, &params, &patch).await.map(drop)
                }
            };
            match done {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                done => anyhow::Ok(done?),
            }
        });
        try_join_all(each)
            .await
            .context("events are not brought back")?;
        for event in &self.kept.history {
            let key = Key::of(event);
            if !there.contains(&event_place(&key.namespace, &key.name)) {
                let event: Event = serde_json::from_value(event.clone())?;
                let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
                api.create(&PostParams::default(), &event)
                    .await
                    .with_context(|| format!("{} is refused", key.label()))?;
            }
        }
        Ok(())
    }
}

/// True for an event of a pod that is no more, or that names one last ("Created pod: NAME").
fn tells_of_gone(event: &Event, pods: &BTreeSet<String>) -> bool {
    let of = &event.involved_object;
    let gone = |name: &str| !pods.contains(name);
    if of.kind.as_deref() == Some("Pod") {
        return of.name.as_deref().is_some_and(gone);
    }
    let named = event
        .message
        .as_deref()
        .and_then(|text| text.rsplit_once("pod: "));
    named.is_some_and(|(_, name)| gone(name))
}

/// Takes the addresses out of a Service that others have by now; false where it has none.
fn drop_addresses(object: &mut DynamicObject) -> bool {
    let Some(spec) = object.data["spec"].as_object_mut() else {
        return false;
    };
    let had = spec.remove("clusterIP").is_some();
    spec.remove("clusterIPs");
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    had
}

/// The merge patch that makes a node's marks what they were; taints of controllers stay.
fn marks(was: &NodeMarks, is: &NodeMarks, taints: &Value) -> Value {
    let mut labels: BTreeMap<&str, Value> = is
        .labels
        .keys()
        .map(|label| (label.as_str(), Value::Null))
        .collect();
    labels.extend(
        was.labels
            .iter()
            .map(|(label, value)| (label.as_str(), json!(value))),
    );
    let theirs = taints.as_array().into_iter().flatten();
    let theirs = theirs.filter(|taint| super::objects::is_written(taint));
    let taints: Vec<_> = theirs.chain(&was.taints).collect();
    let unschedulable = was.unschedulable.then_some(true);
    json!({
        "metadata": {"labels": labels},
        "spec": {"taints": taints, "unschedulable": unschedulable}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, name: &str, message: &str) -> Event {
        let mut event = Event::default();
        event.involved_object.kind = Some(kind.to_owned());
        event.involved_object.name = Some(name.to_owned());
        event.message = Some(message.to_owned());
        event
    }

    #[test]
    fn events_of_pods_that_are_no_more_are_told_apart() {
        let pods = BTreeSet::from(["hello-1".to_owned()]);
        for (event, gone) in [
            (event("Pod", "hello-1", "Started"), false),
            (event("Pod", "hello-2", "Killing"), true),
            (event("ReplicaSet", "hello", "Created pod: hello-1"), false),
            (event("ReplicaSet", "hello", "Created pod: hello-2"), true),
            (
                event("Deployment", "hello", "Scaled up replica set hello to 3"),
                false,
            ),
        ] {
            assert_eq!(tells_of_gone(&event, &pods), gone, "{event:?}");
        }
    }

    #[test]
    fn marks_that_came_go_and_those_of_controllers_stay() {
        let was = NodeMarks {
            labels: BTreeMap::from([("disk".to_owned(), "fast".to_owned())]),
            ..NodeMarks::default()
        };
        let is = NodeMarks {
            labels: BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]),
            taints: vec![json!({"key": "gpu"})],
            unschedulable: true,
        };
        let taints = json!([{"key": "gpu"}, {"key": "node.kubernetes.io/not-ready"}]);
        let patch = marks(&was, &is, &taints);
        assert_eq!(
            patch["metadata"]["labels"],
            json!({"disk": "fast", "gpu": null})
        );
        assert_eq!(
            patch["spec"]["taints"],
            json!([{"key": "node.kubernetes.io/not-ready"}])
        );
        assert_eq!(patch["spec"]["unschedulable"], Value::Null);
    }

    #[test]
    fn a_service_whose_address_was_taken_gets_another() {
        let mut service: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"},
            "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
                "ports": [{"port": 80, "nodePort": 30080}]}
        }))
        .unwrap();
        assert!(drop_addresses(&mut service));
        assert_eq!(service.data["spec"], json!({"ports": [{"port": 80}]}));
        assert!(!drop_addresses(&mut service));
    }
}
