//! Create and update: identity, preconditions, generation, validation, dry run.

use serde_json::{Value, json};

use crate::support::{Api, CONFIGMAPS, DEPLOYMENTS, PODS, config_map, deployment, pod};

#[tokio::test(start_paused = true)]
async fn a_new_object_gets_its_identity_from_the_server() {
    let api = Api::new().await;
    let mut body = config_map("a");
    body["metadata"]["uid"] = json!("mine");
    body["metadata"]["creationTimestamp"] = Value::Null;
    let created = api.created(CONFIGMAPS, &body).await;
    let metadata = &created["metadata"];
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(metadata["namespace"], "default");
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(metadata.get("selfLink"), None);
    assert_eq!(api.get(&format!("{CONFIGMAPS}/a")).await.body, created);
}

#[tokio::test(start_paused = true)]
async fn a_generated_name_is_the_prefix_and_five_letters() {
    let api = Api::new().await;
    let body = json!({"metadata": {"generateName": "job-"}});
    let created = api.created(CONFIGMAPS, &body).await;
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
}

struct Refusal<'a> {
    method: &'a str,
    uri: &'a str,
    body: Value,
    code: u16,
    reason: &'a str,
    message: &'a str,
}

#[tokio::test(start_paused = true)]
async fn refusals_have_the_words_of_kube_apiserver() {
    let api = Api::new().await;
    let created = api.created(CONFIGMAPS, &config_map("a")).await;
    api.created(
        "/api/v1/namespaces",
        &json!({"metadata": {"name": "leaving"}}),
    )
    .await;
    api.delete("/api/v1/namespaces/leaving", &json!({})).await;
    let mut stale = created.clone();
    stale["metadata"]["resourceVersion"] = json!("1");
    let mut other_uid = created.clone();
    other_uid["metadata"]["uid"] = json!("zzz");
    let uid = created["metadata"]["uid"].as_str().unwrap();
    let uid_message = format!(
        "Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in precondition: zzz, UID in object meta: {uid}"
    );
    let one = format!("{CONFIGMAPS}/a");
    let missing = format!("{CONFIGMAPS}/missing");
    let cases = [
        Refusal {
            method: "POST",
            uri: CONFIGMAPS,
            body: config_map("a"),
            code: 409,
            reason: "AlreadyExists",
            message: "configmaps \"a\" already exists",
        },
        Refusal {
            method: "POST",
            uri: "/api/v1/namespaces/nowhere/configmaps",
            body: config_map("a"),
            code: 404,
            reason: "NotFound",
            message: "namespaces \"nowhere\" not found",
        },
        Refusal {
            method: "POST",
            uri: "/api/v1/namespaces/leaving/configmaps",
            body: config_map("a"),
            code: 403,
            reason: "Forbidden",
            message: "configmaps \"a\" is forbidden: unable to create new content in namespace leaving because it is being terminated",
        },
        Refusal {
            method: "POST",
            uri: CONFIGMAPS,
            body: json!({"metadata": {}}),
            code: 422,
            reason: "Invalid",
            message: "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        },
        Refusal {
            method: "POST",
            uri: CONFIGMAPS,
            body: json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "b"}}),
            code: 400,
            reason: "BadRequest",
            message: "Pod in version \"v1\" cannot be handled as a ConfigMap",
        },
        Refusal {
            method: "POST",
            uri: CONFIGMAPS,
            body: json!({"kind": "Configmap", "apiVersion": "v1", "metadata": {"name": "b"}}),
            code: 400,
            reason: "BadRequest",
            message: "Configmap in version \"v1\" cannot be handled as a ConfigMap: no kind \"Configmap\" is registered for version \"v1\"; it is written ConfigMap",
        },
        Refusal {
            method: "POST",
            uri: CONFIGMAPS,
            body: json!({"metadata": {"name": "b", "namespace": "kube-system"}}),
            code: 400,
            reason: "BadRequest",
            message: "the namespace of the provided object does not match the namespace sent on the request",
        },
        Refusal {
            method: "PUT",
            uri: &missing,
            body: config_map("missing"),
            code: 404,
            reason: "NotFound",
            message: "configmaps \"missing\" not found",
        },
        Refusal {
            method: "PUT",
            uri: &one,
            body: config_map("b"),
            code: 400,
            reason: "BadRequest",
            message: "the name of the object (b) does not match the name on the URL (a)",
        },
        Refusal {
            method: "PUT",
            uri: &one,
            body: stale,
            code: 409,
            reason: "Conflict",
            message: "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        },
        Refusal {
            method: "PUT",
            uri: &one,
            body: other_uid,
            code: 409,
            reason: "Conflict",
            message: &uid_message,
        },
        Refusal {
            method: "GET",
            uri: &missing,
            body: json!({}),
            code: 404,
            reason: "NotFound",
            message: "configmaps \"missing\" not found",
        },
        Refusal {
            method: "GET",
            uri: "/api/v1/namespaces/default/bogus",
            body: json!({}),
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource",
        },
        Refusal {
            method: "GET",
            uri: "/nothing/here",
            body: json!({}),
            code: 404,
            reason: "NotFound",
            message: "the server could not find the requested resource",
        },
        Refusal {
            method: "POST",
            uri: &one,
            body: config_map("a"),
            code: 405,
            reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource",
        },
        Refusal {
            method: "DELETE",
            uri: "/api/v1/namespaces/default",
            body: json!({}),
            code: 403,
            reason: "Forbidden",
            message: "namespaces \"default\" is forbidden: this namespace may not be deleted",
        },
    ];
    for case in cases {
        let answer = api
            .call(case.method, case.uri, "application/json", &case.body)
            .await;
        let what = format!("{} {}", case.method, case.uri);
        assert_eq!(answer.code, case.code, "{what}: {}", answer.text);
        assert_eq!(answer.body["kind"], "Status", "{what}");
        assert_eq!(answer.body["reason"], case.reason, "{what}");
        assert_eq!(answer.body["message"], case.message, "{what}");
        assert_eq!(answer.headers["content-type"], "application/json", "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_in_other_formats_are_refused_with_415() {
    let api = Api::new().await;
    let answer = api
        .call("POST", CONFIGMAPS, "application/yaml", &json!({}))
        .await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (415, &json!("UnsupportedMediaType"))
    );
    assert!(
        answer.text.contains("(application/yaml)"),
        "{}",
        answer.text
    );
    let broken = api
        .call(
            "POST",
            CONFIGMAPS,
            "application/vnd.kubernetes.protobuf",
            &json!({}),
        )
        .await;
    assert_eq!(broken.code, 400, "{}", broken.text);
}

