//! Message catalogs: an enum whose variants are sentences in every language.
//!
//! A sentence is a whole in each language, with named holes; nothing is glued together, because
//! grammar does not survive gluing. The compiler sees to it that a variant has all languages and
//! that every hole is a field.

/// Declares a catalog. Each line reads
/// `Variant "stable-id" { fields } en: "…", fr: "…", look: "command", named: field;`, where `look`
/// is optional, and so is `named`: the field that holds the id of what a lab words itself.
macro_rules! messages {
    ($(#[$doc:meta])* pub enum $name:ident { $(
        $variant:ident $id:literal { $($field:ident),* $(,)? }
        en: $en:literal, fr: $fr:literal $(, look: $look:literal)? $(, named: $named:ident)?;
    )* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $(
                #[doc = $en]
                $variant {
                    $(
                        #[doc = concat!("`", stringify!($field), "` of the sentence.")]
                        $field: String,
                    )*
                },
            )*
        }

        impl $name {
            /// The ids of all variants. They are stable: hints, saved results and tests refer
            /// to them.
            pub const IDS: &[&str] = &[$($id),*];

            /// The variant's stable id.
            #[must_use]
            pub fn id(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $id,)*
                }
            }

            /// The id under which it is known: that of the variant, or of what a lab words itself.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant { $($field),* } => {
                        $(let _ = $field;)*
                        messages!(@name $id $(, $named)?)
                    })*
                }
            }

            /// The sentence.
            #[must_use]
            pub fn text(&self, language: $crate::language::Language) -> String {
                match self {
                    $(Self::$variant { $($field),* } => {
                        // A language may do without a field that another one needs.
                        $(let _ = $field;)*
                        match language {
                            $crate::language::Language::En => format!($en),
                            $crate::language::Language::Fr => format!($fr),
                        }
                    })*
                }
            }

            /// A command that shows more, where there is one.
            #[must_use]
            pub fn look(&self) -> Option<String> {
                match self {
                    $(Self::$variant { $($field),* } => {
                        $(let _ = $field;)*
                        messages!(@look $($look)?)
                    })*
                }
            }

            /// One of each, every field holding its own name in angle brackets.
            #[allow(dead_code, reason = "of one catalog they are shown, of others only tested")]
            pub(crate) fn samples() -> Vec<Self> {
                vec![$(Self::$variant { $($field: concat!("<", stringify!($field), ">").to_owned()),* }),*]
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let mut fields = serializer.serialize_struct(stringify!($name), 4)?;
                fields.serialize_field("id", self.name())?;
                for language in $crate::language::Language::ALL {
                    fields.serialize_field(language.code(), &self.text(language))?;
                }
                match self.look() {
                    Some(look) => fields.serialize_field("look", &look)?,
                    None => fields.skip_field("look")?,
                }
                fields.end()
            }
        }
    };
    (@look) => { None };
    (@look $look:literal) => { Some(format!($look)).filter(|look| !look.is_empty()) };
    (@name $id:literal) => { $id };
    (@name $id:literal, $named:ident) => { $named.as_str() };
}
