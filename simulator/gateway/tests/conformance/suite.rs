//! A real API server, the load balancer, and backends that tell what they got; all in the
//! test's process.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kube::Client;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_gateway::{GatewayConfig, IngressPorts, ServiceBind, run};
use lab_store::Store;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a change may take to show, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const INFRA: &str = "gateway-conformance-infra";
pub(crate) const WEB: &str = "gateway-conformance-web-backend";
pub(crate) const APP: &str = "gateway-conformance-app-backend";

/// The backends of the conformance suite, by namespace.
const BACKENDS: [(&str, &str); 5] = [
    (INFRA, "infra-backend-v1"),
    (INFRA, "infra-backend-v2"),
    (INFRA, "infra-backend-v3"),
    (WEB, "web-backend"),
    (APP, "app-backend-v1"),
];

pub(crate) struct Suite {
    client: Client,
    pub(crate) ingress: IngressPorts,
    seen: Arc<Mutex<Vec<String>>>,
    _guard: DropGuard,
}

/// Ports that nobody has at the moment.
pub(crate) async fn ports<const N: usize>() -> [u16; N] {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let ports: Vec<u16> = listeners
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    ports.try_into().unwrap()
}

/// Where the API has a kind: group and version, and plural.
fn place(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "Namespace" => ("api/v1", "namespaces"),
        "Service" => ("api/v1", "services"),
        "Secret" => ("api/v1", "secrets"),
        "EndpointSlice" => ("apis/discovery.k8s.io/v1", "endpointslices"),
        "GatewayClass" => ("apis/gateway.networking.k8s.io/v1", "gatewayclasses"),
        "Gateway" => ("apis/gateway.networking.k8s.io/v1", "gateways"),
        "HTTPRoute" => ("apis/gateway.networking.k8s.io/v1", "httproutes"),
        "GRPCRoute" => ("apis/gateway.networking.k8s.io/v1", "grpcroutes"),
        "ReferenceGrant" => ("apis/gateway.networking.k8s.io/v1", "referencegrants"),
        "Ingress" => ("apis/networking.k8s.io/v1", "ingresses"),
        "IngressClass" => ("apis/networking.k8s.io/v1", "ingressclasses"),
        "Event" => ("api/v1", "events"),
        other => panic!("{other} has no place in this suite"),
    }
}

fn path(kind: &str, namespace: &str, name: &str) -> String {
    let (version, plural) = place(kind);
    match kind {
        "Namespace" | "GatewayClass" | "IngressClass" => format!("/{version}/{plural}/{name}"),
        _ => format!("/{version}/namespaces/{namespace}/{plural}/{name}"),
    }
}

impl Suite {
    pub(crate) async fn start() -> Self {
        let stop = CancellationToken::new();
        let context = Context::system(1.0);
        let config = ApiServerConfig {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: None,
            context: context.clone(),
            stop: stop.clone(),
        };
        let router = ApiServer::new(Store::in_memory(), config).router();
        let client = Client::new(router, "default");
        let [http, https] = ports().await;
        let suite = Self {
            client: client.clone(),
            ingress: IngressPorts { http, https },
            seen: Arc::default(),
            _guard: stop.clone().drop_guard(),
        };
        suite.begin().await;
        let config = GatewayConfig {
            services: ServiceBind::Off,
            ingress: Some(suite.ingress),
            drain: Duration::from_secs(1),
            ..GatewayConfig::on_loopback()
        };
        tokio::spawn(run(client, config, context, stop));
        suite
    }

