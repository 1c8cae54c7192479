//! `kubectl logs`.

use futures::AsyncReadExt;
use serde_json::Value;

use super::api::Query;
use super::args::{Args, Flag, switch, value};
use super::error::{Error, Result, said};
use super::print::{name_of, namespace_of};
use super::select::{self, Wanted};
use super::{Call, Session};
use crate::output::{note, raw};

/// Flags of `logs`.
pub(super) const FLAGS: [Flag; 12] = [
    switch("follow").short('f'),
    switch("previous").short('p'),
    value("container").short('c'),
    value("selector").short('l'),
    value("tail"),
    value("since"),
    value("since-time"),
    value("limit-bytes"),
    switch("timestamps"),
    switch("all-containers"),
    switch("prefix"),
    value("max-log-requests"),
];

/// A container whose output is wanted.
struct Source {
    namespace: String,
    pod: String,
    container: String,
}

/// `kubectl logs`
pub(super) async fn logs(call: Call) -> Result<()> {
    let args = &call.args;
    let session = Session::open(args).await?;
    let mut words = args.words.clone();
    // `logs POD CONTAINER` is the old form.
    let second = (words.len() == 2 && !words[0].contains(',')).then(|| words.remove(1));
    let pods = pods(&session, args, &words).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(containers(args, pod, second.as_deref())?);
    }
    let prefix = args.is_set("prefix");
    let mut errors = Vec::new();
    if args.is_set("follow") {
        let follow = sources
            .iter()
            .map(|source| one(&session, args, source, prefix));
        for outcome in futures::future::join_all(follow).await {
            errors.extend(outcome.err());
        }
    } else {
        for source in &sources {
            errors.extend(one(&session, args, source, prefix).await.err());
        }
    }
    Error::all(errors)
}

async fn pods(session: &Session, args: &Args, words: &[String]) -> Result<Vec<Value>> {
    let resource = session.discovery.resolve("pods")?;
    if args.value("selector").is_some() {
        if !words.is_empty() {
            return Err(said("only a selector (-l) or a POD name is allowed"));
        }
        let found = select::list(session, args, resource).await?;
        if found.is_empty() {
            note(format_args!(
                "No resources found in {} namespace.",
                session.api.namespace
            ));
        }
        return Ok(found.into_iter().map(|found| found.object).collect());
    }
    let [word] = words else {
        return Err(Error::Usage(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command".to_owned(),
        ));
    };
    let namespace = &session.api.namespace;
    if !word.contains('/') {
        let pod = session.api.get(&resource.path(namespace, word)).await;
        return pod.map(|pod| vec![pod]).map_err(|error| match error {
            Error::Server(status) if status.code == 404 => said(format!(
                "error from server (NotFound): {} in namespace {namespace:?}",
                status.message
            )),
            other => other,
        });
    }
    let wanted = select::wanted(std::slice::from_ref(word), &session.discovery)?;
    let Some(Wanted::One(kind, name)) = wanted.into_iter().next() else {
        return Err(said("a POD or TYPE/NAME is needed"));
    };
    let object = session.api.get(&kind.path(namespace, &name)).await?;
    if kind.kind == "Pod" {
        return Ok(vec![object]);
    }
    let labels = match &object["spec"]["selector"]["matchLabels"] {
        Value::Null => &object["spec"]["selector"],
        labels => labels,
    };
    let selector: Vec<_> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect();
    if selector.is_empty() {
        return Err(said(format!(
            "{} has no pods of its own",
            kind.named(&name)
        )));
    }
    let query = Query::default().with("labelSelector", selector.join(","));
    let list = session
        .api
        .list(&resource.collection(Some(namespace)), &query)
        .await?;
    let mut pods = list["items"].as_array().cloned().unwrap_or_default();
    pods.sort_by_key(|pod| std::cmp::Reverse(rank(pod)));
    if pods.is_empty() {
        return Err(said("timed out waiting for the condition"));
    }
    if pods.len() > 1 && !args.is_set("all-pods") {
        note(format_args!(
            "Found {} pods, using pod/{}",
            pods.len(),
            name_of(&pods[0])
        ));
    }
    pods.truncate(1);
    Ok(pods)
}

/// Pods that are ready come first, then those that run, the oldest of them.
fn rank(pod: &Value) -> (bool, bool, std::cmp::Reverse<String>) {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let created = pod["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap_or_default();
    (
        ready,
        pod["status"]["phase"] == "Running",
        std::cmp::Reverse(created.to_owned()),
    )
}

fn containers(args: &Args, pod: &Value, second: Option<&str>) -> Result<Vec<Source>> {
    let all: Vec<_> = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    let source = |container: &str| Source {
        namespace: namespace_of(pod).to_owned(),
        pod: name_of(pod).to_owned(),
        container: container.to_owned(),
    };
    if args.is_set("all-containers") {
        return Ok(all.into_iter().map(source).collect());
    }
    if let Some(wanted) = args.value("container").or(second) {
        if !all.contains(&wanted) {
            return Err(said(format!(
                "container {wanted} is not valid for pod {}",
                name_of(pod)
            )));
        }
        return Ok(vec![source(wanted)]);
    }
    let by_default =
        pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let regular: Vec<_> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let chosen = by_default
        .or_else(|| regular.first().copied())
        .unwrap_or_default();
    if regular.len() > 1 && by_default.is_none() {
        note(format_args!(
            "Defaulted container {chosen:?} out of: {}",
            all.join(", ")
        ));
    }
    Ok(vec![source(chosen)])
}

async fn one(session: &Session, args: &Args, source: &Source, prefix: bool) -> Result<()> {
    let Source {
        namespace,
        pod,
        container,
    } = source;
    let flag = |name: &str| args.is_set(name).then_some("true");
    let tail = args.value("tail").filter(|tail| *tail != "-1");
    let tail = tail.or_else(|| args.value("selector").map(|_| "10"));
    let seconds = args
        .value("since")
        .map(|since| {
            lab_api::duration::parse(since)
                .map(|time| time.as_secs().to_string())
                .map_err(|error| {
                    said(format!(
                        "invalid argument {since:?} for \"--since\" flag: {error}"
                    ))
                })
        })
        .transpose()?;
    let query = Query::default()
        .with("container", container.as_str())
        .maybe("follow", flag("follow"))
        .maybe("previous", flag("previous"))
        .maybe("timestamps", flag("timestamps"))
        .maybe("tailLines", tail)
        .maybe("sinceSeconds", seconds.as_deref())
        .maybe("sinceTime", args.value("since-time"))
        .maybe("limitBytes", args.value("limit-bytes"));
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
    let mut stream = session.api.stream(&path, &query, "*/*").await?;
    let mut buffer = vec![0; 16 * 1024];
    let mut pending = Vec::new();
    loop {
        let read = stream.read(&mut buffer).await;
        let read = read.map_err(|error| said(format!("the log broke off: {error}")))?;
        if read == 0 {
            break;
        }
        if !prefix {
            let _ = raw(&buffer[..read]);
            continue;
        }
        pending.extend_from_slice(&buffer[..read]);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let mut line = format!("[pod/{pod}/{container}] ").into_bytes();
            line.append(&mut pending);
            let _ = raw(&line);
            pending = rest;
        }
    }
    if !pending.is_empty() {
        let _ = raw(&pending);
    }
    Ok(())
}
