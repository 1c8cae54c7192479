//! What beginners get wrong, and the sentence that a real server answers.

use serde_json::{Value, json};

use super::testing::{created, updated};

/// Checks that `object` is refused with errors that begin so.
#[track_caller]
fn refused(kind: &str, object: Value, expected: &[&str]) {
    let errors = created(kind, object).expect_err("the object is wrong");
    assert_starts(&errors, expected);
}

/// Checks that the change is refused with errors that begin so.
#[track_caller]
fn change_refused(kind: &str, old: &Value, new: Value, expected: &[&str]) {
    let errors = updated(kind, old, new).expect_err("the change is wrong");
    assert_starts(&errors, expected);
}

#[track_caller]
fn assert_starts(errors: &[String], expected: &[&str]) {
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(expected) {
        assert!(error.starts_with(start), "{error}");
    }
}

/// `object` with the value at a JSON pointer replaced (or added to its parent).
fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key] = value;
    object
}

fn pod() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": "shop:v1"}]}})
}

fn pod_with(pointer: &str, value: Value) -> Value {
    with(pod(), pointer, value)
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "shop:v1"}]}}}})
}

fn service() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

fn route() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "parentRefs": [{"name": "devops-lab"}],
        "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}})
}

#[test]
fn the_examples_themselves_are_right() {
    for (kind, object) in [
        ("Pod", pod()),
        ("Deployment", deployment()),
        ("ReplicaSet", deployment()),
        ("Service", service()),
        ("HTTPRoute", route()),
    ] {
        created(kind, object).unwrap();
    }
}

#[test]
fn a_pod_needs_named_containers_with_images() {
    let c = "/spec/containers";
    refused(
        "Pod",
        pod_with(c, json!([])),
        &["spec.containers: Required value"],
    );
    refused(
        "Pod",
        pod_with(c, json!([{}])),
        &[
            "spec.containers[0].name: Required value",
            "spec.containers[0].image: Required value",
        ],
    );
    refused(
        "Pod",
        pod_with(
            c,
            json!([{"name": "Web", "image": "a"}, {"name": "b", "image": "a"}, {"name": "b", "image": " a"}]),
        ),
        &[
            r#"spec.containers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist"#,
            r#"spec.containers[2].name: Duplicate value: "b""#,
            r#"spec.containers[2].image: Invalid value: " a": must not have leading or trailing whitespace"#,
        ],
    );
}

#[test]
fn ports_have_numbers_names_and_protocols() {
    let ports = "/spec/containers/0/ports";
    refused(
        "Pod",
        pod_with(
            ports,
            json!([{"containerPort": 70000}, {"containerPort": 80, "protocol": "HTTP"}, {"name": "a"}]),
        ),
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            r#"spec.containers[0].ports[1].protocol: Unsupported value: "HTTP": supported values: "SCTP", "TCP", "UDP""#,
            "spec.containers[0].ports[2].containerPort: Required value",
        ],
    );
    refused(
        "Pod",
        pod_with(
            ports,
            json!([{"name": "web-frontend-http", "containerPort": 80}]),
        ),
        &[
            r#"spec.containers[0].ports[0].name: Invalid value: "web-frontend-http": must be no more than 15 characters"#,
        ],
    );
    refused(
        "Pod",
        pod_with(ports, json!([{"containerPort": "80"}])),
        &[
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ],
    );
}

