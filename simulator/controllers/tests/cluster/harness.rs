//! A cluster whose nodes are played by one task.

use std::collections::HashSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use lab_context::Context;
use lab_controllers::{
    BootstrapConfig, ControllersConfig, HttpClient, HttpError, HttpRequest, HttpResponse, bootstrap,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::RestartableApi;

/// Time from a pod's start to its readiness, and from its deletion to its end.
const START: Duration = Duration::from_secs(1);

/// Image whose pods never become ready.
pub(crate) const NEVER_READY: &str = "never-ready";

/// How long a test waits for something, in the cluster's time.
const PATIENCE: Duration = Duration::from_secs(1800);

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) api: RestartableApi,
    silent: Arc<Mutex<HashSet<String>>>,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

/// Extremes over all that the pod watch showed since the last [`Cluster::observe`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) most_pods: usize,
    pub(crate) fewest_ready: usize,
    pub(crate) created: usize,
}

impl Cluster {
    /// A cluster of three nodes that report.
    pub(crate) async fn start() -> Self {
        Self::start_with(ControllersConfig::default()).await
    }

    /// As [`Cluster::start`], with settings of the controllers.
    pub(crate) async fn start_with(config: ControllersConfig) -> Self {
        let context = Context::simulated(1, 1.0);
        let stop = CancellationToken::new();
        let api = RestartableApi::new(context.clone());
        api.start();
        let client = api.client();
        bootstrap(&client, &BootstrapConfig::default())
            .await
            .unwrap();
        let cluster = Self {
            client: client.clone(),
            context: context.clone(),
            api,
            silent: Arc::default(),
            seen: Arc::new(Mutex::new(Seen::start())),
            stop: stop.clone(),
            _guard: stop.clone().drop_guard(),
        };
        for number in 1..=3 {
            cluster.add_node(&format!("node-{number}")).await;
        }
        tokio::spawn(lab_controllers::run(
            client.clone(),
            Arc::new(NoHttp),
            config,
            context.clone(),
            stop.clone(),
        ));
        let nodes = play_nodes(
            client,
            context,
            Arc::clone(&cluster.silent),
            Arc::clone(&cluster.seen),
        );
        tokio::spawn(async move { stop.run_until_cancelled(nodes).await });
        cluster
    }

    /// Registers a node that renews its lease until it falls silent.
    pub(crate) async fn add_node(&self, name: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
            .await;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.client.clone());
        nodes
            .patch_status(name, &PatchParams::default(), &Patch::Merge(ready))
            .await
            .unwrap();
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "renewTime": MicroTime(self.context.now())}});
        self.create(lease).await;
        let renewals = renew(
            self.client.clone(),
            self.context.clone(),
            name.to_owned(),
            Arc::clone(&self.silent),
        );
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(renewals).await });
    }

    /// The node stops reporting, and its pods stop doing anything.
    pub(crate) fn silence(&self, node: &str) {
        self.silent.lock().unwrap().insert(node.to_owned());
    }

    /// The node reports again.
    pub(crate) async fn revive(&self, node: &str) {
        self.silent.lock().unwrap().remove(node);
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.client.clone());
        nodes
            .patch_status(node, &PatchParams::default(), &Patch::Merge(ready))
            .await
            .unwrap();
        // Its agent finds the pods marked, and says that they are ready.
        for pod in self.list::<Pod>("default").await {
            if pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node) {
                run_pod(&self.client, &self.context, &pod).await;
            }
        }
    }

    /// Starts to note extremes.
    pub(crate) fn observe(&self) {
        let mut seen = self.seen.lock().unwrap();
        *seen = Seen::start();
    }

    /// The extremes noted.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }

    /// Creates an object in the namespace it names (or `default`), whatever its kind.
    pub(crate) async fn create(&self, object: Value) {
        let meta: kube::core::DynamicObject = serde_json::from_value(object).unwrap();
        let types = meta.types.clone().unwrap();
        let gvk = kube::core::GroupVersionKind::try_from(&types).unwrap();
        let resource = kube::core::ApiResource::from_gvk(&gvk);
        let cluster_wide = matches!(gvk.kind.as_str(), "Node" | "Namespace");
        let namespace = meta
            .metadata
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<kube::core::DynamicObject> = if cluster_wide {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &namespace, &resource)
        };
        api.create(&PostParams::default(), &meta).await.unwrap();
    }

    /// A Deployment `web` in `default`; `spec` is merged over three replicas of image `shop:1`.
    pub(crate) async fn create_deployment(&self, spec: Value) {
        let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "shop:1", "ports": [{"name": "http", "containerPort": 8000}]}]}}}});
        for (key, value) in spec.as_object().unwrap() {
            deployment["spec"][key] = value.clone();
        }
        self.create(deployment).await;
    }

    /// Merges `body` into an object of `default`.
    pub(crate) async fn patch<K>(&self, name: &str, body: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>("default")
            .patch(name, &PatchParams::default(), &Patch::Strategic(body))
            .await
            .unwrap()
    }

    /// An object of `default`.
    pub(crate) async fn get<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>("default").get_opt(name).await.unwrap()
    }

    /// An object of the cluster.
    pub(crate) async fn get_cluster<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        Api::<K>::all(self.client.clone())
            .get_opt(name)
            .await
            .unwrap()
    }

    /// Deletes an object of `default`.
    pub(crate) async fn delete<K>(&self, name: &str, params: &DeleteParams)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>("default").delete(name, params).await.unwrap();
    }

    /// All objects of a kind in a namespace.
    pub(crate) async fn list<K>(&self, namespace: &str) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>(namespace)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits until `look` finds `expected`.
    #[track_caller]
    pub(crate) fn until<T: PartialEq + Debug>(
        &self,
        expected: T,
        look: impl AsyncFn() -> T,
    ) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let found = look().await;
                if found == expected {
                    return;
                }
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{caller}: expected {expected:?}, still {found:?}"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Reasons and messages of the events in `default`, each once, in order of appearance.
    pub(crate) async fn events(&self) -> Vec<(String, String)> {
        let events = self
            .list::<k8s_openapi::api::core::v1::Event>("default")
            .await;
        events
            .into_iter()
            .map(|event| {
                (
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default(),
                )
            })
            .collect()
    }
}

