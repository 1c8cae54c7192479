//! K008: an object of any kind is as a condition says.

use kube::api::{DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope as KindScope, pinned_kind};
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CheckDef, CheckInput, read, schema, start_with};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::expression::{Condition, Scope, accepts_causes, bounded, or_cause};
use crate::fact::Fact;
use crate::lab::Cause;
use crate::outcome::{Evidence, Outcome};
use crate::read::problem;

/// How many objects are looked at: a lab has a handful.
const OBJECTS_MAX: u32 = 500;

const NAME: &str = "object-matches";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K008",
    name: NAME,
    help: "The object `name` of this `apiVersion` and `kind` exists in `namespace` (the learner's by default), \
        and `where` is true: a condition in the Common Expression Language, over `object`. Without `name`, it \
        is about all objects, or those of the label `selector`, at least `atLeast` (1 by default; 0 where \
        there may be none): a condition over `objects` is about the list, one over `object` must be true for \
        at least `atLeast` of them. A field that is not \
        there makes a condition false; ask with `has(object.spec.paused)` first. `causes` see the same names; \
        with `name`, both.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start_with(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    api_version: String,
    kind: String,
    name: Option<String>,
    selector: Option<String>,
    namespace: Option<String>,
    #[serde(rename = "where")]
    condition: Option<Condition>,
    #[serde(default = "one")]
    at_least: usize,
}

fn one() -> usize {
    1
}

fn accept(input: &CheckInput) -> Result<(), String> {
    let with: With = read(&input.with)?;
    if with.name.is_some() && with.selector.is_some() {
        return Err("either `name` or `selector`, not both".to_owned());
    }
    if let Some(condition) = &with.condition {
        condition.names_only(&["object", "objects"])?;
        if condition.mentions("object") && condition.mentions("objects") {
            return Err("`where` names both `object` and `objects`".to_owned());
        }
    }
    accepts_causes(&input.causes, &["object", "objects"])
}

/// The kind as people and kubectl name it.
#[derive(Clone, Debug)]
struct Kind {
    kind: String,
    plural: String,
}

async fn run(context: CheckContext, with: With, input: CheckInput) -> Result<Outcome, Diagnosis> {
    let (group, version) = with
        .api_version
        .split_once('/')
        .unwrap_or(("", &with.api_version));
    let wanted = GroupVersionKind::gvk(group, version, &with.kind);
    let what = || format!("{} {}", with.api_version, with.kind);
    let (resource, capabilities) =
        pinned_kind(&context.client, &wanted)
            .await
            .map_err(|error| match error {
                kube::Error::Discovery(_) => Diagnosis::NotServed { what: what() },
                error => problem(what(), &error),
            })?;
    let namespace = with.namespace.as_deref().unwrap_or(&context.namespace);
    let api: Api<DynamicObject> = match capabilities.scope {
        KindScope::Cluster => Api::all_with(context.client.clone(), &resource),
        KindScope::Namespaced => Api::namespaced_with(context.client.clone(), namespace, &resource),
    };
    let objects = match &with.name {
        Some(name) => api.get_opt(name).await.map(Vec::from_iter),
        None => list(&api, with.selector.as_deref()).await,
    };
    let objects = objects.map_err(|error| problem(resource.plural.clone(), &error))?;
    // Others are looked for only where they explain something.
    let others = match objects.is_empty() {
        true => list(&Api::all_with(context.client.clone(), &resource), None)
            .await
            .unwrap_or_default(),
        false => Vec::new(),
    };
    let absent = absent(&with, &resource, namespace, &others);
    let objects: Vec<_> = objects.iter().map(|object| whole(object, &with)).collect();
    let kind = Kind {
        kind: resource.kind,
        plural: resource.plural,
    };
    bounded(NAME, move || {
        judge(&with, &kind, &objects, absent, &input.causes)
    })
    .await
}

async fn list(
    api: &Api<DynamicObject>,
    selector: Option<&str>,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut parameters = ListParams::default().limit(OBJECTS_MAX);
    parameters.label_selector = selector.map(str::to_owned);
    Ok(api.list(&parameters).await?.items)
}

/// The object with the two fields that lists leave out.
fn whole(object: &DynamicObject, with: &With) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = json!(with.api_version);
    value["kind"] = json!(with.kind);
    value
}

/// What is said where there is no such object.
fn absent(
    with: &With,
    resource: &ApiResource,
    namespace: &str,
    others: &[DynamicObject],
) -> Diagnosis {
    let (kind, plural) = (resource.kind.clone(), resource.plural.clone());
    let (name, namespace) = (which(with), namespace.to_owned());
    let namesake = others
        .iter()
        .filter(|other| Some(other.name_any()) == with.name)
        .find_map(ResourceExt::namespace);
    if let Some(found) = namesake {
        return Diagnosis::InAnotherNamespace {
            kind,
            plural,
            name,
            namespace,
            found,
        };
    }
    let here = others
        .iter()
        .filter(|other| other.namespace().is_none_or(|other| other == namespace));
    let present: Vec<_> = here.map(ResourceExt::name_any).take(12).collect();
    if present.is_empty() {
        return Diagnosis::Missing {
            kind,
            plural,
            name,
            namespace,
        };
    }
    Diagnosis::NamedOtherwise {
        kind,
        plural,
        name,
        namespace,
        present: present.join(", "),
    }
}

