//! What slides show and do beyond themselves: the presenter's cluster, and her class.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_classroom::desk::Desk;
use lab_cluster::lifecycle;
use lab_cluster::record::Home;
use lab_slides::picture::{self, Cluster, PodState};
use lab_slides::server::Surroundings;

use crate::commands::lab::pick;

/// Namespaces whose pods are the system's own.
const SYSTEM: &str = "kube-system";
/// Why a container waits that will not come up by waiting.
const FAILING: [&str; 7] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
];

/// The room in which slides are shown.
pub(super) struct Room {
    class: String,
    password: Option<String>,
    cluster: String,
    labs: Arc<Labs>,
}

impl Room {
    /// A room with a class server, perhaps, and a cluster of this name, perhaps.
    pub(super) fn new(
        class: &str,
        password: Option<String>,
        cluster: &str,
        labs: Arc<Labs>,
    ) -> Self {
        Self {
            class: class.to_owned(),
            password,
            cluster: cluster.to_owned(),
            labs,
        }
    }

    fn client(&self, language: Language) -> Result<Client, String> {
        let home = Home::from_env().map_err(|error| error.to_string())?;
        let record = home.cluster(&self.cluster).load().map_err(|_| {
            pick(
                language,
                "There is no cluster on this machine yet: devops-lab start 3",
                "Il n’y a pas encore de cluster sur cette machine : devops-lab start 3",
            )
        })?;
        lifecycle::client(&record).map_err(|error| format!("{error:#}"))
    }
}

impl Surroundings for Room {
    fn cluster(&self, language: Language) -> BoxFuture<'_, Result<Cluster, String>> {
        Box::pin(async move {
            let client = self.client(language)?;
            let asked = look(client).await;
            asked.map_err(|error| {
                let text = pick(
                    language,
                    "The cluster does not answer (devops-lab status):",
                    "Le cluster ne répond pas (devops-lab status) :",
                );
                format!("{text} {error}")
            })
        })
    }

    fn open_lab<'a>(
        &'a self,
        lab: &'a str,
        language: Language,
    ) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async move {
            let found = self.labs.iter().find(|known| known.name == lab);
            let step = found.and_then(|lab| lab.steps.first());
            let Some((found, step)) = found.zip(step) else {
                return Err(format!("there is no lab {lab:?}"));
            };
            let command = format!("devops-lab lab goto {lab}");
            let alone = |why: &str| {
                let text = pick(language, "Say it to the class:", "Dites-le à la classe :");
                format!("{why} {text} {command}")
            };
            let Some(password) = &self.password else {
                return Err(alone(pick(
                    language,
                    "No class is known here (DEVOPS_LAB_CLASS_PASSWORD).",
                    "Aucune classe n’est connue ici (DEVOPS_LAB_CLASS_PASSWORD).",
                )));
            };
            let desk = Desk::log_in(&self.class, password, "").await;
            let desk = desk.map_err(|error| alone(&format!("{error}.")))?;
            let students = desk
                .lead_to(&found.name, &step.id)
                .await
                .map_err(|error| alone(&format!("{error}.")))?;
            Ok(match language {
                Language::En => format!("Open; {students} students are told."),
                Language::Fr => format!("Ouvert ; {students} personnes sont prévenues."),
            })
        })
    }
}

async fn look(client: Client) -> Result<Cluster, kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client);
    let all = ListParams::default();
    let (nodes, pods) = tokio::try_join!(nodes.list(&all), pods.list(&all))?;
    Ok(cluster(&nodes.items, &pods.items))
}

