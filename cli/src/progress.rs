//! Progress of a bring-up: a spinner and a line per part in a terminal, plain lines elsewhere.

use std::sync::Mutex;
use std::time::Duration;

use console::{Alignment, pad_str, style};
use indicatif::{ProgressBar, ProgressStyle};
use lab_cluster::provider::Progress;

use crate::output;

/// Width of a part's name, so that times stand below one another.
const NAME_WIDTH: usize = 16;

/// Shows what is being brought up, on standard error.
pub(crate) struct Shown {
    spinner: ProgressBar,
    under_way: Mutex<Vec<String>>,
}

impl Shown {
    /// A display that says nothing yet.
    pub(crate) fn new() -> Self {
        let spinner = ProgressBar::new_spinner();
        let look = ProgressStyle::with_template("  {spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        spinner.set_style(look);
        spinner.enable_steady_tick(Duration::from_millis(80));
        Self {
            spinner,
            under_way: Mutex::default(),
        }
    }

    /// Takes the spinner away.
    pub(crate) fn finish(&self) {
        self.spinner.finish_and_clear();
    }

    fn print(&self, text: &str) {
        // A spinner that is hidden (no terminal) swallows what is printed through it.
        if self.spinner.is_hidden() {
            output::note(text)
        } else {
            self.spinner.println(text)
        }
    }

    fn show(&self, change: impl FnOnce(&mut Vec<String>)) {
        if let Ok(mut parts) = self.under_way.lock() {
            change(&mut parts);
            self.spinner.set_message(parts.join(", "));
        }
    }
}

impl Progress for Shown {
    fn begin(&self, part: &str) {
        self.show(|parts| parts.push(part.to_owned()));
    }

    fn done(&self, part: &str, took: Duration, note: &str) {
        self.show(|parts| parts.retain(|other| other != part));
        let name = pad_str(part, NAME_WIDTH, Alignment::Left, None);
        let time = pad_str(&milliseconds(took), 9, Alignment::Right, None).into_owned();
        let mark = style("✓").for_stderr().green();
        let text = format!(
            "  {mark} {name} {time}   {}",
            style(note).for_stderr().dim()
        );
        self.print(text.trim_end());
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.finish();
    }
}

/// `812 ms`, `1.2 s`.
pub(crate) fn milliseconds(time: Duration) -> String {
    match time.as_millis() {
        short @ 0..1000 => format!("{short} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
