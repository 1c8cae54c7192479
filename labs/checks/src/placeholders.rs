//! `{{registry}}` and its like in prose and in the parameters of checks.

use serde_json::Value;

use crate::context::Addresses;

impl Addresses {
    /// The names that [`Addresses::fill`] knows.
    pub(crate) const PLACEHOLDERS: &[&str] = &["production", "test", "registry", "metrics", "git"];

    /// `text` with every placeholder filled in.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        let Self {
            production,
            test,
            registry,
            metrics,
            git,
        } = self;
        text.replace("{{production}}", production)
            .replace("{{test}}", test)
            .replace("{{registry}}", registry)
            .replace("{{metrics}}", metrics)
            .replace("{{git}}", git)
    }

    /// `value` with the placeholders of every string in it filled in.
    pub(crate) fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, item)| (key.clone(), self.fill_value(item)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_filled_in_at_any_depth() {
        let filled = Addresses::default().fill_value(&json!({"a": ["{{registry}}/hello", 3]}));
        assert_eq!(filled, json!({"a": ["localhost:5001/hello", 3]}));
    }
}
