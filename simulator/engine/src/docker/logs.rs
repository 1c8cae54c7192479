//! A container's output.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;

use super::{Shared, errors};
use crate::{ContainerId, EngineError, LogOptions};

impl Shared {
    pub(super) async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        // Asked first, so that a wrong id is an error of the call and not of the first line.
        if let Err(error) = self.docker.inspect_container(&container.0, None).await {
            return Err(match errors::is_missing(&error) {
                true => EngineError::NotFound(format!("container {}", container.0)),
                false => {
                    EngineError::runtime(format!("looking at container {}", container.0), error)
                }
            });
        }
        let LogOptions {
            follow,
            tail_lines,
            since,
            timestamps,
        } = options.clone();
        let request = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            // The daemon's client counts seconds only; the rest is cut below.
            since: since
                .and_then(|time| i32::try_from(time.as_second()).ok())
                .unwrap_or_default(),
            timestamps: timestamps || since.is_some(),
            tail: tail_lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..LogsOptions::default()
        };
        let lines = self.docker.logs(&container.0, Some(request));
        Ok(lines
            .filter_map(move |line| async move {
                match line {
                    Ok(line) => since_moment(bytes_of(line), since, timestamps).map(Ok),
                    Err(error) => Some(Err(EngineError::runtime(
                        "reading a container's log",
                        error,
                    ))),
                }
            })
            .boxed())
    }
}

/// The text without the frame that tells output from error.
fn bytes_of(line: LogOutput) -> Bytes {
    line.into_bytes()
}

/// Drops lines before the moment, and the time in front of the others unless it is wanted.
fn since_moment(line: Bytes, since: Option<Timestamp>, keep_time: bool) -> Option<Bytes> {
    let Some(since) = since else {
        return Some(line);
    };
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        return Some(line);
    };
    let written: Option<Timestamp> = std::str::from_utf8(&line[..space])
        .ok()
        .and_then(|time| time.parse().ok());
    match written {
        Some(written) if written < since => None,
        Some(_) if !keep_time => Some(line.slice(space + 1..)),
        Some(_) | None => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-01-01T00:00:01.5Z hello world\n";

    #[track_caller]
    fn check(since: Option<&str>, keep_time: bool, expected: Option<&str>) {
        let since = since.map(|time| time.parse().unwrap());
        let found = since_moment(Bytes::from_static(LINE.as_bytes()), since, keep_time);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes));
    }

    #[test]
    fn lines_since_a_moment_are_cut_finer_than_a_second() {
        check(None, true, Some(LINE));
        check(Some("2026-01-01T00:00:01.4Z"), true, Some(LINE));
        check(Some("2026-01-01T00:00:01.4Z"), false, Some("hello world\n"));
        check(Some("2026-01-01T00:00:01.6Z"), false, None);
    }
}
