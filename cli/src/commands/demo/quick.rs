//! The short tour: the main job from nothing, told as it happens.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
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
use lab_checks::language::Language;
use lab_cluster::config::EngineKind;
use lab_cluster::lifecycle;
use lab_cluster::record::{Home, Record};
use lab_cluster::status::Addresses;
use rust_embed::RustEmbed;
use tokio::time::{Instant, sleep};

use super::{cluster, told};
use crate::commands::lab::pick;
use crate::commands::{check, env, image};
use crate::kubectl;
use crate::output::{blank, faint, line, strong};
use crate::progress::milliseconds;

/// The lab whose checks the tour runs at its end.
const LAB: &str = "deploy-three-replicas";
/// The last of its steps that the tour does: it has no time to wait for a node that is missed.
const LAST_STEP: &str = "heal";
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
    pub(super) language: Language,
}

impl Tour<'_> {
    /// Goes through it in a new cluster; true where the checks at its end hold.
    ///
    /// # Errors
    /// With what did not work.
    pub(super) async fn run(&self, engine: Option<EngineKind>) -> anyhow::Result<bool> {
        chapter(
            1,
            self.say("A cluster of three nodes", "Un cluster de trois nœuds"),
            self.say(
                "nodes, a load balancer, an image registry, a Kubernetes API",
                "des nœuds, un répartiteur de charge, un registre d’images, une API Kubernetes",
            ),
        );
        let record = cluster(self.home, self.name, engine, self.language).await?;
        let image = self.image(&record).await?;
        self.deploy(&record, &image).await?;
        self.traffic(&record).await?;
        self.kill_one(&record).await?;
        self.check(&record).await
    }

    fn say<'t>(&self, en: &'t str, fr: &'t str) -> &'t str {
        pick(self.language, en, fr)
    }

    async fn image(&self, record: &Record) -> anyhow::Result<String> {
        chapter(
            2,
            self.say(
                "An application, built and pushed",
                "Une application, construite et poussée",
            ),
            self.say(
                "a few lines of JavaScript on a base image that this program brings",
                "quelques lignes de JavaScript sur une image de base que ce programme apporte",
            ),
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
        let took = milliseconds(began.elapsed());
        told(&match self.language {
            Language::En => format!("built {tag} in {took}"),
            Language::Fr => format!("{tag} construite en {took}"),
        });
        lab_cluster::registry::verify(record).await?;
        image::push_image(self.home, &tag).await?;
        Ok(tag)
    }

    async fn deploy(&self, record: &Record, image: &str) -> anyhow::Result<()> {
        chapter(
            3,
            self.say(
                "Three replicas behind the load balancer",
                "Trois répliques derrière le répartiteur de charge",
            ),
            self.say(
                "Deployment, Service and HTTPRoute, as in any Kubernetes cluster",
                "Deployment, Service et HTTPRoute, comme dans tout cluster Kubernetes",
            ),
        );
        let manifests = tempfile::tempdir().context("failed to make a directory for manifests")?;
        for name in ["deployment.yaml", "service.yaml", "route.yaml"] {
            let file = format!("k8s/{name}");
            let content = Hello::get(&file)
                .with_context(|| format!("{file} is not part of the application"))?;
            let yaml =
                String::from_utf8_lossy(&content.data).replace("localhost:5001/hello:1.0.0", image);
            let path = manifests.path().join(name);
            std::fs::write(&path, yaml)
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        let began = Instant::now();
        self.apply(record, manifests.path()).await?;
        let deployments: Api<Deployment> = Api::default_namespaced(lifecycle::client(record)?);
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
        let took = milliseconds(began.elapsed());
        told(&match self.language {
            Language::En => {
                format!("three replicas are available {took} after the first manifest")
            }
            Language::Fr => {
                format!("trois répliques sont disponibles {took} après le premier manifeste")
            }
        });
        Ok(())
    }

    /// What a learner would type, and what it says.
    async fn apply(&self, record: &Record, manifests: &Path) -> anyhow::Result<()> {
        let kubeconfig = env::write_kubeconfig(&self.home.cluster(self.name), record)?;
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let manifests = format!("--filename={}", manifests.display());
        line(faint("  $ kubectl apply -f k8s"));
        let words = ["apply".to_owned(), manifests, kubeconfig];
        if kubectl::run(words.into()).await != ExitCode::SUCCESS {
            bail!("the manifests of the application were refused");
        }
        Ok(())
    }

    async fn traffic(&self, record: &Record) -> anyhow::Result<()> {
        let address = Addresses::of(record).production;
        chapter(
            4,
            self.say(
                "Requests through the load balancer",
                "Des requêtes à travers le répartiteur de charge",
            ),
            &match self.language {
                Language::En => format!("{REQUESTS} requests to {address}/"),
                Language::Fr => format!("{REQUESTS} requêtes vers {address}/"),
            },
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
            let on = self.say("on", "sur");
            *shares.entry(format!("{pod} {on} {node}")).or_default() += 1;
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
            self.say("One of them dies", "L’une d’elles meurt"),
            self.say(
                "kubectl delete pod, while requests keep coming",
                "kubectl delete pod, pendant que les requêtes continuent",
            ),
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
        told(&match self.language {
            Language::En => format!("pod/{victim} is told to go"),
            Language::Fr => format!("pod/{victim} est prié de partir"),
        });
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
        let took = milliseconds(began.elapsed());
        told(&match self.language {
            Language::En => format!("another one is ready after {took}"),
            Language::Fr => format!("un autre est prêt après {took}"),
        });
        told(&match self.language {
            Language::En => {
                format!("meanwhile {answered} requests were answered and {failed} failed")
            }
            Language::Fr => {
                format!("entre-temps, {answered} requêtes servies et {failed} échouées")
            }
        });
        Ok(())
    }

    async fn check(&self, record: &Record) -> anyhow::Result<bool> {
        chapter(
            6,
            self.say(
                "The checks that a learner would run",
                "Les vérifications qu’un élève lancerait",
            ),
            "devops-lab check deploy-three-replicas/…",
        );
        let dir = self.home.cluster(self.name);
        check::check_steps(record, &dir, LAB, LAST_STEP, self.language).await
    }
}

fn chapter(number: usize, title: &str, about: &str) {
    blank();
    line(strong(&format!("{number}. {title}")));
    line(faint(&format!("   {about}")));
}
