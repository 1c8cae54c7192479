//! Image update: a new image in the registry updates the workloads that follow it.
//!
//! Follows Keel: a workload says with the annotation (or label) `keel.sh/policy` which tags it
//! takes. It hears of a new one through a push notification of the registry, or with
//! `keel.sh/trigger: poll` by looking there itself. What is taken, what is not, and why is told
//! in events of the workload.
//!
//! ```text
//!  push ──▶ ImagePushes ─┐
//!  poll ──▶ ImageRegistry ┴▶ candidate ──▶ policy (pure) ──▶ patch, or pending approval, or event
//! ```
//!
//! Pushes that come while the control plane is down are not made up for, as in Keel; workloads
//! that poll find them.
//!
//! <https://keel.sh/docs/>

mod approval;
mod policy;
mod settings;
mod workload;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use lab_events::Recorder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use crate::ControllerDef;
use crate::runner::{During, Error};
use crate::shared::Shared;

use approval::{Fate, Pending};
use settings::Settings;
use workload::{Candidate, KINDS, Use, Workload, resource};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "image-update-controller",
    help: "updates workloads that follow their images when the registry gets a new one",
    start,
};

/// Pushes that may wait; a burst of a pipeline's images is far below.
const BACKLOG: usize = 256;
/// Longest time without a look at approvals and polls; changes of Deployments wake it at once.
const ROUND: Duration = Duration::from_secs(10);
/// Writers that may come between a read and a write before an update is given up until the next
/// push or round.
const TRIES: usize = 5;
/// Refusals and problems that are remembered, so that each is told once.
const REMEMBERED: usize = 4096;

/// An image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePush {
    /// Repository, with or without the registry's host: `hello` or `localhost:5001/hello`.
    #[serde(alias = "repository")]
    pub name: String,
    /// Tag.
    pub tag: String,
    /// Digest of the manifest, where it is known.
    #[serde(default)]
    pub digest: Option<String>,
}

/// Where pushes are told; clones are the same.
#[derive(Clone, Debug)]
pub struct ImagePushes(broadcast::Sender<ImagePush>);

impl Default for ImagePushes {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl ImagePushes {
    /// Tells the controller of a push.
    pub fn tell(&self, push: ImagePush) {
        // Nobody listening is no error: the controllers may be about to start or to end.
        let _ = self.0.send(push);
    }
}

/// The cluster's registry, for workloads that look there themselves.
pub trait ImageRegistry: Send + Sync {
    /// How image names call it: `localhost:5001`.
    fn hosts(&self) -> &[String];
    /// All tags of a repository.
    fn tags<'a>(&'a self, repository: &'a str) -> BoxFuture<'a, Result<Vec<String>, String>>;
    /// Digest of what a tag leads to; none where there is no such tag.
    fn digest<'a>(
        &'a self,
        repository: &'a str,
        tag: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, String>>;
}

/// How the controller hears of images.
#[derive(Clone, Default)]
pub struct ImageNews {
    /// Pushes.
    pub pushes: ImagePushes,
    /// The registry, where there is one to look into.
    pub registry: Option<Arc<dyn ImageRegistry>>,
}

impl fmt::Debug for ImageNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.registry.as_ref().map(|registry| registry.hosts());
        f.debug_struct("ImageNews")
            .field("registry", &hosts)
            .finish_non_exhaustive()
    }
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let changed = Arc::new(Notify::new());
    let wake = Arc::clone(&changed);
    shared.deployments.on_change(move |change| {
        let follows = |object: &k8s_openapi::api::apps::v1::Deployment| {
            let meta = &object.metadata;
            let maps = meta.annotations.iter().chain(&meta.labels);
            maps.flat_map(|map| map.keys())
                .any(|key| key == "keel.sh/policy")
        };
        if change.both().any(follows) {
            wake.notify_one();
        }
    });
    // Subscribed here, before the caches are filled, so that no push is missed meanwhile.
    let pushes = shared.config.images.pushes.0.subscribe();
    let keeper = Keeper {
        recorder: shared.recorder(DEF.name),
        shared: Arc::clone(shared),
        polls: HashMap::new(),
        told: HashSet::new(),
    };
    keeper.run(pushes, changed).boxed()
}

/// When a workload looks into the registry next, and what it saw there.
struct Poll {
    next: Instant,
    every: Duration,
    /// Content by image and tag.
    digests: HashMap<(String, String), String>,
}

struct Keeper {
    shared: Arc<Shared>,
    recorder: Recorder,
    /// By uid of the workload.
    polls: HashMap<String, Poll>,
    /// What was told already: uid and words.
    told: HashSet<(String, String)>,
}

