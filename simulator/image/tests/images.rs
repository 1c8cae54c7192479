//! Images from a Dockerfile through a registry into a directory.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod stages;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use lab_image::base::{RUNTIME_IMAGE, base_image};
use lab_image::build::{BuildError, BuildRequest, BuiltImage, build};
use lab_image::client::{ClientError, RegistryClient};
use lab_image::layout::Layout;
use lab_image::push::{PushProgress, push};
use lab_image::unpack::{ImageStore, UnpackError};
use lab_image::{Digest, ImageRef, pull};
use support::{Site, files};

const APP: &str = "export default { fetch() { return new Response('hello') } }";

/// Writes files and builds the image in them.
async fn build_files(site: &Site, files: &[(&str, &str)]) -> Result<BuiltImage, BuildError> {
    let context = site.write("context", files);
    build(&request(&context, "hello:1"), &site.bases(), &site.layout).await
}

fn request(context: &Path, tag: &str) -> BuildRequest {
    BuildRequest {
        context_dir: context.to_owned(),
        dockerfile: context.join("Dockerfile"),
        tag: ImageRef::parse(tag).unwrap(),
        build_args: BTreeMap::new(),
        source_date_epoch: None,
        target: None,
        labels: BTreeMap::new(),
    }
}

/// Builds and unpacks, and returns the root directory and how to run it.
async fn unpacked(site: &Site, files: &[(&str, &str)]) -> lab_image::unpack::UnpackedImage {
    let built = build_files(site, files).await.unwrap();
    site.store
        .unpack_local(&site.layout, &built.name)
        .await
        .unwrap()
}

#[track_caller]
fn refused(outcome: Result<BuiltImage, BuildError>, place: &str, part: &str) {
    let message = outcome.unwrap_err().to_string();
    assert!(
        message.contains(place) && message.contains(part),
        "{message}"
    );
}

#[tokio::test]
async fn an_app_on_the_built_in_base_is_built_pushed_and_unpacked() {
    let site = Site::new().await;
    let dockerfile = format!("FROM {RUNTIME_IMAGE}\nCOPY app.js .\n");
    let context = site.write("context", &[("Dockerfile", &dockerfile), ("app.js", APP)]);
    let tag = format!("{}/team/hello:1.0.0", site.host);
    let built = build(&request(&context, &tag), &site.bases(), &site.layout)
        .await
        .unwrap();
    assert_eq!(built.notes, []);

    let seen = Mutex::new(Vec::new());
    let note = |progress| seen.lock().unwrap().push(progress);
    let digest = push(&site.layout, &built.name, &site.client, &note)
        .await
        .unwrap();
    assert_eq!(digest, built.digest);
    let seen = seen.into_inner().unwrap();
    assert_eq!(
        seen.last(),
        Some(&PushProgress::Done {
            digest: digest.clone()
        })
    );
    assert!(matches!(seen[0], PushProgress::BlobSent { .. }), "{seen:?}");

    let image = site.store.pull(&site.client, &built.name).await.unwrap();
    assert_eq!(image.config_digest, built.config_digest);
    let repo_digest = format!("{}/team/hello@{digest}", site.host);
    assert_eq!(image.repo_digest.as_deref(), Some(&*repo_digest));
    let found = files(&image.rootfs);
    let expected = ["app/app.js", "devops-lab", "etc/group", "etc/passwd"];
    assert_eq!(found, expected);
    assert!(image.rootfs.join("tmp").is_dir());
    assert_eq!(
        fs::read_to_string(image.rootfs.join("app/app.js")).unwrap(),
        APP
    );
    let mode = fs::metadata(image.rootfs.join("devops-lab"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(image.config.entrypoint, ["/devops-lab", "app"]);
    assert_eq!(image.config.cmd, ["/app/app.js"]);
    assert_eq!(image.config.working_dir, "/app");
    let names: Vec<_> = image.config.env.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["PORT", "PATH"]);
    assert_eq!(image.config.user, "10001");
    assert_eq!(image.config.exposed_ports, ["8080/tcp"]);
    assert_eq!(image.config.stop_signal, "SIGTERM");
}

#[tokio::test]
async fn what_the_registry_has_is_not_sent_again() {
    let site = Site::new().await;
    let built = build_files(
        &site,
        &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "1")],
    )
    .await;
    let name = built.unwrap().name;
    push(&site.layout, &name, &site.client, &|_| ())
        .await
        .unwrap();
    let seen = Mutex::new(Vec::new());
    let note = |progress| seen.lock().unwrap().push(progress);
    push(&site.layout, &name, &site.client, &note)
        .await
        .unwrap();
    let sent = seen.into_inner().unwrap();
    let sent = sent
        .iter()
        .filter(|it| matches!(it, PushProgress::BlobSent { .. }));
    assert_eq!(sent.count(), 0);
}

