//! The load balancer alone, in front of backends that never change: for measuring it and for
//! looking at it, without a cluster.
//!
//! ```console
//! $ cargo run --release -p lab-gateway --example balancer -- 8080 127.0.0.1:9001 127.0.0.1:9002
//! ```

use std::net::SocketAddr;

use lab_context::Context;
use lab_gateway::{GatewayConfig, run};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it belongs to the tests")]
mod support;

use support::FakeApi;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments
        .next()
        .and_then(|port| port.parse().ok())
        .expect("the first argument is the port to listen on");
    let backends: Vec<SocketAddr> = arguments
        .map(|backend| backend.parse().expect("a backend is address:port"))
        .collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(async {
        let api = api(port, &backends);
        let context = Context::system(1.0);
        let config = GatewayConfig::on_loopback();
        run(api.client(), config, context, CancellationToken::new())
            .await
            .expect("there is no admin address to bind");
    });
}

fn api(port: u16, backends: &[SocketAddr]) -> FakeApi {
    let api = FakeApi::new();
    api.put(
        "gatewayclasses",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
               "metadata": {"name": "devops-lab"}, "spec": {"controllerName": "devops-lab.dev/gateway"}}),
    );
    api.put(
        "gateways",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
               "metadata": {"name": "devops-lab", "namespace": "default", "generation": 1},
               "spec": {"gatewayClassName": "devops-lab",
                        "listeners": [{"name": "production", "port": port, "protocol": "HTTP"}]}}),
    );
    api.put(
        "services",
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "hello", "namespace": "default"},
               "spec": {"clusterIP": "None", "ports": [{"port": 80, "protocol": "TCP"}]}}),
    );
    api.put(
        "httproutes",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
               "metadata": {"name": "hello", "namespace": "default"},
               "spec": {"parentRefs": [{"name": "devops-lab"}],
                        "rules": [{"backendRefs": [{"name": "hello", "port": 80}]}]}}),
    );
    for (number, backend) in backends.iter().enumerate() {
        api.put("endpointslices", slice(number, *backend));
    }
    api
}

fn slice(number: usize, backend: SocketAddr) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
           "metadata": {"name": format!("hello-{number}"), "namespace": "default",
                        "labels": {"kubernetes.io/service-name": "hello"}},
           "addressType": "IPv4",
           "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
           "ports": [{"name": "", "port": backend.port(), "protocol": "TCP"}]})
}
