//! Which targets follow from pods and monitors: pure.
//!
//! Labels of every target: `job` and `instance`. Of pods also `namespace`, `pod`, `node`,
//! `container`, and of a ServiceMonitor's `service` and `endpoint`: what they are called at work
//! (the operator's and kube-prometheus' names). From the pod's own labels come `app`, `version`
//! and `pod_template_hash`: by these a canary is told from the stable version, and a rollout's
//! analysis asks for one of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::monitoring::{Endpoint, NamespaceSelector, PodMonitor, ServiceMonitor, duration_ms};
use lab_api::names::SERVICE_NAME;
use lab_api::pods;
use lab_api::selector::Selector;
use lab_context::Context;

use super::{INTERVAL, SHORTEST_INTERVAL, Source, TIMEOUT, Target};
use crate::labels::{Builder, Labels};

/// Job of pods that are found by their annotations, as in Prometheus' own example.
const POD_JOB: &str = "kubernetes-pods";
const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";
const SCHEME: &str = "prometheus.io/scheme";

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodFacts {
    pub(super) namespace: String,
    pub(super) name: String,
    ip: IpAddr,
    node: String,
    labels: BTreeMap<String, String>,
    /// Those of `prometheus.io` only.
    annotations: BTreeMap<String, String>,
    ports: Vec<PodPort>,
    first_container: String,
}

#[derive(Clone, Debug, PartialEq)]
struct PodPort {
    container: String,
    name: String,
    number: u16,
}

impl PodFacts {
    /// `None` for a pod that cannot be asked: without an address yet, or finished.
    pub(super) fn of(pod: Pod) -> Option<Self> {
        if pods::is_finished(&pod) {
            return None;
        }
        let spec = pod.spec?;
        let ip = pod.status?.pod_ip?.parse().ok()?;
        let ports = spec.containers.iter().flat_map(|container| {
            let ports = container.ports.iter().flatten();
            ports
                .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
                .filter_map(|port| {
                    Some(PodPort {
                        container: container.name.clone(),
                        name: port.name.clone().unwrap_or_default(),
                        number: u16::try_from(port.container_port).ok()?,
                    })
                })
        });
        let ports = ports.collect();
        let first = spec.containers.first();
        let mut annotations = pod.metadata.annotations.unwrap_or_default();
        annotations.retain(|key, _| key.starts_with("prometheus.io/"));
        Some(Self {
            namespace: pod.metadata.namespace?,
            name: pod.metadata.name?,
            ip,
            node: spec.node_name.unwrap_or_default(),
            labels: pod.metadata.labels.unwrap_or_default(),
            annotations,
            ports,
            first_container: first.map(|c| c.name.clone()).unwrap_or_default(),
        })
    }

    /// The labels that every target on the pod gets.
    fn target_labels(&self, job: &str, instance: &str, port: Option<&PodPort>) -> Builder {
        let mut labels = Builder::default();
        let container = port.map_or(&self.first_container, |port| &port.container);
        for (name, value) in [
            ("job", job),
            ("instance", instance),
            ("namespace", &self.namespace),
            ("pod", &self.name),
            ("node", &self.node),
            ("container", container),
            ("app", self.label(&["app", "app.kubernetes.io/name"])),
            (
                "version",
                self.label(&["version", "app.kubernetes.io/version"]),
            ),
            (
                "pod_template_hash",
                self.label(&["rollouts-pod-template-hash", "pod-template-hash"]),
            ),
        ] {
            labels.set(name, value);
        }
        labels
    }

    fn label(&self, names: &[&str]) -> &str {
        names
            .iter()
            .find_map(|name| self.labels.get(*name))
            .map_or("", String::as_str)
    }

    fn port(&self, wanted: &IntOrString) -> Option<&PodPort> {
        self.ports.iter().find(|port| match wanted {
            IntOrString::Int(number) => i32::from(port.number) == *number,
            IntOrString::String(name) => port.name == *name,
        })
    }
}

/// The rhythm of a cluster: its default interval and timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    speed: f64,
}