/// Which objects, in words that kubectl understands.
fn which(with: &With) -> String {
    match (&with.name, &with.selector) {
        (Some(name), _) => name.clone(),
        (None, Some(selector)) => format!("-l {selector}"),
        (None, None) => String::new(),
    }
}

fn judge(
    with: &With,
    kind: &Kind,
    objects: &[Value],
    absent: Diagnosis,
    causes: &[Cause],
) -> Outcome {
    let found = objects.len();
    let first = objects.first().cloned();
    let scope = Scope::default().with("objects", Value::Array(objects.to_vec()));
    let scope = match first {
        Some(first) => scope.with("object", first),
        None => scope,
    };
    let result = find(with, kind, objects, &scope, absent)
        .map_err(|diagnosis| or_cause(diagnosis, causes, &scope));
    let condition = with.condition.as_ref();
    let values = condition.map(|condition| condition.looked_at(&scope));
    let evidence = Evidence {
        expected: Fact::ObjectWanted {
            kind: kind.kind.clone(),
            which: which(with),
            condition: condition.map_or_else(
                || format!(">= {}", with.at_least),
                |condition| condition.source().to_owned(),
            ),
        },
        observed: Fact::ObjectSeen {
            kind: kind.kind.clone(),
            which: which(with),
            count: found.to_string(),
            values: values
                .filter(|values| !values.is_empty())
                .unwrap_or_else(|| "–".to_owned()),
        },
        since: None,
    };
    Outcome::of(evidence, result)
}

