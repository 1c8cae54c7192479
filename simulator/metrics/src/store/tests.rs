use super::*;
use crate::promql::ast::MatchKind;

fn series(name: &str, pod: usize) -> Labels {
    Labels::new([(NAME, name.to_owned()), ("pod", format!("web-{pod}"))])
}

fn named(name: &str) -> Vec<Matcher> {
    vec![Matcher::new(NAME, MatchKind::Equal, name).unwrap()]
}

fn at(seconds: i64, value: f64) -> Sample {
    Sample {
        at: seconds * 1000,
        value,
    }
}

fn all(store: &Store, name: &str) -> Vec<Series> {
    let always = (i64::MIN, i64::MAX);
    store
        .select(&named(name), always, &mut usize::MAX.clone())
        .unwrap()
}

#[test]
fn samples_come_back_by_matcher_and_time() {
    let store = Store::default();
    for second in 0..500 {
        let value = f64::from(i32::try_from(second).unwrap());
        store
            .append(&series("up", 1), at(second * 15, value))
            .unwrap();
        store
            .append(&series("up", 2), at(second * 15, 1.0))
            .unwrap();
    }
    let mut matchers = named("up");
    matchers.push(Matcher::new("pod", MatchKind::Regex, "web-(1|3)").unwrap());
    let found = store
        .select(&matchers, (30_000, 60_000), &mut 10_000)
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].samples, [at(30, 2.0), at(45, 3.0), at(60, 4.0)]);
    assert!(store.select(&matchers, (0, i64::MAX), &mut 10).is_none());
}

#[test]
fn a_sample_that_is_not_later_is_refused_and_a_repeated_one_is_no_news() {
    let store = Store::default();
    let labels = series("up", 1);
    store.append(&labels, at(30, 1.0)).unwrap();
    assert_eq!(store.append(&labels, at(30, 1.0)), Ok(()));
    assert_eq!(store.append(&labels, at(30, 2.0)), Err(Rejected::Duplicate));
    assert_eq!(
        store.append(&labels, at(15, 1.0)),
        Err(Rejected::OutOfOrder)
    );
    assert_eq!(all(&store, "up")[0].samples, [at(30, 1.0)]);
    assert_eq!(store.stats().out_of_order, 2);
}

#[test]
fn two_hours_are_kept_and_a_series_that_ended_is_forgotten() {
    let store = Store::default();
    store.append(&series("gone", 1), at(0, 1.0)).unwrap();
    for minute in 0..300 {
        store
            .append(&series("up", 1), at(minute * 60, 1.0))
            .unwrap();
    }
    assert!(all(&store, "gone").is_empty());
    let samples = &all(&store, "up")[0].samples;
    assert!((120..=240).contains(&samples.len()), "{}", samples.len());
    assert_eq!(store.stats().series, 1);
    assert_eq!(
        store.append(&series("up", 2), at(0, 1.0)),
        Err(Rejected::TooOld)
    );
}

#[test]
fn at_the_bound_on_series_the_newest_is_refused_and_counted() {
    let store = Store::new(Limits {
        series: 3,
        ..Limits::default()
    });
    for pod in 0..5 {
        let kept = store.append(&series("up", pod), at(15, 1.0));
        assert_eq!(kept.is_ok(), pod < 3, "{pod}");
    }
    assert_eq!(store.append(&series("up", 0), at(30, 1.0)), Ok(()));
    assert_eq!(store.stats().series_refused, 2);
}

#[test]
fn at_the_bound_on_memory_the_oldest_samples_go_and_are_counted() {
    let limits = Limits {
        bytes: 60_000,
        ..Limits::default()
    };
    let store = Store::new(limits);
    for step in 0..400 {
        for pod in 0..50 {
            // Values that do not pack.
            let value = 1.0 / f64::from(i32::try_from(step * 50 + pod + 1).unwrap());
            let pod = usize::try_from(pod).unwrap();
            store
                .append(&series("noise", pod), at(step * 15, value))
                .unwrap();
        }
        assert!(store.stats().bytes < limits.bytes + 2_000);
    }
    let stats = store.stats();
    assert!(stats.samples_dropped > 0);
    let samples = &all(&store, "noise")[0].samples;
    assert_eq!(samples.last().map(|last| last.at), Some(399 * 15_000));
}

#[test]
fn the_end_of_a_series_that_is_not_there_makes_none() {
    let store = Store::default();
    store.append(&series("up", 1), at(15, stale())).unwrap();
    assert_eq!(store.stats().series, 0);
}

#[test]
fn an_empty_store_costs_next_to_nothing() {
    assert!(size_of::<Store>() < 1024);
    assert_eq!(Store::default().stats().bytes, 0);
}
