//! The one way in which a reconcile fails: the API did not do what was asked.

/// A request to the API that failed. Every such failure is retried with back-off, so callers
/// handle only the answers that mean something to them.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub(crate) struct Error {
    action: String,
    #[source]
    source: Box<kube::Error>,
}

impl Error {
    /// Somebody else wrote first; the cache will tell.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has(409, "Conflict")
    }

    /// The object is gone.
    pub(crate) fn is_not_found(&self) -> bool {
        self.has(404, "NotFound")
    }

    /// The name is taken.
    pub(crate) fn already_exists(&self) -> bool {
        self.has(409, "AlreadyExists")
    }

    /// The namespace is being deleted, so nothing can be created in it and nothing need be.
    pub(crate) fn namespace_is_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            status.details.as_ref().is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            }) || status.code == 403 && status.message.contains("because it is being terminated")
        })
    }

    /// What the API server said, or what went wrong on the way to it.
    pub(crate) fn answer(&self) -> String {
        self.status()
            .map_or_else(|| self.source.to_string(), |status| status.message.clone())
    }

    fn has(&self, code: u16, reason: &str) -> bool {
        self.status()
            .is_some_and(|status| status.code == code && status.reason == reason)
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self.source.as_ref() {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }
}

/// Names the action that a failed request was part of.
pub(crate) trait During<T> {
    /// `action` completes the phrase "failed to …".
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, kube::Error> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error {
            action: action(),
            source: Box::new(source),
        })
    }
}
