//! A node agent between a real API server and simulated pods, on paused time: what a person reads
//! in `kubectl get pods` and `kubectl describe pod`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod harness;

use std::time::Duration;

use crate::harness::{Machine, seconds};

#[tokio::test(start_paused = true)]
async fn a_failed_pull_is_shown_as_such_before_it_is_held_back() {
    let machine = Machine::start().await;
    machine.run("web", "hello:fail-pull").await;
    machine.waits("web", "ErrImagePull").await;
    let failed = machine.context.now();
    machine.waits("web", "ImagePullBackOff").await;
    let shown = machine.context.now().duration_since(failed);
    assert!(shown >= seconds(1), "shown for {shown}");
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_failed_pull_tell_its_story_in_order() {
    let machine = Machine::start().await;
    machine.run("web", "hello:fail-pull").await;
    machine.waits("web", "ImagePullBackOff").await;
    let told = machine.events("web", 5).await;
    let [pulling, failed, error, held, backing_off] = &told[..] else {
        panic!("{told:#?}")
    };
    assert_eq!(pulling, "Pulling: Pulling image \"hello:fail-pull\"");
    assert!(
        failed.starts_with("Failed: Failed to pull image \"hello:fail-pull\": "),
        "{failed}"
    );
    assert_eq!(error, "Failed: Error: ErrImagePull");
    assert_eq!(held, "BackOff: Back-off pulling image \"hello:fail-pull\"");
    assert_eq!(backing_off, "Failed: Error: ImagePullBackOff");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_there_is_not_pulled_and_the_events_say_so() {
    let machine = Machine::start().await;
    machine.run("one", "hello:1.0.0").await;
    machine.waits_for_phase("one", "Running").await;
    machine.run("two", "hello:1.0.0").await;
    machine.waits_for_phase("two", "Running").await;
    let told = machine.events("two", 3).await;
    let expected = [
        "Pulled: Container image \"hello:1.0.0\" already present on machine",
        "Created: Container created: app",
        "Started: Container started: app",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_be_started_is_no_mistake_in_a_config_map() {
    let machine = Machine::start().await;
    machine.run("web", "hello:fail-start").await;
    machine.waits("web", "RunContainerError").await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_given_up_says_that_it_is_back() {
    let machine = Machine::start().await;
    let ready = "NodeReady: Node node-1 status is now: NodeReady";
    assert_eq!(machine.events("node-1", 1).await, [ready]);
    machine.give_up().await;
    machine.counts("node-1", ready, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_held_back_for_longer_each_time() {
    let machine = Machine::start().await;
    machine.run("web", "hello:crash").await;
    let mut pauses = Vec::new();
    for restarts in 1..=4 {
        machine.waits_for_restarts("web", restarts).await;
        machine.waits("web", "CrashLoopBackOff").await;
        let ended = machine.context.now();
        machine.waits_for_restarts("web", restarts + 1).await;
        pauses.push(machine.context.now().duration_since(ended));
    }
    let pauses: Vec<_> = pauses
        .into_iter()
        .map(|pause| Duration::try_from(pause).unwrap().as_secs_f64().round())
        .collect();
    assert_eq!(pauses, [10.0, 20.0, 40.0, 80.0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_deleted_while_it_runs_registers_again() {
    let machine = Machine::start().await;
    machine.waits_for_ready_node().await;
    machine.delete_node().await;
    machine.waits_for_ready_node().await;
}
