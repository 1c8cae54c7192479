//! The AnalysisRuns of a Rollout: when one is made, what follows from its outcome, and when it
//! is no longer needed.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/analysis/>

use std::collections::BTreeMap;

use jiff::Timestamp;
use lab_api::analysis::{
    AnalysisRun, AnalysisRunSpec, AnalysisTemplateRef, AnalysisTemplateSpec, Argument,
};
use lab_api::rollouts::{
    POD_TEMPLATE_HASH, REVISION, ROLLOUT_TYPE, RolloutAnalysis, RolloutArgument, RolloutStatus,
    RunStatus, STEP_INDEX,
};
use serde_json::Value;

use super::pass::{Change, Pass};
use super::pause::{BLUE_GREEN, CANARY_STEP, INCONCLUSIVE};
use super::{spec, status};
use crate::analysis::{Request, instantiate};

const SUCCESSFUL: &str = "Successful";

/// An AnalysisRun as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Phase; empty where it has not begun.
    pub phase: String,
    /// Message.
    pub message: String,
    /// True where it has been told to end.
    pub terminates: bool,
    /// When it was created.
    pub created: Timestamp,
}

impl Run {
    /// Reads what matters of an AnalysisRun.
    pub(super) fn of(run: &AnalysisRun) -> Self {
        let status = run.status.clone().unwrap_or_default();
        let created = run.metadata.creation_timestamp.as_ref();
        Self {
            name: run.metadata.name.clone().unwrap_or_default(),
            labels: run.metadata.labels.clone().unwrap_or_default(),
            phase: status
                .phase
                .map(|phase| phase.as_str().to_owned())
                .unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            terminates: run.spec.terminate == Some(true),
            created: created.map_or(Timestamp::MIN, |at| at.0),
        }
    }
}

/// The templates that an analysis may name.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    /// Of the Rollout's namespace.
    pub namespaced: BTreeMap<String, AnalysisTemplateSpec>,
    /// Of the cluster.
    pub cluster: BTreeMap<String, AnalysisTemplateSpec>,
}

impl Templates {
    fn find(&self, reference: &AnalysisTemplateRef) -> Option<AnalysisTemplateSpec> {
        let templates = match reference.cluster_scope {
            Some(true) => &self.cluster,
            _ => &self.namespaced,
        };
        templates.get(reference.template_name.as_ref()?).cloned()
    }
}

/// An AnalysisRun to create.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewRun {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Metrics and arguments.
    pub spec: AnalysisRunSpec,
}

/// The four places that a run can have in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Step,
    Background,
    PrePromotion,
    PostPromotion,
}

impl Place {
    const ALL: [Self; 4] = [
        Self::Step,
        Self::Background,
        Self::PrePromotion,
        Self::PostPromotion,
    ];

    /// Value of the label `rollout-type`.
    fn label(self) -> &'static str {
        match self {
            Self::Step => "Step",
            Self::Background => "Background",
            Self::PrePromotion => "PrePromotion",
            Self::PostPromotion => "PostPromotion",
        }
    }

    fn recorded(self, status: &mut RolloutStatus) -> &mut Option<RunStatus> {
        match self {
            Self::Step => &mut status.canary.current_step_analysis_run_status,
            Self::Background => &mut status.canary.current_background_analysis_run_status,
            Self::PrePromotion => &mut status.blue_green.pre_promotion_analysis_run_status,
            Self::PostPromotion => &mut status.blue_green.post_promotion_analysis_run_status,
        }
    }
}

/// The runs that the present update waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct CurrentRuns {
    runs: [Option<Run>; 4],
}

impl CurrentRuns {
    /// Those that a status names, as far as they exist.
    pub(super) fn recorded(status: &RolloutStatus, runs: &[Run]) -> Self {
        let mut status = status.clone();
        let find = |place: Place| {
            let recorded = place.recorded(&mut status).clone()?;
            runs.iter().find(|run| run.name == recorded.name).cloned()
        };
        Self {
            runs: Place::ALL.map(find),
        }
    }

