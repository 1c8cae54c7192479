//! Event: what happened to an object, for people.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use super::columns::{self, age_at, cell, count, int_at, str_at, str_or, text, wide};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope};
use crate::validation::FieldError;

/// The definition of Event.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["ev"]),
        columns: vec![
            cell("Last Seen", "string", "When it happened last.", |o, now| {
                json!(last_seen(o, now))
            }),
            text("Type", "Normal or Warning.", |o| {
                str_at(o, "/type").to_owned()
            }),
            text("Reason", "Why, in one word.", |o| {
                str_at(o, "/reason").to_owned()
            }),
            text("Object", "What it happened to.", object),
            wide(text("Subobject", "Which part of the object.", |o| {
                str_at(o, "/involvedObject/fieldPath").to_owned()
            })),
            wide(text("Source", "Who says so.", source)),
            text("Message", "What happened.", |o| {
                str_at(o, "/message").trim().to_owned()
            }),
            wide(cell(
                "First Seen",
                "string",
                "When it happened first.",
                |o, now| json!(first_seen(o, now)),
            )),
            wide(count("Count", "How often it happened.", |o| {
                let count = int_at(o, "/count");
                let series = int_at(o, "/series/count");
                let best = if series == 0 { count } else { series };
                best.max(1)
            })),
            wide(columns::name()),
        ],
        ..define::<Event>("", "Event", "events")
    }
}

impl Kind for Event {
    const SCOPE: Scope = Scope::Namespaced;
    const SELECTABLE: &'static [&'static str] = &[
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        let about = self
            .involved_object
            .namespace
            .as_deref()
            .unwrap_or_default();
        // An event about something cluster-scoped lives in the default namespace.
        let fits = if about.is_empty() {
            matches!(own, "" | "default" | "kube-system")
        } else {
            about == own
        };
        if !fits {
            let rule = "does not match event.namespace";
            errors.push(FieldError::invalid("involvedObject.namespace", about, rule));
        }
    }
}

fn first_seen(event: &Value, now: Timestamp) -> String {
    if str_at(event, "/firstTimestamp").is_empty() {
        age_at(event, "/eventTime", now)
    } else {
        age_at(event, "/firstTimestamp", now)
    }
}

fn last_seen(event: &Value, now: Timestamp) -> String {
    for pointer in ["/series/lastObservedTime", "/lastTimestamp"] {
        if !str_at(event, pointer).is_empty() {
            return age_at(event, pointer, now);
        }
    }
    first_seen(event, now)
}

fn object(event: &Value) -> String {
    let kind = str_at(event, "/involvedObject/kind").to_lowercase();
    match str_at(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> String {
    let component = str_or(
        event,
        "/source/component",
        str_at(event, "/reportingComponent"),
    );
    let host = str_or(event, "/source/host", str_at(event, "/reportingInstance"));
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::row;
    use super::*;

    #[test]
    fn an_event_says_when_and_to_what() {
        let event = json!({
            "metadata": {"name": "web-1.17"},
            "involvedObject": {"kind": "Pod", "name": "web-1", "fieldPath": "spec.containers{web}"},
            "reason": "Pulled", "type": "Normal", "message": "Image pulled\n",
            "source": {"component": "kubelet", "host": "node-1"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:00Z", "count": 3,
        });
        assert_eq!(
            row(&definition(), &event),
            [
                "60s",
                "Normal",
                "Pulled",
                "pod/web-1",
                "spec.containers{web}",
                "kubelet, node-1",
                "Image pulled",
                "60m",
                "3",
                "web-1.17"
            ]
        );
    }
}
