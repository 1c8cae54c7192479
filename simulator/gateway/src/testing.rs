//! Objects for tests, written as the JSON that a user would write.

use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{Change, World};

/// A world with our GatewayClass, the namespace `default`, and these objects.
pub(crate) fn world(objects: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::default();
    listed(&mut world, Change::Class);
    listed(&mut world, Change::Gateway);
    listed(&mut world, Change::Route);
    listed(&mut world, Change::GrpcRoute);
    listed(&mut world, Change::Ingress);
    listed(&mut world, Change::IngressClass);
    listed(&mut world, Change::Grant);
    listed(&mut world, Change::Secret);
    listed(&mut world, Change::Namespace);
    listed(&mut world, Change::Service);
    listed(&mut world, Change::Slice);
    let class = json!({"kind": "GatewayClass", "metadata": {"name": "devops-lab"},
                       "spec": {"controllerName": "devops-lab.dev/gateway"}});
    let namespace = json!({"kind": "Namespace", "metadata": {"name": "default"}});
    for object in [class, namespace].into_iter().chain(objects) {
        put(&mut world, object);
    }
    world
}

fn listed<K>(world: &mut World, change: fn(Event<K>) -> Change) {
    world.apply(change(Event::Init));
    world.apply(change(Event::InitDone));
}

/// Adds or replaces an object.
pub(crate) fn put(world: &mut World, object: Value) {
    fn of<K: DeserializeOwned>(object: Value) -> Event<K> {
        Event::Apply(serde_json::from_value(object).expect("a test writes valid objects"))
    }
    let object = defaulted(object);
    let change = match object["kind"].as_str() {
        Some("GatewayClass") => Change::Class(of(object)),
        Some("Gateway") => Change::Gateway(of(object)),
        Some("HTTPRoute") => Change::Route(of(object)),
        Some("GRPCRoute") => Change::GrpcRoute(of(object)),
        Some("Ingress") => Change::Ingress(of(object)),
        Some("IngressClass") => Change::IngressClass(of(object)),
        Some("ReferenceGrant") => Change::Grant(of(object)),
        Some("Secret") => Change::Secret(of(object)),
        Some("Namespace") => Change::Namespace(of(object)),
        Some("Service") => Change::Service(of(object)),
        Some("EndpointSlice") => Change::Slice(of(object)),
        other => panic!("kind {other:?} is not watched"),
    };
    world.apply(change);
}

/// What the API server would have filled in.
fn defaulted(mut object: Value) -> Value {
    let kind = object["kind"].clone();
    let (version, namespaced) = match kind.as_str() {
        Some("GatewayClass") => ("gateway.networking.k8s.io/v1", false),
        Some("Gateway" | "HTTPRoute" | "GRPCRoute" | "ReferenceGrant") => {
            ("gateway.networking.k8s.io/v1", true)
        }
        Some("EndpointSlice") => ("discovery.k8s.io/v1", true),
        Some("Ingress") => ("networking.k8s.io/v1", true),
        Some("IngressClass") => ("networking.k8s.io/v1", false),
        Some("Service" | "Secret") => ("v1", true),
        _ => ("v1", false),
    };
    object["apiVersion"] = version.into();
    let meta = &mut object["metadata"];
    if namespaced && meta["namespace"].is_null() {
        meta["namespace"] = "default".into();
    }
    for (field, value) in [
        ("uid", json!("u")),
        ("generation", json!(1)),
        ("resourceVersion", json!("1")),
    ] {
        if meta[field].is_null() {
            meta[field] = value;
        }
    }
    object
}

/// The Gateway `default/devops-lab` with these listeners, each `{name, port, …}`.
pub(crate) fn gateway(listeners: Value) -> Value {
    let mut listeners = listeners;
    for listener in listeners.as_array_mut().expect("listeners are a list") {
        if listener["protocol"].is_null() {
            listener["protocol"] = "HTTP".into();
        }
    }
    json!({"kind": "Gateway", "metadata": {"name": "devops-lab"},
           "spec": {"gatewayClassName": "devops-lab", "listeners": listeners}})
}

/// An HTTPRoute in `default`, attached to the Gateway `devops-lab`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the rules in place"
)]
pub(crate) fn route(name: &str, hostnames: &[&str], rules: Value) -> Value {
    json!({"kind": "HTTPRoute", "metadata": {"name": name},
           "spec": {"parentRefs": [{"name": "devops-lab"}], "hostnames": hostnames, "rules": rules}})
}

/// A Service in `default` with one port, 80.
pub(crate) fn service(name: &str) -> Value {
    json!({"kind": "Service", "metadata": {"name": name},
           "spec": {"clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]}})
}

/// One slice of the Service's endpoints: a single one, whose port need not be the others'.
pub(crate) fn slice(service: &str, number: usize, address: std::net::SocketAddr) -> Value {
    json!({"kind": "EndpointSlice",
           "metadata": {"name": format!("{service}-{number}"), "labels": {"kubernetes.io/service-name": service}},
           "addressType": "IPv4",
           "endpoints": [{"addresses": [address.ip().to_string()],
                          "conditions": {"ready": true, "serving": true, "terminating": false}}],
           "ports": [{"name": "", "port": address.port(), "protocol": "TCP"}]})
}

/// A Secret in `default` with a new self-signed certificate for these hosts.
pub(crate) fn tls_secret(name: &str, hosts: &[&str]) -> Value {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).expect("the hosts are DNS names");
    let entry = |text: String| serde_json::to_value(k8s_openapi::ByteString(text.into_bytes()));
    json!({"kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls",
           "data": {"tls.crt": entry(made.cert.pem()).expect("bytes are JSON"),
                    "tls.key": entry(made.signing_key.serialize_pem()).expect("bytes are JSON")}})
}
