//! Objects on standard output: `-o name|json|yaml|jsonpath=…`, and what was done to them.

use serde_json::{Map, Value, json};

use crate::output::{line, raw};

use super::args::{Args, Flag, maybe, value};
use super::discovery::Resource;
use super::error::{Result, said};
use super::jsonpath::Template;
use super::yaml;

/// The flag of every command that prints objects.
pub(super) const OUTPUT: Flag = value("output").short('o');
/// The flag of every command that can pretend.
pub(super) const DRY_RUN: Flag = maybe("dry-run", "unchanged");

/// How objects are printed.
pub(super) enum Form {
    /// Rows, or what was done.
    Text,
    /// Rows with every column.
    Wide,
    Name,
    Json,
    Yaml,
    JsonPath(Template),
    /// Headings and their templates.
    Columns(Vec<(String, Template)>),
}

impl Form {
    /// What `-o` says.
    pub(super) fn of(args: &Args) -> Result<Self> {
        let Some(output) = args.value("output") else {
            return Ok(Self::Text);
        };
        let (form, rest) = output.split_once('=').unwrap_or((output, ""));
        match form {
            "" => Ok(Self::Text),
            "wide" => Ok(Self::Wide),
            "name" => Ok(Self::Name),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "jsonpath" => Template::parse(rest).map(Self::JsonPath),
            "custom-columns" => columns(rest).map(Self::Columns),
            other => Err(said(format!(
                "the built-in kubectl doesn't know the output format {other:?}, only: custom-columns,json,jsonpath,name,wide,yaml"
            ))),
        }
    }

    /// True where whole objects are needed.
    pub(super) fn needs_objects(&self) -> bool {
        !matches!(self, Self::Text | Self::Wide)
    }
}

/// `NAME:.metadata.name,IMAGE:.spec.containers[*].image`
fn columns(spec: &str) -> Result<Vec<(String, Template)>> {
    if spec.is_empty() {
        return Err(said(
            "custom-columns format specified but no custom columns given",
        ));
    }
    spec.split(',')
        .map(|column| {
            let (heading, path) = column.split_once(':').ok_or_else(|| {
                said(format!(
                    "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
                ))
            })?;
            Ok((heading.to_owned(), Template::relaxed(path)?))
        })
        .collect()
}

/// Prints one object, or several as a list.
pub(super) fn objects(form: &Form, mut all: Vec<(Resource, Value)>, single: bool) -> Result<()> {
    for (resource, object) in &mut all {
        complete(resource, object);
    }
    match form {
        Form::Name => {
            for (resource, object) in &all {
                line(resource.named(name_of(object)));
            }
        }
        Form::Columns(columns) => {
            let mut rows = vec![columns.iter().map(|(heading, _)| heading.clone()).collect()];
            for (_, object) in &all {
                let cells = columns.iter().map(|(_, template)| {
                    let cell = template.render_joined(object, ",");
                    if cell.is_empty() {
                        "<none>".to_owned()
                    } else {
                        cell
                    }
                });
                rows.push(cells.collect());
            }
            for text in super::table::Tabs::default().lines(&rows, false) {
                line(text);
            }
        }
        Form::Text | Form::Wide | Form::Json | Form::Yaml | Form::JsonPath(_) => {
            let mut values: Vec<_> = all.into_iter().map(|(_, object)| object).collect();
            let value = if single && values.len() == 1 {
                values.remove(0)
            } else {
                json!({"apiVersion": "v1", "items": values, "kind": "List", "metadata": {"resourceVersion": ""}})
            };
            structured(form, &value)?;
        }
    }
    Ok(())
}

fn structured(form: &Form, value: &Value) -> Result<()> {
    match form {
        Form::Json => line(to_json(value)),
        Form::Yaml => {
            let _ = raw(yaml::to_yaml(value).as_bytes());
        }
        Form::JsonPath(template) => {
            let _ = raw(template.render(value)?.as_bytes());
        }
        Form::Text | Form::Wide | Form::Name | Form::Columns(_) => {}
    }
    Ok(())
}

/// What was done to an object: `deployment.apps/hello created`, or the object.
pub(super) fn done(form: &Form, resource: &Resource, object: &Value, what: &str) -> Result<()> {
    match form {
        Form::Text | Form::Wide => line(format_args!("{} {what}", resource.named(name_of(object)))),
        _ => objects(form, vec![(resource.clone(), object.clone())], true)?,
    }
    Ok(())
}

/// `metadata.name`.
pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `metadata.namespace`.
pub(super) fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// Items of a list say what they are, and nobody wants to read who manages which field.
fn complete(resource: &Resource, object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry("apiVersion")
            .or_insert_with(|| resource.api_version().into());
        map.entry("kind")
            .or_insert_with(|| resource.kind.clone().into());
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
}

/// Keys in order, as Go writes its maps.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let map: Map<_, _> = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            Value::Object(map)
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// Indented by four, with the characters that Go escapes.
pub(super) fn to_json(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    let written = sorted(value).serialize(&mut serializer);
    debug_assert!(written.is_ok(), "JSON can be written as JSON");
    escaped(&String::from_utf8_lossy(&bytes))
}

/// Compact, with keys in order and the characters that Go escapes.
pub(super) fn compact(value: &Value) -> String {
    escaped(&sorted(value).to_string())
}

/// These characters stand only in strings, so the text can be taken as a whole.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// How far a command pretends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DryRun {
    No,
    /// Nothing is sent.
    Client,
    /// The server says what it would do.
    Server,
}

impl DryRun {
    /// What `--dry-run` says.
    pub(super) fn of(args: &Args) -> Result<Self> {
        match args.value("dry-run") {
            None | Some("none") => Ok(Self::No),
            Some("client") => Ok(Self::Client),
            Some("server") => Ok(Self::Server),
            Some("unchanged") => Err(said(
                "--dry-run flag must be set explicitly to one of: none, server, client",
            )),
            Some(other) => Err(said(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// With what is said of it.
    pub(super) fn say(self, what: &str) -> String {
        match self {
            Self::No => what.to_owned(),
            Self::Client => format!("{what} (dry run)"),
            Self::Server => format!("{what} (server dry run)"),
        }
    }

    /// For the query.
    pub(super) fn query(self, query: super::api::Query) -> super::api::Query {
        query.maybe("dryRun", (self == Self::Server).then_some("All"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_go_writes_it() {
        let value = json!({"b": [], "a": {"x": "<&>"}, "c": {}});
        assert_eq!(
            to_json(&value),
            "{\n    \"a\": {\n        \"x\": \"\\u003c\\u0026\\u003e\"\n    },\n    \"b\": [],\n    \"c\": {}\n}"
        );
        assert_eq!(
            compact(&value),
            "{\"a\":{\"x\":\"\\u003c\\u0026\\u003e\"},\"b\":[],\"c\":{}}"
        );
    }
}
