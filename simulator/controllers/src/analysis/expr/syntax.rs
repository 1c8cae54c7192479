//! The syntax tree.

use super::functions::Function;
use super::value::Value;

/// A part of an expression and the byte offset at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub at: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A value as written.
    Literal(Value),
    /// The variable `result`.
    Result,
    /// `#`: the item that a predicate looks at.
    Item,
    /// `#index`: its place in the list.
    Index,
    /// `#acc`: what `reduce` has so far.
    Accumulator,
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{a: b}`.
    Map(Vec<(Node, Node)>),
    /// `not a`.
    Not(Box<Node>),
    /// `-a`.
    Minus(Box<Node>),
    /// `+a`.
    Plus(Box<Node>),
    /// `a + b`.
    Binary(Operator, Box<Node>, Box<Node>),
    /// `a ? b : c`.
    Choice(Box<Node>, Box<Node>, Box<Node>),
    /// `a.b` and `a[b]`; with `?.`, nothing where `a` is nothing.
    Member {
        /// Of what.
        object: Box<Node>,
        /// Name or index.
        name: Box<Node>,
        /// True for `?.`.
        optional: bool,
    },
    /// `a[b:c]`.
    Slice {
        /// Of what.
        object: Box<Node>,
        /// First; 0 by default.
        from: Option<Box<Node>>,
        /// Beyond the last; the length by default.
        to: Option<Box<Node>>,
    },
    /// A chain of members with a `?.` in it: nothing, as soon as one is nothing.
    Chain(Box<Node>),
    /// `f(a, b)`.
    Call(Function, Vec<Node>),
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `or`, `||`.
    Or,
    /// `and`, `&&`.
    And,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `in`.
    In,
    /// `matches`.
    Matches,
    /// `contains`.
    Contains,
    /// `startsWith`.
    StartsWith,
    /// `endsWith`.
    EndsWith,
    /// `..`.
    Range,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Modulo,
    /// `**`, `^`.
    Power,
    /// `??`.
    Coalesce,
}

/// How tightly `not` binds.
pub(super) const NOT: u16 = 50;
/// How tightly a sign binds.
pub(super) const SIGN: u16 = 90;

impl Operator {
    /// The operator of this spelling, and how tightly it binds.
    pub(super) fn of(spelling: &str) -> Option<(Self, u16)> {
        Some(match spelling {
            "or" | "||" => (Self::Or, 10),
            "and" | "&&" => (Self::And, 15),
            "==" => (Self::Equal, 20),
            "!=" => (Self::NotEqual, 20),
            "<" => (Self::Less, 20),
            "<=" => (Self::LessOrEqual, 20),
            ">" => (Self::Greater, 20),
            ">=" => (Self::GreaterOrEqual, 20),
            "in" => (Self::In, 20),
            "matches" => (Self::Matches, 20),
            "contains" => (Self::Contains, 20),
            "startsWith" => (Self::StartsWith, 20),
            "endsWith" => (Self::EndsWith, 20),
            ".." => (Self::Range, 25),
            "+" => (Self::Add, 30),
            "-" => (Self::Subtract, 30),
            "*" => (Self::Multiply, 60),
            "/" => (Self::Divide, 60),
            "%" => (Self::Modulo, 60),
            "**" | "^" => (Self::Power, 100),
            "??" => (Self::Coalesce, 500),
            _ => return None,
        })
    }

    /// True where `not` may stand before it: `not in`, `not contains`.
    pub(super) fn can_be_negated(self) -> bool {
        matches!(
            self,
            Self::In | Self::Matches | Self::Contains | Self::StartsWith | Self::EndsWith
        )
    }

    /// The usual spelling.
    pub(super) fn spelling(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::Coalesce => "??",
        }
    }
}
