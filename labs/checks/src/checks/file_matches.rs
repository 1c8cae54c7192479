//! K012: a file of the learner's says what a step asks for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckDef, CheckInput, read, schema, start_with};
use crate::context::CheckContext;
use crate::desk::{self, NoText};
use crate::diagnosis::Diagnosis;
use crate::expression::{Condition, Scope, accepts_causes, bounded, or_cause, shortened};
use crate::fact::Fact;
use crate::lab::Cause;
use crate::outcome::{Evidence, Outcome};
use crate::pattern::Pattern;

const NAME: &str = "file-matches";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K012",
    name: NAME,
    help: "The learner's file `path` has the text `contains`, a match of the regular expression `matches` and none \
        of `lacks` (`^` and `$` are the ends of lines). `yaml` or `json` give values by JSON pointer \
        (`/spec/replicas: 3`), and `where` is a condition in the Common Expression Language over `file`, which is \
        read as YAML unless `json` is given; in a file of several documents, one of them must fit. `causes` see \
        `file` and `text`.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start_with(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    path: String,
    contains: Option<String>,
    matches: Option<Pattern>,
    lacks: Option<Pattern>,
    yaml: Option<BTreeMap<String, Value>>,
    json: Option<BTreeMap<String, Value>>,
    #[serde(rename = "where")]
    condition: Option<Condition>,
}

fn accept(input: &CheckInput) -> Result<(), String> {
    let with: With = read(&input.with)?;
    desk::is_inside(&with.path)?;
    if with.yaml.is_some() && with.json.is_some() {
        return Err("either `yaml` or `json`, not both".to_owned());
    }
    let pointers = with.yaml.iter().chain(&with.json).flat_map(BTreeMap::keys);
    for pointer in pointers {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!(
                "{pointer:?} is no JSON pointer, such as /spec/replicas"
            ));
        }
    }
    if let Some(condition) = &with.condition {
        condition.names_only(&["file"])?;
    }
    accepts_causes(&input.causes, &["file", "text"])
}

async fn run(context: CheckContext, with: With, input: CheckInput) -> Result<Outcome, Diagnosis> {
    let path = context.desk.path(&with.path);
    bounded(NAME, move || {
        let text = path.map(|path| desk::text(&path));
        judge(&with, text, &input.causes)
    })
    .await
}

fn judge(
    with: &With,
    text: Result<Result<String, NoText>, Diagnosis>,
    causes: &[Cause],
) -> Outcome {
    let path = with.path.clone();
    let observed = match &text {
        Ok(Ok(text)) => Fact::FileLines {
            path,
            lines: text.lines().count().to_string(),
        },
        Ok(Err(NoText::Unreadable(problem))) => Fact::FileSeen {
            path,
            found: problem.clone(),
        },
        Ok(Err(NoText::Missing { .. })) | Err(_) => Fact::FileSeen {
            path,
            found: "–".to_owned(),
        },
    };
    let evidence = Evidence {
        expected: Fact::FileWanted {
            path: with.path.clone(),
            wanted: wanted(with),
        },
        observed,
        since: None,
    };
    let result = readable(&with.path, text).and_then(|text| {
        let documents = documents(with, &text);
        let mut scope = Scope::default().with("text", Value::String(text.clone()));
        if let Some(first) = documents.as_ref().ok().and_then(|all| all.first()) {
            scope = scope.with("file", first.clone());
        }
        let found = find_text(with, &text).and_then(|()| find_value(with, documents?));
        found.map_err(|diagnosis| or_cause(diagnosis, causes, &scope))
    });
    Outcome::of(evidence, result)
}

/// The text, or the diagnosis of a file that has none.
fn readable(
    path: &str,
    text: Result<Result<String, NoText>, Diagnosis>,
) -> Result<String, Diagnosis> {
    let path = path.to_owned();
    text?.map_err(|problem| match problem {
        NoText::Missing { present } => Diagnosis::FileMissing {
            path,
            present: if present.is_empty() {
                "–".to_owned()
            } else {
                present.join(", ")
            },
        },
        NoText::Unreadable(problem) => Diagnosis::FileNotParsed { path, problem },
    })
}

/// What is asked for, without words, so that it reads the same in every language.
fn wanted(with: &With) -> String {
    let contains = with.contains.iter().map(|text| shortened(text));
    let matches = with.matches.iter().map(|it| format!("/{}/", it.source()));
    let lacks = with.lacks.iter().map(|it| format!("¬ /{}/", it.source()));
    let values = with.yaml.iter().chain(&with.json).flatten();
    let values = values.map(|(pointer, value)| format!("{pointer} = {value}"));
    let condition = with.condition.iter().map(|it| it.source().to_owned());
    let all: Vec<_> = contains
        .chain(matches)
        .chain(lacks)
        .chain(values)
        .chain(condition)
        .collect();
    if all.is_empty() {
        "…".to_owned()
    } else {
        all.join("; ")
    }
}

