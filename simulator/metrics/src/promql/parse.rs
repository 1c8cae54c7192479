//! From words to the tree: recursive descent, with precedence climbing for the operators.

use super::ast::{
    Aggregation, At, Cardinality, Expr, Grouping, MatchKind, Matcher, Matching, Operator, Selector,
    Type,
};
use super::functions::{self, REPEATED};
use super::lex::{Placed, Token, lex};
use super::types::check_binary;
use crate::labels::{NAME, is_label_name};

/// Longest query, in bytes.
const LONGEST: usize = 32 << 10;
/// Deepest nesting: the tree is walked by recursion, on a thread's stack.
const DEEPEST: usize = 64;

/// Why a text is no PromQL, and where: `1:5: parse error: unexpected ")"`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads an expression.
///
/// # Errors
/// Where it is none, or uses what is not supported; with the place.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    whole(text, Parser::expression)
}

/// Reads a series selector, as `match[]` carries it.
///
/// # Errors
/// Where it is none.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    whole(text, |parser| match parser.selector()? {
        Expr::Vector(selector) => Ok(selector.matchers),
        _ => parser.refuse("expected a series selector"),
    })
}

fn whole<T>(
    text: &str,
    read: impl FnOnce(&mut Parser) -> Result<T, Problem>,
) -> Result<T, ParseError> {
    let place = |(at, problem): Problem| {
        let before = &text[..at.min(text.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            problem,
        }
    };
    if text.len() > LONGEST {
        return Err(place((
            0,
            format!("the query is longer than {LONGEST} bytes"),
        )));
    }
    let mut parser = Parser {
        tokens: lex(text).map_err(place)?,
        next: 0,
        selectors: 0,
        depth: 0,
    };
    if parser.peek() == &Token::End {
        return Err(place((0, "no expression found in input".to_owned())));
    }
    let read = read(&mut parser).map_err(place)?;
    match parser.peek() {
        Token::End => Ok(read),
        other => {
            let problem = format!("unexpected {}", other.describe());
            Err(place((parser.place(), problem)))
        }
    }
}

/// Where, in bytes, and what.
type Problem = (usize, String);
type Parsed<T> = Result<T, Problem>;

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    selectors: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn after(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.next + 1).min(last)].0
    }

    fn place(&self) -> usize {
        self.tokens[self.next].1
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if there {
            self.take();
        }
        there
    }

    fn expect(&mut self, sign: &str, context: &str) -> Parsed<()> {
        if self.takes(sign) {
            return Ok(());
        }
        let found = self.peek().describe();
        self.refuse(format!(
            "unexpected {found} in {context}, expected {sign:?}"
        ))
    }

    fn refuse<T>(&self, problem: impl Into<String>) -> Parsed<T> {
        Err((self.place(), problem.into()))
    }

    /// The next word in lower case, as keywords are compared.
    fn keyword(&self) -> Option<String> {
        match self.peek() {
            Token::Word(word) => Some(word.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        let there = self.keyword().is_some_and(|word| word == wanted);
        if there {
            self.take();
        }
        there
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.binary(0)
    }

    fn binary(&mut self, least: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.refuse("the query is nested too deeply");
        }
        let begin = self.place();
        let mut left = self.unary()?;
        while let Some((op, strength)) = self.operator().filter(|(_, s)| *s >= least) {
            let at = self.place();
            self.take();
            let with_bool = self.takes_word("bool");
            let matching = self.matching()?;
            // `^` binds to the right.
            let right = self.binary(if op == Operator::Pow {
                strength
            } else {
                strength + 1
            })?;
            let sides = (left.type_of(), right.type_of());
            check_binary(op, with_bool, matching.as_ref(), sides)
                .map_err(|problem| (if op.compares() { at } else { begin }, problem))?;
            left = Expr::Binary {
                op,
                bool: with_bool,
                matching: matching.unwrap_or_default(),
                left: Box::new(left),
                right: Box::new(right),
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        let sign = match self.peek() {
            Token::Sign(sign) => (*sign).to_owned(),
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => return None,
        };
        Some(match sign.as_str() {
            "or" => (Operator::Or, 1),
            "and" => (Operator::And, 2),
            "unless" => (Operator::Unless, 2),
            "==" => (Operator::Equal, 3),
            "!=" => (Operator::NotEqual, 3),
            ">" => (Operator::Greater, 3),
            "<" => (Operator::Less, 3),
            ">=" => (Operator::GreaterEqual, 3),
            "<=" => (Operator::LessEqual, 3),
            "+" => (Operator::Add, 4),
            "-" => (Operator::Sub, 4),
            "*" => (Operator::Mul, 5),
            "/" => (Operator::Div, 5),
            "%" => (Operator::Mod, 5),
            "atan2" => (Operator::Atan2, 5),
            "^" => (Operator::Pow, 6),
            _ => return None,
        })
    }

    fn matching(&mut self) -> Parsed<Option<Matching>> {
        let on = match self.keyword().as_deref() {
            Some("on") => true,
            Some("ignoring") => false,
            Some("group_left" | "group_right") => {
                return self.refuse("grouping needs on(…) or ignoring(…) before it");
            }
            _ => return Ok(None),
        };
        self.take();
        let labels = self.label_list()?;
        let cardinality = match self.keyword().as_deref() {
            Some("group_left") => Cardinality::ManyToOne,
            Some("group_right") => Cardinality::OneToMany,
            _ => Cardinality::OneToOne,
        };
        let mut include = Vec::new();
        if cardinality != Cardinality::OneToOne {
            self.take();
            if self.peek() == &Token::Sign("(") {
                include = self.label_list()?;
            }
        }
        Ok(Some(Matching {
            on,
            labels,
            cardinality,
            include,
        }))
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        self.expect("(", "grouping opts")?;
        let mut labels = Vec::new();
        while !self.takes(")") {
            match self.peek().clone() {
                Token::Word(word) if is_label_name(&word) => labels.push(word),
                other => {
                    let found = other.describe();
                    return self.refuse(format!(
                        "unexpected {found} in grouping opts, expected label"
                    ));
                }
            }
            self.take();
            if !self.takes(",") && self.peek() != &Token::Sign(")") {
                let found = self.peek().describe();
                return self.refuse(format!(
                    "unexpected {found} in grouping opts, expected \",\" or \")\""
                ));
            }
        }
        Ok(labels)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let minus = self.peek() == &Token::Sign("-");
        if !minus && self.peek() != &Token::Sign("+") {
            return self.postfix();
        }
        self.take();
        // Weaker than `^`, as strong as `*`.
        let inner = self.binary(6)?;
        match (inner.type_of(), minus) {
            (Type::Scalar | Type::Vector, false) => Ok(inner),
            (Type::Scalar | Type::Vector, true) => Ok(match inner {
                Expr::Number(number) => Expr::Number(-number),
                inner => Expr::Negate(Box::new(inner)),
            }),
            (other, _) => Err((
                at,
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                    other.as_str()
                ),
            )),
        }
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            let at = self.place();
            if self.takes("[") {
                expr = self.range(expr, at)?;
            } else if self.takes_word("offset") {
                let offset = self.offset()?;
                let place = offset_of(&mut expr).ok_or_else(|| {
                    (at, "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery".to_owned())
                })?;
                if *place.0 != 0 {
                    return Err((at, "offset may not be set multiple times".to_owned()));
                }
                *place.0 = offset;
            } else if self.takes("@") {
                let moment = self.moment()?;
                let place = offset_of(&mut expr).ok_or_else(|| {
                    (at, "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery".to_owned())
                })?;
                if place.1.is_some() {
                    return Err((at, "@ <timestamp> may not be set multiple times".to_owned()));
                }
                *place.1 = Some(moment);
            } else {
                return Ok(expr);
            }
        }
    }

    /// What follows `[`.
    fn range(&mut self, expr: Expr, at: usize) -> Parsed<Expr> {
        let range = self.duration("range")?;
        if range == 0 {
            return Err((at, "duration must be greater than 0".to_owned()));
        }
        if self.takes(":") {
            let step = match self.peek() {
                Token::Sign("]") => None,
                _ => Some(self.duration("subquery step")?).filter(|step| *step > 0),
            };
            self.expect("]", "subquery selector")?;
            if expr.type_of() != Type::Vector && expr.type_of() != Type::Scalar {
                let found = expr.type_of().as_str();
                return Err((
                    at,
                    format!("subquery is only allowed on instant vector, got {found} instead"),
                ));
            }
            return Ok(Expr::Subquery {
                expr: Box::new(expr),
                range,
                step,
                offset: 0,
                at: None,
            });
        }
        self.expect("]", "range")?;
        match expr {
            Expr::Vector(selector) if selector.offset == 0 && selector.at.is_none() => {
                Ok(Expr::Matrix(selector, range))
            }
            Expr::Vector(_) => Err((
                at,
                "no offset or @ modifiers allowed before range".to_owned(),
            )),
            _ => Err((at, "ranges only allowed for vector selectors".to_owned())),
        }
    }

    fn duration(&mut self, context: &str) -> Parsed<i64> {
        match *self.peek() {
            Token::Duration(ms) => {
                self.take();
                Ok(ms)
            }
            ref other => {
                let found = other.describe();
                self.refuse(format!(
                    "unexpected {found} in {context}, expected duration"
                ))
            }
        }
    }

    fn offset(&mut self) -> Parsed<i64> {
        let negative = self.takes("-");
        if !negative {
            self.takes("+");
        }
        let offset = self.duration("offset")?;
        Ok(if negative { -offset } else { offset })
    }

    fn moment(&mut self) -> Parsed<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.takes_word(word) {
                self.expect("(", "@")?;
                self.expect(")", "@")?;
                return Ok(at);
            }
        }
        let negative = self.takes("-");
        match *self.peek() {
            Token::Number(seconds) if seconds.is_finite() && seconds.abs() < 1e15 => {
                self.take();
                let ms = (seconds * 1000.0).round();
                #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
                let ms = ms as i64;
                Ok(At::Time(if negative { -ms } else { ms }))
            }
            ref other => {
                let found = other.describe();
                self.refuse(format!("unexpected {found} in @, expected timestamp"))
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                Ok(Expr::Number(number))
            }
            Token::Text(text) => {
                self.take();
                Ok(Expr::Text(text))
            }
            Token::Sign("(") => {
                self.take();
                let inner = self.expression()?;
                self.expect(")", "parentheses")?;
                Ok(Expr::Paren(Box::new(inner)))
            }
            Token::Sign("{") => self.selector(),
            Token::Word(word) => self.named(&word),
            other => {
                let found = other.describe();
                self.refuse(format!("unexpected {found}"))
            }
        }
    }

    /// A call, an aggregation, or a selector.
    fn named(&mut self, word: &str) -> Parsed<Expr> {
        let opens = self.after() == &Token::Sign("(");
        let groups = matches!(self.after(), Token::Word(next)
            if ["by", "without"].contains(&next.to_ascii_lowercase().as_str()));
        match aggregation(&word.to_ascii_lowercase()) {
            Some(op) if opens || groups => return self.aggregate(op),
            _ => {}
        }
        if ["limitk", "limit_ratio"].contains(&word) && (opens || groups) {
            return self.refuse(format!("PromQL aggregation {word} is not supported here"));
        }
        if opens {
            return self.call(word);
        }
        self.selector()
    }

    fn aggregate(&mut self, op: Aggregation) -> Parsed<Expr> {
        let at = self.place();
        self.take();
        let before = self.grouping()?;
        let mut args = self.args()?;
        let grouping = match before {
            Some(before) => before,
            None => self.grouping()?.unwrap_or(Grouping {
                without: false,
                labels: Vec::new(),
            }),
        };
        let param_type = match op {
            Aggregation::Topk | Aggregation::Bottomk | Aggregation::Quantile => Some(Type::Scalar),
            Aggregation::CountValues => Some(Type::String),
            _ => None,
        };
        let wanted = 1 + usize::from(param_type.is_some());
        if args.len() != wanted {
            let given = args.len();
            return Err((
                at,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
                ),
            ));
        }
        let (expr, place) = args.pop().expect("counted");
        let param = args.pop();
        must_be(&expr, Type::Vector, "aggregation expression", place)?;
        if let (Some((param, place)), Some(wanted)) = (&param, param_type) {
            must_be(param, wanted, "aggregation parameter", *place)?;
        }
        if let (Aggregation::CountValues, Some((Expr::Text(label), place))) = (op, &param)
            && !is_label_name(label)
        {
            return Err((*place, format!("invalid label name {label:?}")));
        }
        Ok(Expr::Aggregate {
            op,
            expr: Box::new(expr),
            param: param.map(|(param, _)| Box::new(param)),
            grouping,
        })
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = match self.keyword().as_deref() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.take();
        let labels = self.label_list()?;
        Ok(Some(Grouping { without, labels }))
    }

    fn args(&mut self) -> Parsed<Vec<(Expr, usize)>> {
        self.expect("(", "arguments")?;
        let mut args = Vec::new();
        if self.takes(")") {
            return Ok(args);
        }
        loop {
            let at = self.place();
            args.push((self.expression()?, at));
            if self.takes(")") {
                return Ok(args);
            }
            if !self.takes(",") {
                let found = self.peek().describe();
                return self.refuse(match self.peek() {
                    Token::End => "unclosed left parenthesis".to_owned(),
                    _ => format!("unexpected {found} in arguments, expected \",\" or \")\""),
                });
            }
        }
    }

    fn call(&mut self, name: &str) -> Parsed<Expr> {
        let at = self.place();
        let function = functions::find(name).map_err(|problem| (at, problem))?;
        self.take();
        let args = self.args()?;
        let most = function.args.len();
        let repeated = function.optional == REPEATED;
        let least = if repeated {
            most - 1
        } else {
            most - function.optional
        };
        let given = args.len();
        if given < least || (given > most && !repeated) {
            let wanted = match (repeated, least == most) {
                (true, _) => format!("at least {least}"),
                (false, true) => format!("{most}"),
                (false, false) => format!("{least} to {most}"),
            };
            return Err((
                at,
                format!("expected {wanted} argument(s) in call to {name:?}, got {given}"),
            ));
        }
        for (index, (arg, place)) in args.iter().enumerate() {
            let wanted = function.args[index.min(most - 1)];
            must_be(arg, wanted, &format!("call to function {name:?}"), *place)?;
        }
        Ok(Expr::Call {
            function: function.name,
            args: args.into_iter().map(|(arg, _)| arg).collect(),
        })
    }

    fn selector(&mut self) -> Parsed<Expr> {
        let at = self.place();
        let mut matchers = Vec::new();
        if let Token::Word(name) = self.peek().clone() {
            self.take();
            let matcher = Matcher::new(NAME, MatchKind::Equal, &name).expect("it is no regex");
            matchers.push(matcher);
        }
        if self.takes("{") {
            while !self.takes("}") {
                let matcher = self.matcher()?;
                if matcher.name == NAME
                    && matchers.first().is_some_and(|m| m.name == NAME)
                    && matcher.kind == MatchKind::Equal
                {
                    return Err((
                        at,
                        format!(
                            "metric name must not be set twice: {:?} or {:?}",
                            matchers[0].value, matcher.value
                        ),
                    ));
                }
                matchers.push(matcher);
                if !self.takes(",") && self.peek() != &Token::Sign("}") {
                    let found = self.peek().describe();
                    return self.refuse(format!(
                        "unexpected {found} in label matching, expected \",\" or \"}}\""
                    ));
                }
            }
        }
        if matchers.is_empty() || matchers.iter().all(|matcher| matcher.matches("")) {
            return Err((
                at,
                "vector selector must contain at least one non-empty matcher".to_owned(),
            ));
        }
        let id = self.selectors;
        self.selectors += 1;
        Ok(Expr::Vector(Selector {
            matchers,
            offset: 0,
            at: None,
            id,
        }))
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let at = self.place();
        let name = match self.take() {
            Token::Word(name) if is_label_name(&name) => name,
            other => {
                let found = other.describe();
                return Err((
                    at,
                    format!("unexpected {found} in label matching, expected identifier or \"}}\""),
                ));
            }
        };
        let sign = self.place();
        let kind = match self.take() {
            Token::Sign("=") => MatchKind::Equal,
            Token::Sign("!=") => MatchKind::NotEqual,
            Token::Sign("=~") => MatchKind::Regex,
            Token::Sign("!~") => MatchKind::NotRegex,
            other => {
                let found = other.describe();
                return Err((
                    sign,
                    format!(
                        "unexpected {found} in label matching, expected label matching operator"
                    ),
                ));
            }
        };
        let place = self.place();
        match self.take() {
            Token::Text(value) => {
                Matcher::new(&name, kind, &value).map_err(|problem| (place, problem))
            }
            other => {
                let found = other.describe();
                Err((
                    place,
                    format!("unexpected {found} in label matching, expected string"),
                ))
            }
        }
    }
}

