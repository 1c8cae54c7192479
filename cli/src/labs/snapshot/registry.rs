//! The tags of the cluster's registry: which image each one leads to.
//!
//! Images stay in the registry when a tag moves on, until its garbage is collected; so a tag is
//! brought back by writing it down again.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use futures::future::try_join_all;
use lab_cluster::record::Record;
use lab_image::client::{ClientError, RegistryClient};
use serde::{Deserialize, Serialize};

/// Digests by repository and tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Tags(BTreeMap<String, BTreeMap<String, String>>);

/// A change of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change<'a> {
    Remove {
        repository: &'a str,
        tag: &'a str,
    },
    Set {
        repository: &'a str,
        tag: &'a str,
        digest: &'a str,
    },
}

fn client(record: &Record) -> RegistryClient {
    RegistryClient::new(&format!("localhost:{}", record.ports.registry))
}

impl Tags {
    /// Asks the registry.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) async fn read(record: &Record) -> anyhow::Result<Self> {
        let client = client(record);
        let repositories = client
            .catalog()
            .await
            .context("the registry does not answer")?;
        let tags = repositories.into_iter().map(|name| of(&client, name));
        Ok(Self(try_join_all(tags).await?.into_iter().collect()))
    }

    /// What makes `found` into these.
    fn changes<'a>(&'a self, found: &'a Self) -> Vec<Change<'a>> {
        let mut changes = Vec::new();
        for (repository, tags) in &found.0 {
            let kept = self.0.get(repository);
            let gone = tags
                .keys()
                .filter(|tag| !kept.is_some_and(|kept| kept.contains_key(*tag)));
            changes.extend(gone.map(|tag| Change::Remove { repository, tag }));
        }
        for (repository, tags) in &self.0 {
            let found = found.0.get(repository);
            let other = tags
                .iter()
                .filter(|(tag, digest)| found.and_then(|found| found.get(*tag)) != Some(*digest));
            changes.extend(other.map(|(tag, digest)| Change::Set {
                repository,
                tag,
                digest,
            }));
        }
        changes
    }

    /// Brings the registry back to these.
    ///
    /// # Errors
    /// Where it does not answer, or an image is gone for good.
    pub(super) async fn restore(&self, record: &Record) -> anyhow::Result<()> {
        let client = client(record);
        let found = Self::read(record).await?;
        for change in self.changes(&found) {
            match change {
                Change::Remove { repository, tag } => match client.delete(repository, tag).await {
                    Ok(()) | Err(ClientError::NotFound { .. }) => {}
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("{repository}:{tag} is not removed"));
                    }
                },
                Change::Set {
                    repository,
                    tag,
                    digest,
                } => set(&client, repository, tag, digest).await?,
            }
        }
        Ok(())
    }
}

async fn of(
    client: &RegistryClient,
    repository: String,
) -> anyhow::Result<(String, BTreeMap<String, String>)> {
    let tags = match client.tags(&repository).await {
        Ok(tags) => tags,
        Err(ClientError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(error).context("the registry does not answer"),
    };
    let one = async |tag: String| {
        let manifest = client.manifest(&repository, &tag).await?;
        Ok::<_, ClientError>((tag, manifest.digest.as_str().to_owned()))
    };
    let tags = try_join_all(tags.into_iter().map(one)).await?;
    Ok((repository, tags.into_iter().collect()))
}

async fn set(
    client: &RegistryClient,
    repository: &str,
    tag: &str,
    digest: &str,
) -> anyhow::Result<()> {
    let manifest = match client.manifest(repository, digest).await {
        Ok(manifest) => manifest,
        Err(ClientError::NotFound { .. }) => bail!(
            "the image that was {repository}:{tag} is no longer in the registry; build and push it again"
        ),
        Err(error) => return Err(error).context("the registry does not answer"),
    };
    client
        .push_manifest(repository, tag, &manifest.media_type, manifest.content)
        .await
        .with_context(|| format!("{repository}:{tag} is not brought back"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(all: &[(&str, &str, &str)]) -> Tags {
        let mut tags = Tags::default();
        for (repository, tag, digest) in all {
            let repository = tags.0.entry((*repository).to_owned()).or_default();
            repository.insert((*tag).to_owned(), (*digest).to_owned());
        }
        tags
    }

    #[test]
    fn tags_that_came_go_and_those_that_moved_or_went_come_back() {
        let kept = tags(&[
            ("hello", "1", "a"),
            ("hello", "2", "b"),
            ("other", "1", "c"),
        ]);
        let found = tags(&[
            ("hello", "1", "a"),
            ("hello", "2", "x"),
            ("hello", "3", "x"),
        ]);
        let set = |repository, tag, digest| Change::Set {
            repository,
            tag,
            digest,
        };
        assert_eq!(
            kept.changes(&found),
            [
                Change::Remove {
                    repository: "hello",
                    tag: "3"
                },
                set("hello", "2", "b"),
                set("other", "1", "c"),
            ]
        );
        assert!(kept.changes(&kept).is_empty());
    }
}
