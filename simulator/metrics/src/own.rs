//! What the metrics themselves have to say: their size, and what they had to let go.

use std::fmt::Write;

use crate::store::Store;

/// Exposition of the store's own metrics.
pub(crate) fn render(store: &Store) -> String {
    let stats = store.stats();
    let number = |count: usize| count.to_string();
    let rows = [
        (
            "prometheus_tsdb_head_series",
            "gauge",
            "Series at present.",
            number(stats.series),
        ),
        (
            "prometheus_tsdb_head_samples",
            "gauge",
            "Samples at present.",
            number(stats.samples),
        ),
        (
            "prometheus_tsdb_storage_bytes",
            "gauge",
            "Bytes of samples and labels.",
            number(stats.bytes),
        ),
        (
            "prometheus_tsdb_head_samples_appended_total",
            "counter",
            "Samples kept since the start.",
            stats.appended.to_string(),
        ),
        (
            "prometheus_target_scrapes_sample_out_of_order_total",
            "counter",
            "Samples refused because a later one was there.",
            stats.out_of_order.to_string(),
        ),
        (
            "devops_lab_metrics_series_refused_total",
            "counter",
            "Samples of new series refused at the bound on series.",
            stats.series_refused.to_string(),
        ),
        (
            "devops_lab_metrics_samples_dropped_total",
            "counter",
            "Oldest samples let go at the bound on memory.",
            stats.samples_dropped.to_string(),
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        )
        .expect("a string takes every write");
    }
    text
}
