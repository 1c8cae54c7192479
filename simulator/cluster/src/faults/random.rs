//! A fault by chance, for a game day: nobody knows which, the seed makes it the same again.

use anyhow::Context as _;

use super::{ALL, FaultDef, Stage, Target};

/// Those that may be drawn: what needs something special in the cluster is left out where it is
/// missing, and what everybody sees at once (a drain) is no riddle.
const LEFT_OUT: &[&str] = &["node-drain", "certificate-expire", "image-pull-corrupt"];

/// Draws a fault that can be injected here.
///
/// # Errors
/// Where none can.
pub async fn choose(stage: &Stage) -> anyhow::Result<&'static FaultDef> {
    let pods = !stage.running_pods().await?.is_empty();
    let routes = !super::gateway::routes(stage).await?.is_empty();
    let candidates = candidates(stage.record.engine, pods, routes);
    stage
        .pick(&candidates)
        .copied()
        .context("there is nothing here to break; deploy something first")
}

fn candidates(
    engine: crate::config::EngineKind,
    pods: bool,
    routes: bool,
) -> Vec<&'static FaultDef> {
    let possible = |def: &&FaultDef| {
        let there = match def.target {
            Target::Node | Target::Pod => pods,
            Target::Route => routes,
            Target::Name => true,
            Target::Secret | Target::Image => false,
        };
        there && def.runs_on(engine) && !LEFT_OUT.contains(&def.name)
    };
    ALL.iter().filter(possible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineKind;

    #[test]
    fn only_what_can_be_broken_is_drawn() {
        let names = |engine, pods, routes| -> Vec<_> {
            let drawn = candidates(engine, pods, routes);
            drawn.iter().map(|def| def.name).collect()
        };
        assert_eq!(names(EngineKind::Process, false, false), ["dns-break"]);
        assert_eq!(
            names(EngineKind::Simulated, true, true),
            ["node-partition", "pod-kill"]
        );
        assert!(names(EngineKind::Docker, true, true).contains(&"gateway-abort"));
    }
}
