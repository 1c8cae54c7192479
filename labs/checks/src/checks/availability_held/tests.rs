use serde_json::{Value, json};

use super::*;
use crate::fixtures::object;
use crate::readers::traffic_record::samples::{moment, record, run};
use crate::subject::samples::{NEW, OLD, World};

fn around(world: &World) -> Around {
    Around {
        nodes: world.nodes().into_iter().map(object).collect(),
        leases: world.leases().into_iter().map(object).collect(),
        node_events: world.events.iter().cloned().map(object).collect(),
    }
}

#[track_caller]
fn outcome(
    with: &Value,
    world: &World,
    record: &TrafficRecord,
    since: Option<i64>,
) -> Option<&'static str> {
    let with: With = serde_json::from_value(with.clone()).unwrap();
    assert_eq!(with.consistent(), Ok(()));
    let name = with.subject.optional().unwrap();
    let seen = world.subjects();
    let subjects = match &name {
        Some(name) => seen.of(name, "default").map(|subject| vec![subject]),
        None => Ok(seen.all("default")),
    };
    let since = since.map(moment);
    let outcome = judge(
        &with,
        name.as_ref(),
        subjects,
        &around(world),
        record,
        since,
    );
    outcome.diagnosis().map(Diagnosis::id)
}

/// During the update to [`NEW`], from second 100 to 104.
#[track_caller]
fn updated(expected: Option<&str>, record: &TrafficRecord) {
    let with = json!({"during": "rollout", "deployment": "hello", "to": NEW, "minRequests": 50});
    let world = World::deployment().update(100, NEW);
    assert_eq!(outcome(&with, &world, record, Some(50)), expected);
    let with = json!({"during": "rollout", "rollout": "hello", "to": NEW, "minRequests": 50});
    let world = World::rollout().update(100, NEW);
    assert_eq!(
        outcome(&with, &world, record, Some(50)),
        expected,
        "Rollout"
    );
}

#[test]
fn an_update_that_no_user_noticed_holds() {
    updated(None, &record([run(90, 200)]));
    updated(None, &record([run(90, 106).stopped()]));
    // What failed long before or after is not the update's fault.
    updated(None, &record([run(60, 200).failing([70, 99, 110, 150])]));
}

#[test]
fn failures_during_the_update_or_right_after_do_not_pass() {
    for at in [100, 104, 109] {
        updated(
            Some("requests-failed"),
            &record([run(90, 200).failing([at])]),
        );
    }
}

#[test]
fn the_first_requests_that_failed_are_told_one_by_one() {
    let with = json!({"during": "rollout", "deployment": "hello", "minRequests": 50});
    let with: With = serde_json::from_value(with).unwrap();
    let world = World::deployment().update(100, NEW);
    let seen = world.subjects();
    let observed = |record: &TrafficRecord, language| {
        let subjects = Ok(seen.all("default"));
        let outcome = judge(&with, None, subjects, &around(&world), record, None);
        match outcome {
            Outcome::NotYet { evidence, .. } | Outcome::Holds { evidence } => {
                evidence.observed.text(language)
            }
            Outcome::CouldNotRun { why } => panic!("{why:?}"),
        }
    };
    let few = record([run(90, 200).failing([101, 103])]);
    assert_eq!(
        observed(&few, Language::En),
        "requests 100, failed 2, from 2026-01-01T00:01:40Z to 2026-01-01T00:01:44Z; failed first: \
         00:01:41.000Z 500 (pod hello-1-1), 00:01:43.000Z 500 (pod hello-1-1)"
    );
    let many = record([run(90, 200).failing(95..110)]);
    let said = observed(&many, Language::Fr);
    assert!(
        said.contains("les premières à échouer : 00:01:40.000Z 500 (pod hello-1-1)")
            && said.ends_with(", …"),
        "{said}"
    );
    let none = observed(&record([run(90, 200)]), Language::En);
    assert!(!none.contains("first"), "{none}");
}

