//! The live picture of a cluster: nodes with their pods, coloured by version, marked by state.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lab_checks::language::Language;

use crate::html::escape;

/// As many versions have a colour of their own; the others share the last.
const COLOURS: usize = 5;
/// More nodes stand in rows.
const IN_A_ROW: usize = 4;

/// What is shown of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its nodes, in order.
    pub nodes: Vec<Node>,
    /// Pods that have no node yet.
    pub waiting: Vec<Pod>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// True where it is Ready.
    pub ready: bool,
    /// Its pods, in order.
    pub pods: Vec<Pod>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The application that it belongs to.
    pub app: String,
    /// The tag of its image.
    pub version: String,
    /// How it is.
    pub state: PodState,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodState {
    /// It is Ready.
    #[default]
    Ready,
    /// It is on its way.
    Starting,
    /// It fails, or its image is not there.
    Failing,
    /// It is being deleted.
    Ending,
}

impl PodState {
    fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Failing => "failing",
            Self::Ending => "ending",
        }
    }

    /// A word and a mark, as colour alone says nothing.
    fn words(self, language: Language) -> (&'static str, &'static str) {
        match (self, language) {
            (Self::Ready, Language::En) => ("✓", "ready"),
            (Self::Ready, Language::Fr) => ("✓", "prêt"),
            (Self::Starting, Language::En) => ("…", "starting"),
            (Self::Starting, Language::Fr) => ("…", "démarre"),
            (Self::Failing, Language::En) => ("!", "failing"),
            (Self::Failing, Language::Fr) => ("!", "en échec"),
            (Self::Ending, Language::En) => ("×", "ending"),
            (Self::Ending, Language::Fr) => ("×", "s’arrête"),
        }
    }
}

/// Draws it, as HTML.
#[must_use]
pub fn draw(cluster: &Cluster, language: Language) -> String {
    let mut versions: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let pods = cluster.nodes.iter().flat_map(|node| &node.pods);
    for pod in pods.chain(&cluster.waiting) {
        *versions.entry((&pod.app, &pod.version)).or_default() += 1;
    }
    let colour = |pod: &Pod| {
        // Versions of one application must differ; of two, they may share a colour.
        let of_app = versions.keys().filter(|(app, _)| *app == pod.app);
        let at = of_app
            .into_iter()
            .position(|(_, version)| *version == pod.version);
        at.unwrap_or_default().min(COLOURS - 1)
    };
    let (ready, down, waiting) = match language {
        Language::En => ("Ready", "not ready", "waiting for a node"),
        Language::Fr => ("Ready", "pas prêt", "en attente d’un nœud"),
    };
    let many = if cluster.nodes.len() > IN_A_ROW {
        " many"
    } else {
        ""
    };
    let mut out = format!("<div class=\"nodes{many}\">");
    let machine = |out: &mut String, name: &str, word: &str, class: &str, pods: &[Pod]| {
        let _ = write!(
            out,
            "<section class=\"machine{class}\"><h3>{} <span>{word}</span></h3><ul>",
            escape(name)
        );
        for pod in pods {
            let (mark, word) = pod.state.words(language);
            let _ = write!(
                out,
                "<li class=\"pod v{} {}\"><b>{} {mark}</b><span>{}</span><span class=\"visually-hidden\">{word}</span></li>",
                colour(pod),
                pod.state.name(),
                escape(&pod.app),
                escape(&pod.version)
            );
        }
        out.push_str("</ul></section>");
    };
    for node in &cluster.nodes {
        let (word, class) = if node.ready {
            (ready, "")
        } else {
            (down, " down")
        };
        machine(&mut out, &node.name, word, class, &node.pods);
    }
    if !cluster.waiting.is_empty() {
        machine(&mut out, "Pending", waiting, " down", &cluster.waiting);
    }
    out.push_str("</div><p class=\"versions\">");
    for ((app, version), count) in &versions {
        let pod = Pod {
            app: (*app).to_owned(),
            version: (*version).to_owned(),
            state: PodState::Ready,
        };
        let _ = write!(
            out,
            "<span><i class=\"v{}\"></i>{} {} × {count}</span>",
            colour(&pod),
            escape(app),
            escape(version)
        );
    }
    out.push_str("</p>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(version: &str, state: PodState) -> Pod {
        Pod {
            app: "hello".to_owned(),
            version: version.to_owned(),
            state,
        }
    }

    #[test]
    fn versions_and_states_are_told_in_words_and_by_class() {
        let node = |name: &str, ready, pods| Node {
            name: name.to_owned(),
            ready,
            pods,
        };
        let cluster = Cluster {
            nodes: vec![
                node(
                    "node-1",
                    true,
                    vec![
                        pod("1.0.0", PodState::Ready),
                        pod("2.0.0", PodState::Failing),
                    ],
                ),
                node("node-2", false, vec![pod("1.0.0", PodState::Ending)]),
            ],
            waiting: vec![pod("2.0.0", PodState::Starting)],
        };
        let html = draw(&cluster, Language::En);
        assert!(
            html.contains("pod v0 ready\"><b>hello ✓</b><span>1.0.0"),
            "{html}"
        );
        assert!(
            html.contains("pod v1 failing\"><b>hello !</b><span>2.0.0"),
            "{html}"
        );
        assert!(html.contains("pod v0 ending"), "{html}");
        assert!(
            html.contains("machine down\"><h3>node-2 <span>not ready"),
            "{html}"
        );
        assert!(html.contains("Pending <span>waiting for a node"), "{html}");
        assert!(
            html.contains("hello 1.0.0 × 2") && html.contains("hello 2.0.0 × 2"),
            "{html}"
        );
    }

    #[test]
    fn names_are_text() {
        let cluster = Cluster {
            nodes: vec![Node {
                name: "<b>".to_owned(),
                ready: true,
                pods: vec![pod("<script>", PodState::Ready)],
            }],
            waiting: Vec::new(),
        };
        let html = draw(&cluster, Language::Fr);
        assert!(
            !html.contains("<script>") && html.contains("&lt;b&gt;"),
            "{html}"
        );
    }
}
