//! K009: an image in the registry is made and configured as a step asks for.

use std::collections::{BTreeMap, BTreeSet};

use lab_image::contents::{self, LayerContents};
use lab_image::glob;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::dockerfile::is_root;
use crate::readers::image_content::{Found, ImageContent, Images, is_runtime};

const NAME: &str = "image-configured";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K009",
    name: NAME,
    help: "The registry has `image`, and its configuration is so: `user: non-root`; `entrypoint`, the list of words; \
        `labels` and `env` with these values (null for any). It is built on the image `base`: `devops-lab/runtime:1`, \
        or one in the registry. What lies above its base (above the runtime image, where `base` is not given and it \
        is built on that; else everything) has at most `maxOwnBytes` as stored, and no layer of it holds a file that \
        matches a pattern of `absent`, be it deleted in a later layer (`*.key` matches in every directory, \
        `/app/*.key` in one). The image has at most `maxLayers` layers in all, each file of `present`, and the \
        content of the image `sameContentAs`.",
    schema: schema::<With>,
    accepts: super::accepts::<With>,
    run: |context, input| start(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    image: String,
    user: Option<User>,
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    labels: BTreeMap<String, Option<String>>,
    #[serde(default)]
    env: BTreeMap<String, Option<String>>,
    max_own_bytes: Option<u64>,
    max_layers: Option<usize>,
    base: Option<String>,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    present: Vec<String>,
    same_content_as: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum User {
    NonRoot,
}

/// What was read.
#[derive(Clone, Debug)]
struct Seen {
    image: ImageContent,
    /// How many layers are those of its base; none where it is not built on the base asked for.
    below: Option<usize>,
    /// What its layers hold, lowest first; those of the base are empty unless they were needed.
    layers: Vec<LayerContents>,
    /// The image that it should be the same as.
    other: Option<ImageContent>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let images = Images::new(&context.addresses.registry);
    let name = images.name(NAME, &with.image)?;
    let read = async |image: &Option<String>| match image {
        Some(image) if !is_runtime(image) => {
            let name = images.name(NAME, image)?;
            images.read(image, name).await.map(Some)
        }
        Some(_) | None => Ok(None),
    };
    let (image, base, other) = tokio::try_join!(
        images.read(&with.image, name),
        read(&with.base),
        read(&with.same_content_as),
    )?;
    let absent = |diagnosis| Ok(judge(&with, Err(diagnosis)));
    let image = match image {
        Found::Image(image) => *image,
        Found::Absent(diagnosis) => return absent(diagnosis),
    };
    let below = match (&with.base, base) {
        (Some(_), Some(Found::Image(base))) => image.layers_of(&base),
        (Some(_), None) => Some(image.runtime_layers()).filter(|layers| *layers > 0),
        (None, _) => Some(image.runtime_layers()),
        (Some(_), Some(Found::Absent(diagnosis))) => return absent(diagnosis),
    };
    let other = match other {
        None => None,
        Some(Found::Image(other)) => Some(*other),
        Some(Found::Absent(diagnosis)) => return absent(diagnosis),
    };
    let layers = layers(&images, name.repository, &with, &image, below).await?;
    let seen = Seen {
        image,
        below,
        layers,
        other,
    };
    Ok(judge(&with, Ok(&seen)))
}

/// Reads the layers that are asked about. Those of the base are large, and read only where a file
/// is not found above it.
async fn layers(
    images: &Images,
    repository: &str,
    with: &With,
    image: &ImageContent,
    below: Option<usize>,
) -> Result<Vec<LayerContents>, Diagnosis> {
    if with.absent.is_empty() && with.present.is_empty() {
        return Ok(Vec::new());
    }
    let all = &image.manifest.layers;
    let below = below.unwrap_or(0).min(all.len());
    let keep = BTreeSet::new();
    let own = images.layers(repository, &all[below..], &keep).await?;
    let missing = |path: &String| !contents::has(&own, path);
    let mut layers = if with.present.iter().any(missing) {
        images.layers(repository, &all[..below], &keep).await?
    } else {
        vec![LayerContents::default(); below]
    };
    layers.extend(own);
    Ok(layers)
}

fn judge(with: &With, seen: Result<&Seen, Diagnosis>) -> Outcome {
    let observed = match &seen {
        Err(_) => Fact::Nothing {
            kind: "image".to_owned(),
            name: with.image.clone(),
        },
        Ok(seen) => Fact::ImageConfig {
            image: with.image.clone(),
            user: user_of(&seen.image),
            layers: seen.image.manifest.layers.len().to_string(),
            bytes: own_bytes(seen).to_string(),
            base: seen.below.unwrap_or(0).to_string(),
        },
    };
    let evidence = Evidence {
        expected: Fact::ImageConfigWanted {
            image: with.image.clone(),
            wanted: wanted(with),
        },
        observed,
        since: None,
    };
    Outcome::of(evidence, seen.and_then(|seen| find(with, seen)))
}

/// What is asked for, without words, so that it reads the same in every language.
fn wanted(with: &With) -> String {
    let value = |(name, value): (&String, &Option<String>)| {
        format!("{name}={}", value.as_deref().unwrap_or("…"))
    };
    let wanted: Vec<_> = with
        .user
        .iter()
        .map(|_| "USER ≠ root".to_owned())
        .chain(
            with.entrypoint
                .iter()
                .map(|words| format!("ENTRYPOINT {words:?}")),
        )
        .chain(with.labels.iter().map(value))
        .chain(with.env.iter().map(value))
        .chain(with.base.iter().map(|base| format!("FROM {base}")))
        .chain(with.max_own_bytes.iter().map(|most| format!("≤ {most} B")))
        .chain(
            with.max_layers
                .iter()
                .map(|most| format!("layers ≤ {most}")),
        )
        .chain(with.absent.iter().map(|file| format!("¬ {file}")))
        .chain(with.present.iter().cloned())
        .chain(
            with.same_content_as
                .iter()
                .map(|other| format!("= {other}")),
        )
        .collect();
    if wanted.is_empty() {
        "…".to_owned()
    } else {
        wanted.join(", ")
    }
}

fn user_of(image: &ImageContent) -> String {
    let user = &image.config.config.user;
    if user.is_empty() {
        "root".to_owned()
    } else {
        user.clone()
    }
}

fn own_bytes(seen: &Seen) -> u64 {
    let own = seen.image.manifest.layers.iter();
    own.skip(seen.below.unwrap_or(0))
        .map(|layer| layer.size)
        .sum()
}

fn find(with: &With, seen: &Seen) -> Result<(), Diagnosis> {
    configuration(with, &seen.image)?;
    let image = || with.image.clone();
    if let (Some(base), None) = (&with.base, seen.below) {
        return Err(Diagnosis::ImageOtherBase {
            image: image(),
            base: base.clone(),
        });
    }
    files(with, seen)?;
    let bytes = own_bytes(seen);
    if let Some(most) = with.max_own_bytes.filter(|most| bytes > *most) {
        return Err(Diagnosis::ImageTooBig {
            image: image(),
            most: most.to_string(),
            found: bytes.to_string(),
        });
    }
    let layers = seen.image.manifest.layers.len();
    if let Some(most) = with.max_layers.filter(|most| layers > *most) {
        return Err(Diagnosis::ImageTooManyLayers {
            image: image(),
            most: most.to_string(),
            found: layers.to_string(),
        });
    }
    let same = |other: &&ImageContent| {
        other.digest == seen.image.digest
            || other.manifest.config.digest == seen.image.manifest.config.digest
    };
    match (&with.same_content_as, &seen.other) {
        (Some(other), content) if !content.as_ref().is_some_and(|content| same(&content)) => {
            Err(Diagnosis::ImageOtherContent {
                image: image(),
                other: other.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// How it is run.
fn configuration(with: &With, content: &ImageContent) -> Result<(), Diagnosis> {
    let image = || with.image.clone();
    let config = &content.config.config;
    if with.user == Some(User::NonRoot) && is_root(&config.user) {
        return Err(Diagnosis::ImageRunsAsRoot {
            image: image(),
            user: user_of(content),
        });
    }
    if let Some(expected) = with
        .entrypoint
        .as_ref()
        .filter(|it| **it != config.entrypoint)
    {
        return Err(Diagnosis::ImageEntrypointDiffers {
            image: image(),
            expected: format!("{expected:?}"),
            found: format!("{:?}", config.entrypoint),
        });
    }
    let differs = |expected: &Option<String>, found: Option<&str>| match expected {
        Some(expected) => found != Some(expected),
        None => found.is_none_or(str::is_empty),
    };
    let words = |text: Option<&str>, none: &str| text.unwrap_or(none).to_owned();
    for (label, expected) in &with.labels {
        let found = config.labels.get(label).map(String::as_str);
        if differs(expected, found) {
            return Err(Diagnosis::ImageLabelMissing {
                image: image(),
                label: label.clone(),
                expected: words(expected.as_deref(), "…"),
                found: words(found, "–"),
            });
        }
    }
    for (variable, expected) in &with.env {
        let mut entries = config.env.iter().filter_map(|entry| entry.split_once('='));
        let found = entries.find(|(name, _)| name == variable);
        let found = found.map(|(_, value)| value);
        if differs(expected, found) {
            return Err(Diagnosis::ImageEnvMissing {
                image: image(),
                variable: variable.clone(),
                expected: words(expected.as_deref(), "…"),
                found: words(found, "–"),
            });
        }
    }
    Ok(())
}

/// What it holds.
fn files(with: &With, seen: &Seen) -> Result<(), Diagnosis> {
    let own = seen.layers.iter().enumerate();
    for (number, layer) in own.skip(seen.below.unwrap_or(0)) {
        let held = |pattern: &String| {
            let mut files = layer.added.iter();
            files.find(|(path, directory)| !**directory && is_meant(pattern, path))
        };
        if let Some((file, _)) = with.absent.iter().find_map(held) {
            return Err(Diagnosis::ImageHoldsFile {
                image: with.image.clone(),
                file: format!("/{file}"),
                layer: (number + 1).to_string(),
            });
        }
    }
    let missing = |path: &&String| !contents::has(&seen.layers, path);
    match with.present.iter().find(missing) {
        Some(file) => Err(Diagnosis::ImageLacksFile {
            image: with.image.clone(),
            file: file.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether a pattern is about a path; one without a slash is about names in every directory. What
/// lies in a directory that is meant is meant too.
fn is_meant(pattern: &str, path: &str) -> bool {
    let everywhere = !pattern.trim_end_matches('/').contains('/');
    let pattern = pattern.trim_matches('/');
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()]).any(|end| {
        let path = &path[..end];
        let name = path.rsplit('/').next().unwrap_or(path);
        glob::matches(pattern, if everywhere { name } else { path })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{diagnosed, merged};
    use lab_image::spec::{Descriptor, ImageConfig, LAYER_TAR, Manifest};
    use serde_json::{Value, json};

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn layer(letter: char, size: u64) -> Descriptor {
        serde_json::from_value(
            json!({"mediaType": LAYER_TAR, "digest": digest(letter), "size": size}),
        )
        .unwrap()
    }

    fn contents(files: &[&str]) -> LayerContents {
        LayerContents {
            added: files
                .iter()
                .map(|file| ((*file).to_owned(), false))
                .collect(),
            ..LayerContents::default()
        }
    }

    fn image() -> ImageContent {
        let manifest: Manifest = serde_json::from_value(json!({"schemaVersion": 2,
            "config": {"mediaType": "x", "digest": digest('c'), "size": 9},
            "layers": [layer('a', 1_000_000), layer('b', 2_000)]}))
        .unwrap();
        let config: ImageConfig = serde_json::from_value(json!({
            "architecture": "amd64", "os": "linux",
            "config": {"User": "10001", "Env": ["PORT=8080", "EMPTY="], "Entrypoint": ["/devops-lab", "app"],
                "Labels": {"org.opencontainers.image.title": "hello"}},
            "rootfs": {"type": "layers", "diff_ids": [digest('a'), digest('b')]},
            "history": [{"created_by": "devops-lab"}, {"created_by": "COPY app.js /app/"}]}))
        .unwrap();
        ImageContent {
            digest: digest('d'),
            manifest,
            config,
        }
    }

    fn seen() -> Seen {
        Seen {
            image: image(),
            below: Some(1),
            layers: vec![contents(&["devops-lab"]), contents(&["app/app.js"])],
            other: None,
        }
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, change: impl FnOnce(&mut Seen)) {
        let mut seen = seen();
        change(&mut seen);
        let full = merged(json!({"image": "localhost:5001/hello:1.0.0"}), with);
        let with: With = serde_json::from_value(full).unwrap();
        let outcome = judge(&with, Ok(&seen));
        diagnosed(&outcome, expected);
    }

    #[test]
    fn an_image_as_it_should_be_holds() {
        let all = json!({"user": "non-root", "entrypoint": ["/devops-lab", "app"], "env": {"PORT": "8080"},
            "labels": {"org.opencontainers.image.title": null}, "maxOwnBytes": 2_000, "maxLayers": 2,
            "base": "devops-lab/runtime:1", "absent": ["*.key", ".env"], "present": ["/app/app.js"]});
        case(None, all, |_| {});
        case(None, json!({}), |_| {});
    }

    #[test]
    fn an_image_that_runs_as_root_does_not_pass() {
        for root in ["", "0", "root", "0:0", "root:app"] {
            case(
                Some("image-runs-as-root"),
                json!({"user": "non-root"}),
                |seen| {
                    root.clone_into(&mut seen.image.config.config.user);
                },
            );
        }
    }

    #[test]
    fn a_secret_that_a_later_layer_deletes_is_still_in_the_image() {
        let absent = |pattern: &str| json!({"absent": [pattern]});
        let leak = |seen: &mut Seen| {
            seen.layers[1] = contents(&["app/.env", "app/app.js", "etc/ssl/tls.key"]);
            let mut deletion = LayerContents::default();
            deletion.deleted.insert("app/.env".to_owned());
            seen.layers.push(deletion);
            seen.image.manifest.layers.push(layer('e', 512));
        };
        for pattern in [
            ".env",
            "*.key",
            "/app/.env",
            "app/.e*",
            "/etc/ssl",
            "**/tls.*",
        ] {
            case(Some("image-holds-file"), absent(pattern), leak);
        }
        for pattern in ["env", "*.pem", "/.env", "app/*.key", "/ssl"] {
            case(None, absent(pattern), leak);
        }
        case(
            Some("image-lacks-file"),
            json!({"present": ["/app/.env"]}),
            leak,
        );
        // What the base brings is not the learner's.
        case(None, absent("devops-lab"), |_| {});
    }

    #[test]
    fn size_and_layers_are_bounded() {
        case(Some("image-too-big"), json!({"maxOwnBytes": 1_999}), |_| {});
        case(
            Some("image-too-big"),
            json!({"maxOwnBytes": 2_000}),
            |seen| seen.below = Some(0),
        );
        case(
            Some("image-too-many-layers"),
            json!({"maxLayers": 1}),
            |_| {},
        );
        case(
            Some("image-lacks-file"),
            json!({"present": ["/app/app.test.js"]}),
            |_| {},
        );
    }

    #[test]
    fn labels_variables_and_entrypoint_are_compared_exactly() {
        let label = |value: Value| json!({"labels": {"org.opencontainers.image.title": value}});
        case(Some("image-label-missing"), label(json!("Hello")), |_| {});
        case(
            Some("image-label-missing"),
            json!({"labels": {"title": null}}),
            |_| {},
        );
        case(
            Some("image-env-missing"),
            json!({"env": {"PORT": "80"}}),
            |_| {},
        );
        case(
            Some("image-env-missing"),
            json!({"env": {"EMPTY": null}}),
            |_| {},
        );
        case(
            Some("image-env-missing"),
            json!({"env": {"PO": null}}),
            |_| {},
        );
        case(
            Some("image-entrypoint-differs"),
            json!({"entrypoint": ["/devops-lab"]}),
            |_| {},
        );
    }

    #[test]
    fn an_image_on_another_base_or_with_other_content_does_not_pass() {
        let base = || json!({"base": "devops-lab/runtime:1"});
        case(Some("image-other-base"), base(), |seen| seen.below = None);
        let same = || json!({"sameContentAs": "localhost:5001/hello:candidate"});
        case(None, same(), |seen| seen.other = Some(image()));
        case(Some("image-other-content"), same(), |seen| {
            let mut other = image();
            other.digest = digest('f');
            other.manifest.config.digest = layer('f', 1).digest;
            seen.other = Some(other);
        });
        case(Some("image-other-content"), same(), |_| {});
    }

    #[test]
    fn the_base_is_found_by_history_or_by_its_layers() {
        let image = image();
        assert_eq!(image.runtime_layers(), 1);
        // As Docker has it.
        let mut docker = image.clone();
        docker.config.history[0].created_by = None;
        assert_eq!(docker.runtime_layers(), 0);
        let labels = &mut docker.config.config.labels;
        labels.insert(
            "devops-lab.executable".to_owned(),
            "33da6110f8ca".to_owned(),
        );
        assert_eq!(docker.runtime_layers(), 1);
        // The label alone makes no base, as in an image that was copied together from it.
        docker.config.history[0].created_by = Some("COPY /devops-lab /".to_owned());
        assert_eq!(docker.runtime_layers(), 0);
        let mut base = image.clone();
        base.config.rootfs.diff_ids.truncate(1);
        base.config.history.clear();
        assert_eq!(
            (image.layers_of(&base), base.runtime_layers()),
            (Some(1), 0)
        );
        base.config.rootfs.diff_ids = vec![layer('f', 1).digest];
        assert_eq!(image.layers_of(&base), None);
    }
}
