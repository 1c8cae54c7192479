//! `kubectl cordon`, `uncordon` and `drain`.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Query, STRATEGIC};
use super::args::{Flag, switch, value};
use super::delete::until_gone;
use super::error::{Error, Result, said};
use super::print::{name_of, namespace_of};
use super::select::{self, Found};
use super::{Call, Session, timeout};
use crate::output::{line, note};

/// Flags of `cordon`, `uncordon` and `drain`.
pub(super) const FLAGS: [Flag; 8] = [
    value("selector").short('l'),
    switch("ignore-daemonsets"),
    switch("delete-emptydir-data"),
    switch("force"),
    value("grace-period"),
    value("timeout"),
    value("pod-selector"),
    switch("disable-eviction"),
];

/// Pause between two tries of an eviction that a disruption budget forbids, as kubectl's.
const EVICTION_PAUSE: Duration = Duration::from_secs(5);

async fn nodes(session: &Session, call: &Call) -> Result<(Vec<Found>, Vec<Error>)> {
    let mut words = call.args.words.clone();
    if words.is_empty() && call.args.value("selector").is_none() {
        return Err(Error::Usage(
            "USAGE: cordon|uncordon|drain NODE [flags]".to_owned(),
        ));
    }
    if !words.iter().any(|word| word.contains('/')) {
        words.insert(0, "nodes".to_owned());
    }
    select::find(session, &call.args, &words).await
}

/// `kubectl cordon`
pub(super) async fn cordon(call: Call) -> Result<()> {
    schedulable(&call, false).await
}

/// `kubectl uncordon`
pub(super) async fn uncordon(call: Call) -> Result<()> {
    schedulable(&call, true).await
}

async fn schedulable(call: &Call, wanted: bool) -> Result<()> {
    let session = Session::open(&call.args).await?;
    let (found, mut errors) = nodes(&session, call).await?;
    for node in found {
        errors.extend(set(&session, &node, wanted).await.err());
    }
    Error::all(errors)
}

async fn set(session: &Session, node: &Found, schedulable: bool) -> Result<()> {
    let verb = if schedulable {
        "uncordoned"
    } else {
        "cordoned"
    };
    if (node.object["spec"]["unschedulable"] == true) != schedulable {
        line(format_args!("{} already {verb}", node.named()));
        return Ok(());
    }
    let value = if schedulable {
        Value::Null
    } else {
        json!(true)
    };
    let body = json!({"spec": {"unschedulable": value}});
    session
        .api
        .patch(&node.path(), &Query::default(), STRATEGIC, &body)
        .await?;
    line(format_args!("{} {verb}", node.named()));
    Ok(())
}

