//! Builds in several stages, owners and archives, beside what Docker makes of the same files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use lab_image::build::{BuildRequest, BuiltImage, build};
use lab_image::layout::Layout;
use lab_image::push::push;
use lab_image::spec;
use lab_image::spec::ImageConfig;

use crate::support::{self, Site};
use crate::{build_files, request};

fn config(site: &Site, built: &BuiltImage) -> ImageConfig {
    let content = site.layout.read_blob(&built.config_digest).unwrap();
    serde_json::from_slice(&content).unwrap()
}

/// A file of an image: what it is, mode, owner, content or target.
type Files = BTreeMap<String, (char, u32, u64, u64, String)>;

/// Reads archives over each other.
fn read_tar(archive: impl Read, files: &mut Files) {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let header = entry.header().clone();
        let mut content = String::new();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => {
                content = entry
                    .link_name()
                    .unwrap()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                'l'
            }
            _ => {
                entry.read_to_string(&mut content).unwrap();
                'f'
            }
        };
        let mode = header.mode().unwrap() & 0o7777;
        let (uid, gid) = (header.uid().unwrap(), header.gid().unwrap());
        let path = path.trim_end_matches('/').to_owned();
        files.insert(path, (kind, mode, uid, gid, content));
    }
}

/// The files of a built image.
fn files_of(layout: &Layout, built: &BuiltImage) -> Files {
    let image = layout.require(&built.name).unwrap();
    let mut files = Files::new();
    for layer in &image.manifest.layers {
        read_tar(&layout.read_blob(&layer.digest).unwrap()[..], &mut files);
    }
    files
}

const TWO_STAGES: &str = "FROM scratch AS build\n\
    COPY passwd /etc/passwd\n\
    COPY group /etc/group\n\
    COPY --chown=app run.sh /out/bin/run\n\
    COPY lib /out/lib\n\
    FROM scratch AS unused\n\
    COPY nothing-of-this-name /\n\
    FROM scratch AS final\n\
    COPY --from=build /etc/passwd /etc/group /etc/\n\
    COPY --from=build --chown=app:users /out /app\n\
    COPY --from=0 /out/lib/*.txt /texts/\n\
    USER app\n";

const TWO_STAGES_FILES: [(&str, &str); 5] = [
    ("passwd", "root:x:0:0::/:/sh\napp:x:1001:1001::/:/sh\n"),
    ("group", "root:x:0:\napp:x:1001:\nusers:x:100:\n"),
    ("run.sh", "#!/bin/sh\n"),
    ("lib/a.txt", "a"),
    ("lib/deep/b.txt", "b"),
];

#[tokio::test]
async fn a_stage_copies_from_an_earlier_one_and_unused_stages_are_not_built() {
    let site = Site::new().await;
    let files = [&[("Dockerfile", TWO_STAGES)][..], &TWO_STAGES_FILES].concat();
    let built = build_files(&site, &files).await.unwrap();
    let found = files_of(&site.layout, &built);
    let owner = |path: &str| found.get(path).map(|file| (file.2, file.3));
    assert_eq!(owner("app/bin/run"), Some((1001, 100)));
    assert_eq!(owner("app/lib/deep/b.txt"), Some((1001, 100)));
    assert_eq!(owner("texts/a.txt"), Some((0, 0)), "a copy belongs to root");
    assert_eq!(owner("etc/passwd"), Some((0, 0)));
    assert!(!found.contains_key("out/bin/run"), "{found:?}");
    assert_eq!(config(&site, &built).config.user, "app");

    let context = site.dir.path().join("context");
    let again = build(&request(&context, "hello:2"), &site.bases(), &site.layout)
        .await
        .unwrap();
    assert_eq!(
        again.digest, built.digest,
        "the same files give the same digest"
    );
    let left: Vec<_> = fs::read_dir(site.layout.dir())
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("build-")
        })
        .collect();
    assert!(left.is_empty(), "nothing unpacked is left: {left:?}");
}

