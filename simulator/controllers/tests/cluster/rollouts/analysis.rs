//! Analyses that decide over an update. Their outcome is written by the test: the metric's first
//! measurement is a thousand hours away.

use kube::Api;
use kube::api::{Patch, PatchParams};
use lab_api::analysis::AnalysisRun;
use lab_api::rollouts::{POD_TEMPLATE_HASH, ROLLOUT_TYPE, STEP_INDEX};
use serde_json::{Value, json};

use super::Stage;

async fn template(stage: &Stage, name: &str) {
    stage
        .cluster
        .create(json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate", "metadata": {"name": name},
            "spec": {"args": [{"name": "hash"}], "metrics": [{"name": "errors", "initialDelay": "1000h",
                "provider": {"web": {"url": "http://web/{{args.hash}}", "jsonPath": "{$.errors}"}}}]}}))
        .await;
}

fn asks(template: &str) -> Value {
    json!({"templates": [{"templateName": template}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]})
}

async fn start(strategy: Value) -> Stage {
    let stage = Stage::unready(strategy, json!({})).await;
    template(&stage, "errors").await;
    stage.reaches("Healthy", "").await;
    stage
}

impl Stage {
    async fn runs(&self) -> Vec<AnalysisRun> {
        let mut runs = self.cluster.list::<AnalysisRun>("default").await;
        runs.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        runs
    }

    /// Waits for a run of this type that is not finished, and answers with its name.
    async fn run_of(&self, type_: &str) -> String {
        let find = async || {
            let runs = self.runs().await;
            let found = runs.into_iter().find(|run| {
                let finished = run.status.as_ref().and_then(|status| status.phase);
                run.metadata.labels.as_ref().unwrap()[ROLLOUT_TYPE] == type_
                    && !finished.is_some_and(|phase| phase.is_completed())
                    && run.spec.terminate != Some(true)
            });
            found.and_then(|run| run.metadata.name)
        };
        self.cluster
            .until(true, async || find().await.is_some())
            .await;
        find().await.unwrap()
    }

