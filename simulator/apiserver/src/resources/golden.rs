//! Real manifests, against what a real kube-apiserver 1.36 answered to them.
//!
//! The manifests are not part of the repository; where their folder is absent the test says so
//! and passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::testing::{Addresses, updated};
use super::{PrepareContext, ResourceDef, Scope, Subresource, all};
use crate::validation::FieldError;

/// How many records of the kinds that we serve come out as on a real server. The others are:
/// four with Gateway API fields that `lab_api::gateway` does not have (CORS, client
/// certificates) and that we refuse by name; a pod with AppArmor annotations, which upstream
/// turns into fields; a quantity of `null`; a text whose YAML two parsers read differently.
const AGREEING_AT_LEAST: usize = 465;

/// What a server answers: the object, or the reason and `field reason` of each cause.
#[derive(Debug, PartialEq)]
enum Answer {
    Accepted(Value),
    Refused {
        reason: &'static str,
        message: String,
        causes: Vec<String>,
    },
}

#[test]
fn real_manifests_come_out_as_on_a_real_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/manifests");
    let Ok(golden) = fs::read_to_string(folder.join("golden.jsonl")) else {
        println!("skipped: no manifests in {}", folder.display());
        return;
    };
    let kinds = all();
    let mut files = Files::new(folder.join("files"));
    let (mut agreeing, mut differing, mut messages) = (0, Vec::new(), 0);
    for line in golden.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some(definition) = served(&kinds, &record) else {
            continue;
        };
        let Some(expected) = expected(&record) else {
            continue;
        };
        let file = record["file"].as_str().unwrap();
        let index = usize::try_from(record["doc"].as_u64().unwrap()).unwrap();
        let found = answer(definition, files.document(file, index));
        assert_writing_it_again_changes_nothing(definition, &found);
        match difference(&expected, &found) {
            None => agreeing += 1,
            Some(difference) => differing.push(format!("{file}[{index}] {difference}")),
        }
        if let Answer::Refused { message, .. } = &found
            && record["message"].as_str() != Some(message)
        {
            messages += 1;
            println!(
                "message of {file}[{index}]:\n  {}\n  {message}",
                record["message"]
            );
        }
    }
    println!(
        "{agreeing} of {} records agree; {messages} messages differ",
        agreeing + differing.len()
    );
    println!("{}", differing.join("\n"));
    assert!(
        agreeing >= AGREEING_AT_LEAST,
        "only {agreeing} records agree"
    );
}

/// Else `kubectl apply` would report changes for ever, and controllers would wake each other.
fn assert_writing_it_again_changes_nothing(definition: &ResourceDef, stored: &Answer) {
    let Answer::Accepted(stored) = stored else {
        return;
    };
    let again = updated(&definition.kind, stored, stored.clone());
    assert_eq!(again.as_ref(), Ok(stored));
}

fn served<'a>(kinds: &'a [ResourceDef], record: &Value) -> Option<&'a ResourceDef> {
    let (api_version, kind) = record["kind"].as_str()?.split_once(' ')?;
    let of = |d: &ResourceDef| match d.group.as_ref() {
        "" => d.version.to_string(),
        group => format!("{group}/{}", d.version),
    };
    kinds
        .iter()
        .find(|d| d.kind == kind && of(d) == api_version)
}

/// What the real server answered; `None` where the answer depends on what existed there.
fn expected(record: &Value) -> Option<Answer> {
    let reason = match record["code"].as_u64()? {
        201 => return Some(Answer::Accepted(record["object"].clone())),
        400 => "BadRequest",
        422 => "Invalid",
        _ => return None,
    };
    let causes = record["causes"].as_array().into_iter().flatten();
    let causes = causes.filter_map(|cause| cause.as_str().map(str::to_owned));
    Some(Answer::Refused {
        reason,
        message: record["message"].as_str()?.to_owned(),
        causes: causes.collect(),
    })
}

/// Takes a document through the steps of a create, as `crate::write` does.
fn answer(definition: &ResourceDef, mut object: Value) -> Answer {
    let strategy = &definition.strategy;
    let kind = &definition.kind;
    let bad = |why: String| Answer::Refused {
        reason: "BadRequest",
        message: format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: {why}",
            definition.version
        ),
        causes: Vec::new(),
    };
    match strategy.decode(&object) {
        Err(error) => return bad(error.message),
        Ok(unknown) if unknown.is_empty() => {}
        Ok(unknown) => {
            let fields: Vec<String> = unknown
                .iter()
                .map(|field| format!("unknown field \"{}\"", field.0))
                .collect();
            return bad(format!("strict decoding error: {}", fields.join(", ")));
        }
    }
    identify(definition, &mut object);
    strategy.default(&mut object);
    let context = PrepareContext {
        now: Timestamp::UNIX_EPOCH,
        allocator: &Addresses::default(),
    };
    let errors = match strategy.prepare_for_create(&mut object, &context) {
        Err(error) => vec![error],
        Ok(()) => strategy.validate(&object),
    };
    if errors.is_empty() {
        Answer::Accepted(object)
    } else {
        refused(definition, &object, &errors)
    }
}