#[tokio::test(start_paused = true)]
async fn dry_run_answers_the_object_and_stores_nothing() {
    let api = Api::new().await;
    let before = api.store.revision();
    let answer = api
        .post(&format!("{CONFIGMAPS}?dryRun=All"), &config_map("a"))
        .await;
    assert_eq!(
        (answer.code, &answer.body["data"]["key"]),
        (201, &json!("value"))
    );
    assert_eq!(api.store.revision(), before);

    api.created(CONFIGMAPS, &config_map("b")).await;
    let before = api.store.revision();
    let one = format!("{CONFIGMAPS}/b?dryRun=All");
    let mut changed = config_map("b");
    changed["data"]["key"] = json!("other");
    assert_eq!(api.put(&one, &changed).await.body["data"]["key"], "other");
    assert_eq!(
        api.merge(&one, &json!({"data": {"key": "third"}}))
            .await
            .body["data"]["key"],
        "third"
    );
    assert_eq!(api.delete(&one, &json!({})).await.code, 200);
    // kubectl delete --dry-run=server says it in the body.
    let in_body = api
        .delete(&format!("{CONFIGMAPS}/b"), &json!({"dryRun": ["All"]}))
        .await;
    assert_eq!(in_body.code, 200);
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.9"}});
    assert_eq!(
        api.post(&format!("{services}?dryRun=All"), &service)
            .await
            .code,
        201
    );
    assert_eq!(api.store.revision(), before);
    // The address of the dry run is free.
    api.created(services, &service).await;
}