    async fn ends(&self, run: &str, phase: &str, message: &str) {
        let api: Api<AnalysisRun> = Api::namespaced(self.cluster.client.clone(), "default");
        let body = json!({"status": {"phase": phase, "message": message}});
        api.patch_status(run, &PatchParams::default(), &Patch::Merge(body))
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_its_analysis_to_succeed() {
    let stage = start(json!({"canary": {"steps": [{"setWeight": 34}, {"analysis": asks("errors")}, {"pause": {}}]}})).await;
    stage.set_image("shop:2").await;
    let run = stage.run_of("Step").await;
    let status = stage.status().await;
    assert_eq!(run, format!("web-{}-2-1", status.current_pod_hash));
    let object: AnalysisRun = stage.cluster.get(&run).await.unwrap();
    let labels = object.metadata.labels.unwrap();
    assert_eq!(labels[STEP_INDEX], "1");
    assert_eq!(labels[POD_TEMPLATE_HASH], status.current_pod_hash);
    let args = object.spec.args.unwrap();
    assert_eq!(args[0].value.as_ref(), Some(&status.current_pod_hash));
    assert_eq!(stage.status().await.current_step_index, Some(1));
    stage.ends(&run, "Successful", "").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_broken_analysis_aborts_and_a_retry_measures_anew() {
    for phase in ["Failed", "Error"] {
        let stage =
            start(json!({"canary": {"steps": [{"setWeight": 34}, {"analysis": asks("errors")}]}}))
                .await;
        stage.set_image("shop:2").await;
        let first = stage.run_of("Step").await;
        stage.ends(&first, phase, "errors: too many").await;
        let message = "RolloutAborted: Rollout aborted update to revision 2: errors: too many";
        stage.reaches("Degraded", message).await;
        stage.has_pods(&[("shop:1", 3)]).await;
        stage.retry().await;
        let second = stage.run_of("Step").await;
        assert_eq!(second, format!("{first}.1"));
        stage.ends(&second, "Successful", "").await;
        stage.reaches("Healthy", "").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_inconclusive_analysis_pauses_until_a_person_decides() {
    let stage = start(json!({"canary": {"steps": [{"setWeight": 34}, {"analysis": asks("errors")}, {"setWeight": 67}, {"pause": {}}]}})).await;
    stage.set_image("shop:2").await;
    let run = stage.run_of("Step").await;
    stage.ends(&run, "Inconclusive", "nobody knows").await;
    stage.reaches("Paused", "InconclusiveAnalysisRun").await;
    stage.promote().await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    assert_eq!(stage.status().await.current_step_index, Some(3));
}

#[tokio::test(start_paused = true)]
async fn an_analysis_beside_the_steps_lives_until_promotion_and_aborts_at_any_time() {
    let mut background = asks("errors");
    background["startingStep"] = json!(1);
    let stage = start(json!({"canary": {"analysis": background, "steps": [{"pause": {}}, {"setWeight": 34}, {"pause": {}}]}})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    assert!(stage.runs().await.is_empty());
    stage.promote().await;
    let run = stage.run_of("Background").await;
    assert_eq!(
        run,
        format!("web-{}-2", stage.status().await.current_pod_hash)
    );
    stage.reaches_step(2).await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    let terminated = async || {
        let object: AnalysisRun = stage.cluster.get(&run).await.unwrap();
        object.spec.terminate
    };
    stage.cluster.until(Some(true), terminated).await;
    stage.set_image("shop:3").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    let run = stage.run_of("Background").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.ends(&run, "Failed", "alarm").await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 3: alarm",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn blue_green_is_analysed_before_and_after_the_switch() {
    let strategy = json!({"blueGreen": {"activeService": "web-active", "previewService": "web-preview",
        "prePromotionAnalysis": asks("errors"), "postPromotionAnalysis": asks("errors")}});
    let stage = start(strategy).await;
    stage.set_image("shop:2").await;
    let before = stage.run_of("PrePromotion").await;
    assert!(before.ends_with("-2-pre"), "{before}");
    assert_eq!(stage.served("web-active").await, "shop:1");
    stage.ends(&before, "Successful", "").await;
    let after = stage.run_of("PostPromotion").await;
    assert!(after.ends_with("-2-post"), "{after}");
    assert_eq!(stage.served("web-active").await, "shop:2");
    stage
        .reaches("Progressing", "waiting for analysis to complete")
        .await;
    // Meanwhile the old version stays, however long it takes.
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    stage.has_pods(&[("shop:1", 3), ("shop:2", 3)]).await;
    stage.ends(&after, "Failed", "worse than before").await;
    stage
        .reaches(
            "Degraded",
            "RolloutAborted: Rollout aborted update to revision 2: worse than before",
        )
        .await;
    assert_eq!(stage.served("web-active").await, "shop:1");
    stage.retry().await;
    let before = stage.run_of("PrePromotion").await;
    stage.ends(&before, "Successful", "").await;
    let after = stage.run_of("PostPromotion").await;
    stage.ends(&after, "Successful", "").await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn a_template_that_is_missing_is_named_and_awaited() {
    let strategy = json!({"canary": {"steps": [{"analysis": asks("errors")}]}});
    let stage = Stage::unready(strategy, json!({})).await;
    let message = "InvalidSpec: The Rollout \"web\" is invalid: spec.strategy.canary.steps[0].analysis.templates: Invalid value: templates: AnalysisTemplate 'errors' not found";
    stage.reaches("Degraded", message).await;
    template(&stage, "errors").await;
    stage.reaches("Healthy", "").await;
}

#[tokio::test(start_paused = true)]
async fn finished_runs_are_kept_as_many_as_wanted() {
    let stage = start(json!({"canary": {"steps": [{"analysis": asks("errors")}]}})).await;
    stage
        .patch(json!({"spec": {"analysis": {"successfulRunHistoryLimit": 1}}}))
        .await;
    for number in 2..=5 {
        stage.set_image(&format!("shop:{number}")).await;
        let run = stage.run_of("Step").await;
        stage.ends(&run, "Successful", "").await;
        stage.reaches("Healthy", "").await;
    }
    stage.set_image("shop:6").await;
    let run = stage.run_of("Step").await;
    // The present one, and one of those before.
    stage
        .cluster
        .until(2, async || stage.runs().await.len())
        .await;
    stage.ends(&run, "Successful", "").await;
}