/// What the server does to an object of any kind before the kind has a say.
fn identify(definition: &ResourceDef, object: &mut Value) {
    if definition.subresources.contains(&Subresource::Status) {
        if !definition.strategy.accepts_status_on_create() {
            object.as_object_mut().unwrap().shift_remove("status");
        }
        if definition.strategy.counts_generations() {
            object["metadata"]["generation"] = json!(1);
        }
    }
    for owned in ["creationTimestamp", "resourceVersion", "uid"] {
        object["metadata"]
            .as_object_mut()
            .map(|metadata| metadata.shift_remove(owned));
    }
    if definition.scope == Scope::Namespaced && object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!("default");
    }
    if definition.plural == "namespaces" {
        let name = object["metadata"]["name"].clone();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
    if object["metadata"]["generateName"].is_string() && object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = json!("generated");
    }
}

fn refused(definition: &ResourceDef, object: &Value, errors: &[FieldError]) -> Answer {
    let mut causes: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.field, error.cause_reason()))
        .collect();
    causes.sort_unstable();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let list = match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let kind = match definition.group.as_ref() {
        "" => definition.kind.to_string(),
        group => format!("{}.{group}", definition.kind),
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Answer::Refused {
        reason: "Invalid",
        message: format!("{kind} \"{name}\" is invalid: {list}"),
        causes,
    }
}

/// Where two answers differ, if they do. Messages may: their causes say what matters.
fn difference(expected: &Answer, found: &Answer) -> Option<String> {
    match (expected, found) {
        (Answer::Accepted(expected), Answer::Accepted(found)) => {
            first_difference(expected, found, "")
        }
        (
            Answer::Refused { reason, causes, .. },
            Answer::Refused {
                reason: r,
                causes: c,
                ..
            },
        ) => (reason != r || causes != c).then(|| format!("{reason} {causes:?} became {r} {c:?}")),
        (Answer::Accepted(_), Answer::Refused { message, .. }) => {
            Some(format!("was accepted: {message}"))
        }
        (Answer::Refused { message, .. }, Answer::Accepted(_)) => {
            Some(format!("was refused: {message}"))
        }
    }
}

/// The first place where `found` is not what `expected` says; `*` stands for anything.
fn first_difference(expected: &Value, found: &Value, path: &str) -> Option<String> {
    let differs = || Some(format!("{path}: {expected} became {found}"));
    match (expected, found) {
        (Value::String(star), found) if star == "*" => found.is_null().then(differs)?,
        (Value::Object(expected), Value::Object(found)) => {
            let mut keys: Vec<&String> = expected.keys().chain(found.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            let value = |map: &serde_json::Map<String, Value>, key: &str| {
                map.get(key).cloned().unwrap_or(Value::Null)
            };
            keys.iter().find_map(|key| {
                first_difference(
                    &value(expected, key),
                    &value(found, key),
                    &format!("{path}.{key}"),
                )
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(index, (one, other))| {
                first_difference(one, other, &format!("{path}[{index}]"))
            }),
        _ if expected == found => None,
        _ => differs(),
    }
}

/// Documents of the files, read once.
struct Files {
    folder: PathBuf,
    read: BTreeMap<String, Vec<Value>>,
}

impl Files {
    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            read: BTreeMap::new(),
        }
    }

    fn document(&mut self, file: &str, index: usize) -> Value {
        let documents = self.read.entry(file.to_owned()).or_insert_with(|| {
            let text = fs::read_to_string(self.folder.join(file)).unwrap();
            documents(&text)
        });
        documents[index].clone()
    }
}

/// The documents of a file, with the items of lists in the place of the lists.
fn documents(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).unwrap();
    let flatten = |document: Value| match (&document["kind"], &document["items"]) {
        (Value::String(kind), Value::Array(items)) if kind == "List" => items.clone(),
        _ => vec![document],
    };
    documents
        .into_iter()
        .filter(|d| !d.is_null())
        .flat_map(flatten)
        .collect()
}
