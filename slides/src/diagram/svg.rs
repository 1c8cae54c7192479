//! A laid-out flowchart as SVG.

use std::fmt::Write as _;

use super::layout::{LINE, Place, Plan, Point, Way};
use super::parse::{Chart, Line, Shape};
use crate::html::escape;

/// Length and half the width of an arrow's head.
const ARROW: (f64, f64) = (14.0, 6.5);

/// What is in the element `svg`.
pub(super) fn inner(chart: &Chart, plan: &Plan) -> String {
    let mut out = String::new();
    for place in &plan.groups {
        let _ = write!(out, "<g class=\"group\">{}", rectangle(place, 12.0));
        let (x, y) = (
            place.x - place.width / 2.0 + 12.0,
            place.y - place.height / 2.0 + LINE * 0.85,
        );
        let title = escape(&place.lines.join(" "));
        let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\">{title}</text></g>");
    }
    for (edge, way) in chart.edges.iter().zip(&plan.edges) {
        let class = match edge.line {
            Line::Plain => "edge",
            Line::Dotted => "edge dotted",
            Line::Thick => "edge thick",
        };
        let _ = write!(out, "<g class=\"{class}\">{}</g>", path(way, edge.arrow));
    }
    for (node, place) in chart.nodes.iter().zip(&plan.nodes) {
        let shape = match node.shape {
            Shape::Box => "box",
            Shape::Round => "round",
            Shape::Stadium => "stadium",
            Shape::Circle => "circle",
            Shape::Store => "store",
            Shape::Decision => "decision",
        };
        let state = node
            .class
            .map(|class| format!(" {class}"))
            .unwrap_or_default();
        let outline = outline(node.shape, place);
        let text = text(place, if node.shape == Shape::Store { 8.0 } else { 0.0 });
        let _ = write!(out, "<g class=\"node {shape}{state}\">{outline}{text}</g>");
    }
    // Above lines and nodes, as they say what a line means.
    for label in plan.edges.iter().filter_map(|way| way.label.as_ref()) {
        let _ = write!(
            out,
            "<g class=\"label\">{}{}</g>",
            rectangle(label, 6.0),
            text(label, 0.0)
        );
    }
    out
}

fn rectangle(place: &Place, radius: f64) -> String {
    let Place {
        x,
        y,
        width,
        height,
        ..
    } = place;
    format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.0}\"/>",
        x - width / 2.0,
        y - height / 2.0
    )
}

fn outline(shape: Shape, place: &Place) -> String {
    let (x, y) = (place.x, place.y);
    let (half_width, half_height) = (place.width / 2.0, place.height / 2.0);
    match shape {
        Shape::Box => rectangle(place, 6.0),
        Shape::Round => rectangle(place, 16.0),
        Shape::Stadium => rectangle(place, half_height),
        Shape::Circle => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{half_width:.1}\"/>"),
        Shape::Decision => {
            let (left, right) = (x - half_width, x + half_width);
            let (top, bottom) = (y - half_height, y + half_height);
            format!(
                "<path d=\"M{left:.1} {y:.1}L{:.1} {top:.1}H{:.1}L{right:.1} {y:.1}L{:.1} {bottom:.1}H{:.1}Z\"/>",
                left + half_height,
                right - half_height,
                right - half_height,
                left + half_height
            )
        }
        Shape::Store => {
            let (left, right) = (x - half_width, x + half_width);
            let (top, bottom) = (y - half_height + 10.0, y + half_height - 10.0);
            format!(
                "<path d=\"M{left:.1} {top:.1}A{half_width:.1} 10 0 0 1 {right:.1} {top:.1}V{bottom:.1}A{half_width:.1} 10 0 0 1 {left:.1} {bottom:.1}Z\"/>\
                 <path d=\"M{left:.1} {top:.1}A{half_width:.1} 10 0 0 0 {right:.1} {top:.1}\"/>"
            )
        }
    }
}

fn text(place: &Place, down: f64) -> String {
    #[expect(clippy::cast_precision_loss)]
    let rows = place.lines.len() as f64;
    // Letters stand on their line: a third of their height below its middle.
    let mut y = place.y + down - (rows - 1.0) / 2.0 * LINE + LINE * 0.28;
    let mut out = String::from("<text>");
    for line in &place.lines {
        let _ = write!(
            out,
            "<tspan x=\"{:.1}\" y=\"{y:.1}\">{}</tspan>",
            place.x,
            escape(line)
        );
        y += LINE;
    }
    out.push_str("</text>");
    out
}

/// A curve along the points (a uniform cubic B-spline, which stays clear of what its points stay
/// clear of), and the head of its arrow.
fn path(way: &Way, arrow: bool) -> String {
    let mut points = way.points.clone();
    let [.., before, end] = points[..] else {
        return String::new();
    };
    let head = if arrow {
        let length = (end.x - before.x).hypot(end.y - before.y).max(0.001);
        let (dx, dy) = ((end.x - before.x) / length, (end.y - before.y) / length);
        let neck = Point {
            x: end.x - dx * ARROW.0,
            y: end.y - dy * ARROW.0,
        };
        let last = points.len() - 1;
        points[last] = neck;
        format!(
            "<path class=\"head\" d=\"M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z\"/>",
            end.x,
            end.y,
            neck.x - dy * ARROW.1,
            neck.y + dx * ARROW.1,
            neck.x + dy * ARROW.1,
            neck.y - dx * ARROW.1
        )
    } else {
        String::new()
    };
    let mix = |a: Point, b: Point, share: f64| Point {
        x: a.x + (b.x - a.x) * share,
        y: a.y + (b.y - a.y) * share,
    };
    let (first, last) = (points[0], points[points.len() - 1]);
    let mut line = format!("M{:.1} {:.1}", first.x, first.y);
    for window in points.windows(3) {
        let (from, to) = (
            mix(window[0], window[1], 2.0 / 3.0),
            mix(window[1], window[2], 1.0 / 3.0),
        );
        let begin = mix(window[0], window[1], 1.0 / 3.0);
        let end = mix(from, to, 0.5);
        if window[0] == first {
            let _ = write!(line, "L{:.1} {:.1}", begin.x, begin.y);
        }
        let _ = write!(
            line,
            "C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
            begin.x, begin.y, from.x, from.y, end.x, end.y
        );
    }
    let _ = write!(line, "L{:.1} {:.1}", last.x, last.y);
    format!("<path d=\"{line}\"/>{head}")
}
