use serde_json::json;

use super::*;

fn behavior(value: serde_json::Value) -> Behavior {
    let given = serde_json::from_value(value).unwrap();
    Behavior::of(Some(&given), &Context::system(1.0))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(100_000 + second).unwrap()
}

#[test]
fn what_is_left_out_has_the_defaults_of_kubernetes() {
    let found = Behavior::of(None, &Context::system(1.0));
    let quickly = Duration::from_secs(15);
    assert_eq!(found.up.window, Duration::ZERO);
    assert_eq!(
        found.up.policies,
        [(Amount::Pods(4), quickly), (Amount::Percent(100), quickly)]
    );
    assert_eq!(found.down.window, Duration::from_secs(300));
    assert_eq!(found.down.policies, [(Amount::Percent(100), quickly)]);
    assert_eq!(found.tolerance, Tolerance { up: 0.1, down: 0.1 });
}

#[test]
fn the_clusters_speed_shortens_windows_and_periods() {
    let given = json!({"scaleUp": {"stabilizationWindowSeconds": 120,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 300}]}});
    let given = serde_json::from_value(given).unwrap();
    let found = Behavior::of(Some(&given), &Context::system(10.0));
    assert_eq!(found.up.window, Duration::from_secs(12));
    assert_eq!(
        found.up.policies,
        [(Amount::Percent(50), Duration::from_secs(30))]
    );
    assert_eq!(found.down.window, Duration::from_secs(30));
}

#[test]
fn growing_takes_the_lowest_and_shrinking_the_highest_of_its_window() {
    let windows = behavior(json!({
        "scaleUp": {"stabilizationWindowSeconds": 60},
        "scaleDown": {"stabilizationWindowSeconds": 300}}));
    let case = |earlier: &[(i32, i64)], current, wanted, expected| {
        let mut memory = Memory {
            recommendations: earlier.iter().map(|(size, t)| (*size, at(*t))).collect(),
            ..Memory::default()
        };
        let found = memory.stabilize(current, wanted, &windows, at(0));
        assert_eq!(found, expected, "{earlier:?}");
        assert_eq!(memory.recommendations.last(), Some(&(wanted, at(0))));
    };
    // Nothing else was wanted lately.
    case(&[], 4, 8, 8);
    // A smaller size was wanted half a minute ago, or two minutes ago.
    case(&[(5, -30)], 4, 8, 5);
    case(&[(5, -120)], 4, 8, 8);
    // A larger size was wanted four minutes ago, or six.
    case(&[(6, -240)], 8, 2, 6);
    case(&[(6, -360)], 8, 2, 2);
    // Between the two, the size stays.
    case(&[(2, -30), (9, -200)], 5, 5, 5);
    case(&[(3, -30)], 4, 8, 4);
}

#[test]
fn old_recommendations_are_forgotten() {
    let rules = Behavior::of(None, &Context::system(1.0));
    let mut memory = Memory::default();
    for second in 0..1000 {
        memory.stabilize(3, 3, &rules, at(second * 15));
    }
    assert!(memory.recommendations.len() <= 21);
}

#[track_caller]
fn limited(rules: &Behavior, memory: &Memory, current: i32, wanted: i32, expected: (i32, &str)) {
    let found = memory
        .clone()
        .limit(current, wanted, (1, 100), rules, at(0));
    assert_eq!((found.replicas, found.reason), expected);
}

#[test]
fn policies_limit_the_change_within_their_period() {
    let none = Memory::default();
    let rules = Behavior::of(None, &Context::system(1.0));
    limited(&rules, &none, 1, 100, (5, "ScaleUpLimit"));
    limited(&rules, &none, 10, 100, (20, "ScaleUpLimit"));
    limited(&rules, &none, 10, 15, (15, "DesiredWithinRange"));
    limited(&rules, &none, 10, 1, (1, "DesiredWithinRange"));
    limited(&rules, &none, 60, 200, (100, "TooManyReplicas"));
    limited(&rules, &none, 10, 0, (1, "TooFewReplicas"));

    let half = behavior(json!({
        "scaleUp": {"policies": [{"type": "Percent", "value": 50, "periodSeconds": 300}]},
        "scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}]}}));
    limited(&half, &none, 4, 100, (6, "ScaleUpLimit"));
    limited(&half, &none, 3, 100, (5, "ScaleUpLimit"));
    limited(&half, &none, 6, 2, (5, "ScaleDownLimit"));
    // From 4 to 6 three minutes ago: the half is used up, and again free after five.
    let grown = |t| Memory {
        added: vec![(2, at(t))],
        ..Memory::default()
    };
    limited(&half, &grown(-180), 6, 100, (6, "ScaleUpLimit"));
    limited(&half, &grown(-301), 6, 100, (9, "ScaleUpLimit"));
    // One removed lately: none may go, but what was removed may come back on top of the half.
    let shrunk = Memory {
        removed: vec![(1, at(-60))],
        ..Memory::default()
    };
    limited(&half, &shrunk, 5, 1, (5, "ScaleDownLimit"));
    limited(&half, &shrunk, 5, 100, (9, "ScaleUpLimit"));
}

#[test]
fn the_selected_policy_counts() {
    let none = Memory::default();
    let with = |select: &str| {
        behavior(json!({
            "scaleUp": {"selectPolicy": select, "policies": [
                {"type": "Pods", "value": 2, "periodSeconds": 60},
                {"type": "Percent", "value": 100, "periodSeconds": 60}]},
            "scaleDown": {"selectPolicy": select, "policies": [
                {"type": "Pods", "value": 2, "periodSeconds": 60},
                {"type": "Percent", "value": 50, "periodSeconds": 60}]}}))
    };
    limited(&with("Max"), &none, 10, 100, (20, "ScaleUpLimit"));
    limited(&with("Min"), &none, 10, 100, (12, "ScaleUpLimit"));
    limited(&with("Disabled"), &none, 10, 100, (10, "ScaleUpLimit"));
    limited(&with("Max"), &none, 10, 1, (5, "ScaleDownLimit"));
    limited(&with("Min"), &none, 10, 1, (8, "ScaleDownLimit"));
    limited(&with("Disabled"), &none, 10, 1, (10, "ScaleDownLimit"));
    // Half of eleven, rounded down.
    limited(&with("Max"), &none, 11, 1, (5, "ScaleDownLimit"));
}
