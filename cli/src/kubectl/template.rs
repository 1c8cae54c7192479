//! A pod template as `kubectl rollout history --revision` describes it.

use serde_json::Value;

/// Lines below `Pod Template:`.
pub(super) fn described(template: &Value) -> Vec<String> {
    let mut lines = vec!["Pod Template:".to_owned()];
    pairs(
        &mut lines,
        "  Labels:",
        &template["metadata"]["labels"],
        true,
    );
    pairs(
        &mut lines,
        "  Annotations:",
        &template["metadata"]["annotations"],
        false,
    );
    let spec = &template["spec"];
    for (heading, list) in [
        ("  Init Containers:", "initContainers"),
        ("  Containers:", "containers"),
    ] {
        let containers = spec[list].as_array().map_or(&[][..], Vec::as_slice);
        if containers.is_empty() {
            continue;
        }
        lines.push(heading.to_owned());
        for container in containers {
            one(&mut lines, container);
        }
    }
    let volumes = spec["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    if volumes.is_empty() {
        lines.push("  Volumes:\t<none>".to_owned());
    } else {
        let names: Vec<_> = volumes
            .iter()
            .filter_map(|volume| volume["name"].as_str())
            .collect();
        lines.push(format!("  Volumes:\t{}", names.join(", ")));
    }
    for (heading, field) in [("  Node-Selectors:", "nodeSelector")] {
        pairs(&mut lines, heading, &spec[field], true);
    }
    lines.push("  Tolerations:\t<none>".to_owned());
    lines
}

/// `name=value` lines behind a heading.
fn pairs(lines: &mut Vec<String>, heading: &str, map: &Value, none: bool) {
    let map = map.as_object().filter(|map| !map.is_empty());
    let Some(map) = map else {
        if none {
            lines.push(format!("{heading}\t<none>"));
        }
        return;
    };
    let mut pairs: Vec<_> = map
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    for (at, pair) in pairs.iter().enumerate() {
        lines.push(if at == 0 {
            format!("{heading}\t{pair}")
        } else {
            format!("\t{pair}")
        });
    }
}

fn one(lines: &mut Vec<String>, container: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.push(format!("   {}:", text(&container["name"])));
    lines.push(format!("    Image:\t{}", text(&container["image"])));
    let ports: Vec<_> = container["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            format!(
                "{}/{}",
                port["containerPort"],
                port["protocol"].as_str().unwrap_or("TCP")
            )
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(", ")
    };
    lines.push(format!("    Port:\t{ports}"));
    let env = container["env"].as_array().map_or(&[][..], Vec::as_slice);
    if env.is_empty() {
        lines.push("    Environment:\t<none>".to_owned());
    } else {
        lines.push("    Environment:".to_owned());
        for entry in env {
            lines.push(format!(
                "      {}:\t{}",
                text(&entry["name"]),
                text(&entry["value"])
            ));
        }
    }
}
