//! The tree of a PromQL expression.

use regex::Regex;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored on both sides.
    Regex,
    /// `!~`
    NotRegex,
}

/// A condition on one label; a label that is not there is empty.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How its value is compared.
    pub kind: MatchKind,
    /// With what.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A condition.
    ///
    /// # Errors
    /// Where the value is to be a regular expression and is none.
    pub fn new(name: &str, kind: MatchKind, value: &str) -> Result<Self, String> {
        let regex = match kind {
            MatchKind::Equal | MatchKind::NotEqual => None,
            MatchKind::Regex | MatchKind::NotRegex => Some(anchored(value)?),
        };
        Ok(Self {
            name: name.to_owned(),
            kind,
            value: value.to_owned(),
            regex,
        })
    }

    /// True where the value fulfils the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let found = || {
            self.regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(value))
        };
        match self.kind {
            MatchKind::Equal => self.value == value,
            MatchKind::NotEqual => self.value != value,
            MatchKind::Regex => found(),
            MatchKind::NotRegex => !found(),
        }
    }

    /// The one value that fulfils the condition, where there is only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (self.kind == MatchKind::Equal).then_some(self.value.as_str())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.kind == other.kind && self.value == other.value
    }
}

/// Largest compiled size of a regular expression, in bytes: a query must not take the memory of
/// the cluster's control plane.
const REGEX_SIZE: usize = 1 << 20;

/// A regular expression that must match the whole text.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|error| format!("{pattern:?} is not a regular expression: {error}"))
}

/// `@`: the moment at which a selector looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A moment in milliseconds.
    Time(i64),
    /// The query's start.
    Start,
    /// The query's end.
    End,
}

/// Series by name and label.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Conditions, that on the name among them.
    pub matchers: Vec<Matcher>,
    /// How far back it looks, in milliseconds; negative for ahead.
    pub offset: i64,
    /// When it looks, if not at the moment of evaluation.
    pub at: Option<At>,
    /// Its number within the query.
    pub id: usize,
}

/// Types of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number.
    Scalar,
    /// A text.
    String,
    /// One sample per series.
    Vector,
    /// Several samples per series.
    Matrix,
}

impl Type {
    /// As Prometheus calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// Operators between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator of its name")]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    /// True for those that compare.
    #[must_use]
    pub fn compares(self) -> bool {
        match self {
            Self::Equal
            | Self::NotEqual
            | Self::Greater
            | Self::Less
            | Self::GreaterEqual
            | Self::LessEqual => true,
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::Div
            | Self::Mod
            | Self::Pow
            | Self::Atan2
            | Self::And
            | Self::Or
            | Self::Unless => false,
        }
    }

    /// True for those of sets.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// Which side has one series for several of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// Neither.
    OneToOne,
    /// `group_left`: several on the left.
    ManyToOne,
    /// `group_right`: several on the right.
    OneToMany,
}

/// How the series of two sides find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// True for `on`, false for `ignoring`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Which side has several.
    pub cardinality: Cardinality,
    /// Labels taken from the side that has one.
    pub include: Vec<String>,
}

impl Default for Matching {
    fn default() -> Self {
        Self {
            on: false,
            labels: Vec::new(),
            cardinality: Cardinality::OneToOne,
            include: Vec::new(),
        }
    }
}

/// Aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the aggregation of its name")]
pub enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
}

/// The labels that an aggregation keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// True for `without`.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The latest sample of every series that matches.
    Vector(Selector),
    /// The samples of a time, in milliseconds.
    Matrix(Selector, i64),
    /// An expression evaluated again and again over a time.
    Subquery {
        /// What is evaluated.
        expr: Box<Expr>,
        /// Over how long, in milliseconds.
        range: i64,
        /// How often, in milliseconds; the default step when absent.
        step: Option<i64>,
        /// How far back, in milliseconds.
        offset: i64,
        /// Until when.
        at: Option<At>,
    },
    /// A function's call.
    Call {
        /// Its name, one that is supported.
        function: &'static str,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// An aggregation.
    Aggregate {
        /// Which.
        op: Aggregation,
        /// Over what.
        expr: Box<Expr>,
        /// `k`, `φ` or a label's name.
        param: Option<Box<Expr>>,
        /// What is kept apart.
        grouping: Grouping,
    },
    /// Two sides.
    Binary {
        /// The operator.
        op: Operator,
        /// 0 and 1 in place of a filter.
        bool: bool,
        /// How the sides find each other.
        matching: Matching,
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<Expr>,
    },
    /// A minus sign.
    Negate(Box<Expr>),
    /// Parentheses, which some functions look through.
    Paren(Box<Expr>),
}

impl Expr {
    /// The expression without the parentheses around it.
    #[must_use]
    pub fn bare(&self) -> &Self {
        match self {
            Self::Paren(inner) => inner.bare(),
            other => other,
        }
    }
}
