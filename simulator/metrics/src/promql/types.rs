//! Which type an expression has, and what may not be combined.

use super::ast::{Cardinality, Expr, Matching, Operator, Type};
use super::functions;

impl Expr {
    /// Its type.
    #[must_use]
    pub fn type_of(&self) -> Type {
        match self {
            Self::Number(_) => Type::Scalar,
            Self::Text(_) => Type::String,
            Self::Vector(_) | Self::Aggregate { .. } => Type::Vector,
            Self::Matrix(..) | Self::Subquery { .. } => Type::Matrix,
            Self::Call { function, .. } => {
                functions::find(function)
                    .expect("the parser takes known functions only")
                    .returns
            }
            Self::Binary { left, right, .. } => {
                let scalars = left.type_of() == Type::Scalar && right.type_of() == Type::Scalar;
                if scalars { Type::Scalar } else { Type::Vector }
            }
            Self::Negate(inner) | Self::Paren(inner) => inner.type_of(),
        }
    }
}

/// What is wrong with two sides, if anything.
pub(super) fn check_binary(
    op: Operator,
    with_bool: bool,
    matching: Option<&Matching>,
    sides: (Type, Type),
) -> Result<(), String> {
    let (left, right) = sides;
    for side in [left, right] {
        if !matches!(side, Type::Scalar | Type::Vector) {
            return Err(format!(
                "binary expression must contain only scalar and instant vector types, not {}",
                side.as_str()
            ));
        }
    }
    if with_bool && !op.compares() {
        return Err("bool modifier can only be used on comparison operators".to_owned());
    }
    let scalars = left == Type::Scalar && right == Type::Scalar;
    if op.compares() && !with_bool && scalars {
        return Err("comparisons between scalars must use BOOL modifier".to_owned());
    }
    let vectors = left == Type::Vector && right == Type::Vector;
    if op.is_set() && !vectors {
        return Err("set operator not allowed in binary scalar expression".to_owned());
    }
    let Some(matching) = matching else {
        return Ok(());
    };
    if !vectors {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    if op.is_set() && matching.cardinality != Cardinality::OneToOne {
        return Err("no grouping allowed for a set operation".to_owned());
    }
    let twice = matching
        .include
        .iter()
        .find(|name| matching.on && matching.labels.contains(name));
    match twice {
        Some(name) => Err(format!(
            "label {name:?} must not occur in ON and GROUP clause at once"
        )),
        None => Ok(()),
    }
}