#[test]
fn traffic_that_does_not_span_the_whole_update_does_not_pass() {
    updated(Some("no-traffic-record"), &record([]));
    updated(
        Some("no-traffic-record"),
        &record([run(90, 200).elsewhere()]),
    );
    // It began in the middle, or in the very second of the beginning.
    updated(Some("traffic-does-not-cover"), &record([run(102, 200)]));
    updated(Some("traffic-does-not-cover"), &record([run(100, 200)]));
    updated(Some("traffic-does-not-cover"), &record([run(110, 200)]));
    updated(
        Some("traffic-does-not-cover"),
        &record([run(60, 80).stopped()]),
    );
    updated(Some("traffic-does-not-cover"), &record([run(90, 103)]));
    updated(
        Some("traffic-does-not-cover"),
        &record([run(90, 104).stopped()]),
    );
    // Two runs, neither of which spans it.
    updated(
        Some("traffic-does-not-cover"),
        &record([run(60, 102).stopped(), run(103, 200)]),
    );
    updated(Some("traffic-going-on"), &record([run(90, 105)]));
}

#[test]
fn three_requests_show_nothing() {
    let mut few = run(90, 200);
    for second in &mut few.seconds {
        second.requests = u64::from(second.at % 40 == 0);
    }
    updated(Some("too-few-requests"), &record([few]));
}

#[test]
fn where_nothing_was_rolled_out_nothing_held() {
    let traffic = record([run(1, 500)]);
    let with = json!({"during": "rollout", "deployment": "hello"});
    let case = |world: &World, since| outcome(&with, world, &traffic, since);
    // The first deployment is no update.
    assert_eq!(case(&World::deployment(), None), Some("no-such-event"));
    assert_eq!(case(&World::nothing(), None), Some("missing"));
    let new = World::deployment().update(100, NEW);
    assert_eq!(case(&new, Some(100)), None);
    assert_eq!(case(&new, Some(101)), Some("no-such-event"));
    assert_eq!(case(&new, Some(300)), Some("no-such-event"));
    let to = json!({"during": "rollout", "deployment": "hello", "to": OLD});
    assert_eq!(outcome(&to, &new, &traffic, None), Some("no-such-event"));
    assert_eq!(
        outcome(&to, &new.clone().undo(200), &traffic, Some(150)),
        None
    );
    assert_eq!(
        case(&new.clone().going_on(), None),
        Some("rollout-going-on")
    );
    assert_eq!(
        case(&new.with_an_ending_pod(), None),
        Some("rollout-going-on")
    );
    let aborted = World::rollout().update(100, NEW).aborted(110);
    let with = json!({"during": "rollout", "rollout": "hello"});
    assert_eq!(
        outcome(&with, &aborted, &traffic, None),
        Some("rollout-aborted")
    );
}

#[test]
fn an_update_whose_old_pods_replaced_nobody_is_none() {
    let mut world = World::deployment().update(100, NEW);
    world
        .events
        .retain(|event| !event["message"].as_str().unwrap().contains("Scaled down"));
    let with = json!({"during": "rollout", "deployment": "hello"});
    assert_eq!(
        outcome(&with, &world, &record([run(1, 500)]), None),
        Some("no-such-event")
    );
}

#[test]
fn an_undo_is_timed_by_its_own_pods_and_not_by_those_of_the_first_time() {
    let with = json!({"during": "rollout", "deployment": "hello", "to": NEW});
    // 2.0.0 at 100, back at 200, 2.0.0 again at 300: only the last time is looked at.
    let world = World::deployment()
        .update(100, NEW)
        .undo(200)
        .undo_to(300, NEW);
    assert_eq!(outcome(&with, &world, &record([run(290, 400)]), None), None);
    assert_eq!(
        outcome(&with, &world, &record([run(90, 290)]), None),
        Some("traffic-does-not-cover")
    );
}