#[tokio::test]
async fn the_same_files_give_the_same_digest_anywhere() {
    let mut digests = Vec::new();
    for mode in [0o600, 0o664] {
        let site = Site::new().await;
        let dockerfile = "FROM scratch\nLABEL b=1 a=2\nENV X=1\nCOPY . /app/\nCMD [\"/x\"]";
        let context = site.write(
            "context",
            &[("Dockerfile", dockerfile), ("d/a", "1"), ("b", "2")],
        );
        fs::set_permissions(context.join("b"), fs::Permissions::from_mode(mode)).unwrap();
        let request = request(&context, "hello:1");
        digests.push(
            build(&request, &site.bases(), &site.layout)
                .await
                .unwrap()
                .digest,
        );
        let later = BuildRequest {
            source_date_epoch: Some(1),
            ..request
        };
        let later = build(&later, &site.bases(), &site.layout).await.unwrap();
        assert_ne!(later.digest, digests[0]);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn the_base_image_is_made_once_for_one_program() {
    let site = Site::new().await;
    let first = base_image(&site.program, &site.layout).await.unwrap();
    let blob = site.layout.blob_path(&first.manifest.layers[0].digest);
    let made = fs::metadata(&blob).unwrap().modified().unwrap();
    let second = base_image(&site.program, &site.layout).await.unwrap();
    assert_eq!(second.descriptor.digest, first.descriptor.digest);
    assert_eq!(fs::metadata(&blob).unwrap().modified().unwrap(), made);

    fs::write(&site.program, "another program").unwrap();
    let third = base_image(&site.program, &site.layout).await.unwrap();
    assert_ne!(third.descriptor.digest, first.descriptor.digest);
}

// Dockerfiles.

#[tokio::test]
async fn copy_puts_files_where_docker_would() {
    let site = Site::new().await;
    let dockerfile = "FROM scratch\n\
        WORKDIR /srv\n\
        WORKDIR app\n\
        COPY one.js .\n\
        COPY one.js two.js sub/\n\
        COPY *.js /all/\n\
        COPY one.js /renamed.js\n\
        COPY lib /lib\n\
        COPY lib/deep /srv\n\
        COPY one.js /srv\n\
        COPY --chmod=700 one.js /tool\n\
        COPY [\"with space\", \"/\"]\n";
    let context = [
        ("Dockerfile", dockerfile),
        ("one.js", "1"),
        ("two.js", "2"),
        ("lib/a", "a"),
        ("lib/deep/b", "b"),
        ("with space", "s"),
    ];
    let image = unpacked(&site, &context).await;
    let expected = [
        "all/one.js",
        "all/two.js",
        "lib/a",
        "lib/deep/b",
        "renamed.js",
        "srv/app/one.js",
        "srv/app/sub/one.js",
        "srv/app/sub/two.js",
        "srv/b",
        "srv/one.js",
        "tool",
        "with space",
    ];
    assert_eq!(files(&image.rootfs), expected);
    assert_eq!(image.config.working_dir, "/srv/app");
    let mode = fs::metadata(image.rootfs.join("tool"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn instructions_become_the_images_configuration() {
    let site = Site::new().await;
    let dockerfile = "ARG BASE=scratch\n\
        FROM $BASE\n\
        ARG VERSION=1\n\
        ENV NAME=web FULL=\"${NAME}-$VERSION\"\n\
        ENV FULL=$NAME-$VERSION\n\
        LABEL version=$VERSION \\\n  # why not\n  team='a b'\n\
        EXPOSE 80 53/udp\n\
        USER 1000:1000\n\
        STOPSIGNAL SIGINT\n\
        ENTRYPOINT [\"/run\", \"$NAME\"]\n\
        CMD [\"--fast\"]\n\
        HEALTHCHECK CMD true\n";
    let context = site.write("context", &[("Dockerfile", dockerfile)]);
    let args = [("VERSION", "2"), ("UNUSED", "x")];
    let request = BuildRequest {
        build_args: args
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..request(&context, "hello:1")
    };
    let built = build(&request, &site.bases(), &site.layout).await.unwrap();
    let notes: Vec<_> = built
        .notes
        .iter()
        .map(|note| (note.line, &*note.text))
        .collect();
    assert_eq!(notes[0].0, Some(14));
    assert!(notes[0].1.contains("HEALTHCHECK is recorded"), "{notes:?}");
    assert!(notes[1].1.contains("UNUSED"), "{notes:?}");

    let run = site
        .store
        .unpack_local(&site.layout, &built.name)
        .await
        .unwrap()
        .config;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        run.env,
        [
            pair("PATH", path),
            pair("NAME", "web"),
            pair("FULL", "web-2")
        ]
    );
    assert_eq!(run.labels, [pair("team", "a b"), pair("version", "2")]);
    assert_eq!(run.exposed_ports, ["53/udp", "80/tcp"]);
    assert_eq!(run.user, "1000:1000");
    assert_eq!(run.stop_signal, "SIGINT");
    assert_eq!(run.entrypoint, ["/run", "$NAME"]);
    assert_eq!(run.cmd, ["--fast"]);
}

#[tokio::test]
async fn a_new_entrypoint_forgets_the_bases_arguments() {
    let site = Site::new().await;
    let dockerfile = format!("FROM {RUNTIME_IMAGE}\nENTRYPOINT [\"/other\"]\n");
    let image = unpacked(&site, &[("Dockerfile", &dockerfile)]).await;
    assert_eq!(image.config.entrypoint, ["/other"]);
    assert_eq!(image.config.cmd, Vec::<String>::new());
}

#[tokio::test]
async fn a_command_line_without_a_shell_is_remarked_on() {
    let site = Site::new().await;
    let built = build_files(&site, &[("Dockerfile", "FROM scratch\nCMD run me")])
        .await
        .unwrap();
    assert_eq!(built.notes[0].line, Some(2));
    assert!(built.notes[0].text.contains("/bin/sh"), "{:?}", built.notes);
}

#[tokio::test]
async fn dockerignore_leaves_files_out() {
    let site = Site::new().await;
    let context = [
        ("Dockerfile", "FROM scratch\nCOPY . /app/\n"),
        (".dockerignore", "*\n!app.js\n!src/**/*.js\n"),
        ("app.js", "1"),
        ("notes.md", "2"),
        ("src/a/b.js", "3"),
        ("src/a/b.md", "4"),
    ];
    let image = unpacked(&site, &context).await;
    assert_eq!(files(&image.rootfs), ["app/app.js", "app/src/a/b.js"]);
}

#[tokio::test]
async fn problems_name_the_file_the_line_and_the_next_step() {
    let site = Site::new().await;
    let ignored = [
        ("Dockerfile", "FROM scratch\nCOPY a /\n"),
        (".dockerignore", "a"),
        ("a", ""),
    ];
    refused(
        build_files(&site, &ignored).await,
        "Dockerfile:2:",
        ".dockerignore leaves it out",
    );
    fs::remove_file(site.dir.path().join("context/.dockerignore")).unwrap();
    for (dockerfile, place, part) in [
        (
            "FROM scratch\n\nRUN npm install\n",
            "Dockerfile:3:",
            "RUN needs Docker",
        ),
        (
            "FROM scratch\nCOPY nothing /\n",
            "Dockerfile:2:",
            "cannot find \"nothing\"",
        ),
        (
            "FROM scratch\nCOPY ../a /\n",
            "Dockerfile:2:",
            "inside the build's directory",
        ),
        (
            "FROM scratch\nCOPY a Dockerfile /x\n",
            "Dockerfile:2:",
            "end \"/x\" with a slash",
        ),
        ("FROM scratch\nEXPOSE 99999\n", "Dockerfile:2:", "a port"),
        ("FROM scratch\nSTOPSIGNAL x\n", "Dockerfile:2:", "a signal"),
        ("FROM scratch\nENV A=${B\n", "Dockerfile:2:", "variable"),
        ("ARG X\nFROM $X\n", "Dockerfile:2:", "FROM names no image"),
        ("FROM nginx\n", "Dockerfile:1:", RUNTIME_IMAGE),
    ] {
        let context = [("Dockerfile", dockerfile), ("a", "")];
        refused(build_files(&site, &context).await, place, part);
    }
    let nowhere = build_files(&site, &[("Dockerfile", &format!("FROM {}/x:1", site.host))]).await;
    let error = nowhere.unwrap_err();
    assert!(
        matches!(error, BuildError::BasePull { line: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_image_from_the_registry_can_be_a_base() {
    let site = Site::new().await;
    let tag = format!("{}/base:1", site.host);
    let context = site.write(
        "base",
        &[
            ("Dockerfile", "FROM scratch\nENV A=1\nCOPY a /bin/a\n"),
            ("a", "a"),
        ],
    );
    let base = build(&request(&context, &tag), &site.bases(), &site.layout)
        .await
        .unwrap();
    push(&site.layout, &base.name, &site.client, &|_| ())
        .await
        .unwrap();

    let elsewhere = Layout::open(&site.dir.path().join("elsewhere")).unwrap();
    let dockerfile = format!("FROM {tag}\nCOPY b /bin\nENV B=${{A}}2\n");
    let context = site.write("top", &[("Dockerfile", &dockerfile), ("b", "b")]);
    let top = build(&request(&context, "top:1"), &site.bases(), &elsewhere)
        .await
        .unwrap();
    let image = site
        .store
        .unpack_local(&elsewhere, &top.name)
        .await
        .unwrap();
    assert_eq!(files(&image.rootfs), ["bin/a", "bin/b"]);
    let names: Vec<_> = image.config.env.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["PATH", "A", "B"]);
    assert_eq!(image.config.env[2].1, "12");
}

// The registry client.

#[tokio::test]
async fn tags_and_repositories_can_be_listed_and_deleted() {
    let site = Site::new().await;
    let context = site.write(
        "context",
        &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")],
    );
    for tag in ["team/hello:2", "team/hello:1", "other:1"] {
        let tag = format!("{}/{tag}", site.host);
        let built = build(&request(&context, &tag), &site.bases(), &site.layout)
            .await
            .unwrap();
        push(&site.layout, &built.name, &site.client, &|_| ())
            .await
            .unwrap();
    }
    assert_eq!(
        site.client.catalog().await.unwrap(),
        ["other", "team/hello"]
    );
    assert_eq!(site.client.tags("team/hello").await.unwrap(), ["1", "2"]);
    site.client.delete("team/hello", "1").await.unwrap();
    assert_eq!(site.client.tags("team/hello").await.unwrap(), ["2"]);
    let gone = site.client.delete("team/hello", "1").await;
    assert!(
        matches!(gone, Err(ClientError::NotFound { .. })),
        "{gone:?}"
    );
    let unknown = site.client.tags("nothing").await;
    assert!(
        matches!(unknown, Err(ClientError::NotFound { .. })),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named_with_the_next_step() {
    // A port that was free a moment ago.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let error = RegistryClient::new(&host).catalog().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&host) && message.contains("devops-lab status"),
        "{message}"
    );
}

#[tokio::test]
async fn damaged_blobs_are_noticed() {
    use futures::TryStreamExt;
    let site = Site::new().await;
    let name = site
        .push_layer("damaged:1", &support::layer(&[("a", "1")]))
        .await;
    let (_, manifest) = site.client.image_manifest("damaged", "1").await.unwrap();
    let layer = manifest.layers[0].clone();
    support::damage(&site.registry_dir(), &layer.digest);

    let pieces = site.client.blob("damaged", &layer).await.unwrap();
    assert!(pieces.try_collect::<Vec<_>>().await.is_err());
    let error = site.store.pull(&site.client, &name).await.unwrap_err();
    assert!(matches!(error, UnpackError::Layer { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("has the digest"), "{source}");
    site.nothing_unpacked();
    let error = pull::pull(&site.client, &name, &site.layout)
        .await
        .unwrap_err();
    assert!(
        matches!(error, pull::PullError::DigestMismatch { .. }),
        "{error:?}"
    );
    assert!(site.layout.get(&name).unwrap().is_none());
}

// Unpacking.

#[tokio::test]
async fn a_second_pull_unpacks_nothing_and_a_name_is_remembered() {
    let site = Site::new().await;
    let name = site
        .push_layer("hello:1", &support::layer(&[("a", "1")]))
        .await;
    assert!(site.store.find(&name).unwrap().is_none());
    let first = site.store.pull(&site.client, &name).await.unwrap();
    fs::write(first.rootfs.join("mark"), "").unwrap();
    let second = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(first, second);
    assert!(second.rootfs.join("mark").exists());
    assert_eq!(site.store.find(&name).unwrap(), Some(first.clone()));
    assert_eq!(first.size_bytes, 1);
    let missing = ImageRef::parse(&format!("{}/nothing:1", site.host)).unwrap();
    let error = site.store.pull(&site.client, &missing).await.unwrap_err();
    assert!(matches!(
        error,
        UnpackError::Pull {
            source: ClientError::NotFound { .. },
            ..
        }
    ));
}

#[tokio::test]
async fn many_pulls_at_once_unpack_once() {
    let site = Site::new().await;
    let name = site
        .push_layer("hello:1", &support::layer(&[("a", "1")]))
        .await;
    let pulls = (0..8).map(|_| site.store.pull(&site.client, &name));
    let images = futures::future::try_join_all(pulls).await.unwrap();
    assert!(images.iter().all(|image| *image == images[0]));
    assert_eq!(files(&images[0].rootfs), ["a"]);
}

#[tokio::test]
async fn whiteouts_remove_what_lower_layers_have() {
    let site = Site::new().await;
    let lower = support::layer(&[
        ("a/x", "1"),
        ("a/y", "1"),
        ("b/x", "1"),
        ("b/y/z", "1"),
        ("c", "1"),
    ]);
    // The new files come before the whiteouts that must not touch them.
    let upper = support::layer(&[
        ("a/.wh.x", ""),
        ("b/new", "2"),
        ("b/y/new", "2"),
        ("b/.wh..wh..opq", ""),
        ("c", "2"),
        (".wh.c", ""),
        (".wh.nothing", ""),
    ]);
    let name = site.push_layers("hello:1", &[&lower, &upper]).await;
    let image = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(files(&image.rootfs), ["a/y", "b/new", "b/y/new", "c"]);
    assert_eq!(fs::read_to_string(image.rootfs.join("c")).unwrap(), "2");
}

#[tokio::test]
async fn compressed_layers_are_unpacked_and_unknown_compression_is_named() {
    let site = Site::new().await;
    let plain = support::layer(&[("a", "1")]);
    let name = site
        .push_packed("hello:1", &support::gzip(&plain), &Digest::of(&plain))
        .await;
    let image = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(files(&image.rootfs), ["a"]);

    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0, 0];
    let name = site.push_packed("hello:2", &zstd, &Digest::of(&zstd)).await;
    let error = site.store.pull(&site.client, &name).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("zstd"), "{source}");

    let wrong = Digest::of(b"something else");
    let name = site
        .push_packed("hello:3", &support::gzip(&plain), &wrong)
        .await;
    let error = site.store.pull(&site.client, &name).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("has the digest"), "{source}");
}

#[tokio::test]
async fn no_entry_of_a_layer_leads_out_of_the_root() {
    let site = Site::new().await;
    let outside = site.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    for (index, layer) in support::hostile_layers(&outside).iter().enumerate() {
        let name = site.push_layer(&format!("hostile:{index}"), layer).await;
        let outcome = site.store.pull(&site.client, &name).await;
        assert_eq!(
            fs::read_to_string(&outside).unwrap(),
            "untouched",
            "layer {index}"
        );
        // Where it was not refused, all that it links to must be inside.
        if let Ok(image) = outcome {
            support::assert_links_inside(&image.rootfs);
        }
    }
}

#[tokio::test]
async fn paths_with_dots_are_refused_and_nothing_is_left() {
    let site = Site::new().await;
    let name = site
        .push_layer(
            "hostile:1",
            &support::raw_layer(&[("a", "1"), ("../evil", "x")]),
        )
        .await;
    let error = site.store.pull(&site.client, &name).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("leads out"), "{source}");
    site.nothing_unpacked();
}

#[tokio::test]
async fn special_modes_and_devices_are_left_out_and_read_only_files_replaced() {
    let site = Site::new().await;
    let lower = support::special_layer();
    let upper = support::layer(&[("locked/file", "2")]);
    let name = site.push_layers("hello:1", &[&lower, &upper]).await;
    let image = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(files(&image.rootfs), ["locked/file", "same", "tool"]);
    let mode = |path: &str| {
        fs::metadata(image.rootfs.join(path))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("tool") & 0o7777, 0o755);
    assert_eq!(mode("locked") & 0o7777, 0o755);
    assert_eq!(
        fs::read_to_string(image.rootfs.join("locked/file")).unwrap(),
        "2"
    );
    assert_eq!(
        fs::read_to_string(image.rootfs.join("same")).unwrap(),
        "tool"
    );
}

#[tokio::test]
async fn remains_of_a_killed_process_are_removed() {
    let site = Site::new().await;
    let name = site
        .push_layer("hello:1", &support::layer(&[("a", "1")]))
        .await;
    let (_, manifest) = site.client.image_manifest("hello", "1").await.unwrap();
    let place = format!("tmp/sha256-{}", manifest.config.digest.hex());
    let remains = site
        .dir
        .path()
        .join("store")
        .join(place)
        .join("rootfs/half");
    fs::create_dir_all(&remains).unwrap();
    let image = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(files(&image.rootfs), ["a"]);
    assert!(!image.rootfs.join("half").exists());

    fs::create_dir_all(&remains).unwrap();
    ImageStore::open(&site.dir.path().join("store")).unwrap();
    assert!(!remains.exists());
}

#[tokio::test]
async fn giving_up_in_the_middle_of_a_pull_leaves_nothing() {
    let site = Site::new().await;
    let big = vec![b'x'; 8 * 1024 * 1024];
    let layer = support::layer(&[("big", std::str::from_utf8(&big).unwrap())]);
    let name = site.push_layer("hello:1", &layer).await;
    let pull = site.store.pull(&site.client, &name);
    let place = site.dir.path().join("store/tmp");
    tokio::select! {
        biased;
        _ = pull => panic!("the pull ended before it could be dropped"),
        () = support::until(|| fs::read_dir(&place).unwrap().next().is_some()) => {}
    }
    support::until(|| fs::read_dir(&place).unwrap().next().is_none()).await;
    let image = site.store.pull(&site.client, &name).await.unwrap();
    assert_eq!(image.size_bytes, big.len() as u64);
}

// The local store.

#[tokio::test]
async fn the_store_lists_tags_and_forgets_images() {
    let site = Site::new().await;
    let built = build_files(
        &site,
        &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")],
    )
    .await
    .unwrap();
    let other = ImageRef::parse("localhost:5001/hello:1").unwrap();
    site.layout.tag(&built.name, &other).unwrap();
    let again = Layout::open(site.layout.dir()).unwrap();
    let names: Vec<_> = again
        .list()
        .unwrap()
        .into_iter()
        .map(|image| image.name)
        .collect();
    assert_eq!(names, [built.name.clone(), other.clone()]);
    assert!(again.remove(&other).unwrap());
    assert!(!again.remove(&other).unwrap());
    assert!(again.get(&other).unwrap().is_none());
    assert!(again.tag(&other, &built.name).is_err());
}

#[tokio::test]
async fn an_archive_carries_images_to_another_store() {
    let site = Site::new().await;
    let built = build_files(
        &site,
        &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")],
    )
    .await
    .unwrap();
    let archive = site.dir.path().join("images.tar");
    site.layout
        .export(std::slice::from_ref(&built.name), &archive)
        .unwrap();
    let elsewhere = Layout::open(&site.dir.path().join("elsewhere")).unwrap();
    let imported = elsewhere.import(&archive).unwrap();
    assert_eq!(imported, std::slice::from_ref(&built.name));
    let image = elsewhere.require(&built.name).unwrap();
    assert_eq!(image.descriptor.digest, built.digest);
    assert_eq!(image.size_bytes(), built.size_bytes);

    fs::write(&archive, "no archive").unwrap();
    assert!(elsewhere.import(&archive).is_err());
}

#[tokio::test]
async fn docker_runs_what_was_built() {
    if !support::available("docker", &["version"]) {
        return;
    }
    let site = Site::new().await;
    let context = [
        (
            "Dockerfile",
            "FROM scratch\nCOPY a /bin/\nWORKDIR /w\nCMD [\"/bin/a\"]",
        ),
        ("a", "1"),
    ];
    let built = build_files(&site, &context).await.unwrap();
    let tag = ImageRef::parse(&format!("{}/hello:1", site.host)).unwrap();
    site.layout.tag(&built.name, &tag).unwrap();

    // By an archive, and by a pull from the registry.
    let archive = site.dir.path().join("image.tar").display().to_string();
    site.layout
        .export(std::slice::from_ref(&tag), Path::new(&archive))
        .unwrap();
    let image = tag.to_string();
    support::run("docker", &["load", "-i", &archive]).await;
    let inspect = [
        "inspect",
        "--format",
        "{{.Id}} {{.Config.Cmd}} {{.Config.WorkingDir}}",
        &image,
    ];
    let loaded = support::run("docker", &inspect).await;
    support::run("docker", &["rmi", &image]).await;
    push(&site.layout, &tag, &site.client, &|_| ())
        .await
        .unwrap();
    support::run("docker", &["pull", &image]).await;
    let pulled = support::run("docker", &inspect).await;
    support::run("docker", &["rmi", &image]).await;
    let expected = format!("{} [/bin/a] /w", built.config_digest);
    assert_eq!((loaded, pulled), (expected.clone(), expected));
}
