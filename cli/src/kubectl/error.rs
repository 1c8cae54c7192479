//! Errors in kubectl's words, and how they are printed.

use kube::core::Status;
use serde_json::Value;

use crate::output::note;

/// What went wrong.
#[derive(Debug)]
pub(super) enum Error {
    /// The API server refused.
    Server(Box<Status>),
    /// kubectl's own: printed after `error: `.
    Said(String),
    /// Printed as it is.
    Plain(String),
    /// A wrong command line, printed after `error: ` and with a pointer to the help.
    Usage(String),
    /// A wrong flag, likewise.
    Flag(String),
    /// Several, one line each.
    Several(Vec<Error>),
}

/// What can fail so.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// kubectl's own error.
pub(super) fn said(text: impl Into<String>) -> Error {
    Error::Said(text.into())
}

impl Error {
    /// A refusal as the server wrote it.
    pub(super) fn from_body(code: u16, body: &[u8]) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let status = parsed
            .filter(|body| body["kind"] == "Status")
            .and_then(|body| serde_json::from_value::<Status>(body).ok());
        let status = status.unwrap_or_else(|| {
            let message = match code {
                404 => "the server could not find the requested resource".to_owned(),
                _ => String::from_utf8_lossy(body).trim().to_owned(),
            };
            Status {
                code,
                message,
                reason: if code == 404 { "NotFound" } else { "" }.to_owned(),
                ..Status::default()
            }
        });
        Self::Server(Box::new(status))
    }

    /// True for an answer with this code.
    pub(super) fn is(&self, code: u16) -> bool {
        matches!(self, Self::Server(status) if status.code == code)
    }

    /// With words before the server's message, such as `error when creating "f.yaml"`.
    pub(super) fn when(self, doing: &str) -> Self {
        match self {
            Self::Server(mut status) => {
                status.message = format!("{doing}: {}", status.message);
                Self::Server(status)
            }
            Self::Said(text) => Self::Said(format!("{doing}: {text}")),
            other @ (Self::Plain(_) | Self::Usage(_) | Self::Flag(_) | Self::Several(_)) => other,
        }
    }

    /// One error out of many, or none.
    pub(super) fn all(mut errors: Vec<Self>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// The text as kubectl prints it.
    pub(super) fn text(&self, command: &str) -> String {
        match self {
            Self::Server(status) => of_status(status),
            Self::Said(text) => format!("error: {text}"),
            Self::Plain(text) => text.clone(),
            Self::Usage(text) => {
                format!("error: {text}\nSee 'kubectl {command} -h' for help and examples")
            }
            Self::Flag(text) => {
                format!("error: {text}\nSee 'kubectl {command} --help' for usage.")
            }
            Self::Several(errors) => {
                let mut lines: Vec<_> = errors.iter().map(|error| error.text(command)).collect();
                lines.dedup();
                lines.join("\n")
            }
        }
    }

    /// Prints it on standard error.
    pub(super) fn report(&self, command: &str) {
        note(self.text(command));
    }
}

fn of_status(status: &Status) -> String {
    let Status {
        message, reason, ..
    } = status;
    match reason.as_str() {
        "" => format!("Error from server: {message}"),
        "Unauthorized" => format!("error: You must be logged in to the server ({message})"),
        "Invalid" => invalid(status),
        reason => format!("Error from server ({reason}): {message}"),
    }
}

/// The causes, not the message: that is how kubectl words a refused object.
fn invalid(status: &Status) -> String {
    let details = status
        .details
        .as_ref()
        .filter(|details| !details.kind.is_empty());
    let Some(details) = details else {
        return "The request is invalid".to_owned();
    };
    let subject = format!("The {} {:?} is invalid", details.kind, details.name);
    let causes: Vec<_> = details
        .causes
        .iter()
        .map(|cause| match cause.field.as_str() {
            "" => cause.message.clone(),
            field => format!("{field}: {}", cause.message),
        })
        .collect();
    match causes.as_slice() {
        [] => subject,
        [one] => format!("{subject}: {one}"),
        many => format!("{subject}: \n* {}", many.join("\n* ")),
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::Server(status);
        }
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        let mut refused = false;
        while let Some(cause) = source {
            refused |= cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        if refused {
            Self::Plain("refused".to_owned())
        } else {
            Self::Plain(format!("Unable to connect to the server: {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(code: u16, body: &Value) -> String {
        Error::from_body(code, body.to_string().as_bytes()).text("get")
    }

    #[test]
    fn the_server_is_quoted_with_its_reason() {
        let body = json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "pods \"x\" not found"});
        assert_eq!(
            told(404, &body),
            "Error from server (NotFound): pods \"x\" not found"
        );
    }

    #[test]
    fn a_refused_object_is_told_by_its_causes() {
        let cause = |field: &str| json!({"field": field, "message": "Required value", "reason": "FieldValueRequired"});
        let body = |causes: Value| {
            json!({"kind": "Status", "code": 422, "reason": "Invalid", "message": "long",
                "details": {"kind": "Deployment", "name": "x", "causes": causes}})
        };
        assert_eq!(
            told(422, &body(json!([cause("spec.a")]))),
            "The Deployment \"x\" is invalid: spec.a: Required value"
        );
        assert_eq!(
            told(422, &body(json!([cause("spec.a"), cause("spec.b")]))),
            "The Deployment \"x\" is invalid: \n* spec.a: Required value\n* spec.b: Required value"
        );
    }
}
