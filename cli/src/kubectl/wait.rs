//! `kubectl wait`.

use std::time::Duration;

use serde_json::Value;

use super::args::{Flag, value};
use super::delete::until_gone;
use super::error::{Error, Result, said};
use super::jsonpath::Template;
use super::print::OUTPUT;
use super::select::{self, Found};
use super::{Call, POLL, Session, timeout};
use crate::output::line;

/// Flags of `wait`, beside those that choose objects.
pub(super) const FLAGS: [Flag; 3] = [OUTPUT, value("for"), value("timeout")];

/// As kubectl's.
const LIMIT: Duration = Duration::from_secs(30);

/// What is waited for.
enum For {
    Delete,
    Create,
    Condition(String, String),
    JsonPath(Template, Option<String>),
}

impl For {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "delete" => return Ok(Self::Delete),
            "create" => return Ok(Self::Create),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition(name.to_lowercase(), status.to_lowercase()));
        }
        if let Some(path) = text.strip_prefix("jsonpath=") {
            return json_path(path.trim_matches(['\'', '"']));
        }
        Err(said(format!("unrecognized condition: {text:?}")))
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Self::Delete => false,
            Self::Create => true,
            Self::Condition(name, status) => {
                let observed = object["status"]["observedGeneration"].as_i64();
                let generation = object["metadata"]["generation"].as_i64();
                if observed.is_some_and(|observed| Some(observed) < generation) {
                    return false;
                }
                let conditions = object["status"]["conditions"].as_array();
                conditions.into_iter().flatten().any(|condition| {
                    let is = |field: &str, expected: &str| {
                        condition[field]
                            .as_str()
                            .is_some_and(|text| text.to_lowercase() == expected)
                    };
                    is("type", name) && is("status", status)
                })
            }
            Self::JsonPath(path, expected) => {
                let values = path.values(object);
                match expected {
                    None => !values.is_empty(),
                    Some(expected) => {
                        !values.is_empty() && path.render_joined(object, " ") == *expected
                    }
                }
            }
        }
    }
}

/// `{.status.phase}=Running`: the value stands behind the closing brace.
fn json_path(text: &str) -> Result<For> {
    let (path, expected) = match text.rsplit_once('}') {
        Some((path, "")) => (format!("{path}}}"), None),
        Some((path, rest)) => match rest.trim_start_matches(['\'', '"']).strip_prefix('=') {
            Some(value) if !value.is_empty() => (
                format!("{path}}}"),
                Some(value.trim_matches(['\'', '"']).to_owned()),
            ),
            _ => return Err(said("jsonpath wait has to have a value after equal sign")),
        },
        None => match text.split_once('=') {
            Some((path, value)) => (path.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        },
    };
    Ok(For::JsonPath(Template::relaxed(&path)?, expected))
}

/// `kubectl wait`
pub(super) async fn wait(call: Call) -> Result<()> {
    let args = &call.args;
    let what = args
        .value("for")
        .ok_or_else(|| said("--for must be specified"))?;
    let what = For::parse(what)?;
    let limit = timeout(args, LIMIT)?;
    let session = Session::open(args).await?;
    let deadline = tokio::time::Instant::now() + limit;
    let (found, mut errors) = targets(&session, &call, &what, deadline).await?;
    if found.is_empty() && errors.is_empty() {
        if matches!(what, For::Delete) {
            return Ok(());
        }
        return Err(said("no matching resources found"));
    }
    for target in found {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        match until(&session, &target, &what, left).await {
            Ok(()) => {
                if args.value("output") == Some("name") {
                    line(target.named());
                } else {
                    line(format_args!("{} condition met", target.named()));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    Error::all(errors)
}

async fn targets(
    session: &Session,
    call: &Call,
    what: &For,
    deadline: tokio::time::Instant,
) -> Result<(Vec<Found>, Vec<Error>)> {
    loop {
        let (found, errors) = select::find(session, &call.args, &call.args.words).await?;
        let missing = errors.iter().all(|error| error.is(404));
        match what {
            // What is gone already need not be waited for.
            For::Delete if missing => return Ok((found, Vec::new())),
            For::Create if missing && (found.is_empty() || !errors.is_empty()) => {
                if tokio::time::Instant::now() >= deadline {
                    return Err(said("timed out waiting for the condition"));
                }
                tokio::time::sleep(POLL).await;
            }
            _ => return Ok((found, errors)),
        }
    }
}

async fn until(session: &Session, target: &Found, what: &For, limit: Duration) -> Result<()> {
    if matches!(what, For::Delete) {
        let uid = target.object["metadata"]["uid"].as_str();
        // No time at all is a look, not an endless wait.
        return until_gone(session, target, uid, limit.max(Duration::from_millis(1))).await;
    }
    if what.holds(&target.object) {
        return Ok(());
    }
    let met = async {
        loop {
            match session.api.find(&target.path()).await? {
                Some(object) if what.holds(&object) => return Ok(()),
                Some(_) => tokio::time::sleep(POLL).await,
                None => {
                    return Err(said(format!(
                        "{} {:?} not found",
                        target.resource.plural_typed(),
                        target.name
                    )));
                }
            }
        }
    };
    match tokio::time::timeout(limit, met).await {
        Ok(done) => done,
        Err(_) => Err(said(format!(
            "timed out waiting for the condition on {}/{}",
            target.resource.plural, target.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(condition: &str, expected: bool) {
        let object = json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": 2, "phase": "Running", "replicas": 3,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Progressing", "status": "False"}]}
        });
        let condition_holds = For::parse(condition).map(|what| what.holds(&object));
        assert_eq!(condition_holds.unwrap(), expected, "{condition}");
    }

    #[test]
    fn conditions_and_paths_hold_or_do_not() {
        case("condition=Ready", true);
        case("condition=ready=true", true);
        case("condition=Progressing", false);
        case("condition=Progressing=False", true);
        case("condition=Missing", false);
        case("jsonpath={.status.phase}=Running", true);
        case("jsonpath='{.status.phase}'=Running", true);
        case("jsonpath={.status.phase}=Pending", false);
        case("jsonpath={.status.replicas}=3", true);
        case("jsonpath={.status.phase}", true);
        case("jsonpath={.status.ingress}", false);
        case("jsonpath=.status.replicas=3", true);
        case(
            "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True",
            true,
        );
    }

    #[test]
    fn a_condition_of_an_older_spec_does_not_count() {
        let object = json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(!For::parse("condition=Ready").unwrap().holds(&object));
    }
}
