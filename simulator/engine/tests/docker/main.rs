//! The Docker engine on a real daemon. Skipped, with the reason, where none answers, unless
//! `CI=true` says that one must be there.
//!
//! Pods run this very test program: it is static, so an image of nothing else works, and
//! [`helper`] makes it print, listen, crash or ignore signals as a pod's environment says.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test panics where something is wrong, and says why it was skipped"
)]

mod fixture;
mod helper;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use lab_engine::{
    ContainerConfig, ContainerState, Engine, EngineError, EngineEvent, LogOptions, Mount,
};

use fixture::{Fixture, on_docker, pod};
use helper::PROGRAM;

const SOON: Duration = Duration::from_secs(30);

/// A container that does what [`helper`] understands.
fn doing(what: &str) -> ContainerConfig {
    ContainerConfig {
        name: "app".into(),
        image: fixture::image(),
        env: vec![("HELPER_DO".into(), what.into())],
        ..ContainerConfig::default()
    }
}

fn scratch(path: &str) -> Mount {
    Mount {
        container_path: path.into(),
        files: BTreeMap::new(),
        shared_name: Some("scratch".into()),
        read_only: false,
    }
}

#[tokio::test]
async fn a_pod_gets_its_address_environment_files_and_log() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        assert!(sandbox.alive);
        let files = BTreeMap::from([("greeting".to_owned(), b"hello from a file".to_vec())]);
        let config = ContainerConfig {
            mounts: vec![Mount {
                container_path: "/etc/config".into(),
                files,
                shared_name: None,
                read_only: true,
            }],
            run_as_user: Some(10001),
            ..doing("print:hello from the environment;cat:/etc/config/greeting;exit:7")
        };
        let (id, state) = f.run_to_end(&sandbox.id, &config).await;
        let log = f.log(&id, LogOptions::default()).await;
        assert!(log.contains("hello from the environment\n"), "{log}");
        assert!(log.contains("hello from a file\n"), "{log}");
        let ContainerState::Exited {
            started_at,
            finished_at,
            exit_code,
            oom_killed,
        } = state
        else {
            panic!("{state:?}");
        };
        assert_eq!((exit_code, oom_killed), (7, false));
        assert!(started_at.unwrap() <= finished_at);

        let last = f
            .log(
                &id,
                LogOptions {
                    tail_lines: Some(1),
                    ..LogOptions::default()
                },
            )
            .await;
        assert_eq!(last, "hello from a file\n");
        // The daemon may take note of a line a little after the end of the process.
        let since = Some(finished_at + SOON);
        assert_eq!(
            f.log(
                &id,
                LogOptions {
                    since,
                    ..LogOptions::default()
                }
            )
            .await,
            ""
        );
    })
    .await;
}

#[tokio::test]
async fn a_read_only_root_still_gets_its_files_and_scratch_space() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let files = BTreeMap::from([("key".to_owned(), b"value".to_vec())]);
        let config = ContainerConfig {
            read_only_root: true,
            run_as_user: Some(10001),
            mounts: vec![
                Mount {
                    container_path: "/etc/config".into(),
                    files,
                    shared_name: None,
                    read_only: true,
                },
                scratch("/scratch"),
            ],
            ..doing("cat:/etc/config/key;write:/scratch/note;cat:/scratch/note;write:/note;exit:0")
        };
        let (id, _) = f.run_to_end(&sandbox.id, &config).await;
        let log = f.log(&id, LogOptions::default()).await;
        assert!(
            log.contains("value\n") && log.contains("written to /scratch/note\n"),
            "{log}"
        );
        assert!(log.contains("cannot write /note"), "{log}");
    })
    .await;
}

#[tokio::test]
async fn a_restarted_container_keeps_the_address_and_the_log_of_the_last_run() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let (first, _) = f
            .run_to_end(&sandbox.id, &doing("print:first run;exit:1"))
            .await;
        let again = ContainerConfig {
            attempt: 1,
            ..doing("listen:8080")
        };
        let second = f
            .engine
            .create_container(&sandbox.id, &again)
            .await
            .unwrap();
        f.engine.start_container(&second).await.unwrap();

        let now = f.engine.sandbox_status(&sandbox.id).await.unwrap().unwrap();
        assert_eq!((now.ip, now.alive), (sandbox.ip, true));
        assert_eq!(now.containers.len(), 2);
        f.answers(sandbox.ip, 8080).await;
        assert!(
            f.log(&first, LogOptions::default())
                .await
                .contains("first run")
        );
    })
    .await;
}