impl Pace {
    pub(super) fn of(context: &Context) -> Self {
        Self {
            speed: context.speed(),
        }
    }

    /// An interval as it was written, on the cluster's clock.
    fn interval(self, written: Option<&str>) -> Duration {
        let written = written
            .and_then(duration_ms)
            .and_then(|ms| u64::try_from(ms).ok());
        let interval = written
            .filter(|ms| *ms > 0)
            .map_or(INTERVAL, Duration::from_millis);
        interval.div_f64(self.speed).max(SHORTEST_INTERVAL)
    }

    fn timeout(written: Option<&str>, interval: Duration) -> Duration {
        let written = written
            .and_then(duration_ms)
            .and_then(|ms| u64::try_from(ms).ok());
        written.map_or(TIMEOUT, Duration::from_millis).min(interval)
    }

    /// The same target in a rhythm of its own, given as on a cluster of speed 1.
    pub(super) fn every(self, target: Target, interval: Duration) -> Target {
        let interval = interval.div_f64(self.speed).max(SHORTEST_INTERVAL);
        Target {
            interval,
            timeout: Self::timeout(None, interval),
            ..target
        }
    }

    pub(super) fn target(self, pool: &str, source: Source, labels: Labels) -> Target {
        let interval = self.interval(None);
        Target {
            pool: pool.to_owned(),
            source,
            labels,
            interval,
            timeout: Self::timeout(None, interval),
            honor_labels: false,
            honor_timestamps: true,
        }
    }
}

/// The target of a pod that asks for it by its annotations.
pub(super) fn of_annotations(pod: &PodFacts, pace: Pace) -> Option<Target> {
    let annotation = |key| pod.annotations.get(key).map(String::as_str);
    if annotation(SCRAPE) != Some("true") {
        return None;
    }
    let (source, port) = annotated_source(pod);
    let instance = match &source {
        Source::Http { address, .. } => address.to_string(),
        Source::Own(_) | Source::Refused(_) => pod.ip.to_string(),
    };
    let labels = pod.target_labels(POD_JOB, &instance, port).build();
    Some(pace.target("pods", source, labels))
}

fn annotated_source(pod: &PodFacts) -> (Source, Option<&PodPort>) {
    let annotation = |key| pod.annotations.get(key).map(String::as_str);
    if let Some(scheme) = annotation(SCHEME).filter(|scheme| *scheme != "http") {
        let problem = format!("annotation {SCHEME}: {scheme:?} is not supported here, only http");
        return (Source::Refused(problem), None);
    }
    let number = match annotation(PORT) {
        None => pod.ports.first().map(|port| port.number),
        Some(text) => match text.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                let problem = format!("annotation {PORT}: {text:?} is not a port's number");
                return (Source::Refused(problem), None);
            }
        },
    };
    let Some(number) = number else {
        let problem = format!("no port is known: set annotation {PORT}, or a containerPort");
        return (Source::Refused(problem), None);
    };
    let path = annotation(PATH).unwrap_or("/metrics");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let port = pod.ports.iter().find(|port| port.number == number);
    let address = SocketAddr::from((pod.ip, number));
    (Source::Http { address, path }, port)
}

fn in_namespaces(selector: Option<&NamespaceSelector>, own: &str, namespace: &str) -> bool {
    let Some(selector) = selector else {
        return own == namespace;
    };
    if selector.any == Some(true) {
        return true;
    }
    match selector.match_names.as_deref() {
        None | Some([]) => own == namespace,
        Some(names) => names.iter().any(|name| name == namespace),
    }
}

fn endpoint_target(
    endpoint: &Endpoint,
    pool: &str,
    address: SocketAddr,
    labels: Labels,
    pace: Pace,
) -> Target {
    let mut path = endpoint
        .path
        .clone()
        .unwrap_or_else(|| "/metrics".to_owned());
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    if let Some(params) = &endpoint.params {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, values) in params {
            for value in values {
                query.append_pair(key, value);
            }
        }
        path = format!("{path}?{}", query.finish());
    }
    let interval = pace.interval(endpoint.interval.as_deref());
    Target {
        pool: pool.to_owned(),
        source: Source::Http { address, path },
        labels,
        interval,
        timeout: Pace::timeout(endpoint.scrape_timeout.as_deref(), interval),
        honor_labels: endpoint.honor_labels == Some(true),
        honor_timestamps: endpoint.honor_timestamps != Some(false),
    }
}

