//! `devops-lab image`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use indicatif::HumanBytes;
use lab_cluster::record::Home;
use lab_image::ImageRef;
use lab_image::build::{BaseImages, BuildRequest, BuiltImage, build};
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::push::{PushProgress, push};
use serde::Serialize;

use crate::cli::{BuildArgs, ClusterArgs, Format, ImageCommand, ImageLsArgs, OutputArgs, PushArgs};
use crate::output::{json, line, note, table};

pub(crate) async fn run(command: ImageCommand) -> anyhow::Result<ExitCode> {
    match command {
        ImageCommand::Build(args) => build_image(args).await?,
        ImageCommand::Push(PushArgs { image }) => push_image(&Home::from_env()?, &image).await?,
        ImageCommand::Ls(args) => list(args).await?,
        ImageCommand::Approve(args) => return super::image_approve::run(args).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn build_image(args: BuildArgs) -> anyhow::Result<()> {
    let BuildArgs {
        directory,
        tag,
        file,
        build_arg,
        target,
        label,
        no_cache: _,
        push,
    } = args;
    let home = Home::from_env()?;
    let file = file.unwrap_or_else(|| directory.join("Dockerfile"));
    let arguments = build_arg
        .iter()
        .filter_map(|pair| match pair.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((pair.clone(), std::env::var(pair).ok()?)),
        });
    let labels = label.iter().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    });
    let request = BuildRequest {
        build_args: arguments.collect(),
        target,
        labels: labels.collect(),
        ..request(&directory, &file, &tag)?
    };
    let built = build_request(&home, request).await?;
    for remark in &built.notes {
        match remark.line {
            Some(number) => note(format_args!("{}:{number}: {}", file.display(), remark.text)),
            None => note(&remark.text),
        }
    }
    line(format_args!(
        "Built {tag}  {}  {}",
        HumanBytes(built.size_bytes),
        built.config_digest
    ));
    if push {
        push_image(&home, &tag).await?;
    }
    Ok(())
}

/// Builds into the local store.
pub(super) async fn build_from(
    home: &Home,
    directory: &Path,
    dockerfile: &Path,
    tag: &str,
    build_args: BTreeMap<String, String>,
) -> anyhow::Result<BuiltImage> {
    let request = BuildRequest {
        build_args,
        ..request(directory, dockerfile, tag)?
    };
    build_request(home, request).await
}

fn request(directory: &Path, dockerfile: &Path, tag: &str) -> anyhow::Result<BuildRequest> {
    Ok(BuildRequest {
        context_dir: directory.to_owned(),
        dockerfile: dockerfile.to_owned(),
        tag: ImageRef::parse(tag)?,
        build_args: BTreeMap::new(),
        source_date_epoch: std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .and_then(|text| text.parse().ok()),
        target: None,
        labels: BTreeMap::new(),
    })
}

async fn build_request(home: &Home, request: BuildRequest) -> anyhow::Result<BuiltImage> {
    let registry = request
        .tag
        .is_local_registry()
        .then(|| RegistryClient::new(request.tag.registry()).pulling_through());
    let bases = BaseImages {
        runtime_executable: Some(std::env::current_exe()?),
        registry,
    };
    Ok(build(&request, &bases, &Layout::open(&home.images())?).await?)
}

/// Pushes from the local store to the registry in the image's name.
pub(super) async fn push_image(home: &Home, image: &str) -> anyhow::Result<()> {
    let name = ImageRef::parse(image)?;
    if !name.is_local_registry() {
        bail!(
            "{image} names the registry {}, and only the registry of a cluster here can be pushed to: tag it localhost:PORT/NAME:TAG (devops-lab status says the port)",
            name.registry()
        );
    }
    let layout = Layout::open(&home.images())?;
    let client = RegistryClient::new(name.registry());
    let digest = push(&layout, &name, &client, &|progress| match progress {
        PushProgress::BlobSent {
            digest,
            sent_bytes,
            size_bytes,
        } if sent_bytes == size_bytes => {
            note(format_args!(
                "  pushed   {}  {}",
                short(digest.as_str()),
                HumanBytes(size_bytes)
            ));
        }
        PushProgress::BlobExists { digest, size_bytes } => {
            note(format_args!(
                "  present  {}  {}",
                short(digest.as_str()),
                HumanBytes(size_bytes)
            ));
        }
        PushProgress::BlobSent { .. } | PushProgress::Done { .. } => {}
    })
    .await?;
    line(format_args!("Pushed {image}  {digest}"));
    Ok(())
}

/// The beginning of a digest, enough to tell it apart.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// An image in the cluster's registry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    image: String,
    digest: String,
    size_bytes: u64,
}

async fn list(args: ImageLsArgs) -> anyhow::Result<()> {
    let ImageLsArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
    } = args;
    let (_, record) = super::open(&name)?;
    lab_cluster::registry::verify(&record).await?;
    let host = format!("localhost:{}", record.ports.registry);
    let client = RegistryClient::new(&host);
    let mut images = Vec::new();
    for repository in client.catalog().await? {
        for tag in client.tags(&repository).await? {
            let (manifest, digest) = describe(&client, &repository, &tag).await?;
            images.push(Listed {
                image: format!("{host}/{repository}:{tag}"),
                digest,
                size_bytes: manifest,
            });
        }
    }
    match output {
        Format::Json => json(&images),
        Format::Text if images.is_empty() => {
            line(format_args!(
                "The registry {host} is empty. Push something: devops-lab image build -t {host}/hello:1.0.0 --push DIRECTORY"
            ));
            Ok(())
        }
        Format::Text => {
            let row = |image: &Listed| {
                vec![
                    image.image.clone(),
                    short(&image.digest).to_owned(),
                    HumanBytes(image.size_bytes).to_string(),
                ]
            };
            table(
                &["IMAGE", "DIGEST", "SIZE"],
                &images.iter().map(row).collect::<Vec<_>>(),
            );
            Ok(())
        }
    }
}

/// Size and digest of a tagged image.
async fn describe(
    client: &RegistryClient,
    repository: &str,
    tag: &str,
) -> anyhow::Result<(u64, String)> {
    let (fetched, manifest) = client.image_manifest(repository, tag).await?;
    let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok((layers + manifest.config.size, fetched.digest.to_string()))
}

/// Where an application of the demo lies on disk.
pub(super) fn dockerfile_of(directory: &Path) -> PathBuf {
    directory.join("Dockerfile")
}
