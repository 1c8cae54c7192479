//! What authors look up: the JSON Schema of `lab.yaml`, and a page of all checks. Both are made
//! from the types that read labs, and kept beside the labs (`labs/lab.schema.json`,
//! `labs/CHECKS.md`).

use std::fmt::Write;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::checks::{self, CheckDef};
use crate::diagnosis::Diagnosis;
use crate::format::LabFile;
use crate::language::Language;

/// The JSON Schema of `lab.yaml`, every check with its own parameters.
#[must_use]
pub fn lab_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<LabFile>().to_value()
}

/// A page of all checks with their parameters, and of all diagnoses, in Markdown.
#[must_use]
pub fn checks_page() -> String {
    let mut page = String::from(
        "# Checks\n\n\
         Made by `devops-lab lab checks`; not edited by hand.\n\n\
         A step of a lab names its checks under `checks:`, each with `use:` and `with:`. Strings \
         may hold `{{production}}`, `{{test}}`, `{{registry}}`, `{{metrics}}` and `{{git}}`.\n\n",
    );
    let mut checks: Vec<_> = checks::ALL.iter().collect();
    checks.sort_by_key(|check| check.name);
    for check in checks {
        section(&mut page, check);
    }
    page.push_str(
        "## Diagnoses\n\n\
         What a check names where it does not hold: the values of `when:` in hints and of \
         `diagnosis:` in mistakes. `‹…›` stands for what is found.\n\n\
         | id | says |\n|---|---|\n",
    );
    let mut diagnoses = Diagnosis::samples();
    diagnoses.retain(|diagnosis| Diagnosis::is_built_in(diagnosis.id()));
    diagnoses.sort_by_key(Diagnosis::id);
    for diagnosis in diagnoses {
        row(
            &mut page,
            &[
                &format!("`{}`", diagnosis.id()),
                // Angle brackets would be taken for HTML.
                &diagnosis
                    .text(Language::En)
                    .replace('<', "‹")
                    .replace('>', "›"),
            ],
        );
    }
    page
}

fn section(page: &mut String, check: &CheckDef) {
    let CheckDef {
        code, name, help, ..
    } = check;
    let schema = (check.schema)().to_value();
    let mut rows = Vec::new();
    parameters("", &schema, &mut rows);
    // Writing to a string cannot fail.
    let _ = write!(page, "## `{name}`\n\n{code}. {help}\n\n");
    if rows.is_empty() {
        return;
    }
    // Most say all in the text above.
    let explained = rows.iter().any(|[.., meaning]| !meaning.is_empty());
    page.push_str(if explained {
        "| parameter | type | default | meaning |\n|---|---|---|---|\n"
    } else {
        "| parameter | type | default |\n|---|---|---|\n"
    });
    for [parameter, kind, default, meaning] in &rows {
        let parameter = format!("`{parameter}`");
        let cells = [parameter.as_str(), kind, default, meaning];
        row(page, if explained { &cells } else { &cells[..3] });
    }
    page.push('\n');
}

/// A row of a table; a bar within a cell would end it.
fn row(page: &mut String, cells: &[&str]) {
    for cell in cells {
        let cell = cell.replace('|', "\\|").replace('\n', " ");
        let _ = write!(page, "| {cell} ");
    }
    page.push_str("|\n");
}

/// The parameters of an object, those within it under their path.
fn parameters(lead: &str, schema: &Value, rows: &mut Vec<[String; 4]>) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required = |name: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, property) in properties {
        let path = format!("{lead}{name}");
        let of = subject(property);
        let default = match property.get("default") {
            _ if required(name) => "required".to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(default) => format!("`{default}`"),
        };
        let meaning = property["description"]
            .as_str()
            .or(of["description"].as_str());
        let meaning = meaning.unwrap_or_default().to_owned();
        rows.push([path.clone(), kind(of), default, meaning]);
        parameters(&format!("{path}."), of, rows);
        if let Some(item) = of.get("items") {
            parameters(&format!("{path}[]."), subject(item), rows);
        }
    }
}

/// What may be given, where it may be left out too.
fn subject(schema: &Value) -> &Value {
    let forms = schema["anyOf"].as_array();
    let form = forms.and_then(|forms| forms.iter().find(|form| form["type"] != "null"));
    form.unwrap_or(schema)
}

/// The type of a value in a word.
fn kind(schema: &Value) -> String {
    if let Some(forms) = schema["oneOf"].as_array() {
        let forms: Vec<_> = forms.iter().map(kind).collect();
        return forms.join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().filter(|value| !value.is_null());
        let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{value}`");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names
                .into_iter()
                .find(|name| *name != "null")
                .unwrap_or("any")
        }
        _ => "any",
    };
    match name {
        "array" => format!("list of {}", kind(subject(&schema["items"]))),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", kind(subject(&schema["additionalProperties"])))
        }
        "object" if schema["additionalProperties"] == true => "map to any".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use serde_json::json;

    /// Compares a page beside the labs with what it is made from; with the variable
    /// `DEVOPS_LAB_WRITE_PAGES` it is written.
    #[track_caller]
    fn page(name: &str, command: &str, made: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        if std::env::var_os("DEVOPS_LAB_WRITE_PAGES").is_some() {
            std::fs::write(&path, made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "labs/{name} is not current: devops-lab lab {command} > labs/{name} \
             (or DEVOPS_LAB_WRITE_PAGES=1 cargo test -p lab-checks --lib reference)"
        );
    }

    #[test]
    fn the_pages_beside_the_labs_are_current() {
        page("CHECKS.md", "checks", &checks_page());
        let schema = serde_json::to_string_pretty(&lab_schema()).unwrap();
        page("lab.schema.json", "schema", &format!("{schema}\n"));
    }

    #[test]
    fn the_schema_knows_every_field_and_the_parameters_of_every_check() {
        let schema = lab_schema();
        assert_eq!(
            schema["properties"]["apiVersion"]["const"],
            "devops-lab.dev/v1"
        );
        assert_eq!(schema["additionalProperties"], false);
        let forms = schema["$defs"]["Check"]["oneOf"].as_array().unwrap();
        assert_eq!(forms.len(), checks::ALL.len());
        let nodes = forms
            .iter()
            .find(|form| form["properties"]["use"]["const"] == "nodes-ready");
        let with = &nodes.unwrap()["properties"]["with"];
        assert_eq!(with["properties"]["atLeast"]["default"], 1);
        assert_eq!(schema["$defs"]["StepFile"]["required"], json!(["id"]));
    }

    #[test]
    fn the_page_tells_every_check_parameter_and_diagnosis() {
        let page = checks_page();
        for check in checks::ALL {
            assert!(page.contains(&format!("## `{}`\n\n{}. ", check.name, check.code)));
            let schema = (check.schema)().to_value();
            for (parameter, _) in schema["properties"].as_object().unwrap() {
                assert!(page.contains(&format!("| `{parameter}` | ")), "{parameter}");
            }
        }
        assert!(
            page.contains("| `pods.deployment` | string | required |"),
            "{page}"
        );
        assert!(page.contains(
            "| `too-few-nodes` | the cluster has too few nodes: ‹found› of ‹expected› |"
        ));
        assert!(!page.contains("| `authored` |"));
    }
}