fn copy_labels(names: Option<&Vec<String>>, from: &BTreeMap<String, String>, to: &mut Builder) {
    for name in names.into_iter().flatten() {
        if let Some(value) = from.get(name) {
            to.set(label_name(name), value.as_str());
        }
    }
}

/// A Kubernetes label's name as Prometheus takes it.
fn label_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// The targets of a PodMonitor.
pub(super) fn of_pod_monitor<'a>(
    monitor: &PodMonitor,
    pods: impl Iterator<Item = &'a PodFacts>,
    pace: Pace,
) -> Vec<Target> {
    let own = monitor.metadata.namespace.as_deref().unwrap_or_default();
    let name = monitor.metadata.name.as_deref().unwrap_or_default();
    let selector = Selector::from_label_selector(&monitor.spec.selector);
    let namespaces = monitor.spec.namespace_selector.as_ref();
    let mut found = Vec::new();
    let chosen = pods.filter(|pod| {
        in_namespaces(namespaces, own, &pod.namespace) && selector.matches(&pod.labels)
    });
    for pod in chosen {
        for (index, endpoint) in monitor.spec.pod_metrics_endpoints.iter().enumerate() {
            let by_name = endpoint.port.clone().map(IntOrString::String);
            let Some(port) = by_name
                .or_else(|| endpoint.target_port.clone())
                .and_then(|wanted| pod.port(&wanted))
            else {
                continue;
            };
            let address = SocketAddr::from((pod.ip, port.number));
            let job = monitor.spec.job_label.as_ref();
            let job = job.and_then(|label| pod.labels.get(label)).cloned();
            let job = job.unwrap_or_else(|| format!("{own}/{name}"));
            let mut labels = pod.target_labels(&job, &address.to_string(), Some(port));
            labels.set("endpoint", port.name.as_str());
            copy_labels(
                monitor.spec.pod_target_labels.as_ref(),
                &pod.labels,
                &mut labels,
            );
            let pool = format!("podMonitor/{own}/{name}/{index}");
            found.push(endpoint_target(
                endpoint,
                &pool,
                address,
                labels.build(),
                pace,
            ));
        }
    }
    found
}

/// The targets of a ServiceMonitor.
pub(super) fn of_service_monitor(
    monitor: &ServiceMonitor,
    services: &[Service],
    slices: &[EndpointSlice],
    pods: &BTreeMap<(String, String), PodFacts>,
    pace: Pace,
) -> Vec<Target> {
    let own = monitor.metadata.namespace.as_deref().unwrap_or_default();
    let selector = Selector::from_label_selector(&monitor.spec.selector);
    let namespaces = monitor.spec.namespace_selector.as_ref();
    let empty = BTreeMap::new();
    let chosen = services.iter().filter(|service| {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let labels = service.metadata.labels.as_ref().unwrap_or(&empty);
        in_namespaces(namespaces, own, namespace) && selector.matches(labels)
    });
    let mut found = Vec::new();
    for service in chosen {
        let of_service = slices.iter().filter(|slice| {
            let labels = slice.metadata.labels.as_ref().unwrap_or(&empty);
            slice.metadata.namespace == service.metadata.namespace
                && labels.get(SERVICE_NAME) == service.metadata.name.as_ref()
        });
        for slice in of_service {
            for (index, endpoint) in monitor.spec.endpoints.iter().enumerate() {
                let place = Place {
                    monitor,
                    service,
                    slice,
                    index,
                    endpoint,
                };
                place.targets(pods, pace, &mut found);
            }
        }
    }
    found
}

