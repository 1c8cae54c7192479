//! `kubectl top nodes` and `kubectl top pods`.

use lab_api::quantity;
use serde_json::Value;

use super::api::Query;
use super::args::{Flag, switch, value};
use super::error::{Result, said};
use super::print::{name_of, namespace_of};
use super::table::Tabs;
use super::{Call, Session};
use crate::output::{line, note};

/// Flags of `top`.
pub(super) const FLAGS: [Flag; 5] = [
    value("selector").short('l'),
    switch("no-headers"),
    switch("all-namespaces").short('A'),
    value("sort-by"),
    switch("containers"),
];

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";
const MEBIBYTE: i64 = 1024 * 1024;

/// What is used: thousandths of a processor, and bytes.
#[derive(Clone, Copy, Default)]
struct Usage {
    cpu: i64,
    memory: i64,
}

impl Usage {
    fn of(usage: &Value) -> Self {
        let read = |name: &str, parse: fn(&str) -> std::result::Result<i128, quantity::ParseQuantityError>| {
            let value = usage[name].as_str().and_then(|text| parse(text).ok());
            value.and_then(|value| i64::try_from(value).ok()).unwrap_or_default()
        };
        Self {
            cpu: read("cpu", quantity::parse_millis),
            memory: read("memory", quantity::parse_units),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
        }
    }

    fn cpu(self) -> String {
        format!("{}m", self.cpu)
    }

    fn memory(self) -> String {
        format!("{}Mi", self.memory / MEBIBYTE)
    }
}

async fn metrics(session: &Session, path: &str, query: &Query) -> Result<Vec<Value>> {
    let found = session.api.list(&format!("{METRICS}/{path}"), query).await;
    let found = found.map_err(|error| {
        if error.is(404) && !path.contains("/pods/") {
            said("Metrics API not available")
        } else {
            error
        }
    })?;
    Ok(match found["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![found],
    })
}

fn print(call: &Call, heading: &[&str], mut rows: Vec<Vec<String>>) {
    if !call.args.is_set("no-headers") {
        rows.insert(0, heading.iter().map(|cell| (*cell).to_owned()).collect());
    }
    for text in Tabs::default().lines(&rows, true) {
        line(text);
    }
}

fn sort(call: &Call, all: &mut [(String, String, Usage)]) -> Result<()> {
    match call.args.value("sort-by") {
        None => all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1))),
        Some("cpu") => all.sort_by_key(|(_, _, usage)| std::cmp::Reverse(usage.cpu)),
        Some("memory") => all.sort_by_key(|(_, _, usage)| std::cmp::Reverse(usage.memory)),
        Some(_) => return Err(said("--sort-by accepts only cpu or memory")),
    }
    Ok(())
}

/// `kubectl top nodes`
pub(super) async fn nodes(call: Call) -> Result<()> {
    let args = &call.args;
    let session = Session::open(args).await?;
    let query = Query::default().maybe("labelSelector", args.value("selector"));
    let path = match args.words.first() {
        Some(name) => format!("nodes/{name}"),
        None => "nodes".to_owned(),
    };
    let found = metrics(&session, &path, &query).await?;
    let nodes = session.api.list("/api/v1/nodes", &query).await?;
    let mut all: Vec<_> = found
        .iter()
        .map(|one| {
            (
                name_of(one).to_owned(),
                String::new(),
                Usage::of(&one["usage"]),
            )
        })
        .collect();
    sort(&call, &mut all)?;
    let rows = all.into_iter().map(|(name, _, usage)| {
        let node = nodes["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|node| name_of(node) == name);
        let total = node
            .map(|node| Usage::of(&node["status"]["allocatable"]))
            .unwrap_or_default();
        let share = |part: i64, whole: i64| {
            format!("{}%", (part * 100).checked_div(whole).unwrap_or_default())
        };
        vec![
            name,
            usage.cpu(),
            share(usage.cpu, total.cpu),
            usage.memory(),
            share(usage.memory, total.memory),
        ]
    });
    let rows = rows.collect();
    print(
        &call,
        &["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"],
        rows,
    );
    Ok(())
}

/// `kubectl top pods`
pub(super) async fn pods(call: Call) -> Result<()> {
    let args = &call.args;
    let session = Session::open(args).await?;
    let everywhere = args.is_set("all-namespaces");
    let namespace = &session.api.namespace;
    let path = match (args.words.first(), everywhere) {
        (Some(name), _) => format!("namespaces/{namespace}/pods/{name}"),
        (None, false) => format!("namespaces/{namespace}/pods"),
        (None, true) => "pods".to_owned(),
    };
    let query = Query::default().maybe("labelSelector", args.value("selector"));
    let found = metrics(&session, &path, &query).await?;
    if found.is_empty() {
        note(if everywhere {
            "No resources found".to_owned()
        } else {
            format!("No resources found in {namespace} namespace.")
        });
        return Ok(());
    }
    let containers = args.is_set("containers");
    let (mut all, mut names) = (Vec::new(), Vec::new());
    for pod in &found {
        let of_pod = pod["containers"].as_array().map_or(&[][..], Vec::as_slice);
        if containers {
            for container in of_pod {
                let name = container["name"].as_str().unwrap_or_default();
                names.push((
                    namespace_of(pod).to_owned(),
                    format!("{}\u{0}{name}", name_of(pod)),
                    Usage::of(&container["usage"]),
                ));
            }
            continue;
        }
        let usage = of_pod
            .iter()
            .map(|container| Usage::of(&container["usage"]));
        let usage = usage.fold(Usage::default(), Usage::and);
        all.push((namespace_of(pod).to_owned(), name_of(pod).to_owned(), usage));
    }
    all.append(&mut names);
    sort(&call, &mut all)?;
    let rows = all.into_iter().map(|(namespace, name, usage)| {
        let mut row = Vec::new();
        if everywhere {
            row.push(namespace);
        }
        row.extend(name.split('\u{0}').map(str::to_owned));
        row.extend([usage.cpu(), usage.memory()]);
        row
    });
    let mut heading = Vec::new();
    if everywhere {
        heading.push("NAMESPACE");
    }
    heading.extend(if containers {
        &["POD", "NAME"][..]
    } else {
        &["NAME"]
    });
    heading.extend(["CPU(cores)", "MEMORY(bytes)"]);
    let rows = rows.collect();
    print(&call, &heading, rows);
    Ok(())
}
