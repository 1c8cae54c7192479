//! Which pods there are, and which of them need a pass.
//!
//! A pod has an [`Entry`]. Something happening to it (a new spec, a container's end, a probe's
//! verdict, a timer) marks the entry dirty; a task then runs passes over that pod until it is
//! clean. So two passes over one pod never run at once, and an idle pod costs no task.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use lab_context::Context;
use lab_engine::{Engine, EngineEvent, SandboxId};
use lab_events::Recorder;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{AgentConfig, NodeSpec};
use crate::faults::{self, Faults};
use crate::handle::AgentHandle;
use crate::probe::Verdicts;
use crate::stats::Windows;
use crate::sync::{Outcome, PodMemory};
use crate::{node_ports, registration, server};

/// Status writes under way at once: keeps a thousand pods that change together from opening a
/// thousand requests.
const CONCURRENT_WRITES: usize = 64;

/// The agent of one or more nodes.
pub struct Agent {
    shared: Arc<Shared>,
}

/// What every pass needs.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) config: AgentConfig,
    pub(crate) context: Context,
    pub(crate) events: Recorder,
    pub(crate) nodes: HashMap<String, NodeSpec>,
    pub(crate) faults: Faults,
    pub(crate) writes: Semaphore,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) windows: tokio::sync::Mutex<Windows>,
    pods: Mutex<Pods>,
    listed: watch::Sender<bool>,
}

#[derive(Default)]
struct Pods {
    by_uid: HashMap<String, Arc<Entry>>,
    by_sandbox: HashMap<SandboxId, String>,
    /// The other way round; more than one where a dead sandbox has not been removed yet.
    sandboxes: HashMap<String, Vec<SandboxId>>,
}

impl Pods {
    fn own(&mut self, sandbox: &SandboxId, uid: &str) {
        if self
            .by_sandbox
            .get(sandbox)
            .is_some_and(|owner| owner == uid)
        {
            return;
        }
        self.disown(sandbox);
        self.by_sandbox.insert(sandbox.clone(), uid.to_owned());
        let owned = self.sandboxes.entry(uid.to_owned()).or_default();
        owned.push(sandbox.clone());
    }

    fn disown(&mut self, sandbox: &SandboxId) {
        let Some(uid) = self.by_sandbox.remove(sandbox) else {
            return;
        };
        if let Some(owned) = self.sandboxes.get_mut(&uid) {
            owned.retain(|other| other != sandbox);
            if owned.is_empty() {
                self.sandboxes.remove(&uid);
            }
        }
    }

    fn forget(&mut self, uid: &str) {
        self.by_uid.remove(uid);
        for sandbox in self.sandboxes.remove(uid).unwrap_or_default() {
            self.by_sandbox.remove(&sandbox);
        }
    }
}

/// One pod of this agent.
pub(crate) struct Entry {
    pub(crate) uid: String,
    pub(crate) verdicts: Verdicts,
    pub(crate) memory: tokio::sync::Mutex<PodMemory>,
    flags: Mutex<Flags>,
}

struct Flags {
    pod: Arc<Pod>,
    running: bool,
    dirty: bool,
    deleted: bool,
    timer: Option<AbortHandle>,
}

