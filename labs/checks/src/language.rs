//! The languages that every learner-facing text exists in.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A language of the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::En, Self::Fr];

    /// Its code, as in `--lang` and in file names.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// Reads `fr`, `fr_FR.UTF-8`, `en-GB`; none where the language is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code = text
            .split(['_', '-', '.', '@'])
            .next()?
            .to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|language| language.code() == code)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// A text in every language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}

impl Text {
    /// In one language.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Fr => &self.fr,
        }
    }

    /// In one language, to be written.
    pub fn get_mut(&mut self, language: Language) -> &mut String {
        match language {
            Language::En => &mut self.en,
            Language::Fr => &mut self.fr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_a_language() {
        for (text, expected) in [
            ("fr", Some(Language::Fr)),
            ("fr_FR.UTF-8", Some(Language::Fr)),
            ("FR-ca", Some(Language::Fr)),
            ("en_GB", Some(Language::En)),
            ("C.UTF-8", None),
            ("de_DE", None),
            ("", None),
        ] {
            assert_eq!(Language::parse(text), expected, "{text}");
        }
    }
}