#[tokio::test]
async fn the_death_of_a_node_is_the_death_of_its_pods_and_they_come_back_with_their_addresses() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let id = f
            .engine
            .create_container(&sandbox.id, &doing("listen:8080"))
            .await
            .unwrap();
        f.engine.start_container(&id).await.unwrap();
        f.answers(sandbox.ip, 8080).await;

        f.docker.kill_container(&f.node, None).await.unwrap();
        let dead = f.wait_for_exit(&sandbox.id, &id).await;
        assert!(
            matches!(dead, ContainerState::Exited { exit_code: 137, .. }),
            "{dead:?}"
        );
        assert!(
            !f.engine
                .sandbox_status(&sandbox.id)
                .await
                .unwrap()
                .unwrap()
                .alive
        );
        let refused = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap_err();
        assert!(refused.to_string().contains(&f.node), "{refused}");

        f.docker.start_container(&f.node, None).await.unwrap();
        let listed = f.engine.list_sandboxes().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert!(
            !listed[0].alive,
            "a restarted node does not bring its pods back by itself"
        );
        let next = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        assert_ne!(next.id, sandbox.id);
        assert_eq!(next.ip, sandbox.ip);
        f.engine.remove_pod_sandbox(&sandbox.id).await.unwrap();
        let id = f
            .engine
            .create_container(&next.id, &doing("listen:8080"))
            .await
            .unwrap();
        f.engine.start_container(&id).await.unwrap();
        f.answers(sandbox.ip, 8080).await;
    })
    .await;
}

#[tokio::test]
async fn containers_of_one_pod_share_their_address_and_scratch_space() {
    on_docker(async |f: &Fixture| {
        let config = lab_engine::SandboxConfig {
            shared: true,
            ..pod("pair-1")
        };
        let sandbox = f.engine.run_pod_sandbox(&config).await.unwrap();
        assert!(sandbox.alive);
        assert_eq!(
            f.engine.run_pod_sandbox(&config).await.unwrap().id,
            sandbox.id
        );

        let server = ContainerConfig {
            name: "server".into(),
            mounts: vec![scratch("/shared")],
            ..doing("write:/shared/note;listen:8080")
        };
        let server = f
            .engine
            .create_container(&sandbox.id, &server)
            .await
            .unwrap();
        f.engine.start_container(&server).await.unwrap();
        f.answers(sandbox.ip, 8080).await;
        let client = ContainerConfig {
            name: "client".into(),
            mounts: vec![scratch("/elsewhere")],
            ..doing("cat:/elsewhere/note;connect:127.0.0.1:8080;exit:0")
        };
        let (client, _) = f.run_to_end(&sandbox.id, &client).await;
        let log = f.log(&client, LogOptions::default()).await;
        assert!(
            log.contains("written to /shared/note") && log.contains("connected"),
            "{log}"
        );

        f.engine.remove_pod_sandbox(&sandbox.id).await.unwrap();
        f.engine.remove_pod_sandbox(&sandbox.id).await.unwrap();
        assert!(f.engine.list_sandboxes().await.unwrap().is_empty());
        assert_eq!(f.left_behind().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn stopping_asks_first_and_kills_when_the_grace_is_over() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("deaf-1")).await.unwrap();
        let deaf = f
            .engine
            .create_container(&sandbox.id, &doing("ignore-term"))
            .await
            .unwrap();
        f.engine.start_container(&deaf).await.unwrap();
        f.wait_for_log(&deaf, "ignoring SIGTERM").await;
        let begun = tokio::time::Instant::now();
        f.engine
            .stop_container(&deaf, Duration::from_secs(1))
            .await
            .unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1));
        f.engine
            .stop_container(&deaf, Duration::from_secs(1))
            .await
            .unwrap();
        let state = f.wait_for_exit(&sandbox.id, &deaf).await;
        assert!(
            matches!(state, ContainerState::Exited { exit_code: 137, .. }),
            "{state:?}"
        );

        let polite = ContainerConfig {
            attempt: 1,
            ..doing("listen:8080")
        };
        let polite = f
            .engine
            .create_container(&sandbox.id, &polite)
            .await
            .unwrap();
        f.engine.start_container(&polite).await.unwrap();
        f.answers(sandbox.ip, 8080).await;
        f.engine.stop_container(&polite, SOON).await.unwrap();
        let state = f.wait_for_exit(&sandbox.id, &polite).await;
        assert!(
            matches!(state, ContainerState::Exited { exit_code: 143, .. }),
            "{state:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_container_over_its_memory_limit_is_killed_for_it() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("hungry-1")).await.unwrap();
        let config = ContainerConfig {
            memory_limit_bytes: Some(32 << 20),
            ..doing("allocate:256")
        };
        let (_, state) = f.run_to_end(&sandbox.id, &config).await;
        let expected = matches!(
            state,
            ContainerState::Exited {
                exit_code: 137,
                oom_killed: true,
                ..
            }
        );
        assert!(expected, "{state:?}");
    })
    .await;
}

