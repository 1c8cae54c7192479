use super::*;
use jiff::Timestamp;
use lab_context::Context;

fn bounds(replicas: i32, surge: i32, unavailable: i32) -> Bounds {
    Bounds {
        replicas,
        surge,
        unavailable,
    }
}

/// A ReplicaSet whose name tells its age: `a` is the oldest.
fn size(name: &str, wanted: i32, available: i32) -> Size {
    Size {
        name: name.to_owned(),
        created: Timestamp::from_second(i64::from(name.as_bytes()[0])).unwrap(),
        wanted,
        available,
        noted_desired: None,
        noted_max: None,
    }
}

fn resizes(expected: &[(&str, i32)]) -> Resizes {
    expected
        .iter()
        .map(|(name, size)| ((*name).to_owned(), *size))
        .collect()
}

#[track_caller]
fn grows(bounds: Bounds, new: i32, old: i32, expected: i32) {
    assert_eq!(grow_new(bounds, new, new + old), expected);
}

#[test]
fn the_new_replica_set_grows_into_the_room_that_surge_leaves() {
    grows(bounds(10, 3, 2), 0, 10, 3);
    grows(bounds(10, 3, 2), 3, 8, 5);
    grows(bounds(10, 3, 2), 8, 0, 10);
    grows(bounds(3, 1, 0), 1, 3, 1);
    grows(bounds(3, 0, 1), 0, 3, 0);
    grows(bounds(3, 0, 1), 0, 2, 1);
    grows(bounds(3, 1, 0), 0, 0, 3);
    grows(bounds(2, 1, 0), 5, 0, 2);
    grows(bounds(3, 1, 0), 0, 9, 0);
}

#[track_caller]
fn shrinks(bounds: Bounds, new: (i32, i32), old: &[Size], expected: &[(&str, i32)]) {
    let new = size("z", new.0, new.1);
    assert_eq!(shrink_old(bounds, &new, old), resizes(expected));
}

#[test]
fn old_replica_sets_shrink_as_far_as_pods_may_be_missed() {
    let ten = [size("a", 10, 10)];
    shrinks(bounds(10, 3, 2), (0, 0), &ten, &[("a", 8)]);
    shrinks(bounds(10, 3, 2), (3, 0), &ten, &[("a", 8)]);
    shrinks(bounds(10, 3, 2), (3, 3), &ten, &[("a", 5)]);
    let three = [size("a", 3, 3)];
    shrinks(bounds(3, 1, 0), (1, 0), &three, &[]);
    shrinks(bounds(3, 1, 0), (1, 1), &three, &[("a", 2)]);
    shrinks(bounds(3, 0, 1), (0, 0), &three, &[("a", 2)]);
    shrinks(bounds(3, 1, 0), (3, 3), &[size("a", 1, 1)], &[("a", 0)]);
}

#[test]
fn pods_that_do_not_serve_go_first_and_from_the_oldest() {
    // A broken second version is rolled back to a third: the healthy pods of the first stay.
    let old = [size("b", 2, 0), size("a", 8, 8)];
    shrinks(bounds(8, 2, 0), (0, 0), &old, &[("b", 0)]);
    shrinks(
        bounds(8, 2, 1),
        (0, 0),
        &[size("b", 1, 0), size("a", 8, 7)],
        &[("a", 7), ("b", 0)],
    );
    shrinks(
        bounds(4, 0, 2),
        (0, 0),
        &[size("a", 2, 2), size("b", 2, 2)],
        &[("a", 0)],
    );
    shrinks(
        bounds(4, 0, 3),
        (0, 0),
        &[size("a", 2, 2), size("b", 2, 2)],
        &[("a", 0), ("b", 1)],
    );
}

#[test]
fn a_new_version_that_never_becomes_available_takes_nothing_more() {
    shrinks(bounds(4, 1, 1), (2, 0), &[size("a", 3, 3)], &[]);
    shrinks(bounds(4, 1, 1), (2, 0), &[], &[]);
}

fn noted(name: &str, wanted: i32, max: i32) -> Size {
    Size {
        noted_max: Some(max),
        ..size(name, wanted, wanted)
    }
}

#[track_caller]
fn proportions(bounds: Bounds, reported: i32, active: &[Size], expected: &[(&str, i32)]) {
    assert_eq!(proportional(bounds, reported, active), resizes(expected));
}

