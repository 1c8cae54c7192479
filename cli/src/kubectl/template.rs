//! A pod template as `kubectl rollout history --revision` describes it.

use serde_json::Value;

/// The lines, from `Pod Template:` on.
pub(super) fn described(template: &Value) -> Vec<String> {
    let mut lines = vec!["Pod Template:".to_owned()];
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    pairs(&mut lines, "  Labels:", &metadata["labels"], "=");
    if metadata["annotations"].is_object() {
        pairs(&mut lines, "  Annotations:", &metadata["annotations"], ": ");
    }
    if let Some(account) = spec["serviceAccountName"].as_str() {
        lines.push(format!("  Service Account:\t{account}"));
    }
    for (heading, list) in [
        ("  Init Containers:", "initContainers"),
        ("  Containers:", "containers"),
    ] {
        if !items(&spec[list]).is_empty() {
            lines.push(heading.to_owned());
        }
        for container in items(&spec[list]) {
            one(&mut lines, container);
        }
    }
    volumes(&mut lines, &spec["volumes"]);
    pairs(&mut lines, "  Node-Selectors:", &spec["nodeSelector"], "=");
    tolerations(&mut lines, &spec["tolerations"]);
    lines.push(String::new());
    lines
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The entries of a map, in order.
fn entries(map: &Value) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(name, _)| *name);
    entries
}

/// Entries behind a heading, one a line.
fn pairs(lines: &mut Vec<String>, heading: &str, map: &Value, between: &str) {
    let mut start = heading.to_owned();
    for (name, value) in entries(map) {
        lines.push(format!("{start}\t{name}{between}{}", text(value)));
        start.clear();
    }
    if !start.is_empty() {
        lines.push(format!("{start}\t<none>"));
    }
}

fn one(lines: &mut Vec<String>, container: &Value) {
    lines.push(format!("   {}:", text(&container["name"])));
    lines.push(format!("    Image:\t{}", text(&container["image"])));
    ports(lines, &container["ports"]);
    for (heading, list) in [("Command", "command"), ("Args", "args")] {
        if !items(&container[list]).is_empty() {
            lines.push(format!("    {heading}:"));
        }
        for word in items(&container[list]) {
            lines.push(format!("      {}", text(word)));
        }
    }
    for (heading, kind) in [("Limits", "limits"), ("Requests", "requests")] {
        let amounts = entries(&container["resources"][kind]);
        if !amounts.is_empty() {
            lines.push(format!("    {heading}:"));
        }
        for (name, amount) in amounts {
            lines.push(format!("      {name}:\t{}", text(amount)));
        }
    }
    for (heading, field) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if container[field].is_object() {
            lines.push(format!("    {heading}:\t{}", probe(&container[field])));
        }
    }
    environment(lines, &container["env"]);
    mounts(lines, &container["volumeMounts"]);
}

fn ports(lines: &mut Vec<String>, ports: &Value) {
    let all = |number: &str| -> Vec<String> {
        let port = |port: &Value| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let name = port["name"].as_str();
            let name = name.map_or_else(String::new, |name| format!(" ({name})"));
            let number = port[number].as_i64().unwrap_or_default();
            format!("{number}/{protocol}{name}")
        };
        items(ports).iter().map(port).collect()
    };
    for (heading, number) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let all = all(number);
        lines.push(match all.len() {
            0 => format!("    {heading}:\t<none>"),
            1 => format!("    {heading}:\t{}", all[0]),
            _ => format!("    {heading}s:\t{}", all.join(", ")),
        });
    }
}

