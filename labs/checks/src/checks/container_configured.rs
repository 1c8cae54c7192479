//! K024: the pods of a workload are set up to be replaced, and scheduled, without anybody noticing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckDef, Consistent, accepts_consistent, bad_parameters, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pod_trouble::wrong_port;
use crate::subject::{Subject, SubjectFields, SubjectName, Subjects};
use crate::workload::port_list;

const NAME: &str = "container-configured";
/// Seconds that an application needs to end after its preStop hook, at the least.
const END: i64 = 1;
/// What the API server sets where a template says nothing.
const DEFAULT_GRACE: i64 = 30;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K024",
    name: NAME,
    help: "The first container in the template of Deployment `deployment` or Rollout `rollout`, or the one named \
        `container`, has a readiness probe with `readiness` (`port`, a number or a name, and `path`, either may be \
        left out; a port that the container does not declare is wrong in any case), a `preStop` hook whose sleep \
        ends before the grace period does, the variables `env`, and each of `resources` (such as `requests.cpu`); \
        `maxUnavailable` and `maxSurge` of the workload are as given.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    #[serde(flatten)]
    subject: SubjectFields,
    container: Option<String>,
    readiness: Option<Readiness>,
    #[serde(default)]
    pre_stop: bool,
    #[schemars(with = "Option<Value>")]
    max_unavailable: Option<IntOrString>,
    #[schemars(with = "Option<Value>")]
    max_surge: Option<IntOrString>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Readiness {
    #[schemars(with = "Option<Value>")]
    port: Option<IntOrString>,
    path: Option<String>,
}

impl With {
    /// What is asked for, as `field value`.
    fn wishes(&self) -> Vec<String> {
        let readiness = self.readiness.as_ref().map(|readiness| {
            let port = readiness.port.as_ref().map(written);
            let parts: Vec<_> = [port, readiness.path.clone()]
                .into_iter()
                .flatten()
                .collect();
            format!("readinessProbe {}", parts.join(" "))
                .trim_end()
                .to_owned()
        });
        let numbers = [
            ("maxUnavailable", &self.max_unavailable),
            ("maxSurge", &self.max_surge),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(field, value)| Some(format!("{field} {}", written(value.as_ref()?))));
        readiness
            .into_iter()
            .chain(self.pre_stop.then(|| "preStop".to_owned()))
            .chain(numbers)
            .chain(self.resources.iter().cloned())
            .chain(
                self.env
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .collect()
    }
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        self.subject.required()?;
        if self.wishes().is_empty() {
            return Err(
                "it asks nothing of the container: name readiness, preStop, resources …".to_owned(),
            );
        }
        let known = |resource: &&String| {
            resource.split_once('.').is_some_and(|(kind, name)| {
                matches!(kind, "requests" | "limits") && !name.is_empty()
            })
        };
        match self.resources.iter().find(|resource| !known(resource)) {
            Some(resource) => Err(format!(
                "{resource:?} is none of requests.cpu, limits.memory …"
            )),
            None => Ok(()),
        }
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let name = with.subject.required().map_err(bad_parameters(NAME))?;
    let seen = Subjects::read(&context, Some(&name)).await?;
    let subject = seen.of(&name, &context.namespace);
    Ok(judge(&with, &name, subject, &context.namespace))
}

fn judge(
    with: &With,
    name: &SubjectName,
    subject: Result<Subject<'_>, Diagnosis>,
    namespace: &str,
) -> Outcome {
    let (kind, name) = (name.kind().to_owned(), name.name().to_owned());
    let expected = Fact::ConfigurationWanted {
        kind: kind.clone(),
        name: name.clone(),
        fields: with.wishes().join(", "),
    };
    let nothing = Fact::Nothing {
        kind: kind.clone(),
        name: name.clone(),
    };
    let (observed, found) = match subject {
        Err(diagnosis) => (nothing, Err(diagnosis)),
        Ok(subject) => match container(with, &subject) {
            Some(container) => {
                let fields = told(container, &subject);
                let found = find(with, &subject, container);
                (Fact::ConfigurationWanted { kind, name, fields }, found)
            }
            None => (
                nothing,
                Err(Diagnosis::Missing {
                    kind: "container".to_owned(),
                    plural: subject.plural.to_owned(),
                    name: format!("{name}/{}", with.container.as_deref().unwrap_or("*")),
                    namespace: namespace.to_owned(),
                }),
            ),
        },
    };
    let evidence = Evidence {
        expected,
        observed,
        since: None,
    };
    Outcome::of(evidence, found)
}

fn container<'a>(with: &With, subject: &Subject<'a>) -> Option<&'a Container> {
    let mut containers = subject.template?.spec.as_ref()?.containers.iter();
    match &with.container {
        Some(name) => containers.find(|container| container.name == *name),
        None => containers.next(),
    }
}