/// These tests measure nothing over HTTP.
struct NoHttp;

impl HttpClient for NoHttp {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        let reason = "there is no HTTP here".to_owned();
        let url = request.url;
        std::future::ready(Err(HttpError::Failed { url, reason })).boxed()
    }
}

impl Seen {
    fn start() -> Self {
        Self {
            most_pods: 0,
            fewest_ready: usize::MAX,
            created: 0,
        }
    }
}

async fn renew(
    client: Client,
    context: Context,
    node: String,
    silent: Arc<Mutex<HashSet<String>>>,
) {
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(client, "kube-node-lease");
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let is_silent = silent.lock().unwrap().contains(&node);
        if !is_silent {
            let renewed = json!({"spec": {"renewTime": MicroTime(context.now())}});
            // The lease goes with its node.
            let _ = leases
                .patch(&node, &PatchParams::default(), &Patch::Merge(renewed))
                .await;
        }
    }
}

/// Scheduler and agents of all nodes.
async fn play_nodes(
    client: Client,
    context: Context,
    silent: Arc<Mutex<HashSet<String>>>,
    seen: Arc<Mutex<Seen>>,
) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events =
        pin!(watcher(pods, watcher::Config::default().streaming_lists()).default_backoff());
    let mut present = std::collections::HashMap::new();
    let mut turn = 0_usize;
    while let Some(event) = events.next().await {
        let pod = match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => pod,
            Ok(Event::Delete(pod)) => {
                present.remove(&pod.metadata.uid);
                note(&seen, &present, false);
                continue;
            }
            Ok(Event::Init | Event::InitDone) => continue,
            // The watch starts over by itself.
            Err(_) => continue,
        };
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let state = (!terminating, !terminating && lab_api::pods::is_ready(&pod));
        let new = present.insert(pod.metadata.uid.clone(), state).is_none();
        note(&seen, &present, new);
        let node = pod.spec.as_ref().unwrap().node_name.clone();
        let is_silent = |node: &String| silent.lock().unwrap().contains(node);
        match node {
            Some(node) if is_silent(&node) => {}
            None if terminating => {}
            None => {
                // In turn, over the nodes that report.
                let nodes: Vec<_> = (1..=3)
                    .map(|number| format!("node-{number}"))
                    .filter(|node| !is_silent(node))
                    .collect();
                turn += 1;
                tokio::spawn(bind(client.clone(), pod, nodes[turn % nodes.len()].clone()));
            }
            Some(_) if terminating => {
                let client = client.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(START).await;
                    stop_pod(&client, &pod).await;
                });
            }
            Some(_) if lab_api::pods::phase(&pod) == "Pending" => {
                let (client, context) = (client.clone(), context.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(START).await;
                    run_pod(&client, &context, &pod).await;
                });
            }
            Some(_) => {}
        }
    }
}

type States = std::collections::HashMap<Option<String>, (bool, bool)>;

fn note(seen: &Mutex<Seen>, present: &States, new: bool) {
    let mut seen = seen.lock().unwrap();
    let pods = present.values().filter(|(active, _)| *active).count();
    let ready = present.values().filter(|(_, ready)| *ready).count();
    seen.most_pods = seen.most_pods.max(pods);
    seen.fewest_ready = seen.fewest_ready.min(ready);
    seen.created += usize::from(new);
}

async fn bind(client: Client, pod: Pod, node: String) {
    let namespace = pod.metadata.namespace.unwrap();
    let name = pod.metadata.name.unwrap();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let _: Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status, _> = pods
        .create_subresource("binding", &name, &PostParams::default(), &binding)
        .await;
}

async fn run_pod(client: &Client, context: &Context, pod: &Pod) {
    let spec = pod.spec.as_ref().unwrap();
    let ready = spec.containers[0].image.as_deref() != Some(NEVER_READY);
    let uid = pod.metadata.uid.as_deref().unwrap();
    let status = json!({"status": {
        "phase": "Running",
        // An address that is the pod's own for the purpose of a test.
        "podIP": format!("10.1.{}.{}", u8::from_str_radix(&uid[..2], 16).unwrap(), u8::from_str_radix(&uid[2..4], 16).unwrap()),
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
            "lastTransitionTime": Time(context.now())}]}});
    patch_pod_status(client, pod, status).await;
}

async fn patch_pod_status<S: Serialize + Debug>(client: &Client, pod: &Pod, status: S) {
    let pods: Api<Pod> =
        Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
    let name = pod.metadata.name.as_deref().unwrap();
    // The pod may be gone meanwhile.
    let _ = pods
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
        .await;
}

async fn stop_pod(client: &Client, pod: &Pod) {
    let pods: Api<Pod> =
        Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
    let _ = pods
        .delete(
            pod.metadata.name.as_deref().unwrap(),
            &DeleteParams::default().grace_period(0),
        )
        .await;
}