    /// Notes them in a status.
    pub(super) fn write(&self, status: &mut RolloutStatus) {
        for place in Place::ALL {
            *place.recorded(status) = self.get(place).map(|run| RunStatus {
                name: run.name.clone(),
                status: run.phase.clone(),
                message: run.message.clone(),
            });
        }
    }

    fn get(&self, place: Place) -> Option<&Run> {
        self.runs[place as usize].as_ref()
    }

    fn set(&mut self, place: Place, run: Option<Run>) {
        self.runs[place as usize] = run;
    }

    fn contains(&self, name: &str) -> bool {
        self.runs.iter().flatten().any(|run| run.name == name)
    }
}

/// True for a phase that does not change any more.
pub(super) fn is_finished(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

fn succeeded(pass: &Pass, place: Place) -> bool {
    pass.current
        .get(place)
        .is_some_and(|run| run.phase == SUCCESSFUL)
}

/// True where the current step's analysis is done and well.
pub(super) fn step_succeeded(pass: &Pass) -> bool {
    succeeded(pass, Place::Step)
}

/// True where nothing in the way of an analysis keeps the new version from being promoted.
pub(super) fn pre_promotion_succeeded(pass: &Pass) -> bool {
    spec::blue_green(&pass.rollout.spec)
        .is_none_or(|blue_green| blue_green.pre_promotion_analysis.is_none())
        || succeeded(pass, Place::PrePromotion)
}

/// True where the analysis after the switch is done and well.
pub(super) fn post_promotion_succeeded(pass: &Pass) -> bool {
    succeeded(pass, Place::PostPromotion)
}

/// Creates the runs that are due, acts on those that ended, and ends those not needed.
pub(super) fn reconcile(pass: &mut Pass) {
    let skipped = pass.is_aborted()
        || pass.old.promote_full
        || pass.was_leaving
        || pass.old.stable_rs.is_empty()
        || status::is_rollback_within_window(pass);
    if skipped {
        for run in pass.runs.clone() {
            terminate(pass, Some(&run));
        }
        return;
    }
    if spec::canary(&pass.rollout.spec).is_some() {
        let step = reconcile_step(pass);
        pass.current.set(Place::Step, step);
        let background = reconcile_background(pass);
        pass.current.set(Place::Background, background);
    } else {
        let before = reconcile_promotion(pass, Place::PrePromotion);
        pass.current.set(Place::PrePromotion, before);
        let after = reconcile_promotion(pass, Place::PostPromotion);
        pass.current.set(Place::PostPromotion, after);
    }
    end_others(pass);
    tell_changes(pass);
}

fn reconcile_step(pass: &mut Pass) -> Option<Run> {
    let current = pass.current.get(Place::Step).cloned();
    if !pass.old.pause_conditions.is_empty() || pass.old.abort {
        return current;
    }
    let step = spec::current_step(&pass.rollout).and_then(|(index, step)| Some((index, step?)));
    let wanted = step.and_then(|(index, step)| Some((index, step.analysis.clone()?)));
    let Some((index, analysis)) = wanted else {
        terminate(pass, current.as_ref());
        return None;
    };
    let index = index.to_string();
    let is_of_step = |run: &Run| run.labels.get(STEP_INDEX) == Some(&index);
    let current = match current {
        Some(run) if !is_of_step(&run) => {
            terminate(pass, Some(&run));
            None
        }
        other => other,
    };
    if needs_new(pass, current.as_ref()) {
        let labels = BTreeMap::from([(STEP_INDEX.to_owned(), index.clone())]);
        return Some(create(pass, Place::Step, &analysis, Some(&index), labels));
    }
    act_on(pass, current.as_ref());
    current
}

fn reconcile_background(pass: &mut Pass) -> Option<Run> {
    let current = pass.current.get(Place::Background).cloned();
    let analysis = spec::canary(&pass.rollout.spec)
        .and_then(|canary| canary.analysis.clone())
        .filter(|analysis| analysis.templates.iter().flatten().next().is_some());
    let Some(analysis) = analysis else {
        terminate(pass, current.as_ref());
        return None;
    };
    let starting = usize::try_from(analysis.starting_step.unwrap_or(0)).unwrap_or(0);
    let is_early = spec::current_step(&pass.rollout).is_some_and(|(index, _)| index < starting);
    if pass.is_promoted() || is_early {
        terminate(pass, current.as_ref());
        return None;
    }
    if pass.pauses.since(INCONCLUSIVE).is_some() {
        return current;
    }
    if needs_new(pass, current.as_ref()) {
        return Some(create(
            pass,
            Place::Background,
            &analysis,
            None,
            BTreeMap::new(),
        ));
    }
    act_on(pass, current.as_ref());
    current
}

fn reconcile_promotion(pass: &mut Pass, place: Place) -> Option<Run> {
    let current = pass.current.get(place).cloned();
    let blue_green = spec::blue_green(&pass.rollout.spec)?.clone();
    let (analysis, infix, skips) = match place {
        Place::PrePromotion => (
            blue_green.pre_promotion_analysis,
            "pre",
            skips_pre_promotion(pass),
        ),
        _ => (
            blue_green.post_promotion_analysis,
            "post",
            skips_post_promotion(pass),
        ),
    };
    let Some(analysis) = analysis else {
        terminate(pass, current.as_ref());
        return None;
    };
    if skips {
        terminate(pass, current.as_ref());
        return current;
    }
    if pass.pauses.since(INCONCLUSIVE).is_some() {
        return current;
    }
    if needs_new(pass, current.as_ref()) {
        return Some(create(pass, place, &analysis, Some(infix), BTreeMap::new()));
    }
    act_on(pass, current.as_ref());
    current
}

/// True where there is nothing to analyse before the switch: it is done, or the new version is
/// not up yet.
fn skips_pre_promotion(pass: &Pass) -> bool {
    let Some(new) = pass.new_set() else {
        return true;
    };
    let active = &pass.old.blue_green.active_selector;
    if pass.old.stable_rs == new.hash || active.is_empty() || *active == new.hash {
        return true;
    }
    let preview = spec::blue_green(&pass.rollout.spec)
        .and_then(|blue_green| blue_green.preview_replica_count);
    match preview {
        Some(_) if pass.old.blue_green.scale_up_preview_check_point => false,
        Some(count) => new.wanted != count || new.available != count,
        None => !new.is_saturated(spec::replicas(&pass.rollout.spec)),
    }
}

/// True where there is nothing to analyse after the switch.
pub(super) fn skips_post_promotion(pass: &Pass) -> bool {
    let Some(new) = pass.new_set() else {
        return true;
    };
    pass.old.stable_rs == new.hash
        || pass.old.blue_green.active_selector != new.hash
        || !new.is_saturated(spec::replicas(&pass.rollout.spec))
}

/// True where no run answers the question any more: there is none, or it came to no result and
/// a person wants another try.
fn needs_new(pass: &Pass, current: Option<&Run>) -> bool {
    let Some(current) = current else {
        return true;
    };
    let paused_otherwise =
        pass.pauses.since(CANARY_STEP).is_some() || pass.pauses.since(BLUE_GREEN).is_some();
    pass.pauses.is_controller_pause() && !paused_otherwise && current.phase == "Inconclusive"
}

/// Pauses or aborts, where a run ended badly.
fn act_on(pass: &mut Pass, run: Option<&Run>) {
    let Some(run) = run else { return };
    match run.phase.as_str() {
        "Inconclusive" => pass.pauses.add(INCONCLUSIVE),
        "Failed" | "Error" => pass.pauses.abort(run.message.clone()),
        _ => {}
    }
}

fn create(
    pass: &mut Pass,
    place: Place,
    analysis: &RolloutAnalysis,
    infix: Option<&str>,
    mut labels: BTreeMap<String, String>,
) -> Run {
    let rollout = std::sync::Arc::clone(&pass.rollout);
    let hash = pass.new_hash();
    let base = [
        rollout.metadata.name.clone().unwrap_or_default(),
        hash.clone(),
        pass.revision.to_string(),
    ];
    let base = base.iter().map(String::as_str).chain(infix);
    let base = base.collect::<Vec<_>>().join("-");
    if let Some(run) = unrecorded(&base, &pass.runs) {
        return run.clone();
    }
    let name = free_name(&base, &pass.runs);
    labels.insert(ROLLOUT_TYPE.to_owned(), place.label().to_owned());
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash);
    let mut annotations = BTreeMap::from([(REVISION.to_owned(), pass.revision.to_string())]);
    let metadata = analysis.analysis_run_metadata.clone().unwrap_or_default();
    labels.extend(metadata.labels.unwrap_or_default());
    annotations.extend(metadata.annotations.unwrap_or_default());
    let selector = rollout.spec.selector.clone().unwrap_or_default();
    labels.extend(selector.match_labels.unwrap_or_default());
    match instance(pass, analysis) {
        Ok(spec) => pass.push(Change::CreateRun(Box::new(NewRun {
            name: name.clone(),
            labels: labels.clone(),
            annotations,
            spec,
        }))),
        // Unless somebody changed a template this very moment, the spec would be invalid.
        Err(problem) => pass.warn("AnalysisRunError", problem),
    }
    Run {
        name,
        labels,
        created: pass.now,
        ..Run::default()
    }
}