/// What is there, in the words of the manifest.
fn told(container: &Container, subject: &Subject<'_>) -> String {
    let probe = container.readiness_probe.as_ref();
    let probe = probe.map_or_else(
        || "–".to_owned(),
        |probe| {
            let (port, path) = target(probe);
            [port.map(written), path.map(str::to_owned)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        },
    );
    let hook = if hook(container).is_some() {
        "preStop"
    } else {
        "–"
    };
    let resources = container.resources.iter().flat_map(|resources| {
        let one = |kind: &'static str, map: &Option<BTreeMap<String, _>>| {
            map.iter()
                .flat_map(|map| map.keys())
                .map(|name| format!("{kind}.{name}"))
                .collect::<Vec<_>>()
        };
        [
            one("requests", &resources.requests),
            one("limits", &resources.limits),
        ]
        .concat()
    });
    let mut parts = vec![
        format!("readinessProbe {probe}"),
        hook.to_owned(),
        format!("maxUnavailable {}", unavailable(subject)),
        format!("maxSurge {}", surge(subject)),
    ];
    parts.extend(resources);
    parts.join(", ")
}

fn written(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// Both kinds tolerate a quarter where nothing is written.
fn unavailable(subject: &Subject<'_>) -> String {
    match &subject.max_unavailable {
        _ if subject.recreates() => "100% (Recreate)".to_owned(),
        Some(value) => written(value),
        None => "25%".to_owned(),
    }
}

fn surge(subject: &Subject<'_>) -> String {
    match &subject.max_surge {
        _ if subject.recreates() => "0 (Recreate)".to_owned(),
        Some(value) => written(value),
        None => "25%".to_owned(),
    }
}

/// `0` and `0%` are the same.
fn same(asked: &IntOrString, found: &str) -> bool {
    let asked = written(asked);
    asked == found || (asked.trim_end_matches('%') == "0" && found.trim_end_matches('%') == "0")
}

/// Port and path that a probe asks for.
fn target(probe: &Probe) -> (Option<&IntOrString>, Option<&str>) {
    let http = probe.http_get.as_ref();
    let port = http.map(|http| &http.port);
    let port = port.or_else(|| probe.tcp_socket.as_ref().map(|tcp| &tcp.port));
    (port, http.map(|http| http.path.as_deref().unwrap_or("/")))
}

fn hook(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.as_ref()
}

/// Seconds that a hook sleeps, where that can be read.
fn sleep(hook: &LifecycleHandler) -> Option<i64> {
    if let Some(sleep) = &hook.sleep {
        return Some(sleep.seconds);
    }
    let words = hook.exec.as_ref()?.command.as_ref()?.join(" ");
    let mut words = words.split_whitespace();
    words.find(|word| word.rsplit('/').next() == Some("sleep"))?;
    words.next()?.trim_end_matches(['s', ';']).parse().ok()
}

fn find(with: &With, subject: &Subject<'_>, container: &Container) -> Result<(), Diagnosis> {
    if let Some(readiness) = &with.readiness {
        ready(readiness, subject, container)?;
    }
    if with.pre_stop {
        ends(subject, container)?;
    }
    replaced(with, subject)?;
    needs(with, subject, container)?;
    environment(with, subject, container)
}

fn ready(
    readiness: &Readiness,
    subject: &Subject<'_>,
    container: &Container,
) -> Result<(), Diagnosis> {
    let Some(probe) = &container.readiness_probe else {
        return Err(Diagnosis::NoReadiness {
            kind: subject.kind.to_owned(),
            plural: subject.plural.to_owned(),
            name: subject.name.clone(),
            container: container.name.clone(),
        });
    };
    let (port, path) = target(probe);
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut declared = container.ports.iter().flatten();
            let named = declared.find(|port| port.name.as_ref() == Some(name))?;
            Some(named.container_port)
        }
    };
    let other = readiness.port.as_ref().is_some_and(|asked| {
        port.is_none_or(|port| {
            port != asked && (number(port).is_none() || number(port) != number(asked))
        })
    });
    let undeclared = wrong_port(container, Some(probe)).is_some();
    if other || undeclared {
        let asked = readiness.port.as_ref().map(written);
        let declared = port_list(container.ports.iter().flatten());
        return Err(Diagnosis::ReadinessPortWrong {
            plural: subject.plural.to_owned(),
            name: subject.name.clone(),
            probe: port.map_or_else(|| "–".to_owned(), written),
            ports: if declared.is_empty() {
                asked.unwrap_or_default()
            } else {
                declared
            },
        });
    }
    if let Some(expected) = &readiness.path
        && path != Some(expected)
    {
        return Err(Diagnosis::ReadinessPathDiffers {
            plural: subject.plural.to_owned(),
            name: subject.name.clone(),
            expected: expected.clone(),
            found: path.unwrap_or("–").to_owned(),
        });
    }
    Ok(())
}

