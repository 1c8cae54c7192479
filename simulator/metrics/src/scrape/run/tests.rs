use super::*;
use crate::promql::parse;
use crate::scrape::Source;
use std::sync::Mutex;

/// A scraper of one target of this process, whose text can be changed.
fn scraped(
    text: &str,
) -> (
    Arc<Store>,
    Arc<Mutex<String>>,
    Arc<Shown>,
    CancellationToken,
) {
    let context = Context::simulated(1, 1.0);
    let store = Arc::new(Store::default());
    let shown = Arc::new(Shown::default());
    let text = Arc::new(Mutex::new(text.to_owned()));
    let exposed = Arc::clone(&text);
    let fixed = FixedTarget {
        job: "shop".to_owned(),
        source: Source::Own(Arc::new(move || exposed.lock().unwrap().clone())),
        interval: None,
    };
    let stop = CancellationToken::new();
    let scraper = Scraper::new(Arc::clone(&store), context, Arc::clone(&shown), vec![fixed]);
    tokio::spawn(scraper.run(None, stop.clone()));
    (store, text, shown, stop)
}

fn value(store: &Store, query: &str, second: i64) -> Option<f64> {
    let at = (1_767_225_600 + second) * 1000;
    crate::eval::instant(store, &parse(query).unwrap(), at, 15_000)
        .unwrap()
        .number()
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_is_scraped_every_fifteen_seconds() {
    let (store, _, shown, _stop) = scraped("# TYPE requests counter\nrequests{instance=\"x\"} 4\n");
    seconds(61).await;
    assert_eq!(value(&store, "count_over_time(up[1m])", 61), Some(4.0));
    assert_eq!(
        value(&store, "requests{job=\"shop\",exported_instance=\"x\"}", 61),
        Some(4.0)
    );
    assert_eq!(value(&store, "scrape_samples_scraped", 61), Some(1.0));
    let targets = shown.targets();
    assert_eq!(targets[0].health, Health::Up);
    assert_eq!(shown.metadata()[0].kind, "counter");
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_no_longer_exposed_ends_at_once() {
    let (store, text, _, _stop) = scraped("a 1\nb 1\n");
    seconds(2).await;
    assert_eq!(value(&store, "b", 2), Some(1.0));
    "a 2\n".clone_into(&mut text.lock().unwrap());
    seconds(16).await;
    assert_eq!(value(&store, "a", 18), Some(2.0));
    assert_eq!(value(&store, "b", 18), None);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_read_is_down_and_its_series_end() {
    let (store, text, shown, _stop) = scraped("a 1\n");
    seconds(2).await;
    "<html>".clone_into(&mut text.lock().unwrap());
    seconds(16).await;
    assert_eq!(value(&store, "up", 18), Some(0.0));
    assert_eq!(value(&store, "a", 18), None);
    let target = &shown.targets()[0];
    assert_eq!(target.health, Health::Down);
    assert!(
        target.last_error.contains("line 1"),
        "{}",
        target.last_error
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_just_starting_is_asked_again_soon() {
    let (store, text, shown, _stop) = scraped("not yet");
    seconds(2).await;
    assert_eq!(shown.targets()[0].health, Health::Down);
    "a 1\n".clone_into(&mut text.lock().unwrap());
    seconds(2).await;
    assert_eq!(value(&store, "a", 4), Some(1.0));
    assert_eq!(shown.targets()[0].health, Health::Up);
}