#[tokio::test(start_paused = true)]
async fn unknown_and_repeated_fields_are_refused_warned_about_or_dropped() {
    let api = Api::new().await;
    let mut body = deployment("web");
    body["spec"]["bogus"] = json!(1);
    let strict = api
        .post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), &body)
        .await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.body["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"spec.bogus\""
    );
    let warned = api
        .post(&format!("{DEPLOYMENTS}?fieldValidation=Warn"), &body)
        .await;
    assert_eq!(warned.code, 201);
    assert_eq!(
        warned.headers["warning"],
        r#"299 - "unknown field \"spec.bogus\"""#
    );
    assert_eq!(warned.body["spec"].get("bogus"), None);

    body["metadata"]["name"] = json!("quiet");
    let ignored = api
        .post(&format!("{DEPLOYMENTS}?fieldValidation=Ignore"), &body)
        .await;
    assert_eq!((ignored.code, ignored.headers.get("warning")), (201, None));

    let request = http::Request::post(format!("{CONFIGMAPS}?fieldValidation=Strict"))
        .body(r#"{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}"#.into())
        .unwrap();
    let repeated = api.send(request).await;
    assert_eq!(repeated.code, 400);
    assert!(
        repeated.text.contains("duplicate field"),
        "{}",
        repeated.text
    );

    let patch = json!({"spec": {"bogus": 2}});
    let patched = api
        .merge(&format!("{DEPLOYMENTS}/web?fieldValidation=Strict"), &patch)
        .await;
    assert_eq!(patched.code, 422);
    assert_eq!(patched.body["details"]["causes"][0]["field"], "patch");
}

