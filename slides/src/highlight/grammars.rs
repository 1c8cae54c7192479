//! The languages that are coloured. To add one, add its line.

/// Whether words before a colon are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    No,
    BeforeColon,
}

/// What a language looks like.
#[derive(Debug)]
pub(crate) struct Grammar {
    /// What people write behind the fence.
    pub(crate) names: &'static [&'static str],
    /// What begins a comment to the end of the line.
    pub(crate) comments: &'static [&'static str],
    /// A comment begins only after a space.
    pub(crate) comment_after_space: bool,
    pub(crate) block_comment: Option<(&'static str, &'static str)>,
    pub(crate) quotes: &'static [&'static str],
    /// Quotes that may be closed on a later line.
    pub(crate) open_quotes: &'static [&'static str],
    /// A backslash works in single quotes, too.
    pub(crate) escapes: bool,
    pub(crate) keys: Keys,
    /// The first word is a command.
    pub(crate) commands: bool,
    /// The first word is a keyword in either case.
    pub(crate) instructions: bool,
    /// A word before a parenthesis is a function.
    pub(crate) calls: bool,
    /// `$NAME`
    pub(crate) variables: bool,
    /// `--flag`
    pub(crate) flags: bool,
    /// Letters of words beside letters, digits and `_`.
    pub(crate) letters: &'static str,
    pub(crate) keywords: &'static [&'static str],
}

const NOTHING: Grammar = Grammar {
    names: &[],
    comments: &["#"],
    comment_after_space: true,
    block_comment: None,
    quotes: &["\"", "'"],
    open_quotes: &[],
    escapes: true,
    keys: Keys::No,
    commands: false,
    instructions: false,
    calls: false,
    variables: false,
    flags: false,
    letters: "",
    keywords: &[],
};

/// Every language.
pub(crate) const GRAMMARS: &[Grammar] = &[
    Grammar {
        names: &["sh", "bash", "shell", "console", "zsh"],
        open_quotes: &["\"", "'"],
        escapes: false,
        commands: true,
        variables: true,
        flags: true,
        letters: "-./:@+~",
        keywords: &[
            "if", "then", "elif", "else", "fi", "for", "in", "do", "done", "while", "until",
            "case", "esac", "export", "set",
        ],
        ..NOTHING
    },
    Grammar {
        names: &["yaml", "yml"],
        keys: Keys::BeforeColon,
        letters: "-./",
        keywords: &["true", "false", "null"],
        ..NOTHING
    },
    Grammar {
        names: &["json"],
        comments: &[],
        quotes: &["\""],
        keys: Keys::BeforeColon,
        keywords: &["true", "false", "null"],
        ..NOTHING
    },
    Grammar {
        names: &["js", "javascript", "ts", "mjs"],
        comments: &["//"],
        comment_after_space: false,
        block_comment: Some(("/*", "*/")),
        quotes: &["\"", "'", "`"],
        open_quotes: &["`"],
        calls: true,
        letters: "$",
        keywords: &[
            "async",
            "await",
            "break",
            "case",
            "catch",
            "class",
            "const",
            "continue",
            "default",
            "delete",
            "else",
            "export",
            "extends",
            "false",
            "finally",
            "for",
            "from",
            "function",
            "if",
            "import",
            "in",
            "instanceof",
            "let",
            "new",
            "null",
            "of",
            "return",
            "switch",
            "this",
            "throw",
            "true",
            "try",
            "typeof",
            "undefined",
            "var",
            "while",
            "yield",
        ],
        ..NOTHING
    },
    Grammar {
        names: &["dockerfile", "docker"],
        instructions: true,
        variables: true,
        flags: true,
        letters: "-./:",
        keywords: &[
            "ADD",
            "ARG",
            "AS",
            "CMD",
            "COPY",
            "ENTRYPOINT",
            "ENV",
            "EXPOSE",
            "FROM",
            "HEALTHCHECK",
            "LABEL",
            "ONBUILD",
            "RUN",
            "SHELL",
            "STOPSIGNAL",
            "USER",
            "VOLUME",
            "WORKDIR",
        ],
        ..NOTHING
    },
    Grammar {
        names: &["promql"],
        quotes: &["\"", "'", "`"],
        calls: true,
        letters: ":",
        keywords: &[
            "and",
            "avg",
            "bool",
            "bottomk",
            "by",
            "count",
            "group_left",
            "group_right",
            "ignoring",
            "max",
            "min",
            "offset",
            "on",
            "or",
            "quantile",
            "sum",
            "topk",
            "unless",
            "without",
        ],
        ..NOTHING
    },
];