/// The picture's figures, from what the API says.
fn cluster(nodes: &[Node], pods: &[Pod]) -> Cluster {
    let mut drawn = Cluster {
        nodes: nodes.iter().map(node).collect(),
        waiting: Vec::new(),
    };
    drawn.nodes.sort_by(|one, other| one.name.cmp(&other.name));
    let mut pods: Vec<_> = pods
        .iter()
        .filter(|pod| pod.metadata.namespace.as_deref() != Some(SYSTEM))
        .collect();
    pods.sort_by_key(|pod| (&pod.metadata.namespace, &pod.metadata.name));
    for pod in pods {
        let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let node = on.and_then(|on| drawn.nodes.iter_mut().find(|node| node.name == *on));
        match node {
            Some(node) => node.pods.push(self::pod(pod)),
            None => drawn.waiting.push(self::pod(pod)),
        }
    }
    drawn
}

fn node(node: &Node) -> picture::Node {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter());
    let mut ready = conditions.flatten().filter(|it| it.type_ == "Ready");
    picture::Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        ready: ready.any(|condition| condition.status == "True"),
        pods: Vec::new(),
    }
}

fn pod(pod: &Pod) -> picture::Pod {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let app = labels
        .get("app")
        .or_else(|| labels.get("app.kubernetes.io/name"));
    let image = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first()?.image.as_deref());
    let tag = image.and_then(|image| image.rsplit('/').next()?.split_once(':'));
    picture::Pod {
        app: app.unwrap_or(&name).clone(),
        version: tag.map_or("latest", |(_, tag)| tag).to_owned(),
        state: state(pod),
    }
}

fn state(pod: &Pod) -> PodState {
    if pod.metadata.deletion_timestamp.is_some() {
        return PodState::Ending;
    }
    let status = pod.status.as_ref();
    let containers = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let failing = containers.into_iter().any(|container| {
        let state = container.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        waiting.is_some_and(|reason| FAILING.contains(&reason))
            || state.is_some_and(|state| {
                state
                    .terminated
                    .as_ref()
                    .is_some_and(|it| it.exit_code != 0)
            })
    });
    let phase = status.and_then(|status| status.phase.as_deref());
    if failing || phase == Some("Failed") {
        return PodState::Failing;
    }
    let conditions = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.into_iter().filter(|it| it.type_ == "Ready");
    if phase == Some("Succeeded") || ready.any(|condition| condition.status == "True") {
        PodState::Ready
    } else {
        PodState::Starting
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(name: &str, node: Option<&str>, status: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "hello"}},
            "spec": {"nodeName": node, "containers": [{"name": "app", "image": "localhost:5001/hello:2.0.0"}]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn pods_stand_on_their_nodes_with_version_and_state() {
        let ready =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let starting =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]});
        let failing = json!({"phase": "Pending", "containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}},
        }]});
        let nodes: Vec<Node> = vec![
            serde_json::from_value(json!({
                "metadata": {"name": "node-2"},
                "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
            }))
            .unwrap(),
            serde_json::from_value(json!({
                "metadata": {"name": "node-1"},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            }))
            .unwrap(),
        ];
        let mut system = made("dns", Some("node-1"), &ready);
        system.metadata.namespace = Some(SYSTEM.to_owned());
        let pods = [
            made("a", Some("node-1"), &ready),
            made("b", Some("node-2"), &failing),
            made("c", None, &json!({"phase": "Pending"})),
            made("d", Some("node-1"), &starting),
            system,
        ];
        let drawn = cluster(&nodes, &pods);
        let names: Vec<_> = drawn
            .nodes
            .iter()
            .map(|it| (it.name.as_str(), it.ready))
            .collect();
        assert_eq!(names, [("node-1", true), ("node-2", false)]);
        let states = |at: usize| {
            drawn.nodes[at]
                .pods
                .iter()
                .map(|pod| pod.state)
                .collect::<Vec<_>>()
        };
        assert_eq!(states(0), [PodState::Ready, PodState::Starting]);
        assert_eq!(states(1), [PodState::Failing]);
        assert_eq!(drawn.waiting.len(), 1);
        let first = &drawn.nodes[0].pods[0];
        assert_eq!(
            (first.app.as_str(), first.version.as_str()),
            ("hello", "2.0.0")
        );
    }
}
