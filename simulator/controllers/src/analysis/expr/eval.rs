//! From a tree and a result to a value.

use std::cmp::Ordering;

use regex::Regex;

use super::Problem;
use super::functions::{self, Fields, Function, size};
use super::syntax::{Kind, Node, Operator};
use super::value::Value;

/// Nodes that may be looked at, predicates once for each item, as expr-lang bounds its memory.
const STEPS_AT_MOST: usize = 1_000_000;
/// Items of a range.
const RANGE_AT_MOST: i64 = 100_000;

/// The value of a tree.
pub(super) fn evaluate(root: &Node, result: &Value) -> Result<Value, Problem> {
    let mut evaluation = Evaluation {
        result,
        items: Vec::new(),
        steps: 0,
    };
    evaluation.value(root).map_err(|stop| match stop {
        Stop::Problem(problem) => problem,
        // A chain catches what its own members send.
        Stop::Short => ("nothing to take a member of".to_owned(), root.at),
    })
}

/// Why an evaluation does not go on.
enum Stop {
    /// Something does not fit.
    Problem(Problem),
    /// An optional chain met nothing.
    Short,
}

struct Evaluation<'a> {
    result: &'a Value,
    /// What the enclosing predicates look at, the innermost last.
    items: Vec<Item>,
    steps: usize,
}

struct Item {
    value: Value,
    index: usize,
    accumulator: Value,
}

fn problem<T>(node: &Node, message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Problem((message.into(), node.at)))
}

