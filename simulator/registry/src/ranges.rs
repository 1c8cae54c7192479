//! The three spellings of a byte range: `Range` of a download, `Content-Range` of an uploaded
//! chunk, and `Range` in the answer to a chunk.

use crate::error::Refusal;

/// Which part of a blob to send, in bytes; `end` is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Reads a download's `Range` header. `None` stands for the whole blob: a server may ignore what
/// it does not understand, and several ranges at once are not worth understanding.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-range>
pub(crate) fn requested(header: &str, size: u64) -> Result<Option<Part>, Refusal> {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(last)) if start <= last => Part {
            start,
            end: last.saturating_add(1).min(size),
        },
        (Ok(start), Err(_)) if last.is_empty() => Part { start, end: size },
        (Err(_), Ok(length)) if first.is_empty() => Part {
            start: size.saturating_sub(length),
            end: size,
        },
        _ => return Ok(None),
    };
    if part.start < part.end {
        Ok(Some(part))
    } else {
        Err(Refusal::RangeNotSatisfiable { size })
    }
}

/// Reads a chunk's `Content-Range`, `first-last` with both inclusive.
pub(crate) fn chunk(header: &str) -> Result<Part, Refusal> {
    let parsed = header.split_once('-').and_then(|(first, last)| {
        let start = first.parse().ok()?;
        let end = last.parse::<u64>().ok()?.checked_add(1)?;
        (start < end).then_some(Part { start, end })
    });
    parsed.ok_or_else(|| Refusal::BlobUploadInvalid {
        reason: format!("Content-Range {header:?} is not of the form first-last"),
    })
}

/// The `Range` that tells a client how much has come. Nothing at all is written `0-0`, as the
/// reference registry does, since an inclusive range cannot be empty.
pub(crate) fn received(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(header: &str, expected: Option<(u64, u64)>) {
        let part = requested(header, 10).unwrap();
        assert_eq!(
            part.map(|part| (part.start, part.end)),
            expected,
            "{header}"
        );
    }

    #[test]
    fn download_ranges_are_cut_to_the_blob() {
        case("bytes=0-3", Some((0, 4)));
        case("bytes=4-", Some((4, 10)));
        case("bytes=-3", Some((7, 10)));
        case("bytes=-30", Some((0, 10)));
        case("bytes=8-100", Some((8, 10)));
        case("bytes=9-18446744073709551615", Some((9, 10)));
    }

    #[test]
    fn ranges_that_are_not_understood_mean_the_whole_blob() {
        case("lines=1-2", None);
        case("bytes=0-1,4-5", None);
        case("bytes=5-4", None);
        case("bytes=-", None);
    }

    #[test]
    fn a_range_beyond_the_end_cannot_be_satisfied() {
        assert!(requested("bytes=10-", 10).is_err());
        assert!(requested("bytes=-0", 10).is_err());
    }

    #[test]
    fn chunks_need_both_ends() {
        assert_eq!(chunk("0-0").unwrap(), Part { start: 0, end: 1 });
        assert_eq!(chunk("5-9").unwrap(), Part { start: 5, end: 10 });
        for bad in [
            "",
            "5-",
            "-5",
            "9-5",
            "bytes 0-4/5",
            "0-18446744073709551615",
        ] {
            assert!(chunk(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