impl Agent {
    /// An agent for the nodes of `config`, driving `engine`. Must be called in a tokio runtime.
    #[must_use]
    pub fn new(
        client: Client,
        engine: Arc<dyn Engine>,
        config: AgentConfig,
        context: Context,
        stop: CancellationToken,
    ) -> Self {
        let events = Recorder::start(client.clone(), context.clone(), "kubelet", stop.clone());
        let nodes = config
            .nodes
            .iter()
            .map(|node| (node.name.clone(), node.clone()))
            .collect();
        let shared = Shared {
            client,
            engine,
            config,
            context,
            events,
            nodes,
            faults: Faults::default(),
            writes: Semaphore::new(CONCURRENT_WRITES),
            stop,
            tasks: TaskTracker::new(),
            windows: tokio::sync::Mutex::default(),
            pods: Mutex::default(),
            listed: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A handle that answers for the logs of this agent's pods.
    #[must_use]
    pub fn handle(&self) -> AgentHandle {
        AgentHandle::new(Arc::clone(&self.shared))
    }

    /// Runs until the stop signal, then ends the pods' containers (the Pod objects stay, so
    /// that the next start brings them back).
    ///
    /// # Errors
    /// Where the agent's own listener cannot be bound.
    pub async fn run(self) -> anyhow::Result<()> {
        let shared = self.shared;
        let port = match &shared.config.listen {
            Some(listen) => {
                let handle = AgentHandle::new(Arc::clone(&shared));
                Some(server::start(handle, listen, &shared.stop, &shared.tasks).await?)
            }
            None => None,
        };
        shared
            .tasks
            .spawn(registration::run(Arc::clone(&shared), port));
        shared.tasks.spawn(follow_engine(Arc::clone(&shared)));
        shared.tasks.spawn(faults::run(Arc::clone(&shared)));
        if shared.config.node_ports {
            for node in &shared.config.nodes {
                shared
                    .tasks
                    .spawn(node_ports::run(Arc::clone(&shared), node.ip));
            }
        }
        follow_pods(&shared).await;
        shared.shut_down().await;
        Ok(())
    }
}

/// Watches the pods bound to this agent's nodes.
async fn follow_pods(shared: &Arc<Shared>) {
    let config = match shared.config.nodes.as_slice() {
        [one] => watcher::Config::default().fields(&format!("spec.nodeName={}", one.name)),
        _ => watcher::Config::default(),
    };
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let watch = || {
        watcher(pods.clone(), config.clone())
            .default_backoff()
            .boxed()
    };
    let mut stream = watch();
    let mut seen = HashSet::new();
    loop {
        let next = tokio::select! {
            next = stream.try_next() => next,
            // What happened while a node was cut off was not heard.
            () = shared.faults.joined() => {
                stream = watch();
                continue;
            }
            () = shared.stop.cancelled() => return,
        };
        match next {
            Ok(Some(event)) => shared.absorb(event, &mut seen),
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "watch of pods interrupted"),
        }
    }
}

/// Wakes the pods that the engine reports on, and removes what no pod owns.
async fn follow_engine(shared: Arc<Shared>) {
    let mut listed = shared.listed.subscribe();
    let known = tokio::select! {
        known = listed.wait_for(|listed| *listed) => known.is_ok(),
        () = shared.stop.cancelled() => false,
    };
    if !known {
        return;
    }
    let mut events = shared.engine.events();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = shared.stop.cancelled() => return,
        };
        match event {
            Some(EngineEvent::SandboxChanged(sandbox)) => shared.wake_sandbox(&sandbox),
            Some(EngineEvent::Resync) => shared.resync().await,
            None => return,
        }
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn absorb(self: &Arc<Self>, event: watcher::Event<Pod>, seen: &mut HashSet<String>) {
        match event {
            watcher::Event::Init => seen.clear(),
            watcher::Event::InitApply(pod) => {
                seen.extend(pod.uid());
                self.apply(pod);
            }
            watcher::Event::InitDone => {
                let gone: Vec<_> = self
                    .pods()
                    .by_uid
                    .values()
                    .filter(|entry| !seen.contains(&entry.uid) && !self.is_cut_off(&entry.pod()))
                    .map(|entry| entry.uid.clone())
                    .collect();
                gone.iter().for_each(|uid| self.delete(uid));
                self.listed.send_replace(true);
            }
            watcher::Event::Apply(pod) => self.apply(pod),
            watcher::Event::Delete(pod) => {
                if let Some(uid) = pod.uid().filter(|_| !self.is_cut_off(&pod)) {
                    self.delete(&uid);
                }
            }
        }
    }

    fn apply(self: &Arc<Self>, mut pod: Pod) {
        let ours = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        if !ours.is_some_and(|node| self.nodes.contains_key(node)) {
            return;
        }
        if self.is_cut_off(&pod) {
            return;
        }
        let Some(uid) = pod.uid() else { return };
        pod.metadata.managed_fields = None;
        let pod = Arc::new(pod);
        let known = self.pods().by_uid.get(&uid).cloned();
        let entry = match known {
            Some(entry) => {
                entry.flags().pod = pod;
                entry
            }
            None => {
                let entry = Arc::new(Entry::new(uid.clone(), pod));
                self.pods().by_uid.insert(uid, Arc::clone(&entry));
                entry
            }
        };
        self.wake(&entry);
    }

    /// Whether the pod's node hears nothing of the control plane now.
    pub(crate) fn is_cut_off(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node.is_some_and(|node| self.faults.is_cut_off(node))
    }

    fn delete(self: &Arc<Self>, uid: &str) {
        let entry = self.pods().by_uid.get(uid).cloned();
        if let Some(entry) = entry {
            entry.flags().deleted = true;
            // A pass may be waiting out a long termination grace; a pod that is gone from the API
            // is not waited for.
            self.tasks
                .spawn(Arc::clone(self).remove_now(Arc::clone(&entry)));
            self.wake(&entry);
        }
    }

    async fn remove_now(self: Arc<Self>, entry: Arc<Entry>) {
        let sandbox = self.sandbox_of(&entry.uid);
        if let Some(sandbox) = sandbox
            && let Err(error) = self.engine.remove_pod_sandbox(&sandbox).await
        {
            tracing::warn!(%error, sandbox = sandbox.0, "sandbox not removed; will be tried again");
        }
    }

    /// Marks a pod dirty, and starts passes over it unless they are under way.
    pub(crate) fn wake(self: &Arc<Self>, entry: &Arc<Entry>) {
        let start = {
            let mut flags = entry.flags();
            flags.dirty = true;
            !std::mem::replace(&mut flags.running, true)
        };
        if start {
            self.tasks.spawn(Arc::clone(self).drive(Arc::clone(entry)));
        }
    }

