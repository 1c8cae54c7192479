//! Style and script of the pages.

/// The style.
pub(crate) const STYLE: &str = include_str!("../../assets/slides.css");
/// The script.
pub(crate) const SCRIPT: &str = include_str!("../../assets/slides.js");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn colours(style: &str) -> BTreeMap<&str, &str> {
        let lines = style.lines().filter_map(|line| line.trim().split_once(':'));
        let variables = lines.filter(|(name, _)| name.starts_with("--"));
        variables
            .map(|(name, value)| (name, value.trim()))
            .collect()
    }

    #[test]
    fn the_palette_is_the_classrooms() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../classroom/assets/style.css");
        let classroom = std::fs::read_to_string(path).unwrap();
        let (theirs, ours) = (colours(&classroom), colours(STYLE));
        for name in [
            "--page", "--card", "--line", "--ink", "--soft", "--done", "--here", "--bad", "--font",
            "--mono",
        ] {
            assert_eq!(ours[name], theirs[name], "{name}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for text in [STYLE, SCRIPT] {
            assert!(
                !text.contains("http:") && !text.contains("https:") && !text.contains("@import")
            );
        }
    }
}