#[test]
fn environment_and_volumes_refer_to_something() {
    refused(
        "Pod",
        pod_with(
            "/spec/containers/0/env",
            json!([{"value": "x"}, {"name": "A", "valueFrom": {}}]),
        ),
        &[
            "spec.containers[0].env[0].name: Required value",
            r#"spec.containers[0].env[1].valueFrom: Invalid value: "": must specify one of: `fieldRef`"#,
        ],
    );
    refused(
        "Pod",
        pod_with(
            "/spec/containers/0/env",
            json!([{"name": "PORT", "value": 80}]),
        ),
        &[
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
        ],
    );
    refused(
        "Pod",
        pod_with(
            "/spec/containers/0/volumeMounts",
            json!([{"name": "data", "mountPath": "/data"}]),
        ),
        &[r#"spec.containers[0].volumeMounts[0].name: Not found: "data""#],
    );
    refused(
        "Pod",
        pod_with(
            "/spec/volumes",
            json!([{"name": "a", "emptyDir": {}, "configMap": {"name": "x"}}, {"name": "a"}]),
        ),
        &[
            "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
            r#"spec.volumes[1].name: Duplicate value: "a""#,
        ],
    );
}

#[test]
fn probes_have_one_handler_with_a_port() {
    let probe = "/spec/containers/0/readinessProbe";
    refused(
        "Pod",
        pod_with(probe, json!({"periodSeconds": 5})),
        &["spec.containers[0].readinessProbe: Required value: must specify a handler type"],
    );
    refused(
        "Pod",
        pod_with(probe, json!({"httpGet": {"path": "/"}})),
        &[
            "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535",
        ],
    );
    refused(
        "Pod",
        pod_with(
            probe,
            json!({"httpGet": {"port": 80}, "exec": {"command": ["a"]}}),
        ),
        &["spec.containers[0].readinessProbe: Forbidden: may not specify more than 1 handler type"],
    );
}

#[test]
fn resources_are_quantities_within_limits() {
    let resources = "/spec/containers/0/resources";
    refused(
        "Pod",
        pod_with(
            resources,
            json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}),
        ),
        &[
            r#"spec.containers[0].resources.requests: Invalid value: "1Gi": must be less than or equal to memory limit of 512Mi"#,
        ],
    );
    refused(
        "Pod",
        pod_with(resources, json!({"limits": {"memory": "512MB"}})),
        &["quantities must match the regular expression"],
    );
}