#[tokio::test]
async fn commands_run_inside_a_container_with_code_and_output() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let id = f
            .engine
            .create_container(&sandbox.id, &doing("sleep"))
            .await
            .unwrap();
        f.engine.start_container(&id).await.unwrap();
        let run = async |args: &[&str]| {
            let command: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            f.engine.exec(&id, &command, Duration::from_secs(5)).await
        };
        let listed = run(&[PROGRAM, "--list"]).await.unwrap();
        assert_eq!(listed.exit_code, 0);
        assert!(String::from_utf8_lossy(&listed.output).contains("helper_process: test"));
        assert_ne!(
            run(&[PROGRAM, "--no-such-flag"]).await.unwrap().exit_code,
            0
        );
        assert_ne!(run(&["/no/such/program"]).await.unwrap().exit_code, 0);
        let endless = [PROGRAM, "--exact", "helper::helper_process"].map(ToOwned::to_owned);
        let hung = f
            .engine
            .exec(&id, &endless, Duration::from_millis(500))
            .await;
        assert!(hung.unwrap_err().to_string().contains("timed out"));

        let stats = f.engine.stats(&id).await.unwrap();
        assert!(stats.memory_bytes > 0, "{stats:?}");
    })
    .await;
}

#[tokio::test]
async fn programs_that_are_not_there_and_root_where_forbidden_are_explained() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let missing = ContainerConfig {
            command: vec!["/nope".into()],
            ..doing("sleep")
        };
        let id = f
            .engine
            .create_container(&sandbox.id, &missing)
            .await
            .unwrap();
        let error = f.engine.start_container(&id).await.unwrap_err();
        assert!(
            matches!(&error, EngineError::InvalidContainer(text) if text.contains("/nope")),
            "{error}"
        );
        let root = ContainerConfig {
            attempt: 1,
            run_as_non_root: true,
            ..doing("sleep")
        };
        let error = f
            .engine
            .create_container(&sandbox.id, &root)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("image will run as root"),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn images_are_found_or_their_absence_is_explained() {
    on_docker(async |f: &Fixture| {
        let found = f
            .engine
            .image_status(&fixture::image())
            .await
            .unwrap()
            .unwrap();
        assert!(
            found.id.starts_with("sha256:") && found.size_bytes > 0,
            "{found:?}"
        );
        let absent = format!("localhost:{}/hello:1", f.closed_port);
        assert_eq!(f.engine.image_status(&absent).await.unwrap(), None);
        let error = f.engine.pull_image(&absent).await.unwrap_err().to_string();
        assert!(
            error.contains("does not answer") && error.contains("devops-lab status"),
            "{error}"
        );
        let error = f.engine.image_status("a b").await.unwrap_err();
        assert!(
            matches!(error, EngineError::InvalidImageName { .. }),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn events_tell_which_pod_to_look_at() {
    on_docker(async |f: &Fixture| {
        let mut events = f.engine.events();
        assert_eq!(events.next().await, Some(EngineEvent::Resync));
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        f.run_to_end(&sandbox.id, &doing("exit:0")).await;
        let changed = EngineEvent::SandboxChanged(sandbox.id);
        let heard = async { while events.next().await.as_ref() != Some(&changed) {} };
        // Well below the resync interval: it is the event that tells.
        tokio::time::timeout(Duration::from_secs(5), heard)
            .await
            .expect("an event in time");
    })
    .await;
}

#[tokio::test]
async fn the_same_call_twice_at_once_makes_one_thing() {
    on_docker(async |f: &Fixture| {
        let config = pod("web-1");
        let (one, two) = tokio::join!(
            f.engine.run_pod_sandbox(&config),
            f.engine.run_pod_sandbox(&config)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.id, two.id);
        let config = doing("sleep");
        let (left, right) = tokio::join!(
            f.engine.create_container(&one.id, &config),
            f.engine.create_container(&one.id, &config)
        );
        let (left, right) = (left.unwrap(), right.unwrap());
        assert_eq!(left, right);
        let started = tokio::join!(
            f.engine.start_container(&left),
            f.engine.start_container(&left)
        );
        assert!(started.0.is_ok() && started.1.is_ok(), "{started:?}");
        let removed = tokio::join!(
            f.engine.remove_pod_sandbox(&one.id),
            f.engine.remove_pod_sandbox(&one.id)
        );
        assert!(removed.0.is_ok() && removed.1.is_ok(), "{removed:?}");
        assert_eq!(f.left_behind().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_comes_back_finds_its_pods() {
    on_docker(async |f: &Fixture| {
        let sandbox = f.engine.run_pod_sandbox(&pod("web-1")).await.unwrap();
        let id = f
            .engine
            .create_container(&sandbox.id, &doing("sleep"))
            .await
            .unwrap();
        f.engine.start_container(&id).await.unwrap();
        let again = f.another_engine().await;
        let found = again.list_sandboxes().await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].id, found[0].ip, found[0].alive),
            (&sandbox.id, sandbox.ip, true)
        );
        assert_eq!(found[0].containers[0].id, id);
        assert_eq!(
            again.run_pod_sandbox(&pod("web-1")).await.unwrap().id,
            sandbox.id
        );
    })
    .await;
}