#[test]
fn each_replica_set_keeps_its_share_when_the_deployment_is_resized() {
    // The example of the Kubernetes documentation: 10 to 15 in mid-rollout, 8 old and 5 new.
    proportions(
        bounds(15, 3, 2),
        13,
        &[noted("a", 8, 13), noted("b", 5, 13)],
        &[("a", 11), ("b", 7)],
    );
    proportions(
        bounds(5, 1, 1),
        13,
        &[noted("a", 8, 13), noted("b", 5, 13)],
        &[("a", 4), ("b", 2)],
    );
    proportions(
        bounds(0, 0, 0),
        13,
        &[noted("a", 8, 13), noted("b", 5, 13)],
        &[("a", 0), ("b", 0)],
    );
}

#[test]
fn what_rounding_leaves_over_goes_to_the_largest() {
    // 3 × 10/9 rounds to 3 for each: the one pod to add goes to the newest of the equal.
    proportions(
        bounds(10, 0, 1),
        9,
        &[noted("a", 3, 9), noted("b", 3, 9), noted("c", 3, 9)],
        &[("a", 3), ("b", 3), ("c", 4)],
    );
    // Shrinking by one, it is taken from the oldest.
    proportions(
        bounds(8, 0, 1),
        9,
        &[noted("a", 3, 9), noted("b", 3, 9), noted("c", 3, 9)],
        &[("a", 2), ("b", 3), ("c", 3)],
    );
    // A ReplicaSet that nobody noted a maximum on counts with what the Deployment reports.
    proportions(
        bounds(20, 0, 1),
        10,
        &[size("a", 5, 5), size("b", 5, 5)],
        &[("a", 10), ("b", 10)],
    );
    proportions(bounds(4, 0, 1), 0, &[size("a", 2, 2)], &[("a", 4)]);
}

/// Pods of one ReplicaSet in the model below.
struct Model {
    sets: Vec<Size>,
    bounds: Bounds,
    context: Context,
}

impl Model {
    fn below(&self, limit: i32) -> i32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the product is below limit"
        )]
        let drawn = (self.context.random() * f64::from(limit)) as i32;
        drawn
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(|size| size.wanted).sum()
    }

    fn available(&self) -> i32 {
        self.sets.iter().map(|size| size.available).sum()
    }

    /// One step of the controller: the last ReplicaSet is the new one.
    fn step(&mut self) -> bool {
        let total = self.total();
        let (new, old) = self.sets.split_last_mut().unwrap();
        let grown = grow_new(self.bounds, new.wanted, total);
        if grown != new.wanted {
            new.wanted = grown;
            new.available = new.available.min(grown);
            return true;
        }
        let shrunk = shrink_old(self.bounds, new, old);
        for size in old {
            if let Some(to) = shrunk.get(&size.name) {
                size.wanted = *to;
                // A ReplicaSet deletes pods that are not ready first.
                size.available = size.available.min(*to);
            }
        }
        !shrunk.is_empty()
    }

    fn some_pod_changes(&mut self) {
        let index = usize::try_from(self.below(i32::try_from(self.sets.len()).unwrap())).unwrap();
        let becomes_ready = self.below(3) > 0;
        let size = &mut self.sets[index];
        if becomes_ready {
            size.available = (size.available + 1).min(size.wanted);
        } else {
            size.available = (size.available - 1).max(0);
        }
    }
}

#[tokio::test]
async fn no_rollout_exceeds_its_surge_or_falls_below_its_minimum() {
    for seed in 0..300 {
        let context = Context::simulated(seed, 1.0);
        let mut model = Model {
            sets: Vec::new(),
            bounds: bounds(0, 0, 0),
            context,
        };
        let replicas = 1 + model.below(12);
        let surge = model.below(4);
        let unavailable = if surge == 0 {
            1 + model.below(replicas)
        } else {
            model.below(replicas + 1)
        };
        model.bounds = bounds(replicas, surge, unavailable.min(replicas));
        model.sets = vec![size("a", replicas, replicas), size("b", 0, 0)];
        for round in 0..200_u8 {
            if round % 40 == 39 {
                // In the midst of it somebody applies yet another version.
                let name = char::from(b'c' + round / 40).to_string();
                model.sets.push(size(&name, 0, 0));
            }
            let (total, available) = (model.total(), model.available());
            model.step();
            assert!(
                model.total() <= total.max(model.bounds.max_total()),
                "seed {seed}"
            );
            assert!(
                model.available() >= available.min(model.bounds.min_available()),
                "seed {seed}"
            );
            model.some_pod_changes();
        }
        for size in &mut model.sets {
            size.available = size.wanted;
        }
        for _ in 0..200 {
            model.step();
            for size in &mut model.sets {
                size.available = size.wanted;
            }
        }
        let (new, old) = model.sets.split_last().unwrap();
        assert_eq!(new.wanted, replicas, "seed {seed}");
        assert!(old.iter().all(|size| size.wanted == 0), "seed {seed}");
    }
}
