//! Flowcharts in Mermaid's notation, as SVG: laid out by a port of dagre, which Mermaid itself
//! uses, and drawn for a projector. Colours are the page's, by class, so that a diagram fits
//! either theme; text stays text.
//!
//! A decision is drawn with two points instead of four: a rhombus around a sentence leaves no
//! room for it.

mod layout;
mod parse;
mod svg;

use std::fmt;

/// Size of letters, in pixels of a stage 1280 wide.
const LETTERS: f64 = 26.0;

/// A small diagram is drawn so many times as large, so as to fill a slide better.
const GROW: f64 = 1.25;

/// What is wrong with a diagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line of its source, from 1.
    pub(crate) line: u64,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    fn new(line: u64, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.line, self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A drawn diagram.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawing {
    /// What is in the element `svg`.
    inner: String,
    width: f64,
    height: f64,
}

impl Drawing {
    /// Size of its letters where it is fitted into so much room, in pixels of the stage.
    pub(crate) fn letters_in(&self, width: f64, height: f64) -> f64 {
        LETTERS * self.scale(width, height)
    }

    /// The element `svg`, fitted into so much room; a small one grows a little.
    pub(crate) fn svg_in(&self, width: f64, height: f64) -> String {
        let scale = self.scale(width, height);
        format!(
            "<svg class=\"flow\" viewBox=\"0 0 {:.0} {:.0}\" width=\"{:.0}\" height=\"{:.0}\" xmlns=\"http://www.w3.org/2000/svg\">{}</svg>",
            self.width,
            self.height,
            self.width * scale,
            self.height * scale,
            self.inner
        )
    }

    fn scale(&self, width: f64, height: f64) -> f64 {
        (width / self.width).min(height / self.height).min(GROW)
    }
}

/// Draws a flowchart.
///
/// # Errors
/// The first thing that is no flowchart, or none that can be drawn.
pub(crate) fn draw(source: &str) -> Result<Drawing, Fault> {
    let chart = parse::parse(source)?;
    let plan = layout::layout(&chart);
    Ok(Drawing {
        inner: svg::inner(&chart, &plan),
        width: plan.width,
        height: plan.height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "flowchart LR\n  A[Change] --> B{Tests pass?}\n  B -- yes --> C(Build)\n  B -->|no| A\n  subgraph s [The <cluster>]\n    C --> D([Canary]):::here\n  end\n";

    #[test]
    fn a_drawing_says_everything_that_its_source_says() {
        let drawn = draw(CHART).unwrap();
        for text in [
            "Change",
            "Tests pass?",
            ">yes<",
            ">no<",
            "The &lt;cluster&gt;",
            "Canary",
        ] {
            assert!(drawn.inner.contains(text), "{text}: {}", drawn.inner);
        }
        assert_eq!(drawn.inner.matches("class=\"edge").count(), 4);
    }

    #[test]
    fn a_drawing_takes_its_colours_from_the_page() {
        let drawn = draw(CHART).unwrap();
        for forbidden in ["fill=", "stroke=", "style=", "url(", "href", "#"] {
            assert!(
                !drawn.inner.contains(forbidden),
                "{forbidden}: {}",
                drawn.inner
            );
        }
        assert!(drawn.inner.contains("class=\"node stadium here\""));
    }

    #[test]
    fn the_same_source_gives_the_same_drawing() {
        assert_eq!(draw(CHART).unwrap(), draw(CHART).unwrap());
    }

    #[test]
    fn a_large_drawing_has_small_letters() {
        let small = draw("flowchart LR\nA --> B").unwrap();
        assert!((small.letters_in(1100.0, 500.0) - LETTERS * GROW).abs() < 0.01);
        assert!((small.letters_in(small.width, 500.0) - LETTERS).abs() < 0.01);
        let chain: Vec<_> = (0..30).map(|at| format!("n{at}[Number {at}]")).collect();
        let large = draw(&format!("flowchart LR\n{}", chain.join(" --> "))).unwrap();
        assert!(large.letters_in(1100.0, 500.0) < 10.0);
    }
}
