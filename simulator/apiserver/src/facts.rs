//! What selectors can ask about an object, read from its bytes without building it.
//!
//! A list of ten thousand pods by label, or a thousand watches by node, would otherwise spend
//! most of their time on fields that nobody asks about.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lab_store::{Event, Revision};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Labels and selectable fields of one state of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    labels: Vec<(String, String)>,
    fields: Vec<(&'static str, String)>,
}

impl Facts {
    /// Reads labels, and the scalar fields at `paths`, from encoded bytes.
    pub(crate) fn read(bytes: &[u8], paths: &'static [&'static str]) -> Self {
        let mut facts = Self::default();
        let walk = Walk {
            path: "",
            paths,
            facts: &mut facts,
        };
        let read = walk.deserialize(&mut serde_json::Deserializer::from_slice(bytes));
        read.expect("the store holds JSON that this crate encoded");
        facts
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let mut labels = self.labels.iter();
        labels
            .find(|(label, _)| label == key)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a selectable field; `None` where the object lacks it.
    pub(crate) fn field(&self, path: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(field, _)| *field == path)
            .map(|(_, value)| value.as_str())
    }
}

/// Descends into the objects that lead to something wanted.
struct Walk<'a> {
    path: &'a str,
    paths: &'static [&'static str],
    facts: &'a mut Facts,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key
            } else {
                format!("{}.{key}", self.path)
            };
            if path == "metadata.labels" {
                self.facts.labels = map.next_value::<Labels>()?.0;
            } else if let Some(field) = self.paths.iter().find(|field| **field == path) {
                if let Some(value) = map.next_value_seed(Scalar)? {
                    self.facts.fields.push((field, value));
                }
            } else if leads_somewhere(&path, self.paths) {
                map.next_value_seed(Walk {
                    path: &path,
                    paths: self.paths,
                    facts: self.facts,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn leads_somewhere(path: &str, paths: &[&str]) -> bool {
    let below = |field: &str| {
        field
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    path == "metadata" || paths.iter().any(|field| below(field))
}

struct Labels(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        let text = |(key, value): (String, serde_json::Value)| {
            let value = value.as_str()?.to_owned();
            Some((key, value))
        };
        Ok(Self(map.into_iter().filter_map(text).collect()))
    }
}

/// A scalar as field selectors compare it; lists and objects have no such value.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Facts of both sides of a change.
#[derive(Debug)]
pub(crate) struct EventFacts {
    /// After the change (for a deletion: the last state).
    pub(crate) current: Facts,
    /// Before the change.
    pub(crate) previous: Option<Facts>,
}

/// Events remembered: more than any watch that keeps up is behind, at about 1 KB each.
const REMEMBERED: usize = 1024;

/// Facts of recent events, so that many filtered watches of one kind read each event once.
#[derive(Default)]
pub(crate) struct RecentFacts(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    by_revision: HashMap<Revision, Arc<EventFacts>>,
    order: VecDeque<Revision>,
}

impl RecentFacts {
    /// The facts of an event.
    pub(crate) fn of(&self, event: &Event, paths: &'static [&'static str]) -> Arc<EventFacts> {
        if let Some(facts) = self.with(|recent| recent.by_revision.get(&event.revision).cloned()) {
            return facts;
        }
        // Read outside the lock: two watches may do the same work once, none waits for it.
        let facts = Arc::new(EventFacts {
            current: Facts::read(&event.value, paths),
            previous: event
                .previous
                .as_ref()
                .map(|bytes| Facts::read(bytes, paths)),
        });
        self.with(|recent| recent.remember(event.revision, &facts));
        facts
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Recent) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recent {
    fn remember(&mut self, revision: Revision, facts: &Arc<EventFacts>) {
        if self
            .by_revision
            .insert(revision, Arc::clone(facts))
            .is_none()
        {
            self.order.push_back(revision);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_revision.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_hold_labels_and_the_wanted_fields_only() {
        let bytes = br#"{"metadata":{"name":"a","labels":{"app":"w\u0065b"}},"spec":{"nodeName":"n1",
            "containers":[{"name":"c"}],"hostNetwork":true},"status":{"podIPs":[{"ip":"1"}],"n":3}}"#;
        let paths: &[&str] = &[
            "spec.nodeName",
            "spec.hostNetwork",
            "status.podIPs",
            "status.n",
            "status.phase",
        ];
        let facts = Facts::read(bytes, paths);
        assert_eq!(facts.label("app"), Some("web"));
        assert_eq!(facts.label("tier"), None);
        assert_eq!(facts.field("spec.nodeName"), Some("n1"));
        assert_eq!(facts.field("spec.hostNetwork"), Some("true"));
        assert_eq!(facts.field("status.n"), Some("3"));
        assert_eq!(facts.field("status.podIPs"), None);
        assert_eq!(facts.field("status.phase"), None);
    }
}