impl Evaluation<'_> {
    fn value(&mut self, node: &Node) -> Result<Value, Stop> {
        self.steps += 1;
        if self.steps > STEPS_AT_MOST {
            return problem(node, "memory budget exceeded");
        }
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Result => Ok(self.result.clone()),
            Kind::Item => Ok(self.item(|item| item.value.clone())),
            Kind::Index => Ok(self.item(|item| Value::Int(size(item.index)))),
            Kind::Accumulator => Ok(self.item(|item| item.accumulator.clone())),
            Kind::List(items) => items
                .iter()
                .map(|item| self.value(item))
                .collect::<Result<_, _>>()
                .map(Value::List),
            Kind::Map(pairs) => self.map(pairs),
            Kind::Not(operand) => match self.value(operand)? {
                Value::Bool(flag) => Ok(Value::Bool(!flag)),
                other => problem(
                    node,
                    format!(
                        "invalid operation: ! (mismatched type {})",
                        other.type_name()
                    ),
                ),
            },
            Kind::Minus(operand) => match self.value(operand)? {
                Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
                Value::Float(number) => Ok(Value::Float(-number)),
                other => problem(
                    node,
                    format!(
                        "invalid operation: - (mismatched type {})",
                        other.type_name()
                    ),
                ),
            },
            Kind::Plus(operand) => match self.value(operand)? {
                number @ (Value::Int(_) | Value::Float(_)) => Ok(number),
                other => problem(
                    node,
                    format!(
                        "invalid operation: + (mismatched type {})",
                        other.type_name()
                    ),
                ),
            },
            Kind::Binary(operator, left, right) => self.binary(node, *operator, left, right),
            Kind::Choice(condition, then, otherwise) => {
                if self.condition(condition)? {
                    self.value(then)
                } else {
                    self.value(otherwise)
                }
            }
            Kind::Member {
                object,
                name,
                optional,
            } => {
                let object = self.value(object)?;
                if *optional && matches!(object, Value::Nil) {
                    return Err(Stop::Short);
                }
                let name = self.value(name)?;
                member(&object, &name).or_else(|message| problem(node, message))
            }
            Kind::Slice { object, from, to } => {
                let object = self.value(object)?;
                let from = self.bound(from.as_deref())?;
                let to = self.bound(to.as_deref())?;
                slice(&object, from, to).or_else(|message| problem(node, message))
            }
            Kind::Chain(inner) => match self.value(inner) {
                Err(Stop::Short) => Ok(Value::Nil),
                other => other,
            },
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
        }
    }

    /// What the innermost predicate looks at; the parser lets `#` stand nowhere else.
    fn item(&self, read: impl FnOnce(&Item) -> Value) -> Value {
        self.items.last().map_or(Value::Nil, read)
    }

    fn condition(&mut self, node: &Node) -> Result<bool, Stop> {
        match self.value(node)? {
            Value::Bool(flag) => Ok(flag),
            other => problem(
                node,
                format!("expected bool, but got {}", other.type_name()),
            ),
        }
    }

    fn bound(&mut self, node: Option<&Node>) -> Result<Option<i64>, Stop> {
        let Some(node) = node else { return Ok(None) };
        match self.value(node)? {
            Value::Int(number) => Ok(Some(number)),
            other => problem(
                node,
                format!("cannot use {} as a slice's end", other.type_name()),
            ),
        }
    }

    fn map(&mut self, pairs: &[(Node, Node)]) -> Result<Value, Stop> {
        let mut fields = Fields::new();
        for (key, value) in pairs {
            let key = self.value(key)?.to_string();
            fields.insert(key, self.value(value)?);
        }
        Ok(Value::Map(fields))
    }

    fn binary(
        &mut self,
        node: &Node,
        operator: Operator,
        left: &Node,
        right: &Node,
    ) -> Result<Value, Stop> {
        match operator {
            Operator::Or => {
                return Ok(Value::Bool(self.condition(left)? || self.condition(right)?));
            }
            Operator::And => {
                return Ok(Value::Bool(self.condition(left)? && self.condition(right)?));
            }
            Operator::Coalesce => {
                return match self.value(left)? {
                    Value::Nil => self.value(right),
                    value => Ok(value),
                };
            }
            _ => {}
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        apply(operator, &left, &right).or_else(|message| problem(node, message))
    }

    fn call(&mut self, node: &Node, function: Function, nodes: &[Node]) -> Result<Value, Stop> {
        if function.takes_predicate() && nodes.len() > 1 {
            return self.over_items(node, function, nodes);
        }
        let arguments = nodes
            .iter()
            .map(|argument| self.value(argument))
            .collect::<Result<Vec<_>, _>>()?;
        match functions::call(function, &arguments) {
            Some(answer) => answer.or_else(|message| problem(node, message)),
            None => problem(node, "not enough arguments"),
        }
    }

    /// The functions that evaluate a predicate for each item.
    fn over_items(
        &mut self,
        node: &Node,
        function: Function,
        nodes: &[Node],
    ) -> Result<Value, Stop> {
        let items = match self.value(&nodes[0])? {
            Value::List(items) => items,
            other => {
                return problem(node, format!("cannot iterate over {}", other.type_name()));
            }
        };
        let predicate = &nodes[1];
        if function == Function::Reduce {
            return self.reduce(items, predicate, nodes.get(2), node);
        }
        let mut matching = Vec::new();
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let value = self.with_item(item.clone(), index, Value::Nil, predicate)?;
            match (function, value) {
                (Function::Map | Function::Sum, value) => values.push(value),
                (Function::All, Value::Bool(false)) => return Ok(Value::Bool(false)),
                (Function::Any, Value::Bool(true)) => return Ok(Value::Bool(true)),
                (Function::None, Value::Bool(true)) => return Ok(Value::Bool(false)),
                (Function::Find, Value::Bool(true)) => return Ok(item.clone()),
                (Function::FindIndex, Value::Bool(true)) => return Ok(Value::Int(size(index))),
                (_, Value::Bool(true)) => matching.push(index),
                (_, Value::Bool(false)) => {}
                (_, other) => {
                    return problem(
                        predicate,
                        format!("predicate should return bool (got {})", other.type_name()),
                    );
                }
            }
        }
        Ok(match function {
            Function::All | Function::None => Value::Bool(true),
            Function::Any => Value::Bool(false),
            Function::One => Value::Bool(matching.len() == 1),
            Function::Count => Value::Int(size(matching.len())),
            Function::Map => Value::List(values),
            Function::Sum => {
                return match functions::call(Function::Sum, &[Value::List(values)]) {
                    Some(sum) => sum.or_else(|message| problem(node, message)),
                    None => Ok(Value::Int(0)),
                };
            }
            Function::Filter => Value::List(
                matching
                    .into_iter()
                    .map(|index| items[index].clone())
                    .collect(),
            ),
            Function::FindLast => matching
                .last()
                .map_or(Value::Nil, |&index| items[index].clone()),
            Function::FindLastIndex => matching
                .last()
                .map_or(Value::Int(-1), |&index| Value::Int(size(index))),
            Function::FindIndex => Value::Int(-1),
            _ => Value::Nil,
        })
    }

    fn reduce(
        &mut self,
        items: Vec<Value>,
        predicate: &Node,
        initial: Option<&Node>,
        node: &Node,
    ) -> Result<Value, Stop> {
        let mut items = items.into_iter().enumerate();
        let mut accumulator = match initial {
            Some(initial) => self.value(initial)?,
            None => match items.next() {
                Some((_, first)) => first,
                None => return problem(node, "reduce of empty array with no initial value"),
            },
        };
        for (index, item) in items {
            accumulator = self.with_item(item, index, accumulator, predicate)?;
        }
        Ok(accumulator)
    }

    fn with_item(
        &mut self,
        value: Value,
        index: usize,
        accumulator: Value,
        predicate: &Node,
    ) -> Result<Value, Stop> {
        self.items.push(Item {
            value,
            index,
            accumulator,
        });
        let answer = self.value(predicate);
        self.items.pop();
        answer
    }
}

fn member(object: &Value, name: &Value) -> Result<Value, String> {
    match (object, name) {
        (Value::Map(fields), Value::Text(key)) => {
            Ok(fields.get(key).cloned().unwrap_or(Value::Nil))
        }
        (Value::List(items), Value::Int(index)) => at(items, *index),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an index that came out of JSON; the part after the point is dropped"
        )]
        (Value::List(items), Value::Float(index)) => at(items, *index as i64),
        (Value::Nil, name) => Err(format!("cannot fetch {name} from <nil>")),
        (object, name) => Err(format!("cannot fetch {name} from {}", object.type_name())),
    }
}

