//! One machine: an API server, an agent, and an engine whose pods exist in memory only.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_engine::simulated::{SimulatedConfig, SimulatedEngine};
use lab_node::{Agent, AgentConfig, NodeSpec};
use lab_store::Store;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

const NODE: &str = "node-1";

/// How often a test looks, in the machine's time: often enough to see what lasts a second.
const LOOK: Duration = Duration::from_millis(50);

/// How long a test waits for something, in the machine's time.
const PATIENCE: SignedDuration = SignedDuration::from_secs(600);

pub(crate) fn seconds(number: i64) -> SignedDuration {
    SignedDuration::from_secs(number)
}

pub(crate) struct Machine {
    pub(crate) context: Context,
    client: Client,
    _stop: DropGuard,
}

impl Machine {
    pub(crate) async fn start() -> Self {
        let context = Context::simulated(1, 1.0);
        let stop = CancellationToken::new();
        let client = api(&context, &stop);
        for name in ["default", "kube-node-lease"] {
            let namespaces: Api<Namespace> = Api::all(client.clone());
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            let made = namespaces.create(&PostParams::default(), &namespace).await;
            made.unwrap();
        }
        let engine = SimulatedEngine::new(SimulatedConfig::default(), context.clone());
        let agent = Agent::new(
            client.clone(),
            Arc::new(engine),
            configuration(),
            context.clone(),
            stop.clone(),
        );
        tokio::spawn(agent.run());
        Self {
            context,
            client,
            _stop: stop.drop_guard(),
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Makes a pod of one container, on this node.
    pub(crate) async fn run(&self, name: &str, image: &str) {
        let pod = json!({"metadata": {"name": name}, "spec": {
            "nodeName": NODE,
            "containers": [{"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}],
        }});
        let pod = serde_json::from_value(pod).unwrap();
        let made = self.pods().create(&PostParams::default(), &pod).await;
        made.unwrap();
    }

    /// Until the container waits for this reason.
    pub(crate) async fn waits(&self, name: &str, reason: &str) {
        self.until(name, &format!("it waits with {reason}"), |pod| {
            let state = container(pod).and_then(|status| status.state.as_ref());
            let waiting = state.and_then(|state| state.waiting.as_ref());
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
        })
        .await;
    }

    pub(crate) async fn waits_for_phase(&self, name: &str, phase: &str) {
        self.until(name, &format!("it is {phase}"), |pod| {
            let status = pod.status.as_ref();
            status.and_then(|status| status.phase.as_deref()) == Some(phase)
        })
        .await;
    }

    /// Until the container was restarted so often and runs.
    pub(crate) async fn waits_for_restarts(&self, name: &str, number: i32) {
        self.until(name, &format!("it was restarted {number} times"), |pod| {
            container(pod).is_some_and(|status| status.restart_count >= number)
        })
        .await;
    }

    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Pod) -> bool) {
        let deadline = self.context.now() + PATIENCE;
        loop {
            let pod = self.pods().get(name).await.unwrap();
            if holds(&pod) {
                return;
            }
            let status = json!(pod.status);
            assert!(self.context.now() < deadline, "never: {what}: {status:#}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Does to the node what the controller of nodes does to one that fell silent.
    pub(crate) async fn give_up(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let silent = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        nodes
            .patch_status(NODE, &PatchParams::default(), &Patch::Merge(silent))
            .await
            .unwrap();
    }

    /// Does what `kubectl delete node` does.
    pub(crate) async fn delete_node(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let gone = nodes.delete(NODE, &DeleteParams::default()).await;
        gone.unwrap();
        assert!(nodes.get_opt(NODE).await.unwrap().is_none());
    }

    /// Until there is a Node that is Ready.
    pub(crate) async fn waits_for_ready_node(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let deadline = self.context.now() + PATIENCE;
        let ready = |node: &Node| {
            let conditions = node
                .status
                .iter()
                .flat_map(|it| it.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|it| it.type_ == "Ready" && it.status == "True")
        };
        while !nodes
            .get_opt(NODE)
            .await
            .unwrap()
            .as_ref()
            .is_some_and(ready)
        {
            assert!(self.context.now() < deadline, "the node is not Ready again");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Until an event was counted so often.
    pub(crate) async fn counts(&self, object: &str, text: &str, number: i32) {
        let deadline = self.context.now() + PATIENCE;
        loop {
            let events = self.list_events(object).await;
            let counted = |event: &Event| told(event) == text && event.count == Some(number);
            if events.iter().any(counted) {
                return;
            }
            let events: Vec<_> = events.iter().map(told).collect();
            assert!(
                self.context.now() < deadline,
                "never {number} × {text}: {events:#?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn list_events(&self, object: &str) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let about = ListParams::default().fields(&format!("involvedObject.name={object}"));
        api.list(&about).await.unwrap().items
    }

    /// The reasons and messages of an object's first events, in the order of `kubectl get events`.
    pub(crate) async fn events(&self, object: &str, number: usize) -> Vec<String> {
        let deadline = self.context.now() + PATIENCE;
        loop {
            let events = self.list_events(object).await;
            if events.len() >= number || self.context.now() > deadline {
                return events.iter().take(number).map(told).collect();
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn told(event: &Event) -> String {
    let reason = event.reason.as_deref().unwrap_or_default();
    format!("{reason}: {}", event.message.as_deref().unwrap_or_default())
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn api(context: &Context, stop: &CancellationToken) -> Client {
    let config = ApiServerConfig {
        service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
        version: Version::default(),
        node_connection: None,
        context: context.clone(),
        stop: stop.clone(),
    };
    let server = ApiServer::new(Store::in_memory(), config);
    Client::new(server.router(), "default")
}

fn configuration() -> AgentConfig {
    let node = NodeSpec {
        name: NODE.to_owned(),
        ip: [10, 0, 0, 1].into(),
        pod_cidr: "10.128.0.0/9".to_owned(),
        labels: Default::default(),
        cpu_millis: 4000,
        memory_bytes: 4 << 30,
        pods: 110,
    };
    AgentConfig {
        nodes: vec![node],
        listen: None,
        dns: None,
        node_ports: false,
        version: "v1.36.0".to_owned(),
    }
}