fn find_text(with: &With, text: &str) -> Result<(), Diagnosis> {
    let path = || with.path.clone();
    if let Some((line, found)) = with.lacks.as_ref().and_then(|it| it.first_line(text)) {
        return Err(Diagnosis::FileContainsForbidden {
            path: path(),
            line: line.to_string(),
            text: shortened(found.trim()),
        });
    }
    if let Some(expected) = with.contains.as_ref().filter(|it| !text.contains(*it)) {
        return Err(Diagnosis::FileLacks {
            path: path(),
            expected: expected.clone(),
        });
    }
    match with.matches.as_ref().filter(|it| !it.matches(text)) {
        Some(pattern) => Err(Diagnosis::FileLacks {
            path: path(),
            expected: format!("/{}/", pattern.source()),
        }),
        None => Ok(()),
    }
}

/// The documents of the file, where something about them is asked; YAML is read where JSON is
/// not asked for.
fn documents(with: &With, text: &str) -> Result<Vec<Value>, Diagnosis> {
    let structured = with.json.is_some() || with.yaml.is_some() || with.condition.is_some();
    let read = if with.json.is_some() {
        serde_json::from_str(text)
            .map(|value| vec![value])
            .map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_multiple::<Value>(text)
            .map_err(|error| error.without_snippet().to_string())
    };
    match read {
        Ok(documents) => Ok(documents),
        Err(_) if !structured => Ok(Vec::new()),
        Err(problem) => Err(Diagnosis::FileNotParsed {
            path: with.path.clone(),
            problem: problem.lines().next().unwrap_or_default().to_owned(),
        }),
    }
}

fn find_value(with: &With, documents: Vec<Value>) -> Result<(), Diagnosis> {
    if with.yaml.is_none() && with.json.is_none() && with.condition.is_none() {
        return Ok(());
    }
    // An empty file is one document of nothing.
    let documents = if documents.is_empty() {
        vec![Value::Null]
    } else {
        documents
    };
    let faults: Vec<_> = documents
        .iter()
        .map(|document| fault(with, document))
        .collect();
    // Of several documents, the one that goes furthest is the one that was meant.
    let nearest = faults.into_iter().min_by_key(|fault| match fault {
        None => 0,
        Some((left, _)) => *left,
    });
    match nearest.flatten() {
        None => Ok(()),
        Some((_, diagnosis)) => Err(diagnosis),
    }
}

/// What is wrong with a document: how many things, and the first of them.
fn fault(with: &With, document: &Value) -> Option<(usize, Diagnosis)> {
    let wrong = |field: String, expected: String, found: String| Diagnosis::FileValueWrong {
        path: with.path.clone(),
        field,
        expected,
        found,
    };
    let values = with.yaml.iter().chain(&with.json).flatten();
    let mut faults: Vec<_> = values
        .filter_map(|(pointer, expected)| {
            let found = document.pointer(pointer);
            let shown = found.map_or_else(|| "–".to_owned(), |found| shortened(&found.to_string()));
            (!found.is_some_and(|found| same(found, expected)))
                .then(|| wrong(pointer.clone(), expected.to_string(), shown))
        })
        .collect();
    if let Some(condition) = &with.condition {
        let scope = Scope::default().with("file", document.clone());
        if condition.holds(&scope) != Ok(true) {
            let found = condition.looked_at(&scope);
            faults.push(wrong(
                condition.source().to_owned(),
                "true".to_owned(),
                found,
            ));
        }
    }
    let count = faults.len();
    faults.into_iter().next().map(|first| (count, first))
}

