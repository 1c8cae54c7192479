//! What a path below `/v2/` means. Repository names contain slashes, so paths are read from
//! their end.

use crate::digest::Digest;
use crate::error::Refusal;
use crate::names::{Reference, RepositoryName, UploadId};

/// A path of the specification, with its parts checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `_catalog`
    Catalog,
    /// `<name>/tags/list`
    Tags(RepositoryName),
    /// `<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `<name>/blobs/uploads/`
    Uploads(RepositoryName),
    /// `<name>/blobs/uploads/<id>`
    Upload(RepositoryName, UploadId),
    /// `<name>/referrers/<digest>`
    Referrers(RepositoryName, Digest),
}

impl Route {
    /// Reads a path without its leading `/v2/`.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        if path.trim_end_matches('/') == "_catalog" {
            return Ok(Self::Catalog);
        }
        if let Some(name) = path
            .strip_suffix("/blobs/uploads/")
            .or_else(|| path.strip_suffix("/blobs/uploads"))
        {
            return RepositoryName::parse(name).map(Self::Uploads);
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return RepositoryName::parse(name).map(Self::Tags);
        }
        Self::parse_item(path)
    }

    /// Reads a path that ends in the name of one thing.
    fn parse_item(path: &str) -> Result<Self, Refusal> {
        let (collection, item) = path.rsplit_once('/').ok_or(Refusal::PathUnknown)?;
        if let Some(name) = collection.strip_suffix("/manifests") {
            let name = RepositoryName::parse(name)?;
            return Ok(Self::Manifest(name, Reference::parse(item)?));
        }
        if let Some(name) = collection.strip_suffix("/blobs/uploads") {
            let name = RepositoryName::parse(name)?;
            return Ok(Self::Upload(name, UploadId::parse(item)?));
        }
        if let Some(name) = collection.strip_suffix("/blobs") {
            let name = RepositoryName::parse(name)?;
            return Ok(Self::Blob(name, Digest::parse(item)?));
        }
        if let Some(name) = collection.strip_suffix("/referrers") {
            let name = RepositoryName::parse(name)?;
            return Ok(Self::Referrers(name, Digest::parse(item)?));
        }
        Err(Refusal::PathUnknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Tag;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[track_caller]
    fn case(path: &str, expected: &Route) {
        assert_eq!(&Route::parse(path).unwrap(), expected);
    }

    #[track_caller]
    fn refused(path: &str) {
        assert!(Route::parse(path).is_err(), "{path:?} was accepted");
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let hex = format!("sha256:{}", "ab".repeat(32));
        let digest = Digest::parse(&hex).unwrap();
        let tag = |text| Reference::Tag(Tag::parse(text).unwrap());
        let id = "a".repeat(UploadId::LENGTH);
        case("_catalog", &Route::Catalog);
        case("a/b/tags/list", &Route::Tags(name("a/b")));
        case("a/manifests/1.0", &Route::Manifest(name("a"), tag("1.0")));
        case(
            &format!("a/manifests/{hex}"),
            &Route::Manifest(name("a"), Reference::Digest(digest.clone())),
        );
        case(
            &format!("a/b/blobs/{hex}"),
            &Route::Blob(name("a/b"), digest.clone()),
        );
        case("a/blobs/uploads/", &Route::Uploads(name("a")));
        case("a/blobs/uploads", &Route::Uploads(name("a")));
        case(
            &format!("a/blobs/uploads/{id}"),
            &Route::Upload(name("a"), UploadId::parse(&id).unwrap()),
        );
        case(
            &format!("a/referrers/{hex}"),
            &Route::Referrers(name("a"), digest),
        );
    }

    #[test]
    fn repositories_may_be_called_like_parts_of_the_interface() {
        let tag = Reference::Tag(Tag::parse("latest").unwrap());
        case(
            "manifests/manifests/latest",
            &Route::Manifest(name("manifests"), tag.clone()),
        );
        case(
            "a/blobs/uploads/manifests/latest",
            &Route::Manifest(name("a/blobs/uploads"), tag),
        );
        case("tags/tags/list", &Route::Tags(name("tags")));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        refused("");
        refused("a");
        refused("a/b");
        refused("../manifests/latest");
        refused("a/../../b/manifests/latest");
        refused("a/manifests/..");
        refused("a/blobs/latest");
        refused("a/blobs/uploads/../../x");
        refused("/manifests/latest");
    }
}
