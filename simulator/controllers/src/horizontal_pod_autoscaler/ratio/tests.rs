use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const TENTH: Tolerance = Tolerance { up: 0.1, down: 0.1 };

fn now() -> Timestamp {
    Timestamp::from_second(10_000).unwrap()
}

/// One pod of a table: what it is, and its use in thousandths.
#[derive(Clone, Copy)]
enum P {
    /// Ready, with a sample.
    Uses(i64),
    /// Ready, without one.
    Missing,
    /// Not ready.
    Unready(i64),
    /// Being deleted.
    Ending(i64),
}

fn workload(pods: &[P]) -> (Vec<PodView>, Samples) {
    let mut samples = Samples::new();
    let views = pods.iter().enumerate().map(|(index, pod)| {
        let name = format!("p{index}");
        let long_ago = Timestamp::from_second(100).unwrap();
        let (used, ready, terminating) = match *pod {
            P::Uses(milli) => (Some(milli), true, false),
            P::Missing => (None, true, false),
            P::Unready(milli) => (Some(milli), false, false),
            P::Ending(milli) => (Some(milli), true, true),
        };
        if let Some(milli) = used {
            let window = Duration::from_secs(15);
            samples.insert(
                name.clone(),
                Sample {
                    milli,
                    time: now(),
                    window,
                },
            );
        }
        PodView {
            name,
            phase: "Running".into(),
            terminating,
            started: Some(long_ago),
            ready: Some((ready, long_ago)),
            requests: vec![("app".into(), BTreeMap::from([("cpu".into(), 1000)]))],
        }
    });
    (views.collect(), samples)
}