/// Whether two values are the same; whole numbers may be written as either kind.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => found.as_f64() == expected.as_f64(),
        (found, expected) => found == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::diagnosed;
    use crate::language::{Language, Text};
    use serde_json::json;

    const MANIFEST: &str =
        "# replicas: 9\nkind: Service\n---\nkind: Deployment\nspec:\n  replicas: 3\n";

    fn judged(mut with: Value, text: Result<&str, NoText>, causes: &[Cause]) -> Outcome {
        with["path"] = json!("hello/k8s/deployment.yaml");
        let with: With = serde_json::from_value(with).unwrap();
        judge(&with, Ok(text.map(str::to_owned)), causes)
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, text: &str) {
        let outcome = judged(with, Ok(text), &[]);
        diagnosed(&outcome, expected);
    }

    #[test]
    fn text_is_looked_for_and_told_from_what_must_not_be_there() {
        case(None, json!({"contains": "replicas: 3"}), MANIFEST);
        case(None, json!({"matches": "^ +replicas: \\d$"}), MANIFEST);
        case(None, json!({"lacks": "replicas: 4"}), MANIFEST);
        case(None, json!({}), "");
        case(
            Some("file-lacks"),
            json!({"contains": "replicas: 4"}),
            MANIFEST,
        );
        case(
            Some("file-lacks"),
            json!({"contains": "Replicas: 3"}),
            MANIFEST,
        );
        case(
            Some("file-lacks"),
            json!({"matches": "^replicas: \\d$"}),
            MANIFEST,
        );
        case(
            Some("file-contains-forbidden"),
            json!({"lacks": "replicas: 9"}),
            MANIFEST,
        );
        case(
            Some("file-contains-forbidden"),
            json!({"contains": "replicas: 3", "lacks": "(?i)SERVICE"}),
            MANIFEST,
        );
    }

    #[test]
    fn values_are_those_of_the_file_and_not_of_its_comments() {
        let yaml = |value: Value| json!({"yaml": {"/kind": "Deployment", "/spec/replicas": value}});
        case(None, yaml(json!(3)), MANIFEST);
        case(None, yaml(json!(3.0)), MANIFEST);
        case(Some("file-value-wrong"), yaml(json!(9)), MANIFEST);
        case(Some("file-value-wrong"), yaml(json!("3")), MANIFEST);
        // Both values are there, in different documents.
        case(
            Some("file-value-wrong"),
            json!({"yaml": {"/kind": "Service", "/spec/replicas": 3}}),
            MANIFEST,
        );
        case(Some("file-value-wrong"), yaml(json!(3)), "");
        case(
            Some("file-not-parsed"),
            yaml(json!(3)),
            "kind: [Deployment\n",
        );
        case(None, json!({"json": {"/a/0": null}}), r#"{"a": [null]}"#);
        case(
            Some("file-value-wrong"),
            json!({"json": {"/a/1": null}}),
            r#"{"a": [null]}"#,
        );
        case(Some("file-not-parsed"), json!({"json": {"/a": 1}}), "a: 1");
    }

    #[test]
    fn the_document_that_comes_nearest_is_the_one_that_is_explained() {
        let with = json!({"yaml": {"/kind": "Deployment", "/spec/replicas": 4}});
        let outcome = judged(with, Ok(MANIFEST), &[]);
        assert_eq!(
            outcome.diagnosis().unwrap().text(Language::En),
            "hello/k8s/deployment.yaml has /spec/replicas 3 instead of 4"
        );
    }

    #[test]
    fn a_condition_over_the_file_and_causes_of_the_labs_own() {
        let with = |condition: &str| json!({"where": condition});
        case(
            None,
            with("file.kind == 'Deployment' && file.spec.replicas > 2"),
            MANIFEST,
        );
        case(
            Some("file-value-wrong"),
            with("file.spec.replicas > 3"),
            MANIFEST,
        );
        case(
            Some("file-value-wrong"),
            with("file.spec.replcas > 2"),
            MANIFEST,
        );
        let causes = [Cause {
            id: "comment-only".to_owned(),
            when: Some("text.contains('# replicas: 9')".to_owned()),
            text: Text::default(),
            look: None,
        }];
        let outcome = judged(
            json!({"yaml": {"/spec/replicas": 9}}),
            Ok(MANIFEST),
            &causes,
        );
        assert_eq!(
            outcome.diagnosis().map(Diagnosis::name),
            Some("comment-only")
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_told_from_one_that_cannot_be_read() {
        let missing = NoText::Missing {
            present: vec!["deploiment.yaml".to_owned()],
        };
        let found = |problem: NoText| {
            let outcome = judged(json!({}), Err(problem), &[]);
            outcome.diagnosis().unwrap().text(Language::En)
        };
        assert!(found(missing).ends_with("beside it there is: deploiment.yaml"));
        assert!(found(NoText::Unreadable("not UTF-8".to_owned())).ends_with("not UTF-8"));
    }

    #[test]
    fn faults_of_a_lab_are_found_before_it_is_run() {
        let accepts = |with: Value| {
            accept(&CheckInput {
                with,
                ..CheckInput::default()
            })
        };
        accepts(json!({"path": "a", "matches": "{{registry}}/hello"})).unwrap();
        accepts(json!({"path": "a", "matches": "("})).unwrap_err();
        accepts(json!({"path": "a", "lacks": "["})).unwrap_err();
        accepts(json!({"path": "/etc/passwd"})).unwrap_err();
        accepts(json!({"path": "a", "yaml": {"spec.replicas": 1}})).unwrap_err();
        accepts(json!({"path": "a", "where": "object.spec"})).unwrap_err();
        accepts(json!({"path": "a", "where": "file."})).unwrap_err();
    }
}