/// The item at an index; a negative one counts from the end.
fn at(items: &[Value], index: i64) -> Result<Value, String> {
    let length = size(items.len());
    let from_start = if index < 0 { length + index } else { index };
    usize::try_from(from_start)
        .ok()
        .and_then(|index| items.get(index))
        .cloned()
        .ok_or_else(|| format!("index out of range: {index} (array length is {length})"))
}

fn slice(object: &Value, from: Option<i64>, to: Option<i64>) -> Result<Value, String> {
    let cut = |length: usize| {
        let length = size(length);
        let place = |bound: i64| {
            let bound = if bound < 0 { length + bound } else { bound };
            usize::try_from(bound.clamp(0, length)).unwrap_or(0)
        };
        let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
        from.min(to)..to
    };
    match object {
        Value::List(items) => Ok(Value::List(items[cut(items.len())].to_vec())),
        Value::Text(text) => {
            let chars: Vec<char> = text.chars().collect();
            Ok(Value::Text(chars[cut(chars.len())].iter().collect()))
        }
        other => Err(format!("cannot slice {}", other.type_name())),
    }
}

fn apply(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let mismatch = || {
        Err(format!(
            "invalid operation: {} (mismatched types {} and {})",
            operator.spelling(),
            left.type_name(),
            right.type_name()
        ))
    };
    let compare = |holds: fn(Ordering) -> bool| match left.order(right) {
        Some(order) => Ok(Value::Bool(order.is_some_and(holds))),
        None => mismatch(),
    };
    match operator {
        Operator::Equal => Ok(Value::Bool(left.equals(right))),
        Operator::NotEqual => Ok(Value::Bool(!left.equals(right))),
        Operator::Less => compare(Ordering::is_lt),
        Operator::LessOrEqual => compare(Ordering::is_le),
        Operator::Greater => compare(Ordering::is_gt),
        Operator::GreaterOrEqual => compare(Ordering::is_ge),
        Operator::In => match right {
            Value::List(items) => Ok(Value::Bool(items.iter().any(|item| item.equals(left)))),
            Value::Map(fields) => Ok(Value::Bool(
                matches!(left, Value::Text(key) if fields.contains_key(key)),
            )),
            Value::Nil => Ok(Value::Bool(false)),
            _ => mismatch(),
        },
        Operator::Matches | Operator::Contains | Operator::StartsWith | Operator::EndsWith => {
            match (left, right) {
                (Value::Text(text), Value::Text(part)) => text_test(operator, text, part),
                _ => mismatch(),
            }
        }
        Operator::Range => match (left, right) {
            (Value::Int(from), Value::Int(to)) => range(*from, *to),
            _ => mismatch(),
        },
        Operator::Add => match (left, right) {
            (Value::Text(one), Value::Text(other)) => Ok(Value::Text(format!("{one}{other}"))),
            _ => arithmetic(left, right, i64::wrapping_add, |a, b| a + b).map_or_else(mismatch, Ok),
        },
        Operator::Subtract => {
            arithmetic(left, right, i64::wrapping_sub, |a, b| a - b).map_or_else(mismatch, Ok)
        }
        Operator::Multiply => {
            arithmetic(left, right, i64::wrapping_mul, |a, b| a * b).map_or_else(mismatch, Ok)
        }
        Operator::Divide => match (left.number(), right.number()) {
            (Some(a), Some(b)) => Ok(Value::Float(a / b)),
            _ => mismatch(),
        },
        Operator::Modulo => match (left, right) {
            (Value::Int(_), Value::Int(0)) => Err("integer divide by zero".to_owned()),
            (Value::Int(a), Value::Int(b)) => Ok(Value::Int(a.wrapping_rem(*b))),
            _ => mismatch(),
        },
        Operator::Power => match (left.number(), right.number()) {
            (Some(a), Some(b)) => Ok(Value::Float(a.powf(b))),
            _ => mismatch(),
        },
        // These evaluate their right side only where they must, before they come here.
        Operator::Or | Operator::And | Operator::Coalesce => mismatch(),
    }
}

fn text_test(operator: Operator, text: &str, part: &str) -> Result<Value, String> {
    Ok(Value::Bool(match operator {
        Operator::Contains => text.contains(part),
        Operator::StartsWith => text.starts_with(part),
        Operator::EndsWith => text.ends_with(part),
        _ => Regex::new(part)
            .map_err(|_| format!("error parsing regexp: {part:?}"))?
            .is_match(text),
    }))
}

fn range(from: i64, to: i64) -> Result<Value, String> {
    if to.saturating_sub(from) >= RANGE_AT_MOST {
        return Err("memory budget exceeded".to_owned());
    }
    Ok(Value::List((from..=to).map(Value::Int).collect()))
}

/// Two whole numbers give a whole number; any other two numbers, one with a point.
fn arithmetic(
    left: &Value,
    right: &Value,
    whole: fn(i64, i64) -> i64,
    float: fn(f64, f64) -> f64,
) -> Option<Value> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(Value::Int(whole(*a, *b))),
        _ => Some(Value::Float(float(left.number()?, right.number()?))),
    }
}