fn find(
    with: &With,
    kind: &Kind,
    objects: &[Value],
    scope: &Scope,
    absent: Diagnosis,
) -> Result<(), Diagnosis> {
    let about_all = with
        .condition
        .as_ref()
        .is_some_and(|condition| condition.mentions("objects"));
    // Anything is true of all members of an empty list, so an empty one has to be asked for.
    if objects.is_empty() && with.at_least > 0 {
        return Err(absent);
    }
    let fails = |condition: &Condition, scope: &Scope| {
        let values = condition.looked_at(scope);
        Diagnosis::ExpressionFalse {
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            which: which(with),
            condition: condition.source().to_owned(),
            values: if values.is_empty() {
                "–".to_owned()
            } else {
                values
            },
        }
    };
    let too_few = |good: usize| Diagnosis::TooFewObjects {
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
        which: which(with),
        expected: with.at_least.to_string(),
        found: good.to_string(),
    };
    let Some(condition) = &with.condition else {
        return if objects.len() < with.at_least {
            Err(too_few(objects.len()))
        } else {
            Ok(())
        };
    };
    if about_all {
        return match condition.holds(scope) {
            Ok(true) if objects.len() >= with.at_least => Ok(()),
            Ok(true) => Err(too_few(objects.len())),
            Ok(false) | Err(_) => Err(fails(condition, scope)),
        };
    }
    let scopes = objects
        .iter()
        .map(|object| Scope::default().with("object", object.clone()));
    let (good, bad): (Vec<_>, Vec<_>) =
        scopes.partition(|scope| condition.holds(scope) == Ok(true));
    match bad.first() {
        _ if good.len() >= with.at_least => Ok(()),
        Some(bad) if with.at_least <= 1 => Err(fails(condition, bad)),
        _ => Err(too_few(good.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, diagnosed, merged};
    use crate::language::{Language, Text};

    fn judged(with: Value, objects: &[Value], causes: &[Cause]) -> Outcome {
        let with: With = serde_json::from_value(with).unwrap();
        let kind = Kind {
            kind: with.kind.clone(),
            plural: format!("{}s", with.kind.to_lowercase()),
        };
        let absent = Diagnosis::Missing {
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            name: which(&with),
            namespace: "default".to_owned(),
        };
        judge(&with, &kind, objects, absent, causes)
    }

    fn deployment(condition: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "hello", "where": condition})
    }

    fn pods(more: Value) -> Value {
        merged(
            json!({"apiVersion": "v1", "kind": "Pod", "selector": "app=hello"}),
            more,
        )
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, objects: impl AsRef<[Value]>) {
        let outcome = judged(with, objects.as_ref(), &[]);
        diagnosed(&outcome, expected);
    }

    #[test]
    fn a_condition_over_one_object() {
        let world = World::new;
        let hello = || vec![world().deployment];
        case(None, deployment("object.spec.replicas == 3"), hello());
        case(
            None,
            deployment("object.status.readyReplicas >= object.spec.replicas"),
            hello(),
        );
        let off = |condition: &str| case(Some("expression-false"), deployment(condition), hello());
        off("object.spec.replicas == 4");
        off("object.spec.replcas == 3");
        off("object.spec.replicas");
        off("object.spec.strategy.rollingUpdate.maxUnavailable == 0");
        case(Some("missing"), deployment("true"), Vec::new());
        case(
            Some("missing"),
            deployment("!has(object.spec.paused)"),
            Vec::new(),
        );
    }

    #[test]
    fn what_a_false_condition_looked_at_is_told() {
        let with = deployment("object.spec.replicas == 4 && object.spec.paused");
        let outcome = judged(with, &[World::new().deployment], &[]);
        assert_eq!(
            outcome.diagnosis().unwrap().text(Language::En),
            "Deployment hello is not as asked for: object.spec.replicas == 4 && object.spec.paused does not hold \
             (object.spec.replicas = 3, object.spec.paused = –)"
        );
    }

    #[test]
    fn three_replicas_on_one_node_do_not_pass_as_spread() {
        let spread = || {
            pods(json!({"where":
                "objects.map(pod, pod.spec.nodeName).all(node, objects.filter(pod, pod.spec.nodeName == node).size() == 1)"}))
        };
        case(None, spread(), World::new().pods);
        let mut world = World::new();
        world.pods[1]["spec"]["nodeName"] = json!("node-1");
        case(Some("expression-false"), spread(), world.pods);
    }

    #[test]
    fn pods_of_the_old_image_do_not_count() {
        let new = |at_least: usize| {
            pods(json!({"atLeast": at_least,
                "where": "object.spec.containers[0].image.endsWith(':1.0.0') && object.status.phase == 'Running'"}))
        };
        let mut world = World::new();
        case(None, new(3), world.pods.clone());
        case(Some("too-few-objects"), new(4), world.pods.clone());
        world.age_pods("localhost:5001/hello:0.9.0");
        case(Some("too-few-objects"), new(3), world.pods.clone());
        case(Some("expression-false"), new(1), world.pods);
        case(Some("missing"), new(1), Vec::new());
    }

    #[test]
    fn that_there_is_none_can_be_asked_for() {
        let none = || pods(json!({"where": "size(objects) == 0", "atLeast": 0}));
        case(None, none(), Vec::new());
        case(Some("expression-false"), none(), World::new().pods);
        case(Some("missing"), pods(json!({})), Vec::new());
        let all = || pods(json!({"where": "objects.all(pod, pod.status.phase == 'Running')"}));
        case(None, all(), World::new().pods);
        case(Some("missing"), all(), Vec::new());
        case(
            Some("too-few-objects"),
            pods(json!({"atLeast": 4})),
            World::new().pods,
        );
    }

    #[test]
    fn causes_of_the_labs_own_come_before_the_general_one() {
        let causes = [Cause {
            id: "not-paused".to_owned(),
            when: Some("!has(object.spec.paused) || !object.spec.paused".to_owned()),
            text: Text {
                en: "it runs on".to_owned(),
                fr: "il continue".to_owned(),
            },
            look: None,
        }];
        let found = |condition: &str, objects: Vec<Value>| {
            let outcome = judged(deployment(condition), &objects, &causes);
            outcome.diagnosis().map(|found| found.name().to_owned())
        };
        let hello = || vec![World::new().deployment];
        assert_eq!(
            found("object.spec.paused", hello()).as_deref(),
            Some("not-paused")
        );
        assert_eq!(
            found("object.spec.paused", Vec::new()).as_deref(),
            Some("missing")
        );
        assert_eq!(found("true", hello()), None);
    }

    #[test]
    fn faults_of_a_lab_are_found_before_it_is_run() {
        let accepts = |with: Value, when: Option<&str>| {
            let cause = when.map(|when| Cause {
                id: "x".to_owned(),
                when: Some(when.to_owned()),
                text: Text::default(),
                look: None,
            });
            accept(&CheckInput {
                with,
                causes: cause.into_iter().collect(),
                ..CheckInput::default()
            })
        };
        accepts(
            deployment("object.spec.replicas == 3"),
            Some("size(objects) == 1"),
        )
        .unwrap();
        accepts(deployment("object.spec.replicas = 3"), None).unwrap_err();
        accepts(deployment("objct.spec.replicas == 3"), None).unwrap_err();
        accepts(deployment("object == objects"), None).unwrap_err();
        accepts(deployment("true"), Some("object.")).unwrap_err();
        accepts(deployment("true"), Some("exit == 0")).unwrap_err();
        let mut both = deployment("true");
        both["selector"] = json!("app=hello");
        accepts(both, None).unwrap_err();
    }
}