#[test]
fn a_deployment_that_ends_all_pods_first_is_timed_from_their_end() {
    let with = json!({"during": "rollout", "deployment": "hello"});
    for first in [
        World::deployment().recreating(),
        World::deployment().without_surge(&json!("100%")),
        World::deployment().without_surge(&json!(3)),
    ] {
        let world = first.update(100, NEW);
        assert_eq!(
            outcome(&with, &world, &record([run(90, 200).failing([100])]), None),
            Some("requests-failed")
        );
        assert_eq!(
            outcome(&with, &world, &record([run(101, 200)]), None),
            Some("traffic-does-not-cover")
        );
    }
    // Where some must stay, whoever ended all of them did more than update.
    let world = World::deployment()
        .without_surge(&json!("99%"))
        .update(100, NEW);
    assert_eq!(
        outcome(&with, &world, &record([run(90, 200)]), None),
        Some("no-such-event")
    );
}

#[test]
fn allowances_are_counts_or_shares() {
    let world = World::deployment().update(100, NEW);
    // Ten seconds of ten requests count.
    let traffic = record([run(90, 200).failing([101, 102])]);
    let case = |more: Value| {
        let mut with = json!({"during": "rollout", "deployment": "hello"});
        with.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        outcome(&with, &world, &traffic, None)
    };
    assert_eq!(case(json!({"maxFailed": 2})), None);
    assert_eq!(case(json!({"maxFailed": 1})), Some("requests-failed"));
    assert_eq!(case(json!({"minAvailability": 98})), None);
    assert_eq!(
        case(json!({"minAvailability": 98.5})),
        Some("requests-failed")
    );
    assert_eq!(
        case(json!({"minAvailability": 90, "maxFailed": 1})),
        Some("requests-failed")
    );
    assert_eq!(
        case(json!({"maxFailed": 2, "minRequests": 101})),
        Some("too-few-requests")
    );
}

#[test]
fn a_lost_node_counts_from_its_last_sign_of_life() {
    let with = json!({"during": "node-loss", "deployment": "hello"});
    let case = |world: &World, traffic: TrafficRun, since| {
        outcome(&with, world, &record([traffic]), since)
    };
    let lost = World::deployment().node_lost(100);
    assert_eq!(case(&lost, run(50, 140), Some(60)), None);
    assert_eq!(
        case(&lost, run(50, 140).failing([97]), None),
        Some("requests-failed")
    );
    assert_eq!(
        case(&lost, run(50, 140).failing([131]), None),
        Some("requests-failed")
    );
    assert_eq!(
        case(&lost, run(98, 140), None),
        Some("traffic-does-not-cover")
    );
    // Back again, nobody knows when it fell silent: all since the users came counts.
    let back = lost.clone().node_is_back();
    assert_eq!(case(&back, run(50, 140), Some(40)), None);
    assert_eq!(
        case(&back, run(50, 140).failing([56]), Some(40)),
        Some("requests-failed")
    );
    assert_eq!(
        case(&lost, run(50, 120), None),
        Some("traffic-does-not-cover")
    );
    assert_eq!(case(&lost, run(50, 140), Some(101)), Some("no-such-event"));
    assert_eq!(
        case(&lost.clone().without_a_pod(), run(50, 140), None),
        Some("not-replaced")
    );
    // It came back: only the event tells of it.
    assert_eq!(case(&lost.node_is_back(), run(98, 140), None), None);
    assert_eq!(
        case(&World::deployment(), run(1, 140), None),
        Some("no-such-event")
    );
    // A node that ran none of these pods takes nothing from them.
    let elsewhere = World::deployment().on_other_nodes().node_lost(100);
    assert_eq!(case(&elsewhere, run(50, 140), None), Some("no-such-event"));
}