#[tokio::test(start_paused = true)]
async fn the_generation_counts_changes_of_the_spec_only() {
    let api = Api::new().await;
    let one = format!("{DEPLOYMENTS}/web");
    let generation = |object: &Value| object["metadata"]["generation"].as_i64();
    let created = api.created(DEPLOYMENTS, &deployment("web")).await;
    assert_eq!(generation(&created), Some(1));
    let labelled = api
        .merge(&one, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .body;
    assert_eq!(generation(&labelled), Some(1));
    let scaled = api
        .merge(&one, &json!({"spec": {"replicas": 5}}))
        .await
        .body;
    assert_eq!(generation(&scaled), Some(2));
    let status = json!({"status": {"replicas": 5}});
    let observed = api.merge(&format!("{one}/status"), &status).await.body;
    assert_eq!(
        (generation(&observed), &observed["status"]["replicas"]),
        (Some(2), &json!(5))
    );
    let config = api.created(CONFIGMAPS, &config_map("c")).await;
    assert_eq!(generation(&config), None);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_is_not_written() {
    let api = Api::new().await;
    let created = api.created(DEPLOYMENTS, &deployment("web")).await;
    let revision = api.store.revision();
    let one = format!("{DEPLOYMENTS}/web");
    let same = [
        api.put(&one, &created).await,
        api.put(&one, &deployment("web")).await,
        api.merge(&one, &json!({"spec": {"replicas": 3}})).await,
        api.merge(&format!("{one}/status"), &json!({"status": {}}))
            .await,
    ];
    for answer in same {
        assert_eq!(answer.code, 200, "{}", answer.text);
        assert_eq!(
            answer.body["metadata"]["resourceVersion"],
            created["metadata"]["resourceVersion"]
        );
    }
    assert_eq!(api.store.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn status_and_the_rest_are_written_apart() {
    let api = Api::new().await;
    let mut body = deployment("web");
    body["status"] = json!({"replicas": 9});
    let created = api.created(DEPLOYMENTS, &body).await;
    assert_eq!(created["status"].get("replicas"), None);

    let one = format!("{DEPLOYMENTS}/web");
    let mut observed = created.clone();
    observed["status"] = json!({"replicas": 2});
    observed["spec"]["replicas"] = json!(7);
    observed["metadata"]["labels"] = json!({"x": "y"});
    let written = api.put(&format!("{one}/status"), &observed).await.body;
    assert_eq!(written["status"]["replicas"], 2);
    assert_eq!(written["spec"]["replicas"], 3);
    assert_eq!(written["metadata"].get("labels"), None);

    let mut wanted = written.clone();
    wanted["status"] = json!({"replicas": 0});
    wanted["spec"]["replicas"] = json!(4);
    let written = api.put(&one, &wanted).await.body;
    assert_eq!(
        (&written["status"]["replicas"], &written["spec"]["replicas"]),
        (&json!(2), &json!(4))
    );
}

#[tokio::test(start_paused = true)]
async fn what_only_the_server_sets_survives_a_careless_update() {
    let api = Api::new().await;
    let created = api.created(CONFIGMAPS, &config_map("a")).await;
    let mut body = config_map("a");
    body["data"]["key"] = json!("new");
    body["metadata"]["creationTimestamp"] = json!("1999-01-01T00:00:00Z");
    body["metadata"]["deletionTimestamp"] = json!("1999-01-01T00:00:00Z");
    let updated = api.put(&format!("{CONFIGMAPS}/a"), &body).await.body;
    for field in ["uid", "creationTimestamp"] {
        assert_eq!(updated["metadata"][field], created["metadata"][field]);
    }
    assert_eq!(updated["metadata"].get("deletionTimestamp"), None);
    assert_eq!(updated["data"]["key"], "new");
    assert_ne!(
        updated["metadata"]["resourceVersion"],
        created["metadata"]["resourceVersion"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_what_the_cluster_gives_every_pod() {
    let api = Api::new().await;
    let created = api.created(PODS, &pod("web")).await;
    assert_eq!(created["spec"]["serviceAccountName"], "default");
    assert_eq!(created["status"]["phase"], "Pending");
    let tolerations = created["spec"]["tolerations"].as_array().unwrap();
    let seconds: Vec<&Value> = tolerations
        .iter()
        .map(|t| &t["tolerationSeconds"])
        .collect();
    assert_eq!(seconds, [&json!(300), &json!(300)]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_writers_of_one_object_all_get_through() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let one = format!("{CONFIGMAPS}/a");
    let patches: Vec<Value> = (0..20)
        .map(|n| json!({"data": {format!("k{n}"): "v"}}))
        .collect();
    let answers =
        futures::future::join_all(patches.iter().map(|patch| api.merge(&one, patch))).await;
    assert!(answers.iter().all(|answer| answer.code == 200));
    let data = api.get(&one).await.body["data"].as_object().unwrap().len();
    assert_eq!(data, 21);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_several_megabytes_is_refused() {
    let api = Api::new().await;
    let mut body = config_map("big");
    body["data"]["key"] = json!("x".repeat(4 << 20));
    assert_eq!(api.post(CONFIGMAPS, &body).await.code, 413);
}

#[tokio::test(start_paused = true)]
async fn a_status_keeps_its_spelling_through_other_updates() {
    let api = Api::new().await;
    api.created(DEPLOYMENTS, &deployment("web")).await;
    let one = format!("{DEPLOYMENTS}/web");
    // Empty lists and zeros are what a typed writer would leave out.
    let status = json!({"status": {"replicas": 0, "conditions": []}});
    let observed = api.merge(&format!("{one}/status"), &status).await.body;
    let again = api
        .merge(&one, &json!({"spec": {"replicas": 3}}))
        .await
        .body;
    assert_eq!(again, observed);
}