impl Keeper {
    async fn run(mut self, mut pushes: broadcast::Receiver<ImagePush>, changed: Arc<Notify>) {
        let stop = self.shared.stop.clone();
        loop {
            let next = self.round().await;
            let push = tokio::select! {
                push = pushes.recv() => push,
                () = changed.notified() => continue,
                () = tokio::time::sleep_until(next) => continue,
                () = stop.cancelled() => return,
            };
            match push {
                Ok(push) => self.pushed(&push).await,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "pushes came faster than they could be looked at");
                }
                // The configuration holds the sender.
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Every workload that says how it follows its images.
    async fn workloads(&self) -> Result<Vec<Workload>, Error> {
        let mut found = Vec::new();
        for (group, version, kind, template) in KINDS {
            let resource = resource(group, version, kind);
            let api: Api<DynamicObject> = Api::all_with(self.shared.client.clone(), &resource);
            let listed = api
                .list(&ListParams::default())
                .await
                .during(|| format!("list every {kind}"));
            match listed {
                Ok(list) => found.extend(
                    list.items
                        .into_iter()
                        .map(|object| Workload::new(resource.clone(), template, object)),
                ),
                // A kind that this cluster does not have.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The workloads that follow their images, with their settings; problems are told.
    async fn followers(&mut self) -> Vec<(Workload, Settings)> {
        let workloads = match self.workloads().await {
            Ok(workloads) => workloads,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "will retry");
                return Vec::new();
            }
        };
        let mut followers = Vec::new();
        for workload in workloads {
            match workload.settings() {
                Ok(Some(settings)) => followers.push((workload, settings)),
                Ok(None) => {}
                Err(problem) => {
                    if self.is_news(&workload, &problem) {
                        let object = workload.reference();
                        self.recorder
                            .warning(&object, "ImagePolicyInvalid", problem);
                    }
                }
            }
        }
        followers
    }

    /// Looks at approvals, and into the registry where it is time; answers when to look again.
    async fn round(&mut self) -> Instant {
        let followers = self.followers().await;
        let alive: HashSet<_> = followers
            .iter()
            .map(|(workload, _)| workload.uid())
            .collect();
        self.polls.retain(|uid, _| alive.contains(uid));
        for (workload, settings) in &followers {
            if let Err(error) = self.settle(workload, settings).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "will retry");
            }
            if let Some(every) = settings.poll {
                self.poll(workload, settings, every).await;
            } else {
                self.polls.remove(&workload.uid());
            }
        }
        let latest = Instant::now() + self.shared.context.scale(ROUND);
        let polls = self.polls.values().map(|poll| poll.next);
        polls.fold(latest, Instant::min)
    }

    async fn pushed(&mut self, push: &ImagePush) {
        let hosts = self.hosts();
        for (workload, settings) in self.followers().await {
            for name in names(push, &hosts) {
                let candidate = Candidate {
                    image: name,
                    tag: push.tag.clone(),
                    digest: push.digest.clone(),
                };
                self.offer(&workload, &settings, &candidate).await;
            }
        }
    }

    fn hosts(&self) -> Vec<String> {
        let registry = self.shared.config.images.registry.as_ref();
        registry
            .map(|registry| registry.hosts().to_vec())
            .unwrap_or_default()
    }

    /// Looks for candidates in the registry.
    async fn poll(&mut self, workload: &Workload, settings: &Settings, every: Duration) {
        let Some(registry) = self.shared.config.images.registry.clone() else {
            return;
        };
        let now = Instant::now();
        let poll = self.polls.entry(workload.uid()).or_insert_with(|| Poll {
            next: now,
            every,
            digests: HashMap::new(),
        });
        if poll.every != every {
            poll.every = every;
            poll.next = now;
        }
        if poll.next > now {
            return;
        }
        poll.next = now + every;
        for found in workload.uses(settings) {
            let hosts = registry.hosts().iter();
            let mut repositories =
                hosts.filter_map(|host| found.image.strip_prefix(host.as_str())?.strip_prefix('/'));
            let Some(repository) = repositories.next() else {
                let words = format!(
                    "{} is not in the cluster's registry, so it is not looked for there",
                    found.image
                );
                self.tell(workload, "ImageNotPolled", &words);
                continue;
            };
            match self
                .look(&*registry, repository, &found, workload, settings)
                .await
            {
                Ok(Some(candidate)) => self.offer(workload, settings, &candidate).await,
                Ok(None) => {}
                Err(problem) => {
                    tracing::debug!(problem, repository, "the registry was not looked into");
                }
            }
        }
    }

