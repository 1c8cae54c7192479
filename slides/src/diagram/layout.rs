//! Where everything of a flowchart stands, in pixels of a stage 1280 wide.

use std::collections::BTreeSet;

use rusty_mermaid_core::Direction as RankDirection;
use rusty_mermaid_dagre::config::DagreConfig;
use rusty_mermaid_dagre::labels::{EdgeLabel, LabelPos, NodeLabel};
use rusty_mermaid_dagre::pipeline;
use rusty_mermaid_graph::{EdgeId, Graph};

use super::LETTERS;
use super::parse::{Chart, Direction, Edge, Node, Shape};

/// Height of a line of text.
pub(super) const LINE: f64 = LETTERS * 1.25;
/// Room around what is drawn, for strokes.
const MARGIN: f64 = 4.0;
/// A label is broken where it gets wider; a decision's sooner.
const WIDEST: f64 = LETTERS * 9.5;
const WIDEST_DECISION: f64 = LETTERS * 10.5;

/// A point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Centre and size of something, with the lines of its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) lines: Vec<String>,
}

/// The way of an edge, and where its text stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Way {
    pub(super) points: Vec<Point>,
    pub(super) label: Option<Place>,
}

/// Where everything stands, in the order of the chart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) nodes: Vec<Place>,
    pub(super) edges: Vec<Way>,
    pub(super) groups: Vec<Place>,
}

/// Lays a chart out.
pub(super) fn layout(chart: &Chart) -> Plan {
    let mut graph: Graph<NodeLabel, EdgeLabel> = Graph::new();
    let groups: Vec<_> = chart
        .groups
        .iter()
        .map(|_| graph.add_node(NodeLabel::new(0.0, 0.0)))
        .collect();
    let sized: Vec<_> = chart.nodes.iter().map(size).collect();
    let nodes: Vec<_> = sized
        .iter()
        .map(|place| graph.add_node(NodeLabel::new(place.width, place.height)))
        .collect();
    // A group without nodes would have no place.
    for (group, id) in chart.groups.iter().zip(&groups) {
        if let Some(parent) = group.parent {
            graph.set_parent(*id, groups[parent]);
        }
    }
    for (node, id) in chart.nodes.iter().zip(&nodes) {
        if let Some(group) = node.group {
            graph.set_parent(*id, groups[group]);
        }
    }
    for edge in &chart.edges {
        graph.add_edge(nodes[edge.from], nodes[edge.to], label_of(edge));
    }
    let across = matches!(chart.direction, Direction::Right | Direction::Left);
    let config = DagreConfig {
        rankdir: match chart.direction {
            Direction::Down => RankDirection::TB,
            Direction::Up => RankDirection::BT,
            Direction::Right => RankDirection::LR,
            Direction::Left => RankDirection::RL,
        },
        nodesep: if across { 30.0 } else { 44.0 },
        ranksep: if across { 56.0 } else { 48.0 },
        edgesep: 20.0,
        marginx: MARGIN,
        marginy: MARGIN,
        ..DagreConfig::default()
    };
    pipeline::layout(&mut graph, &config);
    let mut plan = Plan {
        width: 0.0,
        height: 0.0,
        nodes: Vec::new(),
        edges: Vec::new(),
        groups: Vec::new(),
    };
    for (mut place, id) in sized.into_iter().zip(&nodes) {
        if let Some(label) = graph.node(*id) {
            (place.x, place.y) = (label.x, label.y);
        }
        plan.nodes.push(place);
    }
    let mut taken = BTreeSet::new();
    for edge in &chart.edges {
        // The layout makes edges anew: ours is the one that joins the same nodes, with a label of
        // the same size.
        let wanted = label_of(edge).width;
        let same = |id: &EdgeId| {
            let ends = graph.edge_endpoints(*id) == Some((nodes[edge.from], nodes[edge.to]));
            let sized = graph
                .edge(*id)
                .is_some_and(|label| (label.width - wanted).abs() < 0.5);
            ends && sized && !taken.contains(&id.raw())
        };
        let Some(id) = graph.edge_ids().find(same) else {
            continue;
        };
        taken.insert(id.raw());
        let Some(label) = graph.edge(id) else {
            continue;
        };
        let mut points: Vec<_> = label
            .points
            .iter()
            .map(|point| Point {
                x: point.x,
                y: point.y,
            })
            .collect();
        if edge.from != edge.to {
            meet(
                &mut points,
                &plan.nodes[edge.from],
                chart.nodes[edge.from].shape,
                true,
            );
            meet(
                &mut points,
                &plan.nodes[edge.to],
                chart.nodes[edge.to].shape,
                false,
            );
        }
        let text = (!edge.label.is_empty()).then(|| {
            let lines = broken(&edge.label, WIDEST);
            let (width, height) = text_size(&lines);
            Place {
                x: label.x,
                y: label.y,
                width: width + 10.0,
                height,
                lines,
            }
        });
        plan.edges.push(Way {
            points,
            label: text,
        });
    }
    plan.enclose(chart);
    plan.fit();
    plan
}

