//! Who owns whom, and what follows from it. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::discovery::Served;
use crate::runner::Key;

/// What tells one object from all others, for ever.
pub(super) type Uid = String;

/// Finalizer of an owner that waits for its dependents to be gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner whose dependents are to stay.
pub(super) const ORPHAN: &str = "orphan";

/// An object as the collector sees it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Kind.
    pub kind: Arc<Served>,
    /// Namespace and name.
    pub key: Key,
    /// Uid.
    pub uid: Uid,
    /// For writes that must not undo another's.
    pub resource_version: String,
    /// Owners.
    pub owners: Vec<OwnerReference>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// True where somebody asked for its deletion.
    pub deleting: bool,
}

impl Object {
    fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|present| present == finalizer)
    }

    fn awaits_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FOREGROUND)
    }

    fn orphans_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(ORPHAN)
    }

    fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
    }
}

/// What to do about one object.
#[derive(Debug)]
pub(super) enum Task {
    /// All is well.
    Nothing,
    /// Take the owner off its dependents, then let it go.
    Orphan {
        /// The owner.
        object: Arc<Object>,
        /// Its dependents.
        dependents: Vec<Arc<Object>>,
    },
    /// Let the owner go: no dependent holds it any more.
    Release {
        /// The owner.
        object: Arc<Object>,
    },
    /// The owner waits; its dependents have to be looked at.
    AwaitDependents {
        /// The dependents.
        dependents: Vec<Uid>,
    },
    /// See whether owners that the graph does not know exist, then decide by [`fate`].
    CheckOwners {
        /// The dependent.
        object: Arc<Object>,
        /// Its owners.
        owners: Vec<(OwnerReference, Owner)>,
        /// Whether it owns something itself.
        has_dependents: bool,
    },
}

/// What an owner does for its dependent's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists, and keeps the dependent alive.
    Present,
    /// It is being deleted, and waits for its dependents to go first.
    Awaiting,
    /// It does not exist.
    Absent,
}

/// What becomes of a dependent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// It stays, without these owners.
    Disown(Vec<Uid>),
    /// It goes.
    Delete(Propagation),
}

/// What happens to the dependents of what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

/// A dependent lives as long as one of its owners keeps it.
pub(super) fn fate(
    object: &Object,
    owners: &[(OwnerReference, Owner)],
    has_dependents: bool,
) -> Fate {
    let is = |state: Owner| move |(_, owner): &&(OwnerReference, Owner)| *owner == state;
    let lost: Vec<Uid> = owners
        .iter()
        .filter(|owner| !is(Owner::Present)(owner))
        .map(|(reference, _)| reference.uid.clone())
        .collect();
    if lost.is_empty() {
        return Fate::Keep;
    }
    if lost.len() < owners.len() {
        return Fate::Disown(lost);
    }
    let awaited = owners.iter().any(|owner| is(Owner::Awaiting)(&owner));
    let propagation = if awaited && has_dependents || object.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else if object.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    Fate::Delete(propagation)
}

/// All objects, by uid, and who depends on whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    objects: HashMap<Uid, Arc<Object>>,
    /// By owner, whether or not the owner is (already, or still) in `objects`.
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Graph {
    /// Takes in an object as it is now; answers whom to look at.
    pub(super) fn apply(&mut self, object: Object) -> Vec<Uid> {
        let uid = object.uid.clone();
        let object = Arc::new(object);
        let before = self.objects.insert(uid.clone(), Arc::clone(&object));
        let owners_before = before
            .as_ref()
            .map(|before| before.owners.clone())
            .unwrap_or_default();
        for owner in &owners_before {
            self.unlink(&owner.uid, &uid);
        }
        for owner in &object.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
        }
        let mut affected = Vec::new();
        let lives = |owner: &OwnerReference| {
            self.objects
                .get(&owner.uid)
                .is_some_and(|owner| !owner.awaits_dependents())
        };
        let is_awaited = object.awaits_dependents() || object.orphans_dependents();
        if is_awaited || !object.owners.iter().all(lives) {
            affected.push(uid);
        }
        // An owner that waits may now wait for one less.
        affected.extend(self.awaiting(owners_before.iter().chain(&object.owners)));
        affected
    }

    /// Forgets an object; answers whom to look at.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some(object) = self.objects.remove(uid) else {
            return Vec::new();
        };
        for owner in &object.owners {
            self.unlink(&owner.uid, uid);
        }
        let mut affected = self.dependents_of(uid);
        affected.extend(self.awaiting(object.owners.iter()));
        affected
    }

    /// Objects of a kind that are in the graph but not in a fresh list of that kind.
    pub(super) fn missing(&self, kind: &Served, listed: &[Object]) -> Vec<Uid> {
        let listed: HashSet<&str> = listed.iter().map(|object| object.uid.as_str()).collect();
        self.objects
            .values()
            .filter(|object| {
                object.kind.resource == kind.resource && !listed.contains(object.uid.as_str())
            })
            .map(|object| object.uid.clone())
            .collect()
    }

    /// What to do about one object.
    pub(super) fn task(&self, uid: &str) -> Task {
        let Some(object) = self.objects.get(uid).cloned() else {
            return Task::Nothing;
        };
        if object.orphans_dependents() {
            let dependents = self.dependents_of(uid);
            let dependents = dependents
                .iter()
                .filter_map(|uid| self.objects.get(uid).cloned());
            return Task::Orphan {
                dependents: dependents.collect(),
                object,
            };
        }
        if object.awaits_dependents() {
            let mut blocking = self.dependents_of(uid);
            blocking.retain(|dependent| {
                self.objects
                    .get(dependent)
                    .is_some_and(|dependent| dependent.blocks(uid))
            });
            return if blocking.is_empty() {
                Task::Release { object }
            } else {
                Task::AwaitDependents {
                    dependents: self.dependents_of(uid),
                }
            };
        }
        if object.deleting || object.owners.is_empty() {
            return Task::Nothing;
        }
        let owners = object
            .owners
            .iter()
            .map(|owner| (owner.clone(), self.state(&owner.uid)));
        Task::CheckOwners {
            owners: owners.collect(),
            has_dependents: self.dependents.contains_key(uid),
            object,
        }
    }

    fn state(&self, uid: &str) -> Owner {
        match self.objects.get(uid) {
            None => Owner::Absent,
            Some(owner) if owner.awaits_dependents() => Owner::Awaiting,
            Some(_) => Owner::Present,
        }
    }

    fn awaiting<'a>(&self, owners: impl Iterator<Item = &'a OwnerReference>) -> Vec<Uid> {
        owners
            .filter(|owner| self.state(&owner.uid) == Owner::Awaiting)
            .map(|owner| owner.uid.clone())
            .collect()
    }

    fn dependents_of(&self, uid: &str) -> Vec<Uid> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests;
