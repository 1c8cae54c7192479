//! Objects out of files, directories and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::Args;
use super::discovery::{Discovery, Resource};
use super::error::{Error, Result, said};

/// An object that was written down, and where.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    /// The file, or `STDIN`.
    pub(super) source: String,
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) name: String,
    /// With its namespace filled in.
    pub(super) object: Value,
}

impl Manifest {
    /// Where the API has it.
    pub(super) fn path(&self) -> String {
        self.resource.path(&self.namespace, &self.name)
    }
}

/// Every object of every `-f`. What cannot be read is an error beside those that can.
pub(super) fn read_all(
    args: &Args,
    discovery: &Discovery,
    namespace: &str,
    namespace_said: bool,
) -> Result<(Vec<Manifest>, Vec<Error>)> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (source, object) in objects(args)? {
        match manifest(source, object, discovery, namespace, namespace_said) {
            Ok(manifest) => found.push(manifest),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

fn manifest(
    source: String,
    mut object: Value,
    discovery: &Discovery,
    namespace: &str,
    namespace_said: bool,
) -> Result<Manifest> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (word(&object["apiVersion"]), word(&object["kind"]));
    let missing = match (api_version.as_str(), kind.as_str()) {
        ("", "") => Some("[apiVersion not set, kind not set]"),
        ("", _) => Some("apiVersion not set"),
        (_, "") => Some("kind not set"),
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(said(format!(
            "error validating {source:?}: error validating data: {missing}; if you choose to ignore these errors, turn validation off with --validate=false"
        )));
    }
    let name = word(&object["metadata"]["name"]);
    let own = word(&object["metadata"]["namespace"]);
    let Some(resource) = discovery.of_object(&object) else {
        return Err(said(format!(
            "resource mapping not found for name: {name:?} namespace: {own:?} from {source:?}: no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first"
        )));
    };
    let mut effective = own.clone();
    if resource.namespaced {
        if own.is_empty() {
            namespace.clone_into(&mut effective);
            let metadata = object["metadata"].take();
            let mut metadata = metadata.as_object().cloned().unwrap_or_default();
            metadata.insert("namespace".to_owned(), namespace.into());
            object["metadata"] = Value::Object(metadata);
        } else if namespace_said && own != namespace {
            return Err(said(format!(
                "the namespace from the provided object {own:?} does not match the namespace {namespace:?}. You must pass '--namespace={own}' to perform this operation."
            )));
        }
    }
    Ok(Manifest {
        source,
        resource: resource.clone(),
        namespace: effective,
        name,
        object,
    })
}

fn objects(args: &Args) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for word in args.all("filename").flat_map(|words| words.split(',')) {
        if word == "-" {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| said(format!("reading standard input: {error}")))?;
            parse("STDIN", &text, &mut found)?;
            continue;
        }
        if word.starts_with("http://") || word.starts_with("https://") {
            return Err(said(format!(
                "the built-in kubectl reads no URLs; save {word} to a file first"
            )));
        }
        let path = Path::new(word);
        let files = files(path, args.is_set("recursive"))?;
        for file in files {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| said(format!("reading {}: {error}", file.display())))?;
            parse(&file.display().to_string(), &text, &mut found)?;
        }
    }
    if found.is_empty() {
        return Err(said("no objects passed to apply"));
    }
    Ok(found)
}

/// The file itself, or the manifests of a directory in order.
fn files(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        return Err(said(format!(
            "the path {:?} does not exist",
            path.display()
        )));
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| said(format!("reading {}: {error}", path.display()));
    let mut entries = std::fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(failed)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                found.extend(files(&entry, true)?);
            }
        } else if entry
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json")
        {
            found.push(entry);
        }
    }
    Ok(found)
}

fn parse(source: &str, text: &str, found: &mut Vec<(String, Value)>) -> Result<()> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        said(format!(
            "error parsing {source}: error converting YAML to JSON: {error}"
        ))
    })?;
    for document in documents {
        flatten(source, document, found)?;
    }
    Ok(())
}

/// A `List` is its items.
fn flatten(source: &str, document: Value, found: &mut Vec<(String, Value)>) -> Result<()> {
    match document {
        Value::Null => {}
        Value::Object(mut map)
            if map
                .get("kind")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.ends_with("List"))
                && map.get("items").is_some_and(Value::is_array) =>
        {
            if let Some(Value::Array(items)) = map.remove("items") {
                for item in items {
                    flatten(source, item, found)?;
                }
            }
        }
        object @ Value::Object(_) => found.push((source.to_owned(), object)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(said(format!(
                "error parsing {source}: a document is no Kubernetes object"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        parse("f.yaml", text, &mut found).unwrap();
        found
            .iter()
            .map(|(_, object)| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn documents_and_lists_are_objects_and_empty_documents_are_nothing() {
        let text = "---\n# nothing\n---\nkind: A\nmetadata: {name: a}\n---\nkind: List\nitems:\n- {kind: B, metadata: {name: b}}\n- kind: BList\n  items: [{kind: C, metadata: {name: c}}]\n";
        assert_eq!(read(text), ["a", "b", "c"]);
        assert_eq!(
            read("{\"kind\": \"A\", \"metadata\": {\"name\": \"json\"}}"),
            ["json"]
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut found = Vec::new();
        let error = parse("f.yaml", "hello", &mut found).unwrap_err();
        assert!(error.text("apply").contains("f.yaml"), "{error:?}");
    }
}