    /// The best tag that the policy takes, or the new content of the tag that runs.
    async fn look(
        &mut self,
        registry: &dyn ImageRegistry,
        repository: &str,
        found: &Use,
        workload: &Workload,
        settings: &Settings,
    ) -> Result<Option<Candidate>, String> {
        let candidate = |tag: &str, digest| Candidate {
            image: found.image.clone(),
            tag: tag.to_owned(),
            digest,
        };
        if settings.policy.follows_content() {
            let Some(digest) = registry.digest(repository, &found.tag).await? else {
                return Ok(None);
            };
            let place = (found.image.clone(), found.tag.clone());
            let Some(poll) = self.polls.get_mut(&workload.uid()) else {
                return Ok(None);
            };
            // What was there at the first look is taken for what runs.
            let before = poll.digests.insert(place, digest.clone());
            let changed = before.is_some_and(|before| before != digest);
            return Ok(changed.then(|| candidate(&found.tag, Some(digest))));
        }
        let tags = registry.tags(repository).await?;
        let best = best(settings, &found.tag, &tags);
        Ok(match best {
            None => None,
            Some(tag) => {
                let digest = registry.digest(repository, &tag).await?;
                Some(candidate(&tag, digest))
            }
        })
    }

    /// Takes the candidate, or says why not. What others write meanwhile is read again.
    async fn offer(&mut self, workload: &Workload, settings: &Settings, candidate: &Candidate) {
        let mut workload = workload.clone();
        for _ in 0..TRIES {
            let decision = workload.decide(settings, candidate);
            for words in &decision.left {
                let words = format!("{}:{} not taken: {words}", candidate.image, candidate.tag);
                self.tell(&workload, "ImageNotTaken", &words);
            }
            let Some((_, words)) = decision.taken.first().cloned() else {
                return;
            };
            let uses: Vec<_> = decision.taken.into_iter().map(|(found, _)| found).collect();
            let outcome = if settings.approvals > 0 {
                self.ask(&workload, settings, candidate, &words).await
            } else {
                self.take(&workload, candidate, &uses, &words).await
            };
            match outcome {
                Err(error) if error.is_conflict() => match self.read_again(&workload).await {
                    Ok(Some(fresh)) => workload = fresh,
                    Ok(None) | Err(_) => return,
                },
                Err(error) => {
                    let words = format!(
                        "{}:{} could not be taken: {error}",
                        candidate.image, candidate.tag
                    );
                    self.recorder
                        .warning(&workload.reference(), "ImageUpdateFailed", words);
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    async fn take(
        &self,
        workload: &Workload,
        candidate: &Candidate,
        uses: &[Use],
        words: &str,
    ) -> Result<(), Error> {
        let now = self.shared.context.now().to_string();
        self.patch(workload, &workload.patch(candidate, uses, &now))
            .await?;
        let object = workload.reference();
        for found in uses {
            let text = format!(
                "container {}: {}:{} -> {} ({words})",
                found.container, found.image, found.tag, candidate.tag
            );
            self.recorder.normal(&object, "ImageUpdated", text);
            if let Some(stale) = found.stale(candidate) {
                self.recorder.warning(&object, "ImageMayBeStale", stale);
            }
        }
        Ok(())
    }

    /// Writes down that the candidate waits for its approvals.
    async fn ask(
        &mut self,
        workload: &Workload,
        settings: &Settings,
        candidate: &Candidate,
        words: &str,
    ) -> Result<(), Error> {
        let waits = Pending::read(&workload.annotations());
        if waits.is_some_and(|waits| waits.tag == candidate.tag && waits.digest == candidate.digest)
        {
            return Ok(());
        }
        let pending = Pending {
            image: candidate.image.clone(),
            tag: candidate.tag.clone(),
            digest: candidate.digest.clone(),
            required: settings.approvals,
            deadline: self.shared.context.now() + settings.deadline,
        };
        let text = serde_json::to_string(&pending).expect("strings and numbers are JSON");
        self.annotate(workload, json!({ approval::PENDING: text }))
            .await?;
        let text = format!(
            "{}:{} waits for {} approvals until {} ({words}); approve: devops-lab image approve {}",
            pending.image,
            pending.tag,
            pending.required,
            pending.deadline,
            workload.reference().name.unwrap_or_default()
        );
        self.recorder
            .normal(&workload.reference(), "ImageAwaitsApproval", text);
        Ok(())
    }

    /// Carries out or drops an update that waited.
    async fn settle(&mut self, workload: &Workload, settings: &Settings) -> Result<(), Error> {
        let annotations = workload.annotations();
        let Some(pending) = Pending::read(&annotations) else {
            return Ok(());
        };
        let candidate = Candidate {
            image: pending.image.clone(),
            tag: pending.tag.clone(),
            digest: pending.digest.clone(),
        };
        let name = format!("{}:{}", pending.image, pending.tag);
        let (reason, words) = match pending.fate(&annotations, self.shared.context.now()) {
            Fate::Waits => return Ok(()),
            Fate::Approved => {
                let decision = workload.decide(settings, &candidate);
                let uses: Vec<_> = decision.taken.into_iter().map(|(found, _)| found).collect();
                if !uses.is_empty() {
                    let words = format!("approved {} times", pending.required);
                    return self.take(workload, &candidate, &uses, &words).await;
                }
                (
                    "ImageNotTaken",
                    format!("{name} was approved, but it no longer follows what runs"),
                )
            }
            Fate::Rejected => ("ImageRejected", format!("{name} was rejected")),
            Fate::Expired => (
                "ImageApprovalExpired",
                format!("{name} was not approved until {}", pending.deadline),
            ),
        };
        let gone = json!({
            approval::PENDING: null,
            approval::APPROVE: null,
            approval::REJECT: null,
        });
        self.annotate(workload, gone).await?;
        self.recorder.normal(&workload.reference(), reason, words);
        Ok(())
    }

    async fn annotate(&self, workload: &Workload, annotations: Value) -> Result<(), Error> {
        let revision = &workload.object.metadata.resource_version;
        let body = json!({"metadata": {"resourceVersion": revision, "annotations": annotations}});
        self.patch(workload, &body).await
    }

    async fn patch(&self, workload: &Workload, body: &Value) -> Result<(), Error> {
        let name = workload.object.metadata.name.clone().unwrap_or_default();
        self.api(workload)
            .patch(&name, &PatchParams::default(), &Patch::Merge(body))
            .await
            .map(drop)
            .during(|| format!("patch {} {name:?}", workload.resource.plural))
    }

    async fn read_again(&self, workload: &Workload) -> Result<Option<Workload>, Error> {
        let name = workload.object.metadata.name.clone().unwrap_or_default();
        let object = self
            .api(workload)
            .get_opt(&name)
            .await
            .during(|| format!("read {} {name:?}", workload.resource.plural))?;
        Ok(object.map(|object| Workload {
            object,
            ..workload.clone()
        }))
    }

    fn api(&self, workload: &Workload) -> Api<DynamicObject> {
        let namespace = workload
            .object
            .metadata
            .namespace
            .clone()
            .unwrap_or_default();
        Api::namespaced_with(self.shared.client.clone(), &namespace, &workload.resource)
    }

    /// Tells something that is not news the second time.
    fn tell(&mut self, workload: &Workload, reason: &'static str, words: &str) {
        if self.is_news(workload, words) {
            self.recorder.normal(&workload.reference(), reason, words);
        }
    }

    fn is_news(&mut self, workload: &Workload, words: &str) -> bool {
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        self.told.insert((workload.uid(), words.to_owned()))
    }
}

/// The names under which workloads may know what was pushed.
fn names(push: &ImagePush, hosts: &[String]) -> Vec<String> {
    let host = push.name.split('/').next().unwrap_or_default();
    let has_host = push.name.contains('/')
        && (host.contains('.') || host.contains(':') || host == "localhost");
    let ours = hosts.iter().any(|ours| ours == host);
    if has_host && !ours {
        return vec![push.name.clone()];
    }
    let repository = if has_host {
        push.name.split_once('/').map_or("", |(_, rest)| rest)
    } else {
        &push.name
    };
    hosts
        .iter()
        .map(|host| format!("{host}/{repository}"))
        .collect()
}

/// The highest tag that the policy takes from `current` on.
fn best(settings: &Settings, current: &str, tags: &[String]) -> Option<String> {
    let taken = tags.iter().filter(|tag| {
        matches!(
            settings.policy.judge(current, tag),
            policy::Verdict::Take(_)
        )
    });
    taken
        .max_by(
            |one, other| match (policy::version(one), policy::version(other)) {
                (Some(one), Some(other)) => one.cmp_precedence(&other),
                _ => one.cmp(other),
            },
        )
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_known_by_every_name_of_the_registry() {
        let hosts = ["localhost:5001".to_owned(), "127.0.0.1:5001".to_owned()];
        let push = |name: &str| ImagePush {
            name: name.into(),
            tag: "1".into(),
            digest: None,
        };
        let both = ["localhost:5001/team/hello", "127.0.0.1:5001/team/hello"];
        assert_eq!(names(&push("team/hello"), &hosts), both);
        assert_eq!(names(&push("localhost:5001/team/hello"), &hosts), both);
        assert_eq!(names(&push("quay.io/hello"), &hosts), ["quay.io/hello"]);
    }

    #[test]
    fn of_many_tags_the_highest_that_the_policy_takes_is_best() {
        let annotations = [("keel.sh/policy".to_owned(), "minor".to_owned())].into();
        let settings = Settings::read(&annotations, &[].into()).unwrap().unwrap();
        let tags: Vec<String> = ["1.9.0", "1.10.0", "2.0.0", "latest", "0.1.0"]
            .map(str::to_owned)
            .into();
        assert_eq!(best(&settings, "1.0.0", &tags).as_deref(), Some("1.10.0"));
        assert_eq!(best(&settings, "1.10.0", &tags), None);
    }
}
