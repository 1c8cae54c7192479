//! Reading the daemon's refusals.

use bollard::errors::Error;

/// The HTTP status of a refusal; `None` where the daemon did not answer at all.
pub(super) fn status_code(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// True where the thing asked for is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    status_code(error) == Some(404)
}

/// True where the name is taken or the thing is in the middle of something else.
pub(super) fn is_conflict(error: &Error) -> bool {
    status_code(error) == Some(409)
}

/// The daemon's own words, without the wrapping.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}

/// `Ok` where the error only says that the thing is gone.
pub(super) fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        other => other,
    }
}
