//! Which objects a command is about: `pods`, `pod/a svc/b`, `deploy a b`, `-l app=x`, `-f FILE`.

use serde_json::Value;

use super::Session;
use super::api::Query;
use super::args::{Args, Flag, switch, value};
use super::discovery::{Discovery, Resource};
use super::error::{Error, Result, said};
use super::manifest;

/// Flags of every command that chooses objects.
pub(super) const FLAGS: [Flag; 6] = [
    value("filename").short('f'),
    switch("recursive").short('R'),
    value("selector").short('l'),
    value("field-selector"),
    switch("all"),
    switch("all-namespaces").short('A'),
];

/// A part of what was asked for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// One by its name.
    One(Resource, String),
    /// Those of a kind.
    Every(Resource),
}

/// An object that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) object: Value,
}

impl Found {
    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        self.resource.path(&self.namespace, &self.name)
    }

    /// `deployment.apps/hello`.
    pub(super) fn named(&self) -> String {
        self.resource.named(&self.name)
    }
}

/// Reads `KIND`, `KIND NAME…`, `KIND/NAME…` and `KIND,KIND`.
pub(super) fn wanted(words: &[String], discovery: &Discovery) -> Result<Vec<Wanted>> {
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if words.iter().any(|word| word.contains('/')) {
        return words
            .iter()
            .map(|word| match word.split_once('/') {
                Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                    Ok(Wanted::One(discovery.resolve(kind)?.clone(), name.to_owned()))
                }
                Some(_) => Err(said("arguments in resource/name form must have a single resource and name")),
                None => Err(said("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'")),
            })
            .collect();
    }
    let resources = discovery.resolve_all(first)?;
    let names = &words[1..];
    let each = resources.into_iter().flat_map(|resource| {
        if names.is_empty() {
            return vec![Wanted::Every(resource.clone())];
        }
        let one = |name: &String| Wanted::One(resource.clone(), name.clone());
        names.iter().map(one).collect()
    });
    Ok(each.collect())
}

/// The selectors of a command line, for the query of a list.
pub(super) fn query(args: &Args) -> Query {
    Query::default()
        .maybe("labelSelector", args.value("selector"))
        .maybe("fieldSelector", args.value("field-selector"))
}

/// Reads every object that a command is to change. Objects of a kind are meant only with a
/// selector or `--all`.
pub(super) async fn find(
    session: &Session,
    args: &Args,
    words: &[String],
) -> Result<(Vec<Found>, Vec<Error>)> {
    if args.value("filename").is_some() {
        return of_files(session, args).await;
    }
    if words.is_empty() {
        return Err(Error::Plain("error: You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'".to_owned()));
    }
    let many = args.value("selector").is_some()
        || args.value("field-selector").is_some()
        || args.is_set("all");
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for wanted in wanted(words, &session.discovery)? {
        match wanted {
            Wanted::Every(_) if !many => {
                return Err(said("resource(s) were provided, but no name was specified"));
            }
            Wanted::One(..) if many => {
                return Err(said("name cannot be provided when a selector is specified"));
            }
            Wanted::Every(resource) => found.extend(list(session, args, &resource).await?),
            Wanted::One(resource, name) => {
                match one(session, resource, &session.api.namespace, name).await {
                    Ok(object) => found.push(object),
                    Err(error) => errors.push(error),
                }
            }
        }
    }
    Ok((found, errors))
}

/// Reads one object.
pub(super) async fn one(
    session: &Session,
    resource: Resource,
    namespace: &str,
    name: String,
) -> Result<Found> {
    let object = session.api.get(&resource.path(namespace, &name)).await?;
    Ok(Found {
        namespace: namespace.to_owned(),
        resource,
        name,
        object,
    })
}

/// Reads the objects of a kind that the selectors choose.
pub(super) async fn list(
    session: &Session,
    args: &Args,
    resource: &Resource,
) -> Result<Vec<Found>> {
    let namespace = (!args.is_set("all-namespaces")).then_some(session.api.namespace.as_str());
    let path = resource.collection(namespace);
    let list = session.api.list(&path, &query(args)).await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let found = items.into_iter().map(|object| Found {
        resource: resource.clone(),
        namespace: super::print::namespace_of(&object).to_owned(),
        name: super::print::name_of(&object).to_owned(),
        object,
    });
    Ok(found.collect())
}

async fn of_files(session: &Session, args: &Args) -> Result<(Vec<Found>, Vec<Error>)> {
    let api = &session.api;
    let (manifests, mut errors) =
        manifest::read_all(args, &session.discovery, &api.namespace, api.namespace_said)?;
    let mut found = Vec::new();
    for manifest in manifests {
        let source = manifest.source;
        match one(
            session,
            manifest.resource,
            &manifest.namespace,
            manifest.name,
        )
        .await
        {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error.when(&format!("error when getting {source:?}"))),
        }
    }
    Ok((found, errors))
}