fn label_of(edge: &Edge) -> EdgeLabel {
    let mut label = EdgeLabel::new();
    label.labelpos = LabelPos::Center;
    if !edge.label.is_empty() {
        let lines = broken(&edge.label, WIDEST);
        (label.width, label.height) = text_size(&lines);
        label.width += 14.0;
    }
    label
}

/// What is inside of a group keeps so far away from its edge.
const PADDING: f64 = 20.0;

impl Plan {
    /// Draws groups around what is in them, the innermost first.
    fn enclose(&mut self, chart: &Chart) {
        let mut places: Vec<Option<Place>> = vec![None; chart.groups.len()];
        let inside = |mut group: Option<usize>, wanted: usize| {
            while let Some(at) = group {
                if at == wanted {
                    return true;
                }
                group = chart.groups[at].parent;
            }
            false
        };
        // A group inside of another comes after it in the source.
        for at in (0..chart.groups.len()).rev() {
            let mut bounds = Bounds::default();
            for (node, place) in chart.nodes.iter().zip(&self.nodes) {
                if inside(node.group, at) {
                    bounds.place(place);
                }
            }
            for (edge, way) in chart.edges.iter().zip(&self.edges) {
                let [from, to] = [edge.from, edge.to].map(|end| chart.nodes[end].group);
                if inside(from, at) && inside(to, at) {
                    way.points.iter().for_each(|point| bounds.point(*point));
                    way.label.iter().for_each(|label| bounds.place(label));
                }
            }
            for (group, place) in chart.groups.iter().zip(&places) {
                if let (true, Some(place)) = (inside(group.parent, at), place) {
                    bounds.place(place);
                }
            }
            let lines = vec![chart.groups[at].label.replace('\n', " ")];
            places[at] = bounds.around(PADDING).map(|around| Place {
                // The title stands above what is in it.
                y: around.y - LINE / 2.0,
                width: around.width.max(text_size(&lines).0 + 24.0),
                height: around.height + LINE,
                lines,
                ..around
            });
        }
        self.groups = places.into_iter().flatten().collect();
    }

    /// Moves everything to the upper left and measures it.
    fn fit(&mut self) {
        let mut bounds = Bounds::default();
        let labels = self.edges.iter().filter_map(|way| way.label.as_ref());
        for place in self.nodes.iter().chain(&self.groups).chain(labels) {
            bounds.place(place);
        }
        for point in self.edges.iter().flat_map(|way| &way.points) {
            bounds.point(*point);
        }
        let Bounds {
            left,
            top,
            right,
            bottom,
        } = bounds;
        let (dx, dy) = (MARGIN - left, MARGIN - top);
        let labels = self.edges.iter_mut().filter_map(|way| way.label.as_mut());
        for place in self.nodes.iter_mut().chain(&mut self.groups).chain(labels) {
            place.x += dx;
            place.y += dy;
        }
        for point in self.edges.iter_mut().flat_map(|way| &mut way.points) {
            point.x += dx;
            point.y += dy;
        }
        self.width = right - left + 2.0 * MARGIN;
        self.height = bottom - top + 2.0 * MARGIN;
    }
}

