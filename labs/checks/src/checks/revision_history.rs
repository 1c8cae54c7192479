//! K016: which version a workload runs, and by which way it came to it.
//!
//! Whoever goes back to an earlier revision gets the ReplicaSet of then, and its annotation tells
//! of the numbers that it had before. A template that is edited by hand until it looks alike, and
//! differs in anything, is a new revision.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, Consistent, accepts_consistent, bad_parameters, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::subject::{Revision, State, Subject, SubjectFields, SubjectName, Subjects, in_time};
use jiff::Timestamp;

const NAME: &str = "revision-history";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K016",
    name: NAME,
    help: "Deployment `deployment`, or Rollout `rollout`, asks for `image`, and the update to it is complete. With \
        `rolledBackFrom` (an image), the revision before ran that one, and the present one is an earlier revision \
        that was gone back to since the lab began: neither a new one made by hand nor a scaling to zero. With \
        `revisions`, there are at least so many in its history; with `replicas`, at least so many of the present \
        one are Ready.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    #[serde(flatten)]
    subject: SubjectFields,
    image: String,
    rolled_back_from: Option<String>,
    #[serde(default)]
    revisions: usize,
    #[serde(default)]
    replicas: usize,
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        self.subject.required()?;
        if self.rolled_back_from.as_deref() == Some(&self.image) {
            return Err("`rolledBackFrom` is the same as `image`".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let name = with.subject.required().map_err(bad_parameters(NAME))?;
    let seen = Subjects::read(&context, Some(&name)).await?;
    let subject = seen.of(&name, &context.namespace);
    Ok(judge(&with, &name, subject, context.desk.since))
}

fn judge(
    with: &With,
    name: &SubjectName,
    subject: Result<Subject<'_>, Diagnosis>,
    since: Option<Timestamp>,
) -> Outcome {
    let (kind, name) = (name.kind().to_owned(), name.name().to_owned());
    let history = match &with.rolled_back_from {
        Some(from) => format!("{from} → {}", with.image),
        None => with.revisions.to_string(),
    };
    let expected = Fact::RevisionWanted {
        kind: kind.clone(),
        name: name.clone(),
        image: with.image.clone(),
        history,
    };
    let subject = match subject {
        Ok(subject) => subject,
        Err(diagnosis) => {
            let evidence = Evidence {
                expected,
                observed: Fact::Nothing { kind, name },
                since: None,
            };
            return Outcome::of(evidence, Err(diagnosis));
        }
    };
    let history: Vec<_> = subject.revisions.iter().map(told).collect();
    let evidence = Evidence {
        expected,
        observed: Fact::Revisions {
            kind,
            name,
            image: subject.images(),
            replicas: subject.ready_pods().len().to_string(),
            history: history.join(", "),
        },
        since: match subject.state {
            State::Complete(at) => Some(at),
            State::GoingOn | State::Aborted(_) => None,
        },
    };
    Outcome::of(evidence, find(with, &subject, since))
}

/// `5 (1, 3) hello:1.0.0`.
fn told(revision: &Revision) -> String {
    let earlier: Vec<_> = revision.earlier.iter().map(ToString::to_string).collect();
    let earlier = match earlier.is_empty() {
        true => String::new(),
        false => format!(" ({})", earlier.join(", ")),
    };
    format!("{}{earlier} {}", revision.number, revision.images.join("+"))
}

fn find(with: &With, subject: &Subject<'_>, since: Option<Timestamp>) -> Result<(), Diagnosis> {
    let (kind, plural) = (subject.kind.to_owned(), subject.plural.to_owned());
    let name = subject.name.clone();
    if with.rolled_back_from.is_some() && subject.wanted == 0 {
        return Err(Diagnosis::RolledBackByScaling { kind, plural, name });
    }
    if !subject.asks_for(&with.image) {
        return Err(Diagnosis::WrongImage {
            kind,
            plural,
            name,
            expected: with.image.clone(),
            found: subject.images(),
        });
    }
    let (Some(current), false) = (subject.current(), subject.state == State::GoingOn) else {
        return Err(Diagnosis::RolloutGoingOn { kind, plural, name });
    };
    let complete = match subject.state {
        State::Complete(at) => at,
        State::GoingOn | State::Aborted(_) => {
            return Err(Diagnosis::RolloutAborted {
                rollout: name,
                message: format!("→ {}", subject.images()),
            });
        }
    };
    if let Some(from) = &with.rolled_back_from {
        let previous = subject.previous();
        let from_there = previous.is_some_and(|previous| previous.images.contains(from));
        if !from_there || !in_time(complete, since) {
            let image = from.clone();
            return Err(Diagnosis::NotRolledBack {
                kind,
                plural,
                name,
                image,
            });
        }
        if current.earlier.is_empty() {
            return Err(Diagnosis::EditedInsteadOfRolledBack {
                kind,
                plural,
                name,
                revision: current.number.to_string(),
                image: with.image.clone(),
            });
        }
    }
    if subject.revisions.len() < with.revisions {
        return Err(Diagnosis::TooFewRevisions {
            kind,
            plural,
            name,
            expected: with.revisions.to_string(),
            found: subject.revisions.len().to_string(),
        });
    }
    let ready = subject.ready_pods().len();
    let wanted = usize::try_from(subject.wanted).unwrap_or_default();
    if wanted < with.replicas {
        return Err(Diagnosis::TooFewReplicas {
            deployment: name,
            expected: with.replicas.to_string(),
            found: wanted.to_string(),
        });
    }
    if ready < with.replicas {
        return Err(Diagnosis::NotReplaced { deployment: name });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::subject::samples::{NEW, OLD, World, moment};

    #[track_caller]
    fn outcome(with: &Value, world: &World, since: Option<i64>) -> Option<&'static str> {
        let with: With = serde_json::from_value(with.clone()).unwrap();
        assert_eq!(with.consistent(), Ok(()));
        let name = with.subject.required().unwrap();
        let seen = world.subjects();
        let outcome = judge(&with, &name, seen.of(&name, "default"), since.map(moment));
        outcome.diagnosis().map(Diagnosis::id)
    }

    fn rolled_back() -> Value {
        json!({"deployment": "hello", "image": OLD, "rolledBackFrom": NEW, "replicas": 3})
    }

    #[test]
    fn an_undo_is_told_by_the_history() {
        let world = World::deployment().update(100, NEW).undo(200);
        assert_eq!(outcome(&rolled_back(), &world, Some(150)), None);
        let plain = json!({"deployment": "hello", "image": OLD, "revisions": 2});
        assert_eq!(outcome(&plain, &world, None), None);
        let world = World::rollout().update(100, NEW).undo(200);
        let with = json!({"rollout": "hello", "image": OLD, "rolledBackFrom": NEW, "replicas": 3});
        assert_eq!(outcome(&with, &world, Some(150)), None);
    }

    #[test]
    fn other_ways_back_do_not_pass() {
        let case = |expected: &str, world: &World| {
            assert_eq!(outcome(&rolled_back(), world, Some(50)), Some(expected));
        };
        let new = || World::deployment().update(100, NEW);
        case("wrong-image", &new());
        case("not-rolled-back", &World::deployment());
        case("rolled-back-by-scaling", &new().scaled_to(0));
        case("rolled-back-by-scaling", &new().undo(200).scaled_to(0));
        // The image was edited by hand, and something else with it.
        case("edited-instead-of-rolled-back", &new().update(200, OLD));
        // Back from something else.
        let other = new()
            .update(150, "localhost:5001/hello:3.0.0")
            .undo_to(200, OLD);
        case("not-rolled-back", &other);
        case("rollout-going-on", &new().undo(200).going_on());
        case("too-few-replicas", &new().undo(200).scaled_to(2));
        case("not-replaced", &new().undo(200).without_a_pod());
        case("missing", &World::nothing());
    }

    #[test]
    fn going_back_before_the_lab_began_does_not_pass() {
        let world = World::deployment().update(100, NEW).undo(200);
        assert_eq!(
            outcome(&rolled_back(), &world, Some(300)),
            Some("not-rolled-back")
        );
    }

    #[test]
    fn a_history_that_is_too_short_does_not_pass() {
        let with = json!({"deployment": "hello", "image": NEW, "revisions": 3});
        let world = World::deployment().update(100, NEW);
        assert_eq!(outcome(&with, &world, None), Some("too-few-revisions"));
    }

    #[test]
    fn a_rollout_that_was_aborted_is_not_back() {
        let with = json!({"rollout": "hello", "image": NEW, "revisions": 2});
        let world = World::rollout().update(100, NEW).aborted(110);
        assert_eq!(outcome(&with, &world, None), Some("rollout-aborted"));
    }

    #[test]
    fn parameters_must_make_sense_together() {
        let problem = |with: Value| {
            let with: With = serde_json::from_value(with).unwrap();
            with.consistent().unwrap_err()
        };
        assert!(problem(json!({"image": NEW})).contains("deployment"));
        assert!(problem(json!({"image": NEW, "deployment": "a", "rollout": "b"})).contains("both"));
        let same = json!({"image": NEW, "deployment": "a", "rolledBackFrom": NEW});
        assert!(problem(same).contains("same"));
    }
}
