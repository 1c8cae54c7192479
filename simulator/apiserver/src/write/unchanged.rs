//! Whether an update changes anything.

use serde_json::Value;

use crate::object;

/// True where two states differ at most in the times of their `managedFields`: an apply of the
/// same fields again is no change.
pub(crate) fn is_same(new: &Value, old: &Value) -> bool {
    let managers = |state: &Value| object::at(state, &["metadata", "managedFields"]).is_some();
    new == old || (managers(new) && managers(old) && without_times(new) == without_times(old))
}

fn without_times(state: &Value) -> Value {
    let mut state = state.clone();
    object::remove(&mut state, &["metadata", "resourceVersion"]);
    if let Some(Value::Array(managers)) = state.pointer_mut("/metadata/managedFields") {
        for manager in managers {
            object::remove(manager, &["time"]);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_times_of_managers_are_no_change() {
        let state = |time: &str, data: &str| json!({"metadata": {"managedFields": [{"manager": "a", "time": time}]}, "data": data});
        assert!(is_same(&state("1", "x"), &state("2", "x")));
        assert!(!is_same(&state("1", "x"), &state("1", "y")));
    }
}