    fn wake_sandbox(self: &Arc<Self>, sandbox: &SandboxId) {
        let entry = {
            let pods = self.pods();
            pods.by_sandbox
                .get(sandbox)
                .and_then(|uid| pods.by_uid.get(uid))
                .cloned()
        };
        if let Some(entry) = entry {
            self.wake(&entry);
        }
    }

    /// Wakes a pod after a while; a later call replaces an earlier one.
    fn wake_after(self: &Arc<Self>, entry: &Arc<Entry>, wait: Duration) {
        let (shared, target) = (Arc::clone(self), Arc::downgrade(entry));
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(entry) = target.upgrade() {
                shared.wake(&entry);
            }
        });
        if let Some(earlier) = entry.flags().timer.replace(timer.abort_handle()) {
            earlier.abort();
        }
    }

    async fn drive(self: Arc<Self>, entry: Arc<Entry>) {
        loop {
            entry.flags().dirty = false;
            match self.sync(&entry).await {
                Outcome::Settled => {}
                Outcome::WakeAfter(wait) => self.wake_after(&entry, wait),
                Outcome::Gone => {
                    self.forget(&entry);
                    return;
                }
            }
            let mut flags = entry.flags();
            if !flags.dirty || self.stop.is_cancelled() {
                flags.running = false;
                return;
            }
        }
    }

    fn forget(&self, entry: &Entry) {
        if let Some(timer) = entry.flags().timer.take() {
            timer.abort();
        }
        entry.verdicts.clear();
        self.pods().forget(&entry.uid);
    }

    /// Remembers which pod a sandbox belongs to, so that the engine's events find it.
    pub(crate) fn own(&self, sandbox: &SandboxId, uid: &str) {
        self.pods().own(sandbox, uid);
    }

    /// Forgets a removed sandbox.
    pub(crate) fn disown(&self, sandbox: &SandboxId) {
        self.pods().disown(sandbox);
    }

    fn sandbox_of(&self, uid: &str) -> Option<SandboxId> {
        self.pods().sandboxes.get(uid)?.last().cloned()
    }

    /// The entry of a pod by its name.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        let pods = self.pods();
        let named = |entry: &&Arc<Entry>| {
            let pod = entry.pod();
            pod.namespace().as_deref() == Some(namespace) && pod.name_any() == name
        };
        pods.by_uid.values().find(named).cloned()
    }

    /// Every pod as last seen.
    pub(crate) fn all_pods(&self) -> Vec<Arc<Pod>> {
        self.pods()
            .by_uid
            .values()
            .map(|entry| entry.pod())
            .collect()
    }

    /// Compares the engine's sandboxes with the pods: adopts, removes orphans, wakes everybody.
    async fn resync(self: &Arc<Self>) {
        let sandboxes = match self.engine.list_sandboxes().await {
            Ok(sandboxes) => sandboxes,
            Err(error) => {
                tracing::warn!(%error, "the engine could not list its sandboxes");
                return;
            }
        };
        for sandbox in sandboxes {
            let known = self.pods().by_uid.contains_key(&sandbox.config.uid);
            if known {
                self.own(&sandbox.id, &sandbox.config.uid);
            } else if let Err(error) = self.engine.remove_pod_sandbox(&sandbox.id).await {
                tracing::warn!(%error, sandbox = sandbox.id.0, "orphaned sandbox not removed");
            }
        }
        let entries: Vec<_> = self.pods().by_uid.values().cloned().collect();
        entries.iter().for_each(|entry| self.wake(entry));
    }

    /// Ends every container with a short grace: the machine is being switched off.
    async fn shut_down(&self) {
        self.tasks.close();
        if self.engine.pods_are_simulated() {
            return;
        }
        let sandboxes = self.engine.list_sandboxes().await.unwrap_or_default();
        let containers = sandboxes
            .iter()
            .flat_map(|sandbox| &sandbox.containers)
            .filter(|container| {
                matches!(container.state, lab_engine::ContainerState::Running { .. })
            });
        let stops =
            containers.map(|container| self.engine.stop_container(&container.id, SHUTDOWN_GRACE));
        futures::future::join_all(stops).await;
    }
}

/// How long containers may take to end when the node is switched off.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

impl Entry {
    fn new(uid: String, pod: Arc<Pod>) -> Self {
        let flags = Flags {
            pod,
            running: false,
            dirty: false,
            deleted: false,
            timer: None,
        };
        Self {
            uid,
            verdicts: Verdicts::default(),
            memory: tokio::sync::Mutex::default(),
            flags: Mutex::new(flags),
        }
    }

    fn flags(&self) -> MutexGuard<'_, Flags> {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod as last seen.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.flags().pod)
    }

    /// True once the pod is gone from the API.
    pub(crate) fn is_deleted(&self) -> bool {
        self.flags().deleted
    }
}
