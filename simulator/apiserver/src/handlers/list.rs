//! GET of a collection.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lab_store::{Entry, Revision};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::{ApiError, Subject};
use crate::query::{Query, Since};
use crate::respond::{self, ListMeta};
use crate::selection::Selection;
use crate::server::Server;
use crate::validation::FieldError;

/// Answers the selected objects in name order.
pub(crate) fn list(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let selection = Selection::from_query(
        &call.definition,
        call.namespace.as_deref(),
        None,
        &call.query,
    )?;
    let paging = Paging::from_query(&call.query)?;
    check_revision(server, &call.query)?;
    let (entries, meta) = page(server, call, &selection, paging);
    Ok(respond::list(
        server,
        &call.definition,
        call.form,
        entries,
        &meta,
    ))
}

/// Objects that a list or a deletion is about, all of them.
pub(crate) fn selected(
    server: &Server,
    call: &Call,
    selection: &Selection,
) -> (Vec<Entry>, Revision) {
    let collection = call.definition.collection();
    let prefix = selection.prefix();
    if let Some(key) = selection.only(&call.definition) {
        // In name order, the name itself comes first of all that begin with it.
        let mut page = server.store.list(&collection, &key, None, Some(1));
        let wanted =
            |entry: &Entry| *entry.name == *key && selection.selects(&call.definition, entry);
        page.entries.retain(wanted);
        return (page.entries, page.revision);
    }
    let page = server.store.list(&collection, &prefix, None, None);
    let mut entries = page.entries;
    if !selection.is_everything() {
        entries.retain(|entry| selection.selects(&call.definition, entry));
    }
    (entries, page.revision)
}

/// Which page of a list.
#[derive(Debug, Default)]
struct Paging {
    limit: Option<usize>,
    after: Option<Token>,
}

/// Where a list goes on: what `continue` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Revision of the first page, which every page reports: a watch from there repeats what
    /// changed while the client paged, and misses nothing.
    rv: Revision,
    /// Name in the store of the last object given.
    start: String,
}

impl Paging {
    fn from_query(query: &Query) -> Result<Self, ApiError> {
        let limit = query
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0);
        let after = query.text("continue").map(Token::decode).transpose()?;
        Ok(Self { limit, after })
    }
}

impl Token {
    fn decode(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| {
                let message = "continue key is not valid: it must be the value of metadata.continue of the page before";
                ApiError::BadRequest(message.to_owned())
            })
    }

    fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("a number and a string serialise");
        URL_SAFE_NO_PAD.encode(json)
    }
}

fn page(
    server: &Server,
    call: &Call,
    selection: &Selection,
    paging: Paging,
) -> (Vec<Entry>, ListMeta) {
    let Paging { limit, after } = paging;
    let collection = call.definition.collection();
    let start = after.as_ref().map(|token| token.start.as_str());
    if selection.is_everything() {
        let page = server
            .store
            .list(&collection, &selection.prefix(), start, limit);
        let revision = after.as_ref().map_or(page.revision, |token| token.rv);
        let more = page.remaining > 0;
        let meta = meta(
            revision,
            page.entries.last(),
            more,
            more.then_some(page.remaining),
        );
        return (page.entries, meta);
    }
    let (mut entries, revision) = selected(server, call, selection);
    if let Some(start) = start {
        entries.retain(|entry| *entry.name > *start);
    }
    let more = limit.is_some_and(|limit| entries.len() > limit);
    entries.truncate(limit.unwrap_or(usize::MAX));
    let revision = after.as_ref().map_or(revision, |token| token.rv);
    // How many are left is not told of a filtered list, as upstream.
    let meta = meta(revision, entries.last(), more, None);
    (entries, meta)
}

fn meta(
    revision: Revision,
    last: Option<&Entry>,
    more: bool,
    remaining: Option<usize>,
) -> ListMeta {
    let next = last.filter(|_| more).map(|entry| {
        let start = entry.name.to_string();
        Token {
            rv: revision,
            start,
        }
        .encode()
    });
    ListMeta {
        revision,
        next,
        remaining,
    }
}

/// Every list shows the present, which is "not older than" any past revision.
fn check_revision(server: &Server, query: &Query) -> Result<(), ApiError> {
    let current = server.store.revision();
    let since = Since::from_query(query)?;
    if let Since::Revision(asked) = since
        && asked > current
    {
        return Err(ApiError::FutureRevision { asked, current });
    }
    match (query.text("resourceVersionMatch"), since) {
        (None | Some("NotOlderThan"), Since::Any | Since::Revision(_)) | (None, Since::Unset) => Ok(()),
        (Some("Exact"), Since::Revision(asked)) if asked == current => Ok(()),
        (Some("Exact"), Since::Revision(_)) => Err(ApiError::Expired(
            "The provided resource version is too old: past states are not kept, list the present instead".to_owned(),
        )),
        (Some(_), Since::Unset) => Err(invalid_options(FieldError::forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ))),
        (Some("Exact"), Since::Any) => Err(invalid_options(FieldError::forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ))),
        (Some(other), Since::Any | Since::Revision(_)) => Err(invalid_options(
            FieldError::not_supported("resourceVersionMatch", other, &["Exact", "NotOlderThan", ""]),
        )),
    }
}

/// Parameters of a list or watch that contradict each other.
pub(crate) fn invalid_options(error: FieldError) -> ApiError {
    let subject = Subject::of_kind("meta.k8s.io", "ListOptions", "");
    ApiError::Invalid(subject, vec![error])
}