/// The spec of a run, or what is wrong with the analysis.
pub(super) fn instance(pass: &Pass, analysis: &RolloutAnalysis) -> Result<AnalysisRunSpec, String> {
    let templates: Vec<AnalysisTemplateRef> = same(&analysis.templates)?;
    let resolved: Vec<RolloutArgument> = analysis
        .args
        .iter()
        .flatten()
        .map(|arg| resolved(pass, arg))
        .collect();
    let args: Vec<Argument> = same(&Some(resolved))?;
    let dry_run: Vec<_> = same(&analysis.dry_run)?;
    let measurement_retention: Vec<_> = same(&analysis.measurement_retention)?;
    let request = Request {
        templates: &templates,
        args: &args,
        dry_run: &dry_run,
        measurement_retention: &measurement_retention,
    };
    instantiate(&request, |reference| pass.templates.find(reference))
        .map_err(|error| error.to_string())
}

/// The same list in the words of an AnalysisRun.
fn same<T: serde::Serialize, U: serde::de::DeserializeOwned>(
    list: &Option<Vec<T>>,
) -> Result<Vec<U>, String> {
    let json = serde_json::to_value(list.as_deref().unwrap_or_default());
    json.and_then(serde_json::from_value)
        .map_err(|error| error.to_string())
}

