//! `devops-lab traffic watch`: reads the record as it grows, and draws it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use lab_cluster::record::ClusterDir;
use lab_cluster::traffic;
use lab_traffic::{Entry, Follower};

use super::screen::{Seen, plain};
use crate::output::line;

/// Pause between two looks at the record; it grows once per second.
const PAUSE: Duration = Duration::from_millis(250);
/// Entries read at a time, so that a long record does not fill the memory.
const BATCH: usize = 10_000;
/// Width of a terminal that does not tell.
const WIDTH: usize = 80;

pub(super) async fn run(dir: &ClusterDir, name: &str) -> anyhow::Result<ExitCode> {
    // Says what to type where nothing was ever recorded.
    super::open_record(dir, name)?;
    let mut follower = Follower::open(&traffic::record_dir(dir))?;
    let terminal = console::Term::stdout();
    let mut picture = terminal.is_term().then(Picture::default);
    let mut seen = Seen::default();
    let mut caught_up = false;
    loop {
        // Looked for first: what it wrote until its end is then read below.
        let running = traffic::is_running(dir).is_some();
        loop {
            let entries = follower.read(BATCH)?;
            let more = entries.len() == BATCH;
            for entry in entries {
                if picture.is_none() && (caught_up || !running) {
                    tell(&entry);
                }
                seen.add(entry);
            }
            if !more {
                break;
            }
        }
        caught_up = true;
        if let Some(picture) = &mut picture {
            let (height, width) = terminal.size_checked().unwrap_or((24, 80));
            let width = if width == 0 {
                WIDTH
            } else {
                usize::from(width)
            };
            let lines = seen.draw(jiff::Timestamp::now().as_second(), running, width);
            picture.show(&lines, usize::from(height))?;
        }
        if !running {
            line(format_args!(
                "No more requests are being sent; `{}` tells the whole of it.",
                super::command("report", name)
            ));
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn tell(entry: &Entry) {
    match entry {
        Entry::Second(second) => line(plain(second)),
        Entry::Failure(failure) => line(format_args!(
            "{}  failed: {} {}",
            super::report::exact_clock(failure.at),
            failure.label(),
            failure.words
        )),
        Entry::Run(_) | Entry::End(_) => {}
    }
}

/// Lines that are drawn over in place.
#[derive(Default)]
struct Picture {
    height: usize,
}

impl Picture {
    /// Draws with one write, so that nothing flickers.
    fn show(&mut self, lines: &[String], height: usize) -> io::Result<()> {
        let lines = &lines[..lines.len().min(height.saturating_sub(1))];
        let mut text = String::new();
        if self.height > 0 {
            text.push_str(&format!("\x1b[{}A", self.height));
        }
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        // What is left of a picture that was higher.
        text.push_str("\x1b[J");
        self.height = lines.len();
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