#[tokio::test]
async fn a_target_is_a_stage_by_name_or_number() {
    let site = Site::new().await;
    let files = [&[("Dockerfile", TWO_STAGES)][..], &TWO_STAGES_FILES].concat();
    let context = site.write("context", &files);
    for target in ["build", "0"] {
        let request = BuildRequest {
            target: Some(target.to_owned()),
            ..request(&context, "hello:1")
        };
        let built = build(&request, &site.bases(), &site.layout).await.unwrap();
        let found = files_of(&site.layout, &built);
        assert_eq!(found["out/bin/run"].2, 1001, "{target}");
    }
    let request = BuildRequest {
        target: Some("nope".to_owned()),
        ..request(&context, "hello:1")
    };
    let error = build(&request, &site.bases(), &site.layout)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"nope\"") && error.contains("build, unused, final"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stage_builds_on_an_earlier_one_with_variables_of_its_own() {
    let site = Site::new().await;
    let dockerfile = "ARG FIRST=base TARGET=x\n\
        FROM scratch AS base\n\
        ARG ONLY=here\n\
        ENV A=1 PLATFORM=$TARGETPLATFORM\n\
        LABEL only=$ONLY\n\
        FROM ${FIRST}\n\
        ARG TARGETARCH\n\
        ENV B=$A-$ONLY-$TARGETARCH\n";
    let built = build_files(&site, &[("Dockerfile", dockerfile)])
        .await
        .unwrap();
    let config = config(&site, &built).config;
    let expected = format!("B=1--{}", spec::host_architecture());
    assert!(config.env.contains(&expected), "{:?}", config.env);
    assert_eq!(config.labels["only"], "here");
}

#[tokio::test]
async fn files_come_from_an_image_in_the_registry() {
    let site = Site::new().await;
    let context = site.write(
        "tools",
        &[
            ("Dockerfile", "FROM scratch\nCOPY tool /usr/bin/tool\n"),
            ("tool", "t"),
        ],
    );
    let tag = format!("{}/tools:1", site.host);
    let tools = build(&request(&context, &tag), &site.bases(), &site.layout)
        .await
        .unwrap();
    push(&site.layout, &tools.name, &site.client, &|_| ())
        .await
        .unwrap();
    site.layout.remove(&tools.name).unwrap();

    let dockerfile = format!("FROM scratch\nCOPY --from={tag} /usr/bin/tool /bin/\n");
    let built = build_files(&site, &[("Dockerfile", &dockerfile)])
        .await
        .unwrap();
    assert_eq!(files_of(&site.layout, &built)["bin/tool"].4, "t");
}

#[tokio::test]
async fn labels_of_the_command_line_win() {
    let site = Site::new().await;
    let context = site.write(
        "context",
        &[("Dockerfile", "FROM scratch\nLABEL a=1 b=2\n")],
    );
    let request = BuildRequest {
        labels: [("a".to_owned(), "9".to_owned())].into(),
        ..request(&context, "hello:1")
    };
    let built = build(&request, &site.bases(), &site.layout).await.unwrap();
    let labels = config(&site, &built).config.labels;
    assert_eq!((labels["a"].as_str(), labels["b"].as_str()), ("9", "2"));
}

/// An archive with a directory, a program and a link.
fn archive(path: &Path, gzip: bool) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind, mode, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        if kind == tar::EntryType::Symlink {
            header.set_size(0);
            builder.append_link(&mut header, path, content).unwrap();
        } else {
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
    };
    add("pack/", tar::EntryType::Directory, 0o700, "");
    add("pack/program", tar::EntryType::Regular, 0o755, "p");
    add("pack/text", tar::EntryType::Regular, 0o640, "t");
    add("pack/link", tar::EntryType::Symlink, 0o777, "program");
    let plain = builder.into_inner().unwrap();
    let bytes = if gzip { support::gzip(&plain) } else { plain };
    fs::write(path, bytes).unwrap();
}

fn with_archives(site: &Site, dockerfile: &str) -> PathBuf {
    let context = site.write("context", &[("Dockerfile", dockerfile), ("note", "n")]);
    archive(&context.join("one.tar.gz"), true);
    archive(&context.join("two.bin"), false);
    context
}

const ARCHIVES: &str = "FROM scratch\n\
    ADD one.tar.gz /one/\n\
    ADD two.bin note /two/\n\
    COPY one.tar.gz /kept.tar.gz.txt\n";

#[tokio::test]
async fn add_unpacks_archives_and_copy_does_not() {
    let site = Site::new().await;
    let context = with_archives(&site, &ARCHIVES.replace("COPY one.tar.gz", "COPY two.bin"));
    let built = build(&request(&context, "hello:1"), &site.bases(), &site.layout)
        .await
        .unwrap();
    let found = files_of(&site.layout, &built);
    for place in ["one", "two"] {
        assert_eq!(found[&format!("{place}/pack")].1, 0o700);
        assert_eq!(found[&format!("{place}/pack/program")].1, 0o755);
        assert_eq!(found[&format!("{place}/pack/text")].1, 0o640);
        assert_eq!(found[&format!("{place}/pack/link")].4, "program");
    }
    assert_eq!(found["two/note"].4, "n");
    assert_eq!(found["kept.tar.gz.txt"].0, 'f');
}