/// A run of this name that is under way: it was created, and somebody wrote the status before it
/// could be recorded there.
fn unrecorded<'a>(base: &str, runs: &'a [Run]) -> Option<&'a Run> {
    runs.iter().find(|run| {
        let rest = run.name.strip_prefix(base);
        let is_named = rest.is_some_and(|rest| {
            let number = rest.strip_prefix('.').map(str::parse::<u32>);
            rest.is_empty() || matches!(number, Some(Ok(_)))
        });
        is_named && !run.terminates && !is_finished(&run.phase)
    })
}

/// A name that no run has, with a number at its end if need be.
fn free_name(base: &str, runs: &[Run]) -> String {
    let is_free = |name: &String| runs.iter().all(|run| run.name != *name);
    std::iter::once(base.to_owned())
        .chain((1..).map(|number| format!("{base}.{number}")))
        .find(is_free)
        .unwrap_or_else(|| base.to_owned())
}

/// An argument with its value, where the value is to be found in the Rollout.
fn resolved(pass: &Pass, arg: &RolloutArgument) -> RolloutArgument {
    let Some(from) = &arg.value_from else {
        return arg.clone();
    };
    let value = match (from.pod_template_hash_value.as_deref(), &from.field_ref) {
        (Some("Stable"), _) => Some(pass.old.stable_rs.clone()),
        (Some(_), _) => Some(pass.new_hash()),
        (None, Some(field)) => {
            let path = field.field_path.as_deref().unwrap_or_default();
            field_at(&serde_json::json!(*pass.rollout), path)
        }
        (None, None) => None,
    };
    RolloutArgument {
        name: arg.name.clone(),
        value,
        value_from: None,
    }
}