fn ends(subject: &Subject<'_>, container: &Container) -> Result<(), Diagnosis> {
    let (kind, plural) = (subject.kind.to_owned(), subject.plural.to_owned());
    let name = subject.name.clone();
    let slept = hook(container).map(|hook| (hook, sleep(hook)));
    // A sleep of no time is none.
    let Some((_, slept)) = slept.filter(|(_, slept)| *slept != Some(0)) else {
        return Err(Diagnosis::NoPreStop {
            kind,
            plural,
            name,
            container: container.name.clone(),
        });
    };
    let spec = subject.template.and_then(|template| template.spec.as_ref());
    let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
    let grace = grace.unwrap_or(DEFAULT_GRACE);
    match slept {
        Some(slept) if slept + END > grace => Err(Diagnosis::GraceTooShort {
            kind,
            plural,
            name,
            grace: grace.to_string(),
            sleep: slept.to_string(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn replaced(with: &With, subject: &Subject<'_>) -> Result<(), Diagnosis> {
    let (kind, plural) = (subject.kind.to_owned(), subject.plural.to_owned());
    let name = subject.name.clone();
    if let Some(expected) = &with.max_unavailable {
        let found = unavailable(subject);
        if !same(expected, &found) {
            let expected = written(expected);
            return Err(Diagnosis::UnavailableAllowed {
                kind,
                plural,
                name,
                expected,
                found,
            });
        }
    }
    if let Some(expected) = &with.max_surge {
        let found = surge(subject);
        if !same(expected, &found) {
            let expected = written(expected);
            return Err(Diagnosis::SurgeDiffers {
                kind,
                plural,
                name,
                expected,
                found,
            });
        }
    }
    Ok(())
}

fn needs(with: &With, subject: &Subject<'_>, container: &Container) -> Result<(), Diagnosis> {
    let resources = container.resources.clone().unwrap_or_default();
    let has = |wanted: &str| {
        let (kind, name) = wanted.split_once('.').unwrap_or((wanted, ""));
        let map = if kind == "limits" {
            &resources.limits
        } else {
            &resources.requests
        };
        map.as_ref().is_some_and(|map| map.contains_key(name))
    };
    match with.resources.iter().find(|wanted| !has(wanted)) {
        Some(missing) => Err(Diagnosis::NoRequests {
            kind: subject.kind.to_owned(),
            plural: subject.plural.to_owned(),
            name: subject.name.clone(),
            container: container.name.clone(),
            missing: missing.clone(),
        }),
        None => Ok(()),
    }
}

fn environment(with: &With, subject: &Subject<'_>, container: &Container) -> Result<(), Diagnosis> {
    for (variable, expected) in &with.env {
        let found = container
            .env
            .iter()
            .flatten()
            .find(|has| has.name == *variable);
        let found = match found {
            Some(found) if found.value_from.is_some() => "valueFrom".to_owned(),
            Some(found) => found.value.clone().unwrap_or_default(),
            None => "–".to_owned(),
        };
        if found != *expected {
            return Err(Diagnosis::EnvironmentDiffers {
                plural: subject.plural.to_owned(),
                name: subject.name.clone(),
                variable: variable.clone(),
                expected: expected.clone(),
                found,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