/// One endpoint of a monitor on one slice of a Service.
struct Place<'a> {
    monitor: &'a ServiceMonitor,
    service: &'a Service,
    slice: &'a EndpointSlice,
    index: usize,
    endpoint: &'a Endpoint,
}

impl Place<'_> {
    fn targets(
        &self,
        pods: &BTreeMap<(String, String), PodFacts>,
        pace: Pace,
        found: &mut Vec<Target>,
    ) {
        let named = self
            .slice
            .ports
            .iter()
            .flatten()
            .find(|port| self.endpoint.port.is_some() && port.name == self.endpoint.port);
        for endpoint in self.slice.endpoints.iter().flatten() {
            let pod = endpoint
                .target_ref
                .as_ref()
                .and_then(|target| pods.get(&(target.namespace.clone()?, target.name.clone()?)));
            let by_target = || {
                let wanted = self.endpoint.target_port.as_ref()?;
                pod?.port(wanted).map(|port| port.number)
            };
            let number = named
                .and_then(|port| u16::try_from(port.port?).ok())
                .or_else(by_target);
            let (Some(number), Some(ip)) = (
                number,
                endpoint.addresses.first().and_then(|ip| ip.parse().ok()),
            ) else {
                continue;
            };
            let address: SocketAddr = SocketAddr::new(ip, number);
            let labels = self.labels(pod, address, number);
            let own = self
                .monitor
                .metadata
                .namespace
                .as_deref()
                .unwrap_or_default();
            let name = self.monitor.metadata.name.as_deref().unwrap_or_default();
            let pool = format!("serviceMonitor/{own}/{name}/{}", self.index);
            found.push(endpoint_target(self.endpoint, &pool, address, labels, pace));
        }
    }

    fn labels(&self, pod: Option<&PodFacts>, address: SocketAddr, number: u16) -> Labels {
        let spec = &self.monitor.spec;
        let name = self.service.metadata.name.as_deref().unwrap_or_default();
        let empty = BTreeMap::new();
        let own = self.service.metadata.labels.as_ref().unwrap_or(&empty);
        let job = spec.job_label.as_ref().and_then(|label| own.get(label));
        let job = job.map_or(name, String::as_str);
        let instance = address.to_string();
        let mut labels = match pod {
            Some(pod) => {
                let port = pod.ports.iter().find(|port| port.number == number);
                pod.target_labels(job, &instance, port)
            }
            None => {
                let mut labels = Builder::default();
                labels.set("job", job);
                labels.set("instance", instance.as_str());
                let namespace = self.service.metadata.namespace.as_deref();
                labels.set("namespace", namespace.unwrap_or_default());
                labels
            }
        };
        labels.set("service", name);
        labels.set(
            "endpoint",
            self.endpoint.port.as_deref().unwrap_or_default(),
        );
        copy_labels(spec.target_labels.as_ref(), own, &mut labels);
        if let Some(pod) = pod {
            copy_labels(spec.pod_target_labels.as_ref(), &pod.labels, &mut labels);
        }
        labels.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(annotations: &Value, ports: &Value) -> PodFacts {
        let pod = json!({
            "metadata": {"name": "web-1", "namespace": "shop", "annotations": annotations,
                "labels": {"app": "web", "version": "2.0.0", "pod-template-hash": "abc", "team": "red"}},
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "side", "image": "x"}, {"name": "app", "image": "x", "ports": ports}]},
            "status": {"phase": "Running", "podIP": "127.3.1.7"},
        });
        PodFacts::of(serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn pace() -> Pace {
        Pace { speed: 1.0 }
    }

    #[test]
    fn an_annotated_pod_is_a_target_with_the_labels_of_its_place() {
        let pod = pod(
            &json!({SCRAPE: "true", PORT: "8080", PATH: "/stats"}),
            &json!([{"containerPort": 8080}]),
        );
        let target = of_annotations(&pod, pace()).unwrap();
        assert_eq!(target.source.url(), "http://127.3.1.7:8080/stats");
        assert_eq!(
            target.labels.to_string(),
            r#"{app="web", container="app", instance="127.3.1.7:8080", job="kubernetes-pods", namespace="shop", node="node-1", pod="web-1", pod_template_hash="abc", version="2.0.0"}"#
        );
        assert_eq!(target.interval, INTERVAL);
    }

    #[test]
    fn an_annotation_that_cannot_be_followed_is_told_and_not_passed_over() {
        for (annotations, said) in [
            (json!({SCRAPE: "true", SCHEME: "https"}), "only http"),
            (json!({SCRAPE: "true", PORT: "http"}), "not a port's number"),
            (json!({SCRAPE: "true"}), "no port is known"),
        ] {
            let target = of_annotations(&pod(&annotations, &json!([])), pace()).unwrap();
            let Source::Refused(problem) = target.source else {
                panic!("{target:?}")
            };
            assert!(problem.contains(said), "{problem}");
        }
        assert_eq!(of_annotations(&pod(&json!({}), &json!([])), pace()), None);
    }

    #[test]
    fn a_fast_cluster_scrapes_more_often_but_not_more_than_once_a_second() {
        let interval = |speed| Pace { speed }.interval(Some("30s"));
        assert_eq!(interval(1.0), Duration::from_secs(30));
        assert_eq!(interval(10.0), Duration::from_secs(3));
        assert_eq!(interval(1000.0), Duration::from_secs(1));
    }

    #[test]
    fn monitors_choose_by_label_and_namespace() {
        let pods = [pod(
            &json!({}),
            &json!([{"name": "http", "containerPort": 8080}]),
        )];
        let targets = |namespace: &str, selector: Value, namespaces: Value| {
            let monitor = json!({
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {"selector": selector, "namespaceSelector": namespaces,
                    "podTargetLabels": ["team"],
                    "podMetricsEndpoints": [{"port": "http", "interval": "5s"}, {"port": "grpc"}]},
            });
            let monitor: PodMonitor = serde_json::from_value(monitor).unwrap();
            of_pod_monitor(&monitor, pods.iter(), pace())
        };
        let web = || json!({"matchLabels": {"app": "web"}});
        let found = targets("shop", web(), json!({}));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].labels.get("job"), "shop/web");
        assert_eq!(found[0].labels.get("team"), "red");
        assert_eq!(found[0].interval, Duration::from_secs(5));
        assert_eq!(found[0].timeout, Duration::from_secs(5));
        assert_eq!(targets("other", web(), json!({})).len(), 0);
        assert_eq!(targets("other", web(), json!({"any": true})).len(), 1);
        let named = json!({"matchNames": ["shop"]});
        assert_eq!(targets("other", web(), named).len(), 1);
        let other = json!({"matchLabels": {"app": "db"}});
        assert_eq!(targets("shop", other, json!({})).len(), 0);
    }

    #[test]
    fn a_service_monitor_scrapes_the_endpoints_behind_a_service() {
        let facts = pod(
            &json!({}),
            &json!([{"name": "http", "containerPort": 8080}]),
        );
        let pods = BTreeMap::from([(("shop".to_owned(), "web-1".to_owned()), facts)]);
        let monitor: ServiceMonitor = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "jobLabel": "app",
                "endpoints": [{"port": "web", "path": "stats", "params": {"a": ["b c"]}}]},
        }))
        .unwrap();
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "hello", "namespace": "shop", "labels": {"app": "web"}}}))
        .unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "hello-1", "namespace": "shop", "labels": {SERVICE_NAME: "hello"}},
            "addressType": "IPv4", "ports": [{"name": "web", "port": 8080}],
            "endpoints": [{"addresses": ["127.3.1.7"],
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1"}}]}))
        .unwrap();
        let found = of_service_monitor(&monitor, &[service], &[slice], &pods, pace());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].source.url(), "http://127.3.1.7:8080/stats?a=b+c");
        for (label, value) in [
            ("job", "web"),
            ("service", "hello"),
            ("endpoint", "web"),
            ("pod", "web-1"),
            ("container", "app"),
        ] {
            assert_eq!(found[0].labels.get(label), value, "{label}");
        }
    }
}