/// The rectangle around some things.
struct Bounds {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            left: f64::MAX,
            top: f64::MAX,
            right: f64::MIN,
            bottom: f64::MIN,
        }
    }
}

impl Bounds {
    fn point(&mut self, point: Point) {
        self.left = self.left.min(point.x);
        self.right = self.right.max(point.x);
        self.top = self.top.min(point.y);
        self.bottom = self.bottom.max(point.y);
    }

    fn place(&mut self, place: &Place) {
        let (x, y) = (place.width / 2.0, place.height / 2.0);
        self.point(Point {
            x: place.x - x,
            y: place.y - y,
        });
        self.point(Point {
            x: place.x + x,
            y: place.y + y,
        });
    }

    /// The rectangle and so much more on every side; none around nothing.
    fn around(&self, padding: f64) -> Option<Place> {
        (self.left <= self.right).then(|| Place {
            x: f64::midpoint(self.left, self.right),
            y: f64::midpoint(self.top, self.bottom),
            width: self.right - self.left + 2.0 * padding,
            height: self.bottom - self.top + 2.0 * padding,
            lines: Vec::new(),
        })
    }
}

fn size(node: &Node) -> Place {
    let decision = node.shape == Shape::Decision;
    let lines = broken(&node.label, if decision { WIDEST_DECISION } else { WIDEST });
    let (text, height) = text_size(&lines);
    let (width, height) = match node.shape {
        Shape::Box | Shape::Round => (text + 40.0, height + 28.0),
        Shape::Stadium => (text + 56.0, height + 28.0),
        Shape::Store => (text + 40.0, height + 52.0),
        Shape::Circle => {
            let across = (text * text + height * height).sqrt() + 16.0;
            (across, across)
        }
        // Its points reach out by half its height.
        Shape::Decision => (text + height + 44.0, height + 30.0),
    };
    Place {
        x: 0.0,
        y: 0.0,
        width: width.max(72.0),
        height,
        lines,
    }
}

/// The layout takes everything for a rectangle; an edge ends where the shape does.
fn meet(points: &mut [Point], place: &Place, shape: Shape, first: bool) {
    let Some(next) = (if first {
        points.get(1).copied()
    } else {
        points.len().checked_sub(2).map(|at| points[at])
    }) else {
        return;
    };
    let (dx, dy) = (next.x - place.x, next.y - place.y);
    let (half_width, half_height) = (place.width / 2.0, place.height / 2.0);
    let share = match shape {
        Shape::Circle => half_width / dx.hypot(dy).max(1.0),
        Shape::Decision => {
            // |x| + |y| ≤ half the width on the slopes, |y| ≤ half the height on the flat sides.
            let slope = half_width / (dx.abs() + dy.abs()).max(1.0);
            let flat = half_height / dy.abs().max(0.001);
            slope.min(flat)
        }
        _ => return,
    };
    let end = if first { 0 } else { points.len() - 1 };
    points[end] = Point {
        x: place.x + dx * share,
        y: place.y + dy * share,
    };
}

/// Breaks a label into lines of even length, none wider than `widest` where words allow it.
fn broken(label: &str, widest: f64) -> Vec<String> {
    label
        .lines()
        .flat_map(|line| {
            let whole = text_width(line);
            let rows = (whole / widest).ceil().max(1.0);
            // Even lines look better than a full one and a rest.
            let goal = (whole / rows * 1.15).min(widest);
            let mut lines = vec![String::new()];
            for word in line.split(' ').filter(|word| !word.is_empty()) {
                let last = lines.last_mut().filter(|last| {
                    last.is_empty() || text_width(last) + text_width(word) + 8.0 <= goal
                });
                match last {
                    Some(last) if last.is_empty() => last.push_str(word),
                    Some(last) => {
                        last.push(' ');
                        last.push_str(word);
                    }
                    None => lines.push(word.to_owned()),
                }
            }
            lines
        })
        .collect()
}

