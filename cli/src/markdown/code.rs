//! Code, in the colours of a terminal.

use console::Style;
use lab_slides::highlight::{self, Class};

use super::Look;

fn style(class: Class, look: Look) -> Style {
    let style = look.style();
    match class {
        Class::Plain => style,
        Class::Comment => style.dim().italic(),
        Class::Text => style.green(),
        Class::Number => style.yellow(),
        Class::Keyword => style.magenta(),
        Class::Name => style.cyan(),
        Class::Variable => style.yellow(),
        Class::Flag => style.blue(),
    }
}

/// The lines of a block, coloured where there is colour and the language is known.
pub(super) fn lines(text: &str, language: &str, look: Look) -> Vec<String> {
    let known = look.colour.then(|| highlight::lines(text, language));
    let Some(lines) = known.flatten() else {
        let style = look.style().cyan();
        let lines = text.trim_end_matches('\n').lines();
        return lines.map(|line| style.apply_to(line).to_string()).collect();
    };
    let set = |(class, part): (Class, &str)| style(class, look).apply_to(part).to_string();
    lines
        .into_iter()
        .map(|spans| spans.into_iter().map(set).collect())
        .collect()
}