#[test]
fn a_lost_pod_counts_until_another_is_ready() {
    let with = json!({"during": "pod-loss", "deployment": "hello", "minRequests": 50});
    let case = |world: &World, traffic: TrafficRun, since| {
        outcome(&with, world, &record([traffic]), since)
    };
    for lost in [
        World::deployment().pod_deleted(100),
        World::deployment().pod_killed(100),
    ] {
        assert_eq!(case(&lost, run(50, 140), Some(60)), None);
        assert_eq!(
            case(&lost, run(50, 140).failing([99]), None),
            Some("requests-failed")
        );
        assert_eq!(
            case(&lost, run(100, 140), None),
            Some("traffic-does-not-cover")
        );
        assert_eq!(case(&lost, run(50, 140), Some(120)), Some("no-such-event"));
        assert_eq!(
            case(&lost.without_a_pod(), run(50, 140), None),
            Some("not-replaced")
        );
    }
    assert_eq!(
        case(&World::deployment(), run(1, 140), None),
        Some("no-such-event")
    );
    assert_eq!(
        case(&World::deployment().scaled_up(100), run(1, 140), None),
        Some("no-such-event")
    );
    assert_eq!(
        case(&World::deployment().scaled_down(100), run(1, 140), None),
        Some("no-such-event")
    );
    // Losing a pod before and scaling up under traffic is not losing one under traffic.
    let late = World::deployment().pod_deleted(100).scaled_up(200);
    assert_eq!(
        case(&late, run(190, 300), None),
        Some("traffic-does-not-cover")
    );
}

#[test]
fn a_loss_before_an_update_is_not_drawn_out_by_it() {
    let case = |during: &str, world: &World, traffic: TrafficRun| {
        let with = json!({"during": during, "deployment": "hello", "minRequests": 50});
        outcome(&with, world, &record([traffic]), None)
    };
    // Node 1 was lost at 100 and made good at 131; the update at 200 is another matter.
    let lost = World::deployment().node_lost(100).update(200, NEW);
    assert_eq!(case("node-loss", &lost, run(50, 240)), None);
    assert_eq!(
        case("node-loss", &lost, run(150, 300)),
        Some("traffic-does-not-cover")
    );
    // The revision that lost a pod at 50 is back since 200, with other pods.
    let world = World::deployment().pod_deleted(50);
    let back = world.update(100, NEW).undo(200);
    assert_eq!(case("pod-loss", &back, run(1, 300)), Some("no-such-event"));
    // The pod that came in place of the lost one is gone itself.
    let twice = World::deployment().pod_deleted(50).without_a_pod();
    let twice = twice.scaled_up(200).scaled_to(3);
    assert_eq!(case("pod-loss", &twice, run(1, 300)), Some("no-such-event"));
}

#[test]
fn of_any_the_last_counts() {
    let with = json!({"during": "any", "minRequests": 50});
    let world = World::deployment().update(100, NEW).pod_deleted(200);
    assert_eq!(outcome(&with, &world, &record([run(190, 300)]), None), None);
    assert_eq!(
        outcome(&with, &world, &record([run(90, 150)]), None),
        Some("traffic-does-not-cover")
    );
    let none = World::deployment();
    assert_eq!(
        outcome(&with, &none, &record([run(1, 300)]), None),
        Some("no-such-event")
    );
    assert_eq!(
        outcome(&with, &World::nothing(), &record([run(1, 300)]), None),
        Some("no-such-event")
    );
}

#[test]
fn parameters_must_make_sense_together() {
    let problem = |with: Value| {
        let with: With = serde_json::from_value(with).unwrap();
        with.consistent().unwrap_err()
    };
    assert!(problem(json!({"during": "any", "minRequests": 0})).contains("minRequests"));
    assert!(problem(json!({"during": "any", "minAvailability": 101})).contains("percentage"));
    assert!(problem(json!({"during": "node-loss", "to": NEW})).contains("during"));
    assert!(problem(json!({"during": "any", "deployment": "a", "rollout": "b"})).contains("both"));
    serde_json::from_value::<With>(json!({"during": "lunch"})).unwrap_err();
}