fn text_size(lines: &[String]) -> (f64, f64) {
    let widest = lines
        .iter()
        .map(|line| text_width(line))
        .fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss)]
    let height = lines.len() as f64 * LINE;
    (widest, height)
}

/// About how wide a text is set, in the widest of the fonts that it may be set in (DejaVu Sans).
fn text_width(text: &str) -> f64 {
    let share = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '’' | '|' | '!' | 'I' => 0.32,
        ' ' | '\u{a0}' | '\u{202f}' => 0.32,
        'f' | 'r' | 't' | '(' | ')' | '/' | '-' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '→' | '…' => 0.98,
        letter if letter.is_uppercase() => 0.72,
        letter if letter.is_ascii() => 0.62,
        letter if letter.is_alphabetic() => 0.64,
        _ => 1.0,
    };
    text.chars().map(share).sum::<f64>() * LETTERS
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn plan(source: &str) -> Plan {
        layout(&parse(source).unwrap())
    }

    fn overlap(one: &Place, other: &Place) -> bool {
        (one.x - other.x).abs() * 2.0 < one.width + other.width
            && (one.y - other.y).abs() * 2.0 < one.height + other.height
    }

    #[test]
    fn it_goes_the_way_it_says() {
        for (direction, dx, dy) in [
            ("LR", 1.0, 0.0),
            ("RL", -1.0, 0.0),
            ("TD", 0.0, 1.0),
            ("BT", 0.0, -1.0),
        ] {
            let plan = plan(&format!("flowchart {direction}\nA --> B"));
            let (a, b) = (&plan.nodes[0], &plan.nodes[1]);
            assert!((b.x - a.x) * dx + (b.y - a.y) * dy > 0.0, "{direction}");
        }
    }

    #[test]
    fn nothing_overlaps_and_everything_is_inside() {
        let plan = plan(
            "flowchart LR\nA[Change] --> B{Do all of the tests pass?}\nB -- yes --> C(Build)\nB -- no --> D[Fix it]\nD --> A\nsubgraph s [Cluster]\nC --> E[Canary]\nE --> F{Errors?}\nF -- none --> G[All]\nF -- some --> H[Back]\nend",
        );
        for (at, one) in plan.nodes.iter().enumerate() {
            for other in &plan.nodes[at + 1..] {
                assert!(!overlap(one, other), "{one:?} {other:?}");
            }
            assert!(one.x - one.width / 2.0 >= 0.0 && one.x + one.width / 2.0 <= plan.width);
            assert!(one.y - one.height / 2.0 >= 0.0 && one.y + one.height / 2.0 <= plan.height);
        }
        let group = &plan.groups[0];
        for at in [2, 4, 5, 6, 7] {
            let node = &plan.nodes[at];
            assert!((node.x - group.x).abs() + node.width / 2.0 <= group.width / 2.0 + 1.0);
            assert!((node.y - group.y).abs() + node.height / 2.0 <= group.height / 2.0 + 1.0);
        }
        assert!(
            !overlap(group, &plan.nodes[3]),
            "what is not in it stays out of it"
        );
    }

    #[test]
    fn long_labels_are_broken_evenly() {
        let lines = broken("Can both versions run side by side?", WIDEST);
        assert!(lines.len() >= 2, "{lines:?}");
        assert_eq!(lines.join(" "), "Can both versions run side by side?");
        assert!(
            lines.iter().all(|line| text_width(line) <= WIDEST),
            "{lines:?}"
        );
        assert_eq!(broken("a\nb", WIDEST), ["a", "b"]);
    }

    #[test]
    fn edges_end_at_shapes() {
        let plan = plan("flowchart LR\nA{One} --> B((2))");
        let points = &plan.edges[0].points;
        let (a, b) = (&plan.nodes[0], &plan.nodes[1]);
        assert!(
            (points[0].x - (a.x + a.width / 2.0)).abs() < 1.0,
            "{points:?} {a:?}"
        );
        let last = points[points.len() - 1];
        assert!(
            (last.x - (b.x - b.width / 2.0)).abs() < 1.0,
            "{points:?} {b:?}"
        );
    }
}
