//! The scheduler without its I/O: observations in, attempts out.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as k8s;
use kube::runtime::watcher::Event;
use lab_context::Context;
use tokio::time::Instant;

use crate::pod::{PodInfo, Templates};
use crate::queue::{Help, Queue};
use crate::relist::Relist;
use crate::schedule::schedule;
use crate::watched::{Standing, WatchedPod};
use crate::{Node, Snapshot};

/// Everything that is known and pending. Owned by one task.
#[derive(Debug)]
pub(crate) struct Brain {
    context: Context,
    snapshot: Snapshot,
    queue: Queue,
    templates: Templates,
    /// Pods that were given a node which the watch has not confirmed yet. They take their room
    /// from the moment of the decision, or two pods could be promised the same.
    assumed: HashSet<Arc<str>>,
    nodes: Relist,
    pods: Relist,
    /// Where the next search begins.
    start: usize,
}

/// One scheduling attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Bind the pod to the node, and report back.
    Bind { pod: Arc<PodInfo>, node: Arc<str> },
    /// No node can take the pod.
    Unschedulable {
        pod: Arc<PodInfo>,
        reason: String,
        /// False where the pod's condition already says so.
        is_news: bool,
    },
}

impl Brain {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            queue: Queue::new(context.clone()),
            context,
            snapshot: Snapshot::default(),
            templates: Templates::default(),
            assumed: HashSet::new(),
            nodes: Relist::default(),
            pods: Relist::default(),
            start: 0,
        }
    }

    pub(crate) fn observe_node(&mut self, event: Event<k8s::Node>) {
        match event {
            Event::Init => self.nodes.begin(),
            Event::InitApply(node) => {
                let node = Node::read(&node);
                self.nodes.saw(Arc::clone(&node.name));
                self.set_node(node);
            }
            Event::InitDone => {
                let known = self.snapshot.nodes().iter().map(|node| &node.name);
                for gone in self.nodes.finish(known) {
                    self.snapshot.remove_node(&gone);
                }
            }
            Event::Apply(node) => self.set_node(Node::read(&node)),
            Event::Delete(node) => self.snapshot.remove_node(&Node::read(&node).name),
        }
    }

    fn set_node(&mut self, node: Node) {
        if self.snapshot.set_node(node) {
            self.queue.wake(Help::Room);
        }
    }

    pub(crate) fn observe_pod(&mut self, event: Event<WatchedPod>) {
        match event {
            Event::Init => self.pods.begin(),
            Event::InitApply(pod) => {
                let uid = self.observe_state(&pod);
                self.pods.saw(uid);
            }
            Event::InitDone => {
                let known = self.snapshot.placed_uids().chain(self.queue.uids());
                for gone in self.pods.finish(known) {
                    self.forget_pod(&gone);
                }
            }
            Event::Apply(pod) => {
                self.observe_state(&pod);
            }
            Event::Delete(pod) => {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                self.forget_pod(uid);
            }
        }
    }

    fn observe_state(&mut self, watched: &WatchedPod) -> Arc<str> {
        let pod = self.templates.read(watched);
        let uid = Arc::clone(&pod.uid);
        match watched.standing() {
            Standing::Pending if self.assumed.contains(&uid) => {
                // An older state: the binding is on its way.
            }
            Standing::Pending => self.queue.add(pod),
            Standing::Placed(node) => {
                self.assumed.remove(&uid);
                self.queue.remove(&uid);
                if self.snapshot.place(Arc::new(pod), node) {
                    self.queue.wake(Help::Neighbour);
                }
            }
            Standing::Aside => self.forget_pod(&uid),
        }
        uid
    }

    fn forget_pod(&mut self, uid: &str) {
        self.assumed.remove(uid);
        self.queue.remove(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.wake(Help::Room);
        }
    }

    /// True where [`Brain::attempt`] has something to do. Nothing is decided before both
    /// watches have shown what there is.
    pub(crate) fn has_work(&self) -> bool {
        self.nodes.complete() && self.pods.complete() && self.queue.has_active()
    }

    /// When [`Brain::tick`] is due.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        self.queue.next_release()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.queue.release(now);
    }

    /// Decides on the next pod, and takes the room for it.
    pub(crate) fn attempt(&mut self, now: Instant) -> Option<Attempt> {
        let pod = self.queue.next()?;
        let mut random = || self.context.random();
        match schedule(&pod, &self.snapshot, self.start, &mut random) {
            Ok(decision) => {
                self.start = (self.start + decision.examined) % self.snapshot.nodes().len();
                let node = decision.node;
                self.assumed.insert(Arc::clone(&pod.uid));
                self.snapshot.place(Arc::clone(&pod), &node);
                Some(Attempt::Bind { pod, node })
            }
            Err(unschedulable) => {
                let reason = unschedulable.to_string();
                let is_news = self.queue.is_news(&pod.uid, &reason);
                self.queue.park(&pod.uid, now);
                Some(Attempt::Unschedulable {
                    pod,
                    reason,
                    is_news,
                })
            }
        }
    }

    /// The pod's condition shows `reason`, so that it need not be written again.
    pub(crate) fn condition_written(&mut self, uid: &str, reason: String) {
        self.queue.set_shown(uid, reason);
    }

    /// A binding failed: the room is free again, and the pod waits for its next attempt. Where
    /// the pod itself was the reason, the watch says so soon.
    pub(crate) fn binding_failed(&mut self, uid: &str, now: Instant) {
        if self.assumed.remove(uid) {
            self.snapshot.remove_pod(uid);
            self.queue.retry(uid, now);
            self.queue.wake(Help::Room);
        }
    }
}
