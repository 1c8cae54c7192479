//! The simulated engine under test, on paused time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lab_context::Context;
use lab_engine::simulated::{Behaviour, Rule, SimulatedConfig, SimulatedEngine, well_known_rules};
use lab_engine::{ContainerConfig, Engine, SandboxConfig};
use lab_testkit::engine_contract::{Ability, DoomedNode, Fixture};

pub(crate) struct Simulated {
    engine: SimulatedEngine,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let mut rules = well_known_rules();
        for code in [0, 1, 3] {
            let behaviour = Behaviour::Exits {
                after: Duration::from_secs(5),
                exit_code: code,
            };
            rules.push(Rule::new(format!("contract:exit-{code}"), behaviour));
        }
        let config = SimulatedConfig {
            pull_delay: Duration::from_secs(2),
            start_delay: Duration::from_secs(1),
            stop_delay: Duration::from_secs(1),
            rules,
            ..SimulatedConfig::default()
        };
        Self {
            engine: SimulatedEngine::new(config, Context::simulated(1, 1.0)),
        }
    }
}

#[async_trait(?Send)]
impl Fixture for Simulated {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    fn lacks(&self) -> &'static [Ability] {
        // Its pods live in the memory of the process that is also their agent.
        &[
            Ability::Programs,
            Ability::Network,
            Ability::MemoryLimits,
            Ability::AgentRestart,
        ]
    }

    fn container(&self, name: &str, words: &[&str]) -> ContainerConfig {
        ContainerConfig {
            name: name.into(),
            image: format!("contract:{}", words.join("-")),
            args: words.iter().map(|word| (*word).to_owned()).collect(),
            ..ContainerConfig::default()
        }
    }

    fn absent_image(&self) -> String {
        "contract:fail-pull".into()
    }

    async fn restart_agent(&mut self) -> anyhow::Result<()> {
        anyhow::bail!("the simulated engine ends with its agent")
    }

    async fn doomed_node(&self) -> anyhow::Result<Box<dyn DoomedNode>> {
        let engine = self.engine.clone();
        let config = SandboxConfig {
            name: "doomed".into(),
            uid: "doomed".into(),
            ..SandboxConfig::default()
        };
        let sandbox = engine.run_pod_sandbox(&config).await?.id;
        let container = self.container("main", &["sleep"]);
        engine.pull_image(&container.image).await?;
        let container = engine.create_container(&sandbox, &container).await?;
        engine.start_container(&container).await?;
        Ok(Box::new(Doomed { engine }))
    }

    async fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        Ok(self
            .engine
            .list_sandboxes()
            .await?
            .into_iter()
            .map(|sandbox| sandbox.id.0)
            .collect())
    }
}

struct Doomed {
    engine: SimulatedEngine,
}

#[async_trait(?Send)]
impl DoomedNode for Doomed {
    async fn pod_lives(&self) -> bool {
        self.engine
            .list_sandboxes()
            .await
            .is_ok_and(|sandboxes| sandboxes.iter().all(|sandbox| sandbox.alive))
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.engine.lose(|pod| pod.name == "doomed");
        Ok(())
    }
}
