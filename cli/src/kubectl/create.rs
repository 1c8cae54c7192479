//! `kubectl create namespace|deployment|configmap|secret generic`: objects from a command line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Session;
use super::api::Query;
use super::args::Args;
use super::error::{Error, Result, said};
use super::print::{DryRun, Form, done};

/// Makes an object out of words and flags.
pub(super) async fn generated(args: &Args, form: &Form, dry_run: DryRun) -> Result<()> {
    let words: Vec<_> = args.words.iter().map(String::as_str).collect();
    let session = Session::open(args).await?;
    let namespace = session.api.namespace.clone();
    let object = match words.as_slice() {
        [] => return Err(said("must specify one of -f and -k")),
        ["namespace" | "ns", name] => {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        }
        ["deployment" | "deploy", name] => deployment(args, name, &namespace)?,
        ["configmap" | "cm", name] => {
            let data = entries(args)?;
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {"name": name, "namespace": namespace}})
        }
        ["secret", "generic", name] => {
            let mut data = entries(args)?;
            for value in data.values_mut() {
                *value = STANDARD.encode(value.as_str().unwrap_or_default()).into();
            }
            json!({"apiVersion": "v1", "kind": "Secret", "data": data,
                "metadata": {"name": name, "namespace": namespace}})
        }
        [
            "namespace" | "ns" | "deployment" | "deploy" | "configmap" | "cm",
            ..,
        ]
        | ["secret", "generic", ..] => {
            return Err(Error::Usage(format!(
                "exactly one NAME is required, got {}",
                words.len() - 1
            )));
        }
        [other, ..] => {
            return Err(super::unknown(&format!("create {other}")));
        }
    };
    let resource = session
        .discovery
        .of_object(&object)
        .ok_or_else(|| said(format!("the server does not serve {}", object["kind"])))?
        .clone();
    let created = if dry_run == DryRun::Client {
        object
    } else {
        let query = dry_run.query(Query::manager("kubectl-create"));
        let path = resource.collection(Some(&namespace));
        let created = session.api.post(&path, &query, &object).await;
        created.map_err(|error| match error {
            Error::Server(mut status) if status.reason == "AlreadyExists" => {
                status.message = format!(
                    "failed to create {}: {}",
                    resource.kind.to_lowercase(),
                    status.message
                );
                Error::Said(status.message)
            }
            other => other,
        })?
    };
    done(form, &resource, &created, &dry_run.say("created"))
}

fn deployment(args: &Args, name: &str, namespace: &str) -> Result<Value> {
    let images: Vec<_> = args
        .all("image")
        .flat_map(|images| images.split(','))
        .collect();
    if images.is_empty() {
        return Err(said("required flag(s) \"image\" not set"));
    }
    let number = |flag: &str| {
        args.value(flag)
            .map(|text| {
                text.parse::<u32>()
                    .map_err(|_| said(format!("invalid argument {text:?} for \"--{flag}\" flag")))
            })
            .transpose()
    };
    let (replicas, port) = (number("replicas")?, number("port")?);
    let containers: Vec<_> = images
        .iter()
        .map(|image| {
            let last = image.rsplit('/').next().unwrap_or(image);
            let short = last.split([':', '@']).next().unwrap_or(last);
            let mut container = json!({"image": image, "name": short});
            if let Some(port) = port {
                container["ports"] = json!([{"containerPort": port}]);
            }
            container
        })
        .collect();
    let labels = json!({"app": name});
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas.unwrap_or(1),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        }
    }))
}

/// `--from-literal` and `--from-file`.
fn entries(args: &Args) -> Result<Map<String, Value>> {
    let mut data = Map::new();
    for literal in args.all("from-literal") {
        let (key, value) = literal.split_once('=').ok_or_else(|| {
            said(format!(
                "invalid literal source {literal}, expected key=value"
            ))
        })?;
        data.insert(key.to_owned(), value.into());
    }
    for file in args.all("from-file") {
        let (key, path) = match file.split_once('=') {
            Some((key, path)) => (key.to_owned(), path),
            None => (file.rsplit('/').next().unwrap_or(file).to_owned(), file),
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| said(format!("error reading {path}: {error}")))?;
        data.insert(key, text.into());
    }
    Ok(data)
}