fn probe(probe: &Value) -> String {
    let number = |field: &str, otherwise: i64| probe[field].as_i64().unwrap_or(otherwise);
    let action = if let Some(get) = probe.get("httpGet") {
        let scheme = get["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let (host, port, path) = (text(&get["host"]), text(&get["port"]), text(&get["path"]));
        format!("http-get {scheme}://{host}:{port}{path}")
    } else if let Some(socket) = probe.get("tcpSocket") {
        format!(
            "tcp-socket {}:{}",
            text(&socket["host"]),
            text(&socket["port"])
        )
    } else if let Some(exec) = probe.get("exec") {
        let words: Vec<_> = items(&exec["command"]).iter().map(text).collect();
        format!("exec [{}]", words.join(" "))
    } else {
        "unknown".to_owned()
    };
    format!(
        "{action} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3),
    )
}

fn environment(lines: &mut Vec<String>, env: &Value) {
    if items(env).is_empty() {
        lines.push("    Environment:\t<none>".to_owned());
        return;
    }
    lines.push("    Environment:".to_owned());
    for entry in items(env) {
        let from = &entry["valueFrom"];
        let value = if let Some(field) = from.get("fieldRef") {
            let version = field["apiVersion"].as_str().unwrap_or("v1");
            format!(" ({version}:{})", text(&field["fieldPath"]))
        } else if let Some((kind, key)) = [
            ("config map", "configMapKeyRef"),
            ("secret", "secretKeyRef"),
        ]
        .into_iter()
        .find_map(|(kind, field)| Some((kind, from.get(field)?)))
        {
            let optional = key["optional"] == true;
            let (key, name) = (text(&key["key"]), text(&key["name"]));
            format!("<set to the key '{key}' of {kind} '{name}'>\tOptional: {optional}")
        } else {
            text(&entry["value"])
        };
        lines.push(format!("      {}:\t{value}", text(&entry["name"])));
    }
}

fn mounts(lines: &mut Vec<String>, mounts: &Value) {
    if items(mounts).is_empty() {
        lines.push("    Mounts:\t<none>".to_owned());
        return;
    }
    lines.push("    Mounts:".to_owned());
    let mut sorted: Vec<_> = items(mounts).iter().collect();
    sorted.sort_by_key(|mount| text(&mount["mountPath"]));
    for mount in sorted {
        let mode = if mount["readOnly"] == true {
            "ro"
        } else {
            "rw"
        };
        lines.push(format!(
            "      {} from {} ({mode})",
            text(&mount["mountPath"]),
            text(&mount["name"])
        ));
    }
}

fn volumes(lines: &mut Vec<String>, volumes: &Value) {
    if items(volumes).is_empty() {
        lines.push("  Volumes:\t<none>".to_owned());
        return;
    }
    lines.push("  Volumes:".to_owned());
    for volume in items(volumes) {
        lines.push(format!("   {}:", text(&volume["name"])));
        if let Some(empty) = volume.get("emptyDir") {
            let limit = empty["sizeLimit"].as_str().unwrap_or("<unset>");
            lines.push(
                "    Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)"
                    .to_owned(),
            );
            lines.push(format!("    Medium:\t{}", text(&empty["medium"])));
            lines.push(format!("    SizeLimit:\t{limit}"));
        } else if let Some(map) = volume.get("configMap") {
            lines.push("    Type:\tConfigMap (a volume populated by a ConfigMap)".to_owned());
            lines.push(format!("    Name:\t{}", text(&map["name"])));
            lines.push(format!("    Optional:\t{}", map["optional"] == true));
        } else if let Some(secret) = volume.get("secret") {
            lines.push("    Type:\tSecret (a volume populated by a Secret)".to_owned());
            lines.push(format!("    SecretName:\t{}", text(&secret["secretName"])));
            lines.push(format!("    Optional:\t{}", secret["optional"] == true));
        } else {
            let kind = entries(volume)
                .into_iter()
                .find(|(name, _)| *name != "name");
            lines.push(format!("    Type:\t{}", kind.map_or("", |(name, _)| name)));
        }
    }
}

fn tolerations(lines: &mut Vec<String>, tolerations: &Value) {
    let mut start = "  Tolerations:".to_owned();
    for toleration in items(tolerations) {
        let mut told = text(&toleration["key"]);
        for (before, field) in [("=", "value"), (":", "effect")] {
            if let Some(value) = toleration[field].as_str() {
                told.push_str(before);
                told.push_str(value);
            }
        }
        if toleration["operator"] == "Exists" {
            told.push_str(if told.is_empty() {
                "op=Exists"
            } else {
                " op=Exists"
            });
        }
        if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
            told.push_str(&format!(" for {seconds}s"));
        }
        lines.push(format!("{start}\t{told}"));
        start.clear();
    }
    if !start.is_empty() {
        lines.push(format!("{start}\t<none>"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_described_as_kubectl_does() {
        let template = json!({
            "metadata": {"labels": {"app": "x"}},
            "spec": {
                "containers": [{
                    "name": "app", "image": "x:1", "args": ["q"],
                    "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}],
                    "readinessProbe": {"httpGet": {"path": "/r", "port": 80}, "periodSeconds": 1},
                    "env": [{"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]
                }],
                "volumes": [{"name": "v", "configMap": {"name": "c"}}],
                "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}]
            }
        });
        let expected = "Pod Template:\n  Labels:\tapp=x\n  Containers:\n   app:\n    Image:\tx:1\n    Ports:\t80/TCP (http), 81/TCP\n    Host Ports:\t0/TCP (http), 0/TCP\n    Args:\n      q\n    Readiness:\thttp-get http://:80/r delay=0s timeout=1s period=1s #success=1 #failure=3\n    Environment:\n      B:\t (v1:metadata.name)\n    Mounts:\n      /v from v (rw)\n  Volumes:\n   v:\n    Type:\tConfigMap (a volume populated by a ConfigMap)\n    Name:\tc\n    Optional:\tfalse\n  Node-Selectors:\t<none>\n  Tolerations:\ta:NoSchedule op=Exists\n";
        assert_eq!(described(&template).join("\n"), expected);
    }
}