/// Where an expression keeps its offset and moment, if it has them.
fn offset_of(expr: &mut Expr) -> Option<(&mut i64, &mut Option<At>)> {
    match expr {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => {
            Some((&mut selector.offset, &mut selector.at))
        }
        Expr::Subquery { offset, at, .. } => Some((offset, at)),
        _ => None,
    }
}

fn must_be(expr: &Expr, wanted: Type, context: &str, at: usize) -> Parsed<()> {
    let found = expr.type_of();
    if found == wanted {
        return Ok(());
    }
    Err((
        at,
        format!(
            "expected type {} in {context}, got {}",
            wanted.as_str(),
            found.as_str()
        ),
    ))
}

fn aggregation(word: &str) -> Option<Aggregation> {
    Some(match word {
        "sum" => Aggregation::Sum,
        "avg" => Aggregation::Avg,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "count" => Aggregation::Count,
        "group" => Aggregation::Group,
        "stddev" => Aggregation::Stddev,
        "stdvar" => Aggregation::Stdvar,
        "topk" => Aggregation::Topk,
        "bottomk" => Aggregation::Bottomk,
        "quantile" => Aggregation::Quantile,
        "count_values" => Aggregation::CountValues,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(query: &str, said: &str) {
        let message = parse(query).unwrap_err().to_string();
        assert!(message.contains(said), "{query}: {message}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused(
            "sum(rate(a[5m])",
            "1:16: parse error: unclosed left parenthesis",
        );
        refused("rate(a)", "1:6: parse error: expected type range vector");
        refused("a[5m", "expected \"]\"");
        refused("{}", "at least one non-empty matcher");
        refused("{a=~\".*\"}", "at least one non-empty matcher");
        refused("up{pod=web}", "expected string");
        refused("up{pod=~\"(\"}", "is not a regular expression");
        refused("1 > 2", "must use BOOL");
        refused("up and 1", "set operator");
        refused("rates(up[5m])", "did you mean rate?");
        refused("histogram_sum(up)", "not supported here");
        refused("limitk(2, up)", "limitk is not supported here");
        refused("sum(up) offset 5m", "offset modifier must be preceded");
        refused("up[5m] [1m]", "ranges only allowed");
        refused("a +\n  b )", "2:5: parse error: unexpected \")\"");
        refused("", "no expression found");
        refused("topk(up)", "expected 2, got 1");
        refused("foo{a=\"b\"", "expected \",\" or \"}\"");
        refused(&"(".repeat(1000), "too deeply");
        refused(&"a".repeat(40_000), "longer than");
        refused("up == on(a) group_left(a) up", "ON and GROUP");
        refused("\"a\" + 1", "binary expression");
        refused("up @ up", "expected timestamp");
    }

    #[test]
    fn operators_bind_as_in_prometheus() {
        for (query, meaning) in [
            ("a + b * c", "a + (b * c)"),
            ("a ^ b ^ c", "a ^ (b ^ c)"),
            ("-a ^ b", "-(a ^ b)"),
            ("-a * b", "(-a) * b"),
            ("a or b and c unless d", "a or ((b and c) unless d)"),
            ("a - b - c", "(a - b) - c"),
            ("a > bool b + 1", "a > bool (b + 1)"),
            ("a % b == c", "(a % b) == c"),
        ] {
            let (one, other) = (parse(query).unwrap(), parse(meaning).unwrap());
            assert_eq!(bare(&one), bare(&other), "{query}");
        }
    }

    fn bare(expr: &Expr) -> Expr {
        match expr.bare() {
            Expr::Binary {
                op,
                bool,
                matching,
                left,
                right,
            } => Expr::Binary {
                op: *op,
                bool: *bool,
                matching: matching.clone(),
                left: Box::new(bare(left)),
                right: Box::new(bare(right)),
            },
            Expr::Negate(inner) => Expr::Negate(Box::new(bare(inner))),
            other => other.clone(),
        }
    }

    #[test]
    fn keywords_may_be_names_and_are_read_in_any_case() {
        for query in [
            "sum",
            "by",
            "SUM BY (a) (b)",
            "sum(b) By (a)",
            "offset",
            "up offset 5m",
            "on",
        ] {
            parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }

    #[test]
    fn modifiers_come_in_any_order() {
        for query in [
            "up @ 5 offset 1m",
            "up offset 1m @ 5",
            "up[5m] @ end() offset -1m",
            "rate(up[5m])[10m:1m] @ start()",
            "max_over_time(up[10m:])",
        ] {
            parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }
}
