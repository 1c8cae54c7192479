//! Images as the cluster's builder makes them, in a real registry, beside real commits.

use std::collections::BTreeMap;

use lab_image::ImageRef;
use lab_image::build::{BaseImages, BuildRequest, build};
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::push::push;
use lab_registry::Registry;
use serde_json::{Value, json};

use crate::checks::{CheckInput, find};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::readers::git::samples::Sample;

const DOCKERFILE: &str = "FROM devops-lab/runtime:1\nCOPY app.js /app/\nUSER 10001\n";

/// A learner's repository, and a registry to push to.
struct Site {
    sample: Sample,
    host: String,
}

impl Site {
    async fn new() -> Self {
        let sample = Sample::new();
        let registry = Registry::open(&sample.path("registry")).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move { axum::serve(listener, registry.router()).await });
        std::fs::write(sample.path("program"), vec![7; 100_000]).unwrap();
        Self { sample, host }
    }

    /// Builds the learner's directory and pushes it as `hello:TAG`.
    async fn push(&self, dockerfile: &str, tag: &str) {
        let path = self.sample.path("Dockerfile");
        std::fs::write(&path, dockerfile).unwrap();
        let name = ImageRef::parse(&format!("{}/hello:{tag}", self.host)).unwrap();
        let layout = Layout::open(&self.sample.path("layout")).unwrap();
        let client = RegistryClient::new(&self.host);
        let request = BuildRequest {
            context_dir: self.sample.path("workspace/hello"),
            dockerfile: path,
            tag: name.clone(),
            build_args: BTreeMap::new(),
            target: None,
            labels: BTreeMap::new(),
            source_date_epoch: None,
        };
        let bases = BaseImages {
            runtime_executable: Some(self.sample.path("program")),
            registry: Some(client.clone()),
        };
        build(&request, &bases, &layout).await.unwrap();
        push(&layout, &name, &client, &|_| ()).await.unwrap();
    }

    async fn found(&self, check: &str, with: Value) -> Option<String> {
        let mut context: CheckContext = self.sample.context();
        context.addresses.registry.clone_from(&self.host);
        let input = CheckInput {
            with: context.addresses.fill_value(&with),
            ..CheckInput::default()
        };
        let outcome = (find(check).unwrap().run)(context, input).await.unwrap();
        outcome.diagnosis().map(Diagnosis::name).map(str::to_owned)
    }

    async fn configured(&self, tag: &str, mut with: Value) -> Option<String> {
        with["image"] = json!(format!("{{{{registry}}}}/hello:{tag}"));
        self.found("image-configured", with).await
    }

    async fn head(&self) -> String {
        self.sample.tree().await.head.unwrap()
    }
}

#[tokio::test]
async fn images_of_the_clusters_builder_are_judged() {
    let site = Site::new().await;
    assert_eq!(
        site.configured("1.0.0", json!({})).await.as_deref(),
        Some("registry-empty")
    );
    site.push(DOCKERFILE, "1.0.0").await;
    let good = json!({"user": "non-root", "base": "devops-lab/runtime:1", "maxOwnBytes": 10_000, "maxLayers": 2,
        "entrypoint": ["/devops-lab", "app"], "env": {"PORT": "8080"}, "absent": [".env"],
        "present": ["/app/app.js", "/devops-lab", "/etc/passwd"]});
    assert_eq!(site.configured("1.0.0", good.clone()).await, None);
    assert_eq!(
        site.configured("1.0.1", good.clone()).await.as_deref(),
        Some("tag-never-pushed")
    );

    site.sample.write(".env", "SECRET=1");
    site.push(
        "FROM devops-lab/runtime:1\nCOPY app.js .env /app/\nUSER 0\n",
        "bad",
    )
    .await;
    let found = async |with| site.configured("bad", with).await;
    assert_eq!(
        found(json!({"user": "non-root"})).await.as_deref(),
        Some("image-runs-as-root")
    );
    assert_eq!(
        found(json!({"absent": [".env"]})).await.as_deref(),
        Some("image-holds-file")
    );
    assert_eq!(
        found(json!({"present": ["/app/none"]})).await.as_deref(),
        Some("image-lacks-file")
    );
    let same = json!({"sameContentAs": "{{registry}}/hello:1.0.0"});
    assert_eq!(
        found(same.clone()).await.as_deref(),
        Some("image-other-content")
    );
    assert_eq!(site.configured("1.0.0", same).await, None);

    // Built on an image of the registry, and on nothing.
    let own = format!(
        "FROM {}/hello:1.0.0\nCOPY app.js /app/again.js\n",
        site.host
    );
    site.push(&own, "again").await;
    let base = || json!({"base": "{{registry}}/hello:1.0.0", "maxOwnBytes": 10_000});
    assert_eq!(site.configured("again", base()).await, None);
    assert_eq!(
        site.configured("bad", base()).await.as_deref(),
        Some("image-other-base")
    );
    site.push("FROM scratch\nCOPY app.js /app/\n", "scratch")
        .await;
    assert_eq!(
        site.configured("scratch", good).await.as_deref(),
        Some("image-runs-as-root")
    );
    let runtime = json!({"base": "devops-lab/runtime:1"});
    assert_eq!(
        site.configured("scratch", runtime).await.as_deref(),
        Some("image-other-base")
    );
}

#[tokio::test]
async fn images_are_held_to_the_commit_that_their_tag_names() {
    let site = Site::new().await;
    let with = || json!({"repository": "hello", "dir": "hello", "pushed": true, "files": {"/app/app.js": "app.js"}});
    let found = async || site.found("image-tag-is-commit", with()).await;
    assert_eq!(found().await.as_deref(), Some("no-image-of-commit"));
    site.push(DOCKERFILE, &site.head().await[..7]).await;
    assert_eq!(found().await, None);

    site.sample.write("app.js", "2");
    site.sample.commit("Change");
    assert_eq!(found().await.as_deref(), Some("git-not-pushed"));
    site.sample.push();
    assert_eq!(found().await.as_deref(), Some("no-image-of-commit"));
    // The tag is the commit, and the image was built from something else.
    site.sample.write("app.js", "3");
    let head = site.head().await;
    site.push(DOCKERFILE, &head).await;
    assert_eq!(found().await.as_deref(), Some("image-of-other-commit"));
    site.sample.write("app.js", "2");
    site.push(
        &format!("{DOCKERFILE}LABEL org.opencontainers.image.revision=0123456\n"),
        &head,
    )
    .await;
    assert_eq!(found().await.as_deref(), Some("image-of-other-commit"));
    site.push(
        &format!("{DOCKERFILE}LABEL org.opencontainers.image.revision={head}\n"),
        &head,
    )
    .await;
    assert_eq!(found().await, None);
}