/// The text at a path such as `metadata.labels['app.kubernetes.io/name']`.
pub(super) fn field_at(object: &Value, path: &str) -> Option<String> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        let (key, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']")?
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            plain.split_at(end)
        };
        value = match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            other => other.get(key)?,
        };
        rest = after;
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

fn terminate(pass: &mut Pass, run: Option<&Run>) {
    if let Some(run) = run
        && !run.terminates
        && !is_finished(&run.phase)
    {
        pass.push(Change::TerminateRun(run.name.clone()));
    }
}

/// Ends runs that the update does not wait for, and deletes the oldest that have ended.
fn end_others(pass: &mut Pass) {
    let mut others: Vec<Run> = pass
        .runs
        .iter()
        .filter(|run| !pass.current.contains(&run.name))
        .cloned()
        .collect();
    for run in &others {
        terminate(pass, Some(run));
    }
    others.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.name.cmp(&a.name)));
    let (mut well, mut badly) = spec::runs_kept(&pass.rollout.spec);
    for run in others.into_iter().filter(|run| is_finished(&run.phase)) {
        let left = if run.phase == SUCCESSFUL {
            &mut well
        } else {
            &mut badly
        };
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => pass.push(Change::DeleteRun(run.name)),
        }
    }
}

/// Deletes the runs made for a version that is not kept.
pub(super) fn forget(pass: &mut Pass, hash: &str) {
    let of_version: Vec<String> = pass
        .runs
        .iter()
        .filter(|run| {
            run.labels
                .get(POD_TEMPLATE_HASH)
                .is_some_and(|label| label == hash)
        })
        .filter(|run| !pass.current.contains(&run.name))
        .map(|run| run.name.clone())
        .collect();
    for name in of_version {
        pass.push(Change::DeleteRun(name));
    }
}

fn tell_changes(pass: &mut Pass) {
    let mut old = pass.old.clone();
    for place in Place::ALL {
        let Some(run) = pass.current.get(place).cloned() else {
            continue;
        };
        let before = place.recorded(&mut old).clone();
        let before = before.filter(|before| before.name == run.name);
        let (Some(before), Some(reason)) = (before, reason(&run.phase)) else {
            continue;
        };
        if before.status == run.phase {
            continue;
        }
        let message = format!(
            "{} Analysis Run '{}' Status New: '{}' Previous: '{}'",
            place.label(),
            run.name,
            run.phase,
            before.status
        );
        match run.phase.as_str() {
            "Failed" | "Error" => pass.warn(reason, message),
            _ => pass.tell(reason, message),
        }
    }
}

fn reason(phase: &str) -> Option<&'static str> {
    Some(match phase {
        "Pending" => "AnalysisRunPending",
        "Running" => "AnalysisRunRunning",
        "Successful" => "AnalysisRunSuccessful",
        "Failed" => "AnalysisRunFailed",
        "Error" => "AnalysisRunError",
        "Inconclusive" => "AnalysisRunInconclusive",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_found_by_its_path() {
        let object = json!({"metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "shop"}}, "spec": {"replicas": 3}});
        let at = |path| field_at(&object, path);
        assert_eq!(at("metadata.name").as_deref(), Some("web"));
        assert_eq!(
            at("metadata.labels['app.kubernetes.io/name']").as_deref(),
            Some("shop")
        );
        assert_eq!(at("spec.replicas").as_deref(), Some("3"));
        assert_eq!(at("spec.nothing"), None);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number_unless_its_run_is_under_way() {
        let run = |name: &str| Run {
            name: name.to_owned(),
            ..Run::default()
        };
        let ended = Run {
            phase: "Failed".to_owned(),
            ..run("web-1")
        };
        let under_way = [ended.clone(), run("web-1.1"), run("web-1-2")];
        assert_eq!(unrecorded("web-1", &under_way), Some(&run("web-1.1")));
        assert_eq!(unrecorded("web-1", &[ended, run("web-1-2")]), None);
        assert_eq!(free_name("web-1", &[]), "web-1");
        assert_eq!(
            free_name("web-1", &[run("web-1"), run("web-1.1")]),
            "web-1.2"
        );
    }
}