#[tokio::test]
async fn owners_and_sources_that_are_not_there_are_named() {
    let site = Site::new().await;
    for (dockerfile, place, part) in [
        (
            "FROM scratch\nCOPY --chown=web a /a\n",
            "Dockerfile:2:",
            "/etc/passwd has no \"web\"",
        ),
        (
            "FROM scratch\nCOPY --chown=1:web a /a\n",
            "Dockerfile:2:",
            "/etc/group has no \"web\"",
        ),
        (
            "FROM scratch AS x\nFROM scratch\nCOPY --from=x /y /\n",
            "Dockerfile:3:",
            "after --from",
        ),
        (
            "FROM scratch\nCOPY --from=nope /y /\n",
            "Dockerfile:2:",
            "nope",
        ),
        (
            "FROM scratch\nADD https://x.example/y /\n",
            "Dockerfile:2:",
            "download the file",
        ),
    ] {
        let outcome = build_files(&site, &[("Dockerfile", dockerfile), ("a", "")]).await;
        let message = outcome.unwrap_err().to_string();
        assert!(
            message.contains(place) && message.contains(part),
            "{message}"
        );
    }
}

/// Files that Docker puts into every container.
const OF_CONTAINERS: [&str; 9] = [
    ".dockerenv",
    "dev",
    "proc",
    "sys",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
    "etc",
];

/// What Docker has of an image: its configuration, and its files.
async fn in_docker(site: &Site, image: &str) -> (serde_json::Value, Files) {
    let format = "{{json .Config}}";
    let inspected = support::run("docker", &["inspect", "--format", format, image]).await;
    let whole: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let fields = [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "Healthcheck",
    ];
    let absent = |value: &serde_json::Value| {
        value.is_null() || value == "" || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    let config = fields
        .iter()
        .map(|field| ((*field).to_owned(), whole[field].clone()))
        .filter(|(_, value)| !absent(value))
        .collect();
    let container = support::run("docker", &["create", image, "nothing"]).await;
    let path = site.dir.path().join("export.tar");
    let place = path.display().to_string();
    support::run("docker", &["export", "-o", &place, &container]).await;
    support::run("docker", &["rm", &container]).await;
    let mut files = Files::new();
    read_tar(fs::File::open(&path).unwrap(), &mut files);
    files.retain(|path, _| {
        !OF_CONTAINERS
            .iter()
            .any(|own| path == own || path.starts_with(&format!("{own}/")) && *own != "etc")
    });
    (config, files)
}

#[tokio::test]
async fn docker_builds_the_same_image() {
    if !support::available("docker", &["version"]) {
        return;
    }
    let configured = "ARG BASE=scratch\n\
        FROM $BASE\n\
        ARG VERSION=1\n\
        ENV NAME=web FULL=\"${NAME:-x}-$VERSION\"\n\
        LABEL version=$VERSION team='a b'\n\
        EXPOSE 80 53/udp\n\
        WORKDIR /srv\n\
        WORKDIR app\n\
        COPY note .\n\
        COPY --chown=1:2 note /owned/\n\
        USER 1000:1000\n\
        STOPSIGNAL SIGINT\n\
        HEALTHCHECK --interval=5s --retries=2 CMD [\"/check\", \"it\"]\n\
        ENTRYPOINT [\"/run\", \"$NAME\"]\n\
        CMD [\"--fast\"]\n";
    let shell = "FROM scratch\nCOPY note /\nHEALTHCHECK CMD check it\nENTRYPOINT run it\n";
    let unused = "FROM scratch AS unused\nCOPY nothing-of-this-name /\n";
    let two_stages = TWO_STAGES
        .replace(&unused.replace("    ", ""), "")
        .replace("--from=0", "--from=build");
    let archives = ARCHIVES.replace("COPY one.tar.gz /kept.tar.gz.txt\n", "");
    for (at, dockerfile) in [configured, shell, &two_stages, &archives]
        .into_iter()
        .enumerate()
    {
        let site = Site::new().await;
        let context = with_archives(&site, dockerfile);
        site.write("context", &TWO_STAGES_FILES);
        let name = format!("devops-lab-test-{}-{at}", std::process::id());
        let (ours, theirs) = (format!("{name}:ours"), format!("{name}:docker"));
        let built = build(&request(&context, &ours), &site.bases(), &site.layout).await;
        let built = built.unwrap_or_else(|error| panic!("{dockerfile}: {error}"));
        let archive = site.dir.path().join("image.tar");
        site.layout
            .export(std::slice::from_ref(&built.name), &archive)
            .unwrap();
        support::run("docker", &["load", "-i", &archive.display().to_string()]).await;
        let place = context.display().to_string();
        support::run(
            "docker",
            &["build", "--no-cache", "-q", "-t", &theirs, &place],
        )
        .await;
        let (our_config, our_files) = in_docker(&site, &ours).await;
        let (their_config, their_files) = in_docker(&site, &theirs).await;
        support::run("docker", &["rmi", "-f", &ours, &theirs]).await;
        assert_eq!(our_config, their_config, "{dockerfile}");
        assert_eq!(our_files, their_files, "{dockerfile}");
    }
}