/// `kubectl drain`
pub(super) async fn drain(call: Call) -> Result<()> {
    let limit = timeout(&call.args, Duration::ZERO)?;
    let session = Session::open(&call.args).await?;
    let (found, mut errors) = nodes(&session, &call).await?;
    for node in &found {
        set(&session, node, false).await?;
    }
    for node in &found {
        let drained = drain_one(&session, &call, node);
        let drained = if limit.is_zero() {
            drained.await
        } else {
            tokio::time::timeout(limit, drained).await.unwrap_or_else(|_| {
                Err(said(format!(
                    "unable to drain node {:?} due to error: drain did not complete within {}s, continuing command...",
                    node.name, limit.as_secs()
                )))
            })
        };
        match drained {
            Ok(()) => line(format_args!("{} drained", node.named())),
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

/// What drain makes of a pod.
#[derive(Debug, PartialEq)]
enum Fate {
    Evict,
    Stay,
    /// It would be lost, and this flag allows it.
    Refuse(&'static str),
}

async fn drain_one(session: &Session, call: &Call, node: &Found) -> Result<()> {
    let resource = session.discovery.resolve("pods")?;
    let query = Query::default()
        .with("fieldSelector", format!("spec.nodeName={}", node.name))
        .maybe("labelSelector", call.args.value("pod-selector"));
    let list = session.api.list(&resource.collection(None), &query).await?;
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let (mut evicted, mut daemons, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for pod in pods {
        let full = format!("{}/{}", namespace_of(&pod), name_of(&pod));
        match fate(&pod, &call.args) {
            Fate::Evict => evicted.push(pod),
            Fate::Stay => daemons.push(full),
            Fate::Refuse(why) => refused.push((why, full)),
        }
    }
    if !refused.is_empty() {
        let mut whys: Vec<_> = refused.iter().map(|(why, _)| *why).collect();
        whys.sort_unstable();
        whys.dedup();
        let each: Vec<_> = whys
            .iter()
            .map(|why| {
                let pods: Vec<_> = refused
                    .iter()
                    .filter(|(of, _)| of == why)
                    .map(|(_, pod)| pod.as_str())
                    .collect();
                format!("cannot delete {why}: {}", pods.join(", "))
            })
            .collect();
        return Err(said(format!(
            "unable to drain node {:?} due to error: {}, continuing command...\nThere are pending nodes to be drained:\n {}\n{}",
            node.name,
            each.join(", "),
            node.name,
            each.join("\n"),
        )));
    }
    if !daemons.is_empty() {
        note(format_args!(
            "Warning: ignoring DaemonSet-managed Pods: {}",
            daemons.join(", ")
        ));
    }
    let each = evicted.iter().map(|pod| evict(session, call, pod));
    for outcome in futures::future::join_all(each).await {
        outcome?;
    }
    Ok(())
}

fn fate(pod: &Value, args: &super::args::Args) -> Fate {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let controller = owners
        .into_iter()
        .flatten()
        .find(|owner| owner["controller"] == true)
        .and_then(|owner| owner["kind"].as_str());
    let finished = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let data = pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|volume| volume.get("emptyDir").is_some());
    match controller {
        _ if pod["metadata"]["annotations"]
            .get("kubernetes.io/config.mirror")
            .is_some() =>
        {
            Fate::Stay
        }
        Some("DaemonSet") if args.is_set("ignore-daemonsets") => Fate::Stay,
        Some("DaemonSet") => {
            Fate::Refuse("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
        }
        _ if finished => Fate::Evict,
        None if !args.is_set("force") => {
            Fate::Refuse("Pods that declare no controller (use --force to override)")
        }
        _ if data && !args.is_set("delete-emptydir-data") => {
            Fate::Refuse("Pods with local storage (use --delete-emptydir-data to override)")
        }
        _ => Fate::Evict,
    }
}

async fn evict(session: &Session, call: &Call, pod: &Value) -> Result<()> {
    let (namespace, name) = (namespace_of(pod), name_of(pod));
    let resource = session.discovery.resolve("pods")?;
    let path = resource.path(namespace, name);
    let grace = call
        .args
        .value("grace-period")
        .and_then(|text| text.parse::<i64>().ok());
    let options = match grace.filter(|grace| *grace >= 0) {
        Some(seconds) => json!({"gracePeriodSeconds": seconds}),
        None => json!({}),
    };
    let body = json!({"kind": "Eviction", "apiVersion": "policy/v1",
        "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options});
    line(format_args!("evicting pod {namespace}/{name}"));
    loop {
        let asked = if call.args.is_set("disable-eviction") {
            session.api.delete(&path, &options).await
        } else {
            session
                .api
                .post(&format!("{path}/eviction"), &Query::default(), &body)
                .await
        };
        match asked {
            Ok(_) => break,
            Err(error) if error.is(404) => return Ok(()),
            Err(error) if error.is(429) => {
                let text = error.text("drain");
                let cause = text
                    .rsplit_once("): ")
                    .map_or(text.as_str(), |(_, cause)| cause);
                note(format_args!(
                    "error when evicting pods/{name:?} -n {namespace:?} (will retry after 5s): {cause}"
                ));
                tokio::time::sleep(EVICTION_PAUSE).await;
            }
            Err(error) => {
                return Err(error.when(&format!(
                    "error when evicting pods/{name:?} -n {namespace:?}"
                )));
            }
        }
    }
    let target = Found {
        resource: resource.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        object: Value::Null,
    };
    until_gone(
        session,
        &target,
        pod["metadata"]["uid"].as_str(),
        Duration::ZERO,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::args::Args;

    fn args(words: &[&str]) -> Args {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut args = Args::default();
        args.read(&mut words.into_iter(), &[&FLAGS], false).unwrap();
        args
    }

    #[test]
    fn drain_loses_nothing_that_was_not_allowed() {
        let of = |kind: &str| json!({"metadata": {"ownerReferences": [{"controller": true, "kind": kind}]}});
        let with_data = json!({"metadata": {"ownerReferences": [{"controller": true, "kind": "ReplicaSet"}]}, "spec": {"volumes": [{"emptyDir": {}}]}});
        let none = args(&[]);
        assert_eq!(fate(&of("ReplicaSet"), &none), Fate::Evict);
        assert!(matches!(fate(&of("DaemonSet"), &none), Fate::Refuse(_)));
        assert!(matches!(fate(&json!({}), &none), Fate::Refuse(_)));
        assert!(matches!(fate(&with_data, &none), Fate::Refuse(_)));
        let all = args(&["--force", "--ignore-daemonsets", "--delete-emptydir-data"]);
        assert_eq!(fate(&of("DaemonSet"), &all), Fate::Stay);
        assert_eq!(fate(&json!({}), &all), Fate::Evict);
        assert_eq!(fate(&with_data, &all), Fate::Evict);
    }
}
