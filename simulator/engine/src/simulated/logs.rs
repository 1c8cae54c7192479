//! What a simulated container is said to have written.

use bytes::Bytes;
use jiff::Timestamp;

use super::state::Place;
use crate::{ContainerId, ContainerState, LogOptions};

/// What a simulated container wrote: a line for its start and one for its end.
pub(super) fn lines(id: &ContainerId, state: &ContainerState) -> Vec<(Timestamp, String)> {
    let name = Place::of(id).map_or("", |place| place.name);
    let start = |at: Timestamp| (at, format!("simulated container {name} started"));
    match state {
        ContainerState::Created => Vec::new(),
        ContainerState::Running { started_at } => vec![start(*started_at)],
        ContainerState::Exited {
            started_at,
            finished_at,
            exit_code,
            ..
        } => {
            let end = (
                *finished_at,
                format!("simulated container {name} ended with exit code {exit_code}"),
            );
            started_at
                .iter()
                .map(|at| start(*at))
                .chain([end])
                .collect()
        }
    }
}

/// The lines that were asked for, as text.
pub(super) fn select(lines: Vec<(Timestamp, String)>, options: &LogOptions) -> Vec<Bytes> {
    let tail = options.tail_lines.map_or(lines.len(), |tail| {
        usize::try_from(tail).unwrap_or(usize::MAX)
    });
    let skip = lines.len().saturating_sub(tail);
    let recent = lines
        .into_iter()
        .skip(skip)
        .filter(|(at, _)| options.since.is_none_or(|since| *at >= since));
    recent
        .map(|(at, text)| {
            if options.timestamps {
                format!("{at:.9} {text}\n")
            } else {
                format!("{text}\n")
            }
        })
        .map(Bytes::from)
        .collect()
}
