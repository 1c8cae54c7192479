//! What the simulated engine promises beyond the contract of all engines.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

use std::time::Duration;

use futures::TryStreamExt;
use lab_context::Context;
use lab_engine::simulated::{SimulatedConfig, SimulatedEngine};
use lab_engine::{
    ContainerConfig, ContainerId, ContainerState, Engine, EngineError, LogOptions, SandboxConfig,
};
use tokio::time::Instant;

fn engine(config: SimulatedConfig) -> SimulatedEngine {
    SimulatedEngine::new(config, Context::simulated(1, 10.0))
}

async fn run(engine: &SimulatedEngine, image: &str) -> Result<ContainerId, EngineError> {
    engine.pull_image(image).await?;
    let pod = SandboxConfig {
        uid: image.into(),
        ..SandboxConfig::default()
    };
    let sandbox = engine.run_pod_sandbox(&pod).await?.id;
    let name = "web".to_owned();
    let config = ContainerConfig {
        name,
        image: image.into(),
        ..ContainerConfig::default()
    };
    let container = engine.create_container(&sandbox, &config).await?;
    engine.start_container(&container).await?;
    Ok(container)
}

async fn state(engine: &SimulatedEngine) -> ContainerState {
    let mut sandboxes = engine.list_sandboxes().await.unwrap();
    sandboxes.remove(0).containers.remove(0).state
}

#[tokio::test(start_paused = true)]
async fn delays_are_shortened_by_the_speed() {
    let config = SimulatedConfig {
        pull_delay: Duration::from_secs(20),
        start_delay: Duration::from_secs(10),
        stop_delay: Duration::from_secs(30),
        ..SimulatedConfig::default()
    };
    let (engine, begin) = (engine(config), Instant::now());
    let container = run(&engine, "hello:1").await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 3);
    engine
        .stop_container(&container, Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(begin.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_needs_longer_than_its_grace_is_killed() {
    let stop_delay = Duration::from_secs(300);
    let engine = engine(SimulatedConfig {
        stop_delay,
        ..SimulatedConfig::default()
    });
    let container = run(&engine, "hello:1").await.unwrap();
    engine
        .stop_container(&container, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(matches!(
        state(&engine).await,
        ContainerState::Exited { exit_code: 137, .. }
    ));
}

#[track_caller]
fn check_end(state: &ContainerState, code: i32, oom: bool) {
    let ContainerState::Exited {
        started_at,
        finished_at,
        exit_code,
        oom_killed,
    } = state
    else {
        panic!("it has not ended: {state:?}");
    };
    assert_eq!((*exit_code, *oom_killed), (code, oom));
    assert_eq!(finished_at.duration_since(started_at.unwrap()).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_an_image_says_how_its_containers_end() {
    for (tag, code, oom) in [("crash", 1, false), ("done", 0, false), ("oom", 137, true)] {
        let engine = engine(SimulatedConfig::default());
        run(&engine, &format!("localhost:5001/hello:{tag}"))
            .await
            .unwrap();
        assert!(matches!(
            state(&engine).await,
            ContainerState::Running { .. }
        ));
        tokio::time::sleep(Duration::from_secs(2)).await;
        check_end(&state(&engine).await, code, oom);
    }
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_an_image_says_what_its_probes_find() {
    let engine = engine(SimulatedConfig::default());
    for (image, found) in [("hello:1", true), ("hello:never-ready", false)] {
        let container = run(&engine, image).await.unwrap();
        assert_eq!(engine.simulated_probe(&container).await, found, "{image}");
        engine
            .stop_container(&container, Duration::ZERO)
            .await
            .unwrap();
        assert!(
            !engine.simulated_probe(&container).await,
            "{image} has ended"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_tag_of_an_image_says_what_fails() {
    let engine = engine(SimulatedConfig::default());
    let pull = run(&engine, "hello:fail-pull").await.unwrap_err();
    assert!(
        matches!(pull, EngineError::ImageNotFound { .. }),
        "{pull:?}"
    );
    let start = run(&engine, "hello:fail-start").await.unwrap_err();
    assert!(
        matches!(start, EngineError::InvalidContainer(_)),
        "{start:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_reads_the_beginning_and_the_end() {
    let engine = engine(SimulatedConfig::default());
    let container = run(&engine, "hello:crash").await.unwrap();
    let follow = LogOptions {
        follow: true,
        timestamps: true,
        ..LogOptions::default()
    };
    let pieces: Vec<_> = engine
        .logs(&container, &follow)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8(pieces.concat()).unwrap(),
        "2026-01-01T00:00:00.000000000Z simulated container web started\n\
         2026-01-01T00:00:01.000000000Z simulated container web ended with exit code 1\n"
    );
}