    async fn begin(&self) {
        for namespace in ["default", INFRA, WEB, APP] {
            self.create(
                "",
                json!({"kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await;
        }
        self.create(
            "",
            json!({"kind": "GatewayClass", "metadata": {"name": "lab"},
                   "spec": {"controllerName": "devops-lab.dev/gateway"}}),
        )
        .await;
        self.create(
            "",
            json!({"kind": "IngressClass", "metadata": {"name": "lab",
                       "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
                   "spec": {"controller": "devops-lab.dev/ingress"}}),
        )
        .await;
        for (namespace, name) in BACKENDS {
            let seen = Arc::clone(&self.seen);
            let address = echo(name, seen).await;
            self.backend(namespace, name, &[address]).await;
        }
    }

    /// A Service with these endpoints.
    pub(crate) async fn backend(&self, namespace: &str, name: &str, endpoints: &[SocketAddr]) {
        self.create(
            namespace,
            json!({"kind": "Service", "metadata": {"name": name},
                   "spec": {"ports": [{"name": "http", "port": 8080}]}}),
        )
        .await;
        for (number, address) in endpoints.iter().enumerate() {
            let slice = slice(name, number, *address);
            self.create(namespace, slice).await;
        }
    }

    /// Names of the backends that were asked, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        type_: &str,
        body: &Value,
    ) -> kube::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", type_)
            .body(body.to_string().into_bytes())
            .unwrap();
        self.client.request(request).await
    }

    pub(crate) async fn create(&self, namespace: &str, mut object: Value) -> Value {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (version, _) = place(&kind);
        object["apiVersion"] = version.split_once('/').unwrap().1.into();
        let full = path(&kind, namespace, "");
        let collection = full.trim_end_matches('/');
        self.send(Method::POST, collection, "application/json", &object)
            .await
            .unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let path = path(kind, namespace, name);
        self.send(Method::GET, &path, "application/json", &Value::Null)
            .await
            .unwrap()
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Value {
        let path = path(kind, namespace, name);
        self.send(Method::PATCH, &path, "application/merge-patch+json", &patch)
            .await
            .unwrap()
    }

    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let path = path(kind, namespace, name);
        self.send(Method::DELETE, &path, "application/json", &json!({}))
            .await
            .unwrap();
    }

    /// Waits until an object is as wanted, and returns it.
    pub(crate) async fn until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let object = self.get(kind, namespace, name).await;
            if wanted(&object) {
                return object;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{kind} {name} never became so: {:#}",
                object["status"]
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Creates a Gateway in the infra namespace and waits until it takes requests.
    pub(crate) async fn gateway(&self, name: &str, listeners: Value) {
        let object = gateway(name, listeners);
        self.create(INFRA, object).await;
        self.until("Gateway", INFRA, name, |gateway| {
            says(&gateway["status"], gateway, "Programmed") == "True Programmed"
        })
        .await;
    }

    /// Creates a route and waits until something is said of it; returns what, per parent.
    pub(crate) async fn route(&self, namespace: &str, object: Value) -> Vec<Vec<String>> {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let parents = object["spec"]["parentRefs"].as_array().map_or(0, Vec::len);
        self.create(namespace, object).await;
        let route = self
            .until(&kind, namespace, &name, |route| current(route, parents))
            .await;
        conditions(&route)
    }

    /// Creates an HTTPRoute in the infra namespace that is accepted and resolved.
    pub(crate) async fn accepted(
        &self,
        name: &str,
        gateway: &str,
        hostnames: &[&str],
        rules: Value,
    ) {
        let found = self
            .route(INFRA, route(name, gateway, hostnames, rules))
            .await;
        assert_eq!(found, [ACCEPTED], "{name}");
    }

    /// Waits until a changed route is spoken of in its newest generation.
    pub(crate) async fn settled(&self, kind: &str, name: &str) {
        self.until(kind, INFRA, name, |route| current(route, 1))
            .await;
    }

    /// What the listeners of a Gateway say: name, number of routes, conditions.
    pub(crate) async fn listeners(&self, name: &str) -> Vec<(String, i64, Vec<String>)> {
        let gateway = self
            .until("Gateway", INFRA, name, |gateway| {
                let said = says(&gateway["status"], gateway, "Accepted");
                !said.starts_with("Unknown") && !said.starts_with("stale")
            })
            .await;
        let listeners = gateway["status"]["listeners"].as_array().unwrap().iter();
        listeners
            .map(|listener| {
                let conditions = listener["conditions"].as_array().unwrap();
                let name = listener["name"].as_str().unwrap().to_owned();
                let attached = listener["attachedRoutes"].as_i64().unwrap();
                (name, attached, conditions.iter().map(word).collect())
            })
            .collect()
    }

    /// Sends `GET host/path header: value, header: value` and compares: with a status where
    /// `expected` is a number, else with the name of the backend.
    #[track_caller]
    pub(crate) fn expect(
        &self,
        port: u16,
        line: &str,
        expected: &str,
    ) -> impl Future<Output = Reply> {
        let place = std::panic::Location::caller();
        let (line, expected) = (line.to_owned(), expected.to_owned());
        async move {
            let reply = ask(port, &line).await;
            let found = match expected.parse::<u16>() {
                Ok(_) => reply.status.as_u16().to_string(),
                Err(_) => reply.backend(),
            };
            assert_eq!(found, expected, "{line} at {place}: {reply:?}");
            reply
        }
    }

    pub(crate) async fn table(&self, port: u16, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            self.expect(port, line, expected).await;
        }
    }
}

/// The conditions of a route in order under one parent.
pub(crate) const ACCEPTED: [&str; 2] = ["Accepted True Accepted", "ResolvedRefs True ResolvedRefs"];

/// `Accepted True Accepted`.
fn word(condition: &Value) -> String {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    format!("{} {} {}", text("type"), text("status"), text("reason"))
}

/// Status and reason of a condition; `stale` where it speaks of an older generation.
pub(crate) fn says(status: &Value, object: &Value, type_: &str) -> String {
    let conditions = status["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == type_);
    match found {
        Some(condition) if condition["observedGeneration"] == object["metadata"]["generation"] => {
            let text = word(condition);
            text.split_once(' ').unwrap().1.to_owned()
        }
        Some(condition) if condition["status"] == "Unknown" => "Unknown".to_owned(),
        _ => "stale".to_owned(),
    }
}

fn current(route: &Value, parents: usize) -> bool {
    let said = route["status"]["parents"].as_array();
    said.is_some_and(|said| {
        said.len() == parents
            && said
                .iter()
                .all(|parent| says(parent, route, "Accepted") != "stale")
    })
}

fn conditions(route: &Value) -> Vec<Vec<String>> {
    let parents = route["status"]["parents"].as_array().unwrap().iter();
    parents
        .map(|parent| {
            assert_eq!(parent["controllerName"], "devops-lab.dev/gateway");
            parent["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .map(word)
                .collect()
        })
        .collect()
}

pub(crate) fn gateway(name: &str, listeners: Value) -> Value {
    json!({"kind": "Gateway", "metadata": {"name": name},
           "spec": {"gatewayClassName": "lab", "listeners": listeners}})
}

/// An HTTPRoute that is attached to a Gateway of the infra namespace.
pub(crate) fn route(name: &str, gateway: &str, hostnames: &[&str], rules: Value) -> Value {
    json!({"kind": "HTTPRoute", "metadata": {"name": name},
           "spec": {"parentRefs": [{"name": gateway, "namespace": INFRA}],
                    "hostnames": hostnames, "rules": rules}})
}

/// A rule that sends these matches to a backend.
pub(crate) fn to(backend: &str, matches: Value) -> Value {
    json!({"matches": matches, "backendRefs": [{"name": backend, "port": 8080}]})
}

pub(crate) fn slice(service: &str, number: usize, address: SocketAddr) -> Value {
    json!({"kind": "EndpointSlice",
           "metadata": {"name": format!("{service}-{number}"), "labels": {"kubernetes.io/service-name": service}},
           "addressType": "IPv4",
           "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
           "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}]})
}

/// A Secret with a certificate for these hosts, and that certificate.
pub(crate) fn secret(
    name: &str,
    hosts: &[&str],
) -> (Value, rustls::pki_types::CertificateDer<'static>) {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    let secret = json!({"kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}});
    (secret, made.cert.der().clone())
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body ends well").to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// What the backend says that it got.
    pub(crate) fn echo(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn backend(&self) -> String {
        match self.echo()["backend"].as_str() {
            Some(name) => name.to_owned(),
            None => self.status.as_u16().to_string(),
        }
    }
}

/// Reads `GET host/path header: value, header: value`.
pub(crate) fn request(line: &str) -> Request<Full<Bytes>> {
    let (method, rest) = line.split_once(' ').expect("a method comes first");
    let (target, headers) = rest.split_once(' ').unwrap_or((rest, ""));
    let (host, path) = target.split_at(target.find('/').expect("a path follows the host"));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", host);
    for header in headers.split(", ").filter(|header| !header.is_empty()) {
        let (name, value) = header.split_once(": ").expect("a header is name: value");
        request = request.header(name, value);
    }
    request.body(Full::default()).unwrap()
}

/// Sends a request over a connection of its own.
pub(crate) async fn ask(port: u16, line: &str) -> Reply {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    ask_over(stream, request(line)).await
}

pub(crate) async fn ask_over<S>(stream: S, request: Request<Full<Bytes>>) -> Reply
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Reply::of(sender.send_request(request).await.unwrap()).await
}

/// Calls a gRPC method without a message, and tells who answered: a backend's name, or
/// `grpc-status N`.
pub(crate) async fn call(port: u16, host: &str, method: &str, headers: &[(&str, &str)]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{host}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let reply = Reply::of(sender.send_request(request).await.unwrap()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    match reply.headers.get("grpc-status") {
        Some(status) => format!("grpc-status {}", status.to_str().unwrap()),
        None => {
            let echo = reply.echo();
            assert_eq!(
                echo["version"], "HTTP/2.0",
                "gRPC needs HTTP/2 to the backend"
            );
            reply.backend()
        }
    }
}

/// A backend that tells its name and what it got.
pub(crate) async fn echo(name: &'static str, seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    serve(move |request| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            seen.lock().unwrap().push(name.to_owned());
            let headers: serde_json::Map<String, Value> = parts
                .headers
                .iter()
                .map(|(name, value)| {
                    (
                        name.to_string(),
                        String::from_utf8_lossy(value.as_bytes()).into(),
                    )
                })
                .collect();
            let host = parts.uri.authority().map(ToString::to_string);
            let host = host.or_else(|| headers.get("host")?.as_str().map(str::to_owned));
            let told = json!({"backend": name, "method": parts.method.as_str(),
                "path": parts.uri.path_and_query().map(ToString::to_string), "host": host,
                "version": format!("{:?}", parts.version), "headers": headers,
                "body": String::from_utf8_lossy(&body)});
            Response::builder()
                .header("x-backend", name)
                .body(Full::from(told.to_string()))
                .unwrap()
        }
    })
    .await
}

/// A server on a free port.
pub(crate) async fn serve<F, R>(handler: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let handler = handler.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// Sends `total` requests, ten at a time, and counts who answers.
pub(crate) async fn shares(
    port: u16,
    line: &str,
    total: usize,
) -> std::collections::BTreeMap<String, usize> {
    let (next, line) = (Arc::new(AtomicUsize::new(0)), Arc::new(line.to_owned()));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (next, line) = (Arc::clone(&next), Arc::clone(&line));
        workers.spawn(async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let mut found = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < total {
                sender.ready().await.unwrap();
                let response = sender.send_request(request(&line)).await.unwrap();
                found.push(Reply::of(response).await.backend());
            }
            found
        });
    }
    let mut counts = std::collections::BTreeMap::new();
    while let Some(found) = workers.join_next().await {
        for name in found.unwrap() {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}
