use super::*;
use crate::labels::NAME;
use crate::promql::parse;

/// Ten minutes of a counter that a restart resets, per pod, a gauge, and a histogram.
fn store() -> Store {
    let store = Store::default();
    let add = |name: &str, labels: &[(&str, &str)], at: i64, value: f64| {
        let mut pairs = vec![(NAME, name)];
        pairs.extend(labels);
        let sample = Sample {
            at: at * 1000,
            value,
        };
        store.append(&Labels::new(pairs), sample).unwrap();
    };
    for step in 0..=40 {
        let at = step * 15;
        let count = f64::from(i32::try_from(step).unwrap());
        add(
            "requests_total",
            &[("pod", "a"), ("code", "200")],
            at,
            count * 30.0,
        );
        add(
            "requests_total",
            &[("pod", "a"), ("code", "500")],
            at,
            count * 3.0,
        );
        let restarted = if step < 20 { count } else { count - 20.0 };
        add(
            "requests_total",
            &[("pod", "b"), ("code", "200")],
            at,
            restarted * 15.0,
        );
        add("temperature", &[("room", "x")], at, 20.0 + count / 2.0);
        for (le, share) in [("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)] {
            add("seconds_bucket", &[("le", le)], at, count * 10.0 * share);
        }
    }
    add("gone", &[], 0, 1.0);
    add("gone", &[], 15, crate::store::stale());
    add("limit", &[("pod", "a"), ("team", "red")], 600, 2.0);
    store
}

fn answer(query: &str, at: i64) -> Result<String, String> {
    let expr = parse(query).map_err(|error| error.to_string())?;
    let found = instant(&store(), &expr, at * 1000, 15_000).map_err(|error| error.to_string())?;
    Ok(match found {
        Answer::Scalar(number) => format_value(number),
        Answer::Text(text) => text,
        Answer::Vector(elements) => {
            let elements = elements.iter();
            let mut lines: Vec<_> = elements
                .map(|one| format!("{} {}", one.labels, format_value(rounded(one.value))))
                .collect();
            if !query.starts_with("sort") && !query.contains("topk") && !query.contains("bottomk") {
                lines.sort();
            }
            lines.join("\n")
        }
        Answer::Matrix(series) => {
            let lines = series.iter().map(|one| {
                let values = one.samples.iter();
                let values: Vec<_> = values
                    .map(|s| format!("{}@{}", format_value(s.value), s.at / 1000))
                    .collect();
                format!("{} {}", one.labels, values.join(" "))
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    })
}

fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e9).round() / 1e9;
    if rounded.is_finite() { rounded } else { value }
}

#[track_caller]
fn case(query: &str, expected: &str) {
    assert_eq!(answer(query, 600).as_deref(), Ok(expected), "{query}");
}

#[track_caller]
fn fails(query: &str, said: &str) {
    let error = answer(query, 600).unwrap_err();
    assert!(error.contains(said), "{query}: {error}");
}

#[test]
fn selectors_look_back_five_minutes_and_no_further() {
    assert_eq!(
        answer("temperature", 900).unwrap(),
        "temperature{room=\"x\"} 40"
    );
    assert_eq!(answer("temperature", 901).unwrap(), "");
    assert_eq!(answer("gone", 14).unwrap(), "gone 1");
    assert_eq!(answer("gone", 16).unwrap(), "");
    case("temperature offset 1m", "temperature{room=\"x\"} 38");
    case("temperature @ 30", "temperature{room=\"x\"} 21");
    case(
        "temperature[30s]",
        "temperature{room=\"x\"} 39@570 39.5@585 40@600",
    );
    case(
        "temperature[30s] offset 5m",
        "temperature{room=\"x\"} 29@270 29.5@285 30@300",
    );
    case(
        "requests_total{code!~\"2..\"}",
        "requests_total{code=\"500\", pod=\"a\"} 120",
    );
}

#[test]
fn rates_survive_a_restart() {
    case(
        "rate(requests_total{pod=\"a\",code=\"200\"}[5m])",
        "{code=\"200\", pod=\"a\"} 2",
    );
    case(
        "increase(requests_total{code=\"500\"}[1m])",
        "{code=\"500\", pod=\"a\"} 12",
    );
    case(
        "resets(requests_total{pod=\"b\"}[10m])",
        "{code=\"200\", pod=\"b\"} 1",
    );
    case(
        "irate(requests_total{pod=\"b\"}[1m])",
        "{code=\"200\", pod=\"b\"} 1",
    );
    case("delta(temperature[5m])", "{room=\"x\"} 10");
    case("deriv(temperature[5m]) * 30", "{room=\"x\"} 1");
    case("predict_linear(temperature[5m], 30)", "{room=\"x\"} 41");
    case("changes(temperature[1m])", "{room=\"x\"} 4");
}

#[test]
fn functions_of_a_range_cover_both_ends() {
    case("sum_over_time(temperature[30s])", "{room=\"x\"} 118.5");
    case("avg_over_time(temperature[30s])", "{room=\"x\"} 39.5");
    case("min_over_time(temperature[30s])", "{room=\"x\"} 39");
    case("max_over_time(temperature[30s])", "{room=\"x\"} 40");
    case("count_over_time(temperature[30s])", "{room=\"x\"} 3");
    case(
        "last_over_time(temperature[30s])",
        "temperature{room=\"x\"} 40",
    );
    case("present_over_time(temperature[30s])", "{room=\"x\"} 1");
    case(
        "quantile_over_time(0.5, temperature[30s])",
        "{room=\"x\"} 39.5",
    );
    case("stddev_over_time(temperature[15s])", "{room=\"x\"} 0.25");
    case(
        "max_over_time(rate(requests_total{code=\"500\"}[1m])[5m:1m])",
        "{code=\"500\", pod=\"a\"} 0.2",
    );
    case("sum_over_time(vector(1)[1m:30s])", "{} 3");
}

#[test]
fn aggregations_group_by_and_without() {
    case("sum(requests_total)", "{} 1620");
    case(
        "sum by (pod) (requests_total)",
        "{pod=\"a\"} 1320\n{pod=\"b\"} 300",
    );
    case(
        "sum without (code) (requests_total)",
        "{pod=\"a\"} 1320\n{pod=\"b\"} 300",
    );
    case(
        "count by (code) (requests_total)",
        "{code=\"200\"} 2\n{code=\"500\"} 1",
    );
    case("max(requests_total) - min(requests_total)", "{} 1080");
    case("avg(requests_total)", "{} 540");
    case("group(requests_total)", "{} 1");
    case("stddev(requests_total{pod=\"a\"})", "{} 540");
    case("quantile(0.5, requests_total)", "{} 300");
    case(
        "topk(1, requests_total)",
        "requests_total{code=\"200\", pod=\"a\"} 1200",
    );
    case(
        "bottomk(2, requests_total)",
        "requests_total{code=\"500\", pod=\"a\"} 120\nrequests_total{code=\"200\", pod=\"b\"} 300",
    );
    case(
        "count_values(\"value\", requests_total > 200)",
        "{value=\"1200\"} 1\n{value=\"300\"} 1",
    );
    case("topk(0, requests_total)", "");
}

#[test]
fn operators_match_series_by_their_labels() {
    case("temperature > 30", "temperature{room=\"x\"} 40");
    case("temperature > bool 50", "{room=\"x\"} 0");
    case("30 < temperature", "temperature{room=\"x\"} 40");
    case("-temperature + 1", "{room=\"x\"} -39");
    case("2 ^ 3 ^ 2", "512");
    case("7 % 4 == bool 3", "1");
    case(
        "requests_total{code=\"500\"} / ignoring(code) requests_total{code=\"200\"}",
        "{pod=\"a\"} 0.1",
    );
    case(
        "requests_total * on(pod) group_left(team) limit",
        "{code=\"200\", pod=\"a\", team=\"red\"} 2400\n{code=\"500\", pod=\"a\", team=\"red\"} 240",
    );
    case(
        "limit * on(pod) group_right requests_total",
        "{code=\"200\", pod=\"a\"} 2400\n{code=\"500\", pod=\"a\"} 240",
    );
    case(
        "requests_total and on(pod) limit",
        "requests_total{code=\"200\", pod=\"a\"} 1200\nrequests_total{code=\"500\", pod=\"a\"} 120",
    );
    case(
        "requests_total unless on(pod) limit",
        "requests_total{code=\"200\", pod=\"b\"} 300",
    );
    case(
        "limit or vector(1)",
        "limit{pod=\"a\", team=\"red\"} 2\n{} 1",
    );
    fails("requests_total * on(pod) limit", "must be explicit");
    fails(
        "limit * on(pod) requests_total",
        "duplicate series for the match group {pod=\"a\"} on the right",
    );
}

#[test]
fn functions_of_vectors() {
    case("histogram_quantile(0.9, seconds_bucket)", "{} 0.5");
    case(
        "histogram_quantile(0.5, rate(seconds_bucket[5m]))",
        "{} 0.1",
    );
    case("histogram_quantile(0.99, seconds_bucket)", "{} 0.5");
    case("histogram_quantile(2, seconds_bucket)", "{} +Inf");
    case("absent(nothing{job=\"x\",pod=~\"y\"})", "{job=\"x\"} 1");
    case("absent(temperature)", "");
    case("absent_over_time(nothing{job=\"x\"}[5m])", "{job=\"x\"} 1");
    case("clamp(temperature, 0, 30)", "{room=\"x\"} 30");
    case("clamp_min(temperature, 50)", "{room=\"x\"} 50");
    case("clamp_max(temperature, 10)", "{room=\"x\"} 10");
    case("round(temperature / 7, 0.5)", "{room=\"x\"} 5.5");
    case(
        "label_replace(temperature, \"room\", \"$1-1\", \"room\", \"(.*)\")",
        "temperature{room=\"x-1\"} 40",
    );
    case(
        "label_join(limit, \"both\", \"/\", \"pod\", \"team\")",
        "limit{both=\"a/red\", pod=\"a\", team=\"red\"} 2",
    );
    case("scalar(temperature)", "40");
    case("scalar(requests_total)", "NaN");
    case("vector(time())", "{} 600");
    case(
        "timestamp(limit offset 0s)",
        "{pod=\"a\", team=\"red\"} 600",
    );
    case("sqrt(temperature * 10)", "{room=\"x\"} 20");
    case(
        "sort_desc(requests_total{pod=\"a\"})",
        "requests_total{code=\"200\", pod=\"a\"} 1200\nrequests_total{code=\"500\", pod=\"a\"} 120",
    );
    case("minute()", "{} 10");
    case("day_of_week(vector(1700000000))", "{} 2");
    case(
        "month(vector(1700000000)) + days_in_month(vector(1700000000)) + year(vector(1700000000))",
        "{} 2064",
    );
    case("pi()", "3.141592653589793");
    case("\"text\"", "text");
    fails(
        "label_replace(requests_total, \"pod\", \"\", \"pod\", \".*\")",
        "same labelset",
    );
}

#[test]
fn a_range_query_has_a_value_for_every_step_with_one() {
    let expr = parse("temperature > 35").unwrap();
    let found = range(&store(), &expr, (0, 900_000, 300_000), 15_000).unwrap();
    let samples: Vec<_> = found[0]
        .samples
        .iter()
        .map(|s| (s.at / 1000, s.value))
        .collect();
    assert_eq!(samples, [(600, 40.0), (900, 40.0)]);
    let expr = parse("temperature[1m]").unwrap();
    let refused = range(&store(), &expr, (0, 1000, 1000), 15_000).unwrap_err();
    assert!(refused.to_string().contains("range query"), "{refused}");
}

#[test]
fn a_query_that_asks_too_much_is_refused() {
    let limits = Limits {
        samples: 400,
        work: 10_000,
    };
    for (query, refused) in [
        ("temperature", false),
        ("requests_total + requests_total + {pod=~\".+\"}", false),
        (
            "count_over_time(requests_total[1h]) + count_over_time(requests_total[1h])",
            false,
        ),
        (
            "sum_over_time(sum_over_time(temperature[10m:1s])[10m:1s])",
            true,
        ),
    ] {
        let expr = parse(query).unwrap();
        let answer = Query::load(&store(), &expr, (600_000, 600_000), 15_000, limits)
            .and_then(|query| query.vector(&expr, 600_000));
        assert_eq!(answer.is_err(), refused, "{query}: {answer:?}");
    }
}
