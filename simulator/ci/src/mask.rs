//! Values that nobody may read: they are replaced in all that is shown and kept.

/// What stands in their place.
const STARS: &str = "***";

/// The values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks(Vec<String>);

impl Masks {
    /// Hides a value from now on; of one with several lines, every line.
    pub(crate) fn add(&mut self, value: &str) {
        for line in value.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if !self.0.iter().any(|known| known == line) {
                self.0.push(line.to_owned());
            }
        }
        // One value may be the beginning of another, which would then show its rest.
        self.0.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    /// A text without the values.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in self.0.iter().filter(|value| !value.is_empty()) {
            if text.contains(value) {
                text = text.replace(value, STARS);
            }
        }
        text
    }

    /// True where a text holds one of them.
    pub(crate) fn hides(&self, text: &str) -> bool {
        self.0.iter().any(|value| text.contains(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_shows_and_no_rest_of_a_longer_one() {
        let mut masks = Masks::default();
        masks.add("pass");
        masks.add("password1");
        masks.add("line one\n  line two\n\n");
        masks.add("");
        assert_eq!(masks.apply("password1 and pass"), "*** and ***");
        assert_eq!(masks.apply("x line two y"), "x *** y");
        assert_eq!(masks.apply("nothing here"), "nothing here");
        assert!(masks.hides("my password1!") && !masks.hides("word"));
    }
}
