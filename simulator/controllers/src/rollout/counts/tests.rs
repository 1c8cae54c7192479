use std::sync::Arc;

use serde_json::json;

use super::*;

/// Replicas, weight, surge; canary and stable.
#[track_caller]
fn approximates(replicas: i32, weight: i32, surge: i32, expected: (i32, i32)) {
    assert_eq!(
        approximate(replicas, weight, surge),
        expected,
        "{weight} % of {replicas} with surge {surge}"
    );
}

#[test]
fn the_closest_of_floor_and_ceiling_is_taken() {
    // Whole numbers need no choice.
    approximates(10, 10, 0, (1, 9));
    approximates(10, 50, 1, (5, 5));
    approximates(100, 1, 0, (1, 99));
    // 3 × 20 % = 0.6: one of three is 33 %, one of four is 25 %.
    approximates(3, 20, 0, (1, 2));
    approximates(3, 20, 1, (1, 3));
    // 5 × 33 % = 1.65: two of six are 33 %.
    approximates(5, 33, 0, (2, 3));
    approximates(5, 33, 1, (2, 4));
    // 10 × 14 % = 1.4: one of ten is 10 %, one of eleven 9 %, two of eleven 18 %.
    approximates(10, 14, 0, (1, 9));
    approximates(10, 14, 1, (1, 9));
    approximates(10, 17, 0, (2, 8));
    approximates(10, 17, 1, (2, 9));
}

#[test]
fn of_two_equally_close_the_larger_canary_is_taken() {
    approximates(3, 50, 0, (2, 1));
    approximates(5, 50, 0, (3, 2));
    approximates(5, 50, 1, (3, 3));
    approximates(1, 50, 0, (1, 0));
}

#[test]
fn between_1_and_99_percent_both_sides_have_a_pod() {
    approximates(2, 1, 0, (1, 1));
    approximates(2, 99, 0, (1, 1));
    approximates(2, 99, 1, (2, 1));
    approximates(1, 1, 1, (1, 1));
    approximates(1, 99, 1, (1, 1));
    // A single pod without surge is on one side or the other.
    approximates(1, 1, 0, (0, 1));
    approximates(1, 99, 0, (1, 0));
}

#[test]
fn the_ends_are_all_or_nothing() {
    for surge in [0, 1] {
        approximates(7, 0, surge, (0, 7));
        approximates(7, 100, surge, (7, 0));
        approximates(0, 50, surge, (0, 0));
    }
}

fn set(wanted: i32, available: i32) -> Set {
    let object = json!({"metadata": {"name": "s"}, "spec": {"replicas": wanted, "selector": {}},
        "status": {"replicas": wanted, "availableReplicas": available}});
    Set::of(&Arc::new(serde_json::from_value(object).unwrap()))
}

/// A step towards a weight: replicas, surge and unavailable; weight; new and stable as
/// (wanted, available); pods of others; the next sizes of new and stable.
#[track_caller]
fn steps(
    (replicas, surge, unavailable): (i32, i32, i32),
    weight: i32,
    new: (i32, i32),
    stable: Option<(i32, i32)>,
    others: i32,
    expected: (i32, i32),
) {
    let limits = Limits {
        replicas,
        surge,
        unavailable,
    };
    let new = set(new.0, new.1);
    let stable = stable.map(|(wanted, available)| set(wanted, available));
    let found = basic(limits, weight, Some(&new), stable.as_ref(), others);
    assert_eq!(found, expected);
}

#[test]
fn a_canary_grows_and_stable_shrinks_within_surge_and_unavailability() {
    // The examples in upstream's code, the fourth as its present arithmetic has it.
    steps((10, 1, 1), 10, (0, 0), Some((10, 10)), 0, (1, 9));
    steps((10, 3, 0), 30, (0, 0), Some((10, 10)), 0, (3, 10));
    steps((10, 0, 5), 30, (0, 0), Some((10, 10)), 0, (0, 7));
    steps((10, 1, 1), 5, (0, 0), Some((10, 10)), 0, (1, 10));
    steps((1, 1, 0), 5, (0, 0), Some((1, 1)), 0, (1, 1));
    steps((1, 1, 0), 95, (0, 0), Some((1, 1)), 0, (1, 1));
    // What does not come up yet holds nothing back but what must stay.
    steps((10, 3, 0), 30, (3, 0), Some((10, 10)), 0, (3, 10));
    steps((10, 3, 0), 30, (3, 3), Some((10, 10)), 0, (3, 7));
    // The way back gives stable its pods first.
    steps((10, 1, 0), 0, (5, 5), Some((5, 5)), 0, (5, 6));
    steps((10, 1, 0), 0, (5, 5), Some((6, 6)), 0, (4, 6));
}

#[test]
fn without_a_stable_version_the_new_one_goes_to_full_size() {
    steps((5, 1, 0), 20, (0, 0), None, 0, (5, 0));
    // A size that was reduced.
    steps((3, 1, 0), 100, (10, 10), None, 0, (3, 0));
    // Pods of a version that never was stable go first, as far as they are counted.
    steps((3, 1, 0), 100, (0, 0), None, 2, (2, 0));
}

#[test]
fn pods_of_older_versions_go_before_stable_does() {
    steps((3, 1, 0), 34, (1, 1), Some((3, 3)), 1, (1, 3));
}

#[test]
fn a_broken_canary_goes_without_waiting_for_itself() {
    steps((4, 1, 0), 0, (2, 0), Some((3, 3)), 0, (1, 3));
    steps((4, 0, 1), 0, (2, 0), Some((2, 2)), 0, (1, 2));
}

fn request(weight: i32) -> Routed {
    Routed {
        replicas: 10,
        fixed: None,
        weight,
        max: 100,
        dynamic: false,
        least: 0,
        aborted: false,
        present: None,
    }
}

#[test]
fn with_a_router_the_canary_is_rounded_up_and_stable_stays() {
    assert_eq!(routed(request(0)), (0, 10));
    assert_eq!(routed(request(1)), (1, 10));
    assert_eq!(routed(request(25)), (3, 10));
    assert_eq!(routed(request(100)), (10, 10));
    let fixed = Routed {
        fixed: Some(4),
        ..request(25)
    };
    assert_eq!(routed(fixed), (4, 10));
    let thousand = Routed {
        max: 1000,
        ..request(25)
    };
    assert_eq!(routed(thousand), (1, 10));
    let least = Routed {
        least: 2,
        ..request(1)
    };
    assert_eq!(routed(least), (2, 10));
}

#[test]
fn a_dynamic_stable_version_never_has_fewer_pods_than_its_traffic_needs() {
    let dynamic = |weight, present, aborted| {
        routed(Routed {
            dynamic: true,
            present,
            aborted,
            ..request(weight)
        })
    };
    assert_eq!(dynamic(30, None, false), (3, 7));
    // The router still sends 90 % to it.
    assert_eq!(dynamic(30, Some((10, 90)), false), (3, 9));
    assert_eq!(dynamic(30, Some((30, 70)), false), (3, 7));
    // On the way back it grows before it gets more.
    assert_eq!(dynamic(0, Some((60, 40)), false), (0, 10));
    // After an abort the canary serves what it still gets.
    assert_eq!(dynamic(0, Some((60, 40)), true), (6, 10));
}
