//! Rows of `kubectl get -o wide`, for the kinds whose columns need no more than a look.

use serde_json::{Value, json};

use super::testing::{definition, row};

/// Checks the columns' names (wide ones in parentheses) and the row.
#[track_caller]
fn case(kind: &str, mut object: Value, columns: &str, expected: &[&str]) {
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let definition = definition(kind);
    let names: Vec<String> = definition
        .columns
        .iter()
        .map(|column| match column.priority {
            0 => column.name.to_string(),
            _ => format!("({})", column.name),
        })
        .collect();
    assert_eq!(names.join(", "), columns);
    assert_eq!(row(&definition, &object), expected);
}

const TEMPLATE: &str =
    r#"{"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}}"#;

#[test]
fn workloads_count_their_replicas() {
    let template: Value = serde_json::from_str(TEMPLATE).unwrap();
    let spec =
        json!({"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template});
    case(
        "Deployment",
        json!({"spec": spec, "status": {"replicas": 4, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2}}),
        "Name, Ready, Up-to-date, Available, Age, (Containers), (Images), (Selector)",
        &["x", "2/3", "1", "2", "60m", "a,b", "i:1,j", "app=x"],
    );
    case(
        "ReplicaSet",
        json!({"spec": spec, "status": {"replicas": 2, "readyReplicas": 1}}),
        "Name, Desired, Current, Ready, Age, (Containers), (Images), (Selector)",
        &["x", "3", "2", "1", "60m", "a,b", "i:1,j", "app=x"],
    );
}

#[test]
fn configuration_counts_its_entries() {
    case(
        "ConfigMap",
        json!({"data": {"a": "1"}, "binaryData": {"b": "Mg=="}}),
        "Name, Data, Age",
        &["x", "2", "60m"],
    );
    case(
        "Secret",
        json!({"type": "Opaque", "data": {"a": "MQ=="}}),
        "Name, Type, Data, Age",
        &["x", "Opaque", "1", "60m"],
    );
    case(
        "ServiceAccount",
        json!({}),
        "Name, Secrets, Age",
        &["x", "0", "60m"],
    );
}

#[test]
fn the_cluster_shows_its_parts() {
    case(
        "Namespace",
        json!({"status": {"phase": "Active"}}),
        "Name, Status, Age",
        &["x", "Active", "60m"],
    );
    case(
        "Lease",
        json!({"spec": {"holderIdentity": "node-1"}}),
        "Name, Holder, Age",
        &["x", "node-1", "60m"],
    );
    case(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        "Name, Endpoints, Age",
        &["x", "1.1.1.1:80,2.2.2.2:80,1.1.1.1:81 + 1 more...", "60m"],
    );
    case(
        "Endpoints",
        json!({}),
        "Name, Endpoints, Age",
        &["x", "<none>", "60m"],
    );
}

#[test]
fn gateways_show_what_their_controller_said() {
    case(
        "Gateway",
        json!({"spec": {"gatewayClassName": "devops-lab"}, "status": {
            "addresses": [{"value": "127.0.0.1"}],
            "conditions": [{"type": "Programmed", "status": "True"}]}}),
        "Name, Class, Address, Programmed, Age",
        &["x", "devops-lab", "127.0.0.1", "True", "60m"],
    );
    case(
        "GatewayClass",
        json!({"spec": {"controllerName": "a/b"}}),
        "Name, Controller, Accepted, Age, (Description)",
        &["x", "a/b", "", "60m", ""],
    );
    case(
        "HTTPRoute",
        json!({"spec": {"hostnames": ["a.b", "c.d"]}}),
        "Name, Hostnames, Age",
        &["x", r#"["a.b","c.d"]"#, "60m"],
    );
}

#[test]
fn routes_and_ingresses_show_their_hosts() {
    case(
        "GRPCRoute",
        json!({"spec": {"hostnames": ["a.b", "c.d"]}}),
        "Name, Hostnames, Age",
        &["x", r#"["a.b","c.d"]"#, "60m"],
    );
    case("ReferenceGrant", json!({}), "Name, Age", &["x", "60m"]);
    let ingress = |spec: Value, status: Value, row: &[&str]| {
        case(
            "Ingress",
            json!({"spec": spec, "status": status}),
            "Name, Class, Hosts, Address, Ports, Age",
            row,
        );
    };
    ingress(
        json!({"rules": [{"host": "a.b"}, {"host": "c.d"}], "tls": [{}], "ingressClassName": "lab"}),
        json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}),
        &["x", "lab", "a.b,c.d", "127.0.0.1", "80, 443", "60m"],
    );
    ingress(
        json!({"rules": [{}]}),
        json!({"loadBalancer": {}}),
        &["x", "<none>", "*", "", "80", "60m"],
    );
    case(
        "IngressClass",
        json!({"spec": {"controller": "a.b/c", "parameters": {"apiGroup": "d.e", "kind": "F", "name": "g"}}}),
        "Name, Controller, Parameters, Age",
        &["x", "a.b/c", "F.d.e/g", "60m"],
    );
}