fn with<R>(pods: &[P], current: i32, f: impl FnOnce(&Workload<'_>, Samples) -> R) -> R {
    let (views, samples) = workload(pods);
    let workload = Workload {
        replicas: current,
        pods: &views,
        patience: Patience {
            cpu_initialization: Duration::from_secs(300),
            initial_readiness: Duration::from_secs(30),
        },
        tolerance: TENTH,
        now: now(),
    };
    f(&workload, samples)
}

/// Every pod requests a whole core, so that thousandths are tenths of a percent.
#[track_caller]
fn percent(target: i32, pods: &[P], expected: i32) {
    let current = i32::try_from(pods.len()).unwrap();
    let answer = with(pods, current, |w, s| {
        by_utilization(w, s, ("cpu", None), target)
    });
    assert_eq!(answer.unwrap().replicas, expected);
}

use P::{Ending, Missing, Unready, Uses};

#[test]
fn the_ratio_of_used_to_wanted_sets_the_size() {
    percent(30, &[Uses(300), Uses(500), Uses(700)], 5);
    percent(
        50,
        &[Uses(100), Uses(300), Uses(500), Uses(250), Uses(250)],
        3,
    );
    // Within a tenth of the target nothing changes.
    percent(50, &[Uses(540), Uses(550)], 2);
    percent(50, &[Uses(451), Uses(459)], 2);
    // Just outside.
    percent(50, &[Uses(560), Uses(570)], 3);
    percent(80, &[Uses(400), Uses(200)], 1);
    percent(50, &[Uses(0), Uses(0)], 0);
}

#[test]
fn pods_that_are_not_ready_count_as_idle_when_there_is_more_to_do() {
    // 3 ready pods at 100 % of 30 % alone would want 10.
    percent(30, &[Uses(1000), Uses(1000), Uses(1000), Unready(0)], 10);
    // Two of four use 70 %: half of that is within the tolerance of 35 %.
    percent(35, &[Uses(700), Uses(700), Unready(900), Unready(900)], 4);
    // Counting them would turn more into fewer: nothing happens.
    percent(50, &[Uses(700), Unready(0), Unready(0)], 3);
    // When there is less to do, they are left out.
    percent(50, &[Uses(200), Uses(200), Unready(0)], 1);
}

#[test]
fn pods_without_figures_are_assumed_against_the_change() {
    // Less to do: they may use all they asked for.
    percent(50, &[Uses(200), Uses(200), Missing], 3);
    percent(
        80,
        &[Uses(100), Uses(100), Uses(100), Uses(100), Missing],
        2,
    );
    // More to do: they may use nothing.
    percent(50, &[Uses(900), Uses(900), Missing], 4);
    percent(50, &[Uses(800), Missing], 2);
    // Counting them would turn fewer into more: nothing happens.
    percent(50, &[Uses(200), Missing, Missing], 3);
    // A missing pod at a target above 100 % is assumed at the target.
    percent(200, &[Uses(400), Missing], 2);
}

#[test]
fn pods_that_are_ending_do_not_count() {
    percent(50, &[Uses(500), Uses(500), Ending(5000)], 3);
    percent(50, &[Uses(1000), Uses(1000), Ending(0)], 4);
}

#[test]
fn what_was_seen_is_answered_too() {
    let answer = with(&[Uses(300), Uses(501)], 2, |w, s| {
        by_utilization(w, s, ("cpu", None), 30)
    });
    let expected = Answer {
        replicas: 3,
        utilization: Some(40),
        average_milli: 400,
    };
    assert_eq!(answer.unwrap(), expected);
}

#[test]
fn without_figures_there_is_an_error_in_kubernetes_words() {
    let of = |pods: &[P], resource| {
        with(pods, 1, |w, s| by_utilization(w, s, (resource, None), 50)).unwrap_err()
    };
    assert_eq!(
        of(&[], "cpu"),
        "no pods returned by selector while calculating replica count"
    );
    assert_eq!(
        of(&[Missing], "cpu"),
        "did not receive metrics for targeted pods (pods might be unready)"
    );
    assert_eq!(
        of(&[Uses(1)], "memory"),
        "missing request for memory in container app of Pod p0"
    );
}

#[test]
fn raw_values_are_averaged_over_the_pods() {
    let case = |target, pods: &[P], expected| {
        let current = i32::try_from(pods.len()).unwrap();
        let answer = with(pods, current, |w, s| by_average(w, s, false, target)).unwrap();
        assert_eq!(answer.replicas, expected);
    };
    case(15_000, &[Uses(20_000), Uses(10_000), Uses(30_000)], 4);
    case(20_000, &[Uses(10_000), Uses(10_000), Uses(10_000)], 2);
    // Unready pods count like others: only CPU is that of starting up.
    case(10_000, &[Uses(20_000), Unready(20_000)], 4);
    // A missing pod is assumed at the target, or at nothing.
    case(10_000, &[Uses(4_000), Missing], 2);
    case(10_000, &[Uses(30_000), Missing], 3);
}

#[test]
fn one_value_is_met_by_ready_pods_and_a_total_by_parts() {
    let value = |current, ready, usage, expected| {
        assert_eq!(by_value(current, ready, usage, 20_000, TENTH), expected);
    };
    value(3, 3, 40_000, 6);
    value(3, 3, 21_000, 3);
    value(3, 2, 40_000, 4);
    value(3, 3, 0, 0);
    // Scaled to nothing: the ratio itself.
    value(0, 0, 50_000, 3);
    let total = |current, total, expected, average| {
        let answer = by_total(current, total, 20_000, TENTH);
        assert_eq!((answer.replicas, answer.average_milli), (expected, average));
    };
    total(3, 90_000, 5, 30_000);
    total(4, 80_000, 4, 20_000);
    total(4, 86_000, 4, 21_500);
    total(2, 10_000, 1, 5_000);
    total(0, 90_000, 5, 90_000);
}

#[test]
fn each_direction_has_its_tolerance() {
    let tolerance = Tolerance {
        up: 0.0,
        down: 0.43,
    };
    let case = |usage, expected| {
        assert_eq!(by_value(10, 10, usage, 70, tolerance), expected, "{usage}");
    };
    case(70, 10);
    case(71, 11);
    // 40 % of 70 % is within 43 %, 39 % is not.
    case(40, 10);
    case(39, 6);
}

#[test]
fn the_largest_proposal_wins_and_an_unreadable_one_forbids_to_shrink() {
    let case = |proposals: &[Result<i32, &str>], expected: Combined<'_, &str>| {
        assert_eq!(combine(4, proposals), expected);
    };
    case(&[Ok(2), Ok(6), Ok(5)], Combined::Wanted(6, 1));
    case(&[Ok(2), Ok(3)], Combined::Wanted(3, 1));
    case(&[Ok(6), Err("no")], Combined::Wanted(6, 0));
    case(&[Ok(4), Err("no")], Combined::Wanted(4, 0));
    case(&[Err("no"), Ok(3)], Combined::Unknown(&"no", 1));
    case(&[Err("no"), Err("nor")], Combined::Unknown(&"no", 2));
}
