//! The short tour: the main job from nothing, told as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use lab_api::pods::is_ready;
use lab_cluster::config::EngineKind;
use lab_cluster::lifecycle;
use lab_cluster::record::{Home, Record};
use lab_cluster::status::Addresses;
use rust_embed::RustEmbed;
use tokio::time::{Instant, sleep};

use super::{cluster, told};
use crate::apply::apply;
use crate::commands::{check, image};
use crate::output::{blank, faint, line, strong};
use crate::progress::milliseconds;

/// The lab whose checks the tour runs at its end.
const LAB: &str = "deploy-three-replicas";
/// How long three replicas may take to become available.
const AVAILABLE_LIMIT: Duration = Duration::from_secs(60);
/// Requests sent through the load balancer.
const REQUESTS: usize = 30;
/// Pause between two looks at the deployment.
const LOOK: Duration = Duration::from_millis(10);

/// The sample application.
#[derive(RustEmbed)]
#[folder = "../fixtures/apps/hello"]
struct Hello;

/// The tour of the main job.
pub(super) struct Tour<'a> {
    pub(super) home: &'a Home,
    pub(super) name: &'a str,
    pub(super) lang: Option<&'a str>,
}

impl Tour<'_> {
    /// Goes through it in a new cluster; true where the checks at its end hold.
    ///
    /// # Errors
    /// With what did not work.
    pub(super) async fn run(&self, engine: Option<EngineKind>) -> anyhow::Result<bool> {
        chapter(
            1,
            "A cluster of three nodes",
            "nodes, a load balancer, an image registry, a Kubernetes API",
        );
        let record = cluster(self.home, self.name, engine).await?;
        let image = self.image(&record).await?;
        self.deploy(&record, &image).await?;
        self.traffic(&record).await?;
        self.kill_one(&record).await?;
        self.check(&record).await
    }

    async fn image(&self, record: &Record) -> anyhow::Result<String> {
        chapter(
            2,
            "An application, built and pushed",
            "a few lines of JavaScript on a base image that this program brings",
        );
        let directory =
            tempfile::tempdir().context("failed to make a directory for the application")?;
        for file in Hello::iter() {
            let path = directory.path().join(&*file);
            let content = Hello::get(&file).context("an embedded file vanished")?;
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(&path, content.data)
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        let tag = format!("localhost:{}/hello:1.0.0", record.ports.registry);
        let began = Instant::now();
        let dockerfile = image::dockerfile_of(directory.path());
        image::build_from(
            self.home,
            directory.path(),
            &dockerfile,
            &tag,
            BTreeMap::new(),
        )
        .await?;
        told(&format!("built {tag} in {}", milliseconds(began.elapsed())));
        lab_cluster::registry::verify(record).await?;
        image::push_image(self.home, &tag).await?;
        Ok(tag)
    }

    async fn deploy(&self, record: &Record, image: &str) -> anyhow::Result<()> {
        chapter(
            3,
            "Three replicas behind the load balancer",
            "Deployment, Service and HTTPRoute, as in any Kubernetes cluster",
        );
        let client = lifecycle::client(record)?;
        let began = Instant::now();
        for file in ["k8s/deployment.yaml", "k8s/service.yaml", "k8s/route.yaml"] {
            let content = Hello::get(file)
                .with_context(|| format!("{file} is not part of the application"))?;
            let yaml =
                String::from_utf8_lossy(&content.data).replace("localhost:5001/hello:1.0.0", image);
            for applied in apply(&client, "default", &yaml).await? {
                told(&applied);
            }
        }
        let deployments: Api<Deployment> = Api::default_namespaced(client);
        loop {
            let status = deployments.get("hello").await?.status.unwrap_or_default();
            if status.available_replicas == Some(3) && status.updated_replicas == Some(3) {
                break;
            }
            if began.elapsed() > AVAILABLE_LIMIT {
                bail!(
                    "the replicas are not available after {} s: devops-lab check says why",
                    AVAILABLE_LIMIT.as_secs()
                );
            }
            sleep(LOOK).await;
        }
        told(&format!(
            "three replicas are available {} after the first manifest",
            milliseconds(began.elapsed())
        ));
        Ok(())
    }

    async fn traffic(&self, record: &Record) -> anyhow::Result<()> {
        let address = Addresses::of(record).production;
        chapter(
            4,
            "Requests through the load balancer",
            &format!("{REQUESTS} requests to {address}/"),
        );
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let began = Instant::now();
        let mut shares = BTreeMap::<String, usize>::new();
        while shares.values().sum::<usize>() < REQUESTS {
            let response = client.get(format!("{address}/").parse()?).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                // The route may still be on its way to the load balancer.
                if began.elapsed() > Duration::from_secs(10) {
                    bail!(
                        "the load balancer answers {status}: {}",
                        String::from_utf8_lossy(&body)
                    );
                }
                sleep(LOOK).await;
                continue;
            }
            let answer: serde_json::Value =
                serde_json::from_slice(&body).context("the answer is not JSON")?;
            let pod = answer["pod"].as_str().unwrap_or("?");
            let node = answer["node"].as_str().unwrap_or("?");
            *shares.entry(format!("{pod} on {node}")).or_default() += 1;
        }
        for (pod, count) in &shares {
            line(format_args!(
                "    {:<34} {} {count}",
                pod,
                "█".repeat(*count)
            ));
        }
        if shares.len() != 3 {
            bail!("{} of three replicas answered", shares.len());
        }
        Ok(())
    }

    async fn kill_one(&self, record: &Record) -> anyhow::Result<()> {
        chapter(
            5,
            "One of them dies",
            "kubectl delete pod, while requests keep coming",
        );
        let address = Addresses::of(record).production;
        let pods: Api<Pod> = Api::default_namespaced(lifecycle::client(record)?);
        let ours = ListParams::default().labels("app=hello");
        let before = pods.list(&ours).await?;
        let victim = before
            .iter()
            .next()
            .context("there is no pod to kill")?
            .name_any();
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let began = Instant::now();
        pods.delete(&victim, &DeleteParams::default()).await?;
        told(&format!("pod/{victim} is told to go"));
        let (mut answered, mut failed) = (0_usize, 0_usize);
        loop {
            match client.get(format!("{address}/").parse()?).await {
                Ok(response) if response.status().is_success() => answered += 1,
                Ok(_) | Err(_) => failed += 1,
            }
            let now = pods.list(&ours).await?;
            let ready = now
                .iter()
                .filter(|pod| pod.name_any() != victim && is_ready(pod))
                .count();
            if ready == 3 {
                break;
            }
            if began.elapsed() > AVAILABLE_LIMIT {
                bail!(
                    "no replacement is ready after {} s",
                    AVAILABLE_LIMIT.as_secs()
                );
            }
        }
        told(&format!(
            "another one is ready after {}; meanwhile {answered} requests were answered and {failed} failed",
            milliseconds(began.elapsed())
        ));
        Ok(())
    }

    async fn check(&self, record: &Record) -> anyhow::Result<bool> {
        chapter(
            6,
            "The check that a learner would run",
            "devops-lab check deploy-three-replicas",
        );
        check::check_step(record, &self.home.cluster(self.name), LAB, None, self.lang).await
    }
}

fn chapter(number: usize, title: &str, about: &str) {
    blank();
    line(strong(&format!("{number}. {title}")));
    line(faint(&format!("   {about}")));
}
