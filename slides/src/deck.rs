//! A deck as it is shown: every slide in both languages, rendered.

use lab_checks::language::Text;

/// Some slides about one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deck {
    /// Name of its folder, such as `05-releasing`; decks are ordered by it.
    pub folder: String,
    /// Its id, by which people refer to it.
    pub name: String,
    /// Title.
    pub title: Text,
    /// How long it is planned to take, in minutes.
    pub minutes: u16,
    /// Labs that belong to it, by name.
    pub labs: Vec<String>,
    /// Its slides, in order; at least one.
    pub slides: Vec<Slide>,
}

/// One slide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slide {
    /// Its id, unique in the deck, the same in every language; part of its address.
    pub id: String,
    /// How it is laid out.
    pub layout: Layout,
    /// How long it is planned to take, in seconds.
    pub seconds: u32,
    /// How many times one must go on before the next slide comes: items that appear one by one,
    /// and steps of highlighted lines. The same in every language.
    pub steps: u16,
    /// Its heading, as plain text.
    pub title: Text,
    /// What is seen, as HTML.
    pub html: Text,
    /// The speaker's notes, as HTML; may be empty.
    pub notes: Text,
}

/// How a slide is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Heading, and what is under it.
    #[default]
    Default,
    /// The first slide of a deck.
    Title,
    /// Two columns under a heading.
    TwoColumns,
    /// One sentence, large.
    Statement,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Self; 4] = [
        Self::Default,
        Self::Title,
        Self::TwoColumns,
        Self::Statement,
    ];

    /// Its name in a deck.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Title => "title",
            Self::TwoColumns => "two-columns",
            Self::Statement => "statement",
        }
    }

    /// The layout of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.name() == name)
    }
}

impl Deck {
    /// Spreads the minutes that slides do not plan themselves evenly over those that plan none.
    pub(crate) fn spread(&mut self, planned: &[Option<u32>]) {
        let taken: u32 = planned.iter().flatten().sum();
        let open = planned.iter().filter(|seconds| seconds.is_none()).count();
        let left = (u32::from(self.minutes) * 60).saturating_sub(taken);
        let share = left / u32::try_from(open.max(1)).unwrap_or(u32::MAX);
        for (slide, seconds) in self.slides.iter_mut().zip(planned) {
            slide.seconds = seconds.unwrap_or(share);
        }
    }

    /// The slide of this id.
    #[must_use]
    pub fn slide(&self, id: &str) -> Option<&Slide> {
        self.slides.iter().find(|slide| slide.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slides_do_not_plan_is_spread_over_them() {
        let mut deck = Deck {
            minutes: 10,
            slides: vec![Slide::default(), Slide::default(), Slide::default()],
            ..Deck::default()
        };
        deck.spread(&[None, Some(240), None]);
        let seconds: Vec<_> = deck.slides.iter().map(|slide| slide.seconds).collect();
        assert_eq!(seconds, [180, 240, 180]);
    }
}