#[test]
fn a_workload_selects_its_own_pods() {
    let labels = "/spec/template/metadata/labels";
    refused(
        "Deployment",
        with(deployment(), labels, json!({"app": "shop"})),
        &[
            r#"spec.template.metadata.labels: Invalid value: {"app":"shop"}: `selector` does not match template `labels`"#,
        ],
    );
    refused(
        "Deployment",
        with(deployment(), "/spec/selector", Value::Null),
        &[
            "spec.selector: Required value",
            r#"spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`"#,
        ],
    );
    refused(
        "Deployment",
        with(deployment(), "/spec/replicas", json!(-1)),
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    refused(
        "Deployment",
        with(
            deployment(),
            "/spec/template/spec/restartPolicy",
            json!("Never"),
        ),
        &[
            r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#,
        ],
    );
    refused(
        "Deployment",
        with(
            deployment(),
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
        ),
        &[
            r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#,
        ],
    );
    refused(
        "Deployment",
        with(
            deployment(),
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        ),
        &[
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ],
    );
}

#[test]
fn a_selector_does_not_change() {
    let stored = created("Deployment", deployment()).unwrap();
    let mut other = with(
        stored.clone(),
        "/spec/selector",
        json!({"matchLabels": {"app": "shop"}}),
    );
    other = with(
        other,
        "/spec/template/metadata/labels",
        json!({"app": "shop"}),
    );
    change_refused(
        "Deployment",
        &stored,
        other,
        &[r#"spec.selector: Invalid value: {"matchLabels":{"app":"shop"}}: field is immutable"#],
    );
    let more = with(stored.clone(), "/spec/replicas", json!(3));
    assert_eq!(
        updated("Deployment", &stored, more).unwrap()["spec"]["replicas"],
        3
    );
}

#[test]
fn of_a_pod_only_the_image_and_little_else_changes() {
    let stored = created("Pod", pod()).unwrap();
    let newer = with(stored.clone(), "/spec/containers/0/image", json!("shop:v2"));
    updated("Pod", &stored, newer).unwrap();
    let port = with(
        stored.clone(),
        "/spec/containers/0/ports",
        json!([{"containerPort": 80}]),
    );
    change_refused(
        "Pod",
        &stored,
        port,
        &[
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
        ],
    );
    let two = json!([{"name": "web", "image": "shop:v1"}, {"name": "b", "image": "b"}]);
    change_refused(
        "Pod",
        &stored,
        with(stored.clone(), "/spec/containers", two),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

#[test]
fn a_service_needs_ports_that_can_be_told_apart() {
    let ports = "/spec/ports";
    refused(
        "Service",
        with(service(), ports, json!([])),
        &["spec.ports: Required value"],
    );
    refused(
        "Service",
        with(
            service(),
            ports,
            json!([{"port": 80}, {"name": "Web", "port": 80}]),
        ),
        &[
            "spec.ports[0].name: Required value",
            r#"spec.ports[1].name: Invalid value: "Web": a lowercase RFC 1123 label must consist"#,
            r#"spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}"#,
        ],
    );
    refused(
        "Service",
        with(service(), ports, json!([{"port": 80, "nodePort": 30080}])),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    let node_port = with(service(), "/spec/type", json!("NodePort"));
    refused(
        "Service",
        with(node_port, ports, json!([{"port": 80, "nodePort": 8080}])),
        &[
            "spec.ports[0].nodePort: Invalid value: 8080: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ],
    );
    refused(
        "Service",
        with(service(), "/spec/type", json!("Loadbalancer")),
        &[
            r#"spec.type: Unsupported value: "Loadbalancer": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#,
        ],
    );
    refused(
        "Service",
        with(service(), "/metadata/name", json!("1web")),
        &[r#"metadata.name: Invalid value: "1web": a DNS-1035 label must consist"#],
    );
}

#[test]
fn a_service_keeps_its_address_and_node_ports() {
    let node_port = with(service(), "/spec/type", json!("NodePort"));
    let stored = created("Service", node_port.clone()).unwrap();
    assert_eq!(stored["spec"]["clusterIP"], "10.96.0.9");
    assert_eq!(stored["spec"]["ports"][0]["nodePort"], 30_000);

    let replaced = updated("Service", &stored, node_port).unwrap();
    assert_eq!(replaced["spec"], stored["spec"]);

    let inside = with(stored.clone(), "/spec/type", json!("ClusterIP"));
    let inside = updated("Service", &stored, inside).unwrap();
    assert!(inside["spec"]["ports"][0].get("nodePort").is_none());
    assert!(inside["spec"].get("externalTrafficPolicy").is_none());

    let moved = with(stored.clone(), "/spec/clusterIP", json!("10.96.0.77"));
    let moved = with(moved, "/spec/clusterIPs", json!(["10.96.0.77"]));
    change_refused(
        "Service",
        &stored,
        moved,
        &[r#"spec.clusterIPs[0]: Invalid value: ["10.96.0.77"]: may not change once set"#],
    );
}

#[test]
fn configuration_has_valid_keys_and_may_be_frozen() {
    let map =
        |data: Value| json!({"metadata": {"name": "c", "namespace": "default"}, "data": data});
    refused(
        "ConfigMap",
        map(json!({"a b": "x"})),
        &[r#"data[a b]: Invalid value: "a b": a valid config key must consist of"#],
    );
    refused(
        "ConfigMap",
        map(json!({"port": 80})),
        &["json: cannot unmarshal number into Go struct field ConfigMap.data of type string"],
    );
    let frozen = with(map(json!({"a": "x"})), "/immutable", json!(true));
    change_refused(
        "ConfigMap",
        &frozen,
        with(frozen.clone(), "/data/a", json!("y")),
        &["data: Forbidden: field is immutable when `immutable` is set"],
    );
    let secret =
        json!({"metadata": {"name": "s", "namespace": "default"}, "stringData": {"a": "x"}});
    let stored = created("Secret", secret.clone()).unwrap();
    assert_eq!(
        (&stored["data"]["a"], &stored["type"]),
        (&json!("eA=="), &json!("Opaque"))
    );
    assert!(stored.get("stringData").is_none());
    refused(
        "Secret",
        with(secret, "/data", json!({"b": "not base64"})),
        &["illegal base64 data at input byte 3"],
    );
}

#[test]
fn a_route_says_where_requests_go() {
    refused(
        "HTTPRoute",
        with(
            route(),
            "/spec/rules/0/backendRefs",
            json!([{"name": "web", "weight": -1}]),
        ),
        &[
            r#"spec.rules[0].backendRefs[0]: Invalid value: "object": Must have port for Service reference"#,
            "spec.rules[0].backendRefs[0].weight: Invalid value: -1: spec.rules[0].backendRefs[0].weight in body should be greater than or equal to 0",
        ],
    );
    refused(
        "HTTPRoute",
        with(route(), "/spec/rules/0/backendRefs", json!([{"port": 80}])),
        &["spec.rules[0].backendRefs[0].name: Required value"],
    );
    refused(
        "HTTPRoute",
        with(
            route(),
            "/spec/rules/0/filters",
            json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]),
        ),
        &[
            r#"spec.rules[0]: Invalid value: "object": RequestRedirect filter must not be used together with backendRefs"#,
        ],
    );
    refused(
        "HTTPRoute",
        with(
            route(),
            "/spec/rules",
            json!([{"matches": [{"path": {"type": "Prefix", "value": "/"}}, {"path": {"value": "x"}}]}]),
        ),
        &[
            r#"spec.rules[0].matches[0].path.type: Unsupported value: "Prefix": supported values: "Exact", "PathPrefix", "RegularExpression""#,
            r#"spec.rules[0].matches[1].path: Invalid value: "object": value must be an absolute path"#,
        ],
    );
}

#[test]
fn listeners_of_a_gateway_differ() {
    let gateway = |listeners: Value| {
        json!({"metadata": {"name": "g", "namespace": "default"},
            "spec": {"gatewayClassName": "devops-lab", "listeners": listeners}})
    };
    refused(
        "Gateway",
        gateway(
            json!([{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "a", "port": 80, "protocol": "HTTP"}]),
        ),
        &[
            r#"spec.listeners: Invalid value: "array": Listener name must be unique within the Gateway"#,
            r#"spec.listeners: Invalid value: "array": Combination of port, protocol and hostname must be unique"#,
        ],
    );
    refused(
        "Gateway",
        gateway(json!([{"name": "a", "port": 0, "protocol": "HTTP"}])),
        &[
            "spec.listeners[0].port: Invalid value: 0: spec.listeners[0].port in body should be greater than or equal to 1",
        ],
    );
    refused(
        "Gateway",
        gateway(json!([{"name": "a", "protocol": "HTTP"}])),
        &["spec.listeners[0].port: Required value"],
    );
}

#[test]
fn monitors_and_rules_refuse_by_name_what_nothing_would_heed() {
    let object =
        |spec: Value| json!({"metadata": {"name": "x", "namespace": "default"}, "spec": spec});
    let monitor = |endpoint: Value| object(json!({"selector": {}, "endpoints": [endpoint]}));
    created(
        "ServiceMonitor",
        monitor(json!({"port": "http", "interval": "5s"})),
    )
    .unwrap();
    let pods = object(json!({"selector": {}, "podMetricsEndpoints": [{"port": "http"}]}));
    created("PodMonitor", pods).unwrap();
    refused(
        "ServiceMonitor",
        monitor(json!({"scheme": "https", "interval": "soon", "tlsConfig": {}})),
        &[
            "spec.endpoints[0].tlsConfig: Forbidden: this field is not supported by devops-lab",
            "spec.endpoints[0].port: Required value: name the port to scrape",
            r#"spec.endpoints[0].scheme: Unsupported value: "https": supported values: "http""#,
            r#"spec.endpoints[0].interval: Invalid value: "soon": must be a duration"#,
        ],
    );
    refused(
        "PodMonitor",
        object(json!({"selector": {}, "podMetricsEndpoints": [], "sampleLimit": 5})),
        &[
            "spec.sampleLimit: Forbidden",
            "spec.podMetricsEndpoints: Required value",
        ],
    );
    let rules = |rule: Value| object(json!({"groups": [{"name": "g", "rules": [rule]}]}));
    created(
        "PrometheusRule",
        rules(json!({"alert": "A", "expr": 1, "for": "1m"})),
    )
    .unwrap();
    refused(
        "PrometheusRule",
        rules(json!({"record": "a", "alert": "b", "for": "5"})),
        &[
            "spec.groups[0].rules[0].alert: Forbidden: a rule records or alerts, not both",
            "spec.groups[0].rules[0].expr: Required value",
            r#"spec.groups[0].rules[0].for: Invalid value: "5": must be a duration"#,
            "spec.groups[0].rules[0].for: Forbidden: only alerts have it",
        ],
    );
}

#[test]
fn a_pod_goes_at_once_where_nothing_runs_it() {
    let strategy = super::testing::definition("Pod").strategy;
    let stored = created("Pod", pod()).unwrap();
    assert_eq!(strategy.grace_period_seconds(&stored, None), Some(0));
    let bound = with(stored, "/spec/nodeName", json!("node-1"));
    assert_eq!(strategy.grace_period_seconds(&bound, None), Some(30));
    assert_eq!(strategy.grace_period_seconds(&bound, Some(5)), Some(5));
}

#[test]
fn a_namespace_waits_for_its_contents() {
    let strategy = super::testing::definition("Namespace").strategy;
    let mut namespace = created("Namespace", json!({"metadata": {"name": "team-a"}})).unwrap();
    assert_eq!(namespace["status"]["phase"], "Active");
    assert!(strategy.delays_deletion(&namespace));
    strategy.mark_terminating(&mut namespace);
    assert_eq!(namespace["status"]["phase"], "Terminating");
}

fn ingress() -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"rules": [{"host": "a.b",
        "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}})
}

#[test]
fn an_ingress_has_rules_with_paths_and_backends() {
    created("Ingress", ingress()).unwrap();
    let path = "/spec/rules/0/http/paths/0";
    let at = |pointer: &str, value: Value| with(ingress(), &format!("{path}{pointer}"), value);
    for (object, errors) in [
        (
            with(ingress(), "/spec", json!({})),
            &["spec: Invalid value: [] : either `defaultBackend` or `rules` must be specified"][..],
        ),
        (
            with(ingress(), "/spec/rules/0/host", json!("127.0.0.1")),
            &[
                r#"spec.rules[0].host: Invalid value: "127.0.0.1": must be a DNS name, not an IP address"#,
            ],
        ),
        (
            with(ingress(), "/spec/rules/0/host", json!("*b.c")),
            &[
                r#"spec.rules[0].host: Invalid value: "*b.c": a wildcard DNS-1123 subdomain must start with '*.'"#,
            ],
        ),
        (
            with(ingress(), "/spec/rules/0/http/paths", json!([])),
            &["spec.rules[0].http.paths: Required value"],
        ),
        (
            at("/pathType", json!("Regex")),
            &[
                r#"spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix""#,
            ],
        ),
        (
            at("/path", json!("api")),
            &[
                r#"spec.rules[0].http.paths[0].path: Invalid value: "api": must be an absolute path"#,
            ],
        ),
        (
            at("/path", json!("/a//b/..")),
            &[
                r#"spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": must not contain '//'"#,
                r#"spec.rules[0].http.paths[0].path: Invalid value: "/a//b/..": cannot end with '/..'"#,
            ],
        ),
        (
            at("/backend", json!({})),
            &[
                r#"spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required"#,
            ],
        ),
        (
            at("/backend/service/port", json!({})),
            &[
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ],
        ),
        (
            at("/backend/service/port", json!({"name": "a", "number": 1})),
            &[
                r#"spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number"#,
            ],
        ),
    ] {
        let errors: Vec<String> = errors
            .iter()
            .map(|error| error.replace("[] :", "[]:"))
            .collect();
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        refused("Ingress", object, &errors);
    }
}

#[test]
fn a_class_keeps_its_controller() {
    let class = json!({"metadata": {"name": "x"}, "spec": {"controller": "a.b/c"}});
    let stored = created("IngressClass", class).unwrap();
    assert_eq!(stored["metadata"]["generation"], 1);
    let changed = with(stored.clone(), "/spec/controller", json!("d.e/f"));
    change_refused(
        "IngressClass",
        &stored,
        changed,
        &[r#"spec.controller: Invalid value: "d.e/f": field is immutable"#],
    );
}

#[test]
fn a_grpc_route_names_services_and_methods() {
    let object = |matches: Value| {
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
            "rules": [{"matches": [matches], "backendRefs": [{"name": "web", "port": 80}]}]}})
    };
    let stored = created("GRPCRoute", object(json!({"method": {"service": "a.B"}}))).unwrap();
    let rule = &stored["spec"]["rules"][0];
    assert_eq!(rule["matches"][0]["method"]["type"], "Exact");
    assert_eq!(rule["backendRefs"][0]["weight"], 1);
    refused(
        "GRPCRoute",
        object(json!({"method": {}})),
        &[
            r#"spec.rules[0].matches[0].method: Invalid value: "object": One or both of 'service' or 'method' must be specified"#,
        ],
    );
    refused(
        "GRPCRoute",
        object(json!({"method": {"service": "a-b", "method": "1"}})),
        &[
            r#"spec.rules[0].matches[0].method: Invalid value: "object": service must only contain valid characters"#,
            r#"spec.rules[0].matches[0].method: Invalid value: "object": method must only contain valid characters"#,
        ],
    );
    refused(
        "GRPCRoute",
        with(
            object(json!({})),
            "/spec/rules/0/filters",
            json!([{"type": "URLRewrite"}]),
        ),
        &[
            r#"spec.rules[0].filters[0].type: Unsupported value: "URLRewrite": supported values: "ExtensionRef", "RequestHeaderModifier", "RequestMirror", "ResponseHeaderModifier""#,
        ],
    );
}

#[test]
fn a_grant_says_who_may_refer_to_what() {
    let grant = |from: Value, to: Value| json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {"from": from, "to": to}});
    let from =
        || json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}]);
    let to = || json!([{"group": "", "kind": "Service"}]);
    created("ReferenceGrant", grant(from(), to())).unwrap();
    refused(
        "ReferenceGrant",
        grant(json!([]), to()),
        &["spec.from: Invalid value: 0: spec.from in body should have at least 1 items"],
    );
    refused(
        "ReferenceGrant",
        grant(from(), json!([{"group": "", "kind": "a b"}])),
        &[r#"spec.to[0].kind: Invalid value: "a b": spec.to[0].kind in body should match"#],
    );
}

#[test]
fn a_mirror_takes_a_share_that_exists() {
    let mirror = |settings: Value| {
        let mut mirror = json!({"backendRef": {"name": "web", "port": 80}});
        for (field, value) in settings.as_object().unwrap() {
            mirror[field] = value.clone();
        }
        let filters = json!([{"type": "RequestMirror", "requestMirror": mirror}]);
        with(route(), "/spec/rules/0/filters", filters)
    };
    let stored = created("HTTPRoute", mirror(json!({"fraction": {"numerator": 1}}))).unwrap();
    let filter = &stored["spec"]["rules"][0]["filters"][0]["requestMirror"];
    assert_eq!(filter["fraction"]["denominator"], 100);
    assert_eq!(filter["backendRef"]["kind"], "Service");
    let place = "spec.rules[0].filters[0].requestMirror";
    refused(
        "HTTPRoute",
        mirror(json!({"percent": 101})),
        &[&format!(
            "{place}.percent: Invalid value: 101: {place}.percent in body should be less than or equal to 100"
        )],
    );
    refused(
        "HTTPRoute",
        mirror(json!({"percent": 1, "fraction": {"numerator": 1}})),
        &[&format!(
            r#"{place}: Invalid value: "object": Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"#
        )],
    );
}
