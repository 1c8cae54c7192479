//! From tokens to a tree: precedence climbing, with expr-lang's precedences.

use super::Problem;
use super::functions::{Function, Known, known};
use super::lexer::{Token, TokenKind};
use super::syntax::{Kind, NOT, Node, Operator, SIGN};
use super::value::Value;

/// Brackets, operators and predicates inside each other, so that no text overflows the stack.
const DEPTH_AT_MOST: usize = 64;

/// The tree of an expression.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Node, Problem> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        predicates: 0,
    };
    let root = parser.expression()?;
    match parser.peek() {
        TokenKind::End => Ok(root),
        TokenKind::Sign(";") => Err(parser.unsupported("a sequence of expressions (;)")),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Predicates that enclose the present place: `#` has a meaning inside of one only.
    predicates: usize,
}

impl Parser {
    fn peek(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn place(&self) -> usize {
        self.tokens[self.at].at
    }

    fn advance(&mut self) -> TokenKind {
        let kind = self.tokens[self.at].kind.clone();
        // The last token is the end, and stays.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(found) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Problem> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> Problem {
        let what = match self.peek() {
            TokenKind::End => "unexpected end of expression".to_owned(),
            TokenKind::Int(number) => format!("unexpected token Number({number})"),
            TokenKind::Float(number) => format!("unexpected token Number({number})"),
            TokenKind::Text(text) => format!("unexpected token String({text:?})"),
            TokenKind::Name(name) => match Operator::of(name) {
                Some(_) => format!("unexpected token Operator({name:?})"),
                None => format!("unexpected token Identifier({name:?})"),
            },
            TokenKind::Pointer(name) => format!("unexpected token Operator(\"#{name}\")"),
            TokenKind::Sign(sign @ ("(" | ")" | "[" | "]" | "{" | "}")) => {
                format!("unexpected token Bracket({sign:?})")
            }
            TokenKind::Sign(sign) => format!("unexpected token Operator({sign:?})"),
        };
        (what, self.place())
    }

    fn unsupported(&self, what: &str) -> Problem {
        (format!("{what} is not supported here"), self.place())
    }

    /// A whole expression, with its choices and pipes.
    fn expression(&mut self) -> Result<Node, Problem> {
        self.depth += 1;
        if self.depth > DEPTH_AT_MOST {
            return Err((
                "the expression is nested too deeply".to_owned(),
                self.place(),
            ));
        }
        let mut node = self.binary(0)?;
        loop {
            let at = self.place();
            if self.take("|") {
                let TokenKind::Name(name) = self.peek().clone() else {
                    return Err(self.unexpected());
                };
                let place = self.place();
                self.advance();
                node = self.call(&name, place, Some(node))?;
                node = self.postfix(node)?;
            } else if self.take("?") {
                let (then, otherwise) = if self.take(":") {
                    (node.clone(), self.expression()?)
                } else {
                    let then = self.expression()?;
                    self.expect(":")?;
                    (then, self.expression()?)
                };
                let kind = Kind::Choice(Box::new(node), Box::new(then), Box::new(otherwise));
                node = Node { kind, at };
            } else {
                break;
            }
        }
        self.depth -= 1;
        Ok(node)
    }

    /// Operands and operators that bind at least as tightly as `least`.
    fn binary(&mut self, least: u16) -> Result<Node, Problem> {
        let mut left = self.unary()?;
        loop {
            let at = self.place();
            let before = self.at;
            let negated = matches!(self.peek(), TokenKind::Name(name) if name == "not");
            if negated {
                self.advance();
            }
            let operator = match self.peek() {
                TokenKind::Name(name) => Operator::of(name),
                TokenKind::Sign(sign) => Operator::of(sign),
                _ => None,
            };
            let Some((operator, tightness)) = operator
                .filter(|(_, tightness)| *tightness >= least)
                .filter(|(operator, _)| !negated || operator.can_be_negated())
            else {
                self.at = before;
                return Ok(left);
            };
            self.advance();
            // Powers group from the right.
            let next = match operator {
                Operator::Power => tightness,
                _ => tightness + 1,
            };
            self.deeper()?;
            let right = self.binary(next)?;
            self.depth -= 1;
            let kind = Kind::Binary(operator, Box::new(left), Box::new(right));
            left = Node { kind, at };
            if negated {
                let kind = Kind::Not(Box::new(left));
                left = Node { kind, at };
            }
        }
    }

    fn deeper(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEPTH_AT_MOST {
            return Err((
                "the expression is nested too deeply".to_owned(),
                self.place(),
            ));
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<Node, Problem> {
        let at = self.place();
        let (tightness, wrap): (u16, fn(Box<Node>) -> Kind) = match self.peek() {
            TokenKind::Sign("!") => (NOT, Kind::Not),
            TokenKind::Name(name) if name == "not" => (NOT, Kind::Not),
            TokenKind::Sign("-") => (SIGN, Kind::Minus),
            TokenKind::Sign("+") => (SIGN, Kind::Plus),
            _ => {
                let node = self.primary()?;
                return self.postfix(node);
            }
        };
        self.advance();
        self.deeper()?;
        let operand = self.binary(tightness)?;
        self.depth -= 1;
        Ok(Node {
            kind: wrap(Box::new(operand)),
            at,
        })
    }

    fn primary(&mut self) -> Result<Node, Problem> {
        let at = self.place();
        let kind = match self.peek().clone() {
            TokenKind::Int(number) => Kind::Literal(Value::Int(number)),
            TokenKind::Float(number) => Kind::Literal(Value::Float(number)),
            TokenKind::Text(text) => Kind::Literal(Value::Text(text)),
            TokenKind::Pointer(name) => {
                if self.predicates == 0 {
                    let message = format!("cannot use pointer accessor outside predicate: #{name}");
                    return Err((message, at));
                }
                match name.as_str() {
                    "" => Kind::Item,
                    "index" => Kind::Index,
                    "acc" => Kind::Accumulator,
                    _ => return Err((format!("unknown pointer #{name}"), at)),
                }
            }
            TokenKind::Sign(".") if self.predicates > 0 => {
                // `.price` in a predicate is `#.price`.
                return Ok(Node {
                    kind: Kind::Item,
                    at,
                });
            }
            TokenKind::Sign("(") => {
                self.advance();
                let node = self.expression()?;
                self.expect(")")?;
                return Ok(node);
            }
            TokenKind::Sign("[") => return self.list(at),
            TokenKind::Sign("{") => return self.map(at),
            TokenKind::Name(name) => {
                self.advance();
                return self.name(&name, at);
            }
            TokenKind::Sign("::") => return Err(self.unsupported("the operator ::")),
            TokenKind::Sign(_) | TokenKind::End => return Err(self.unexpected()),
        };
        self.advance();
        Ok(Node { kind, at })
    }

    fn name(&mut self, name: &str, at: usize) -> Result<Node, Problem> {
        let kind = match name {
            "true" => Kind::Literal(Value::Bool(true)),
            "false" => Kind::Literal(Value::Bool(false)),
            "nil" => Kind::Literal(Value::Nil),
            "result" => Kind::Result,
            "let" => return Err(("let is not supported here".to_owned(), at)),
            "if" => return Err(("if is not supported here: use ? and :".to_owned(), at)),
            _ if self.is_sign("(") => return self.call(name, at, None),
            _ if Operator::of(name).is_some() => {
                return Err((format!("unexpected token Operator({name:?})"), at));
            }
            _ => return Err((format!("unknown name {name}"), at)),
        };
        Ok(Node { kind, at })
    }

    fn list(&mut self, at: usize) -> Result<Node, Problem> {
        self.advance();
        let mut items = Vec::new();
        while !self.take("]") {
            if !items.is_empty() {
                self.expect(",")?;
                if self.take("]") {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(Node {
            kind: Kind::List(items),
            at,
        })
    }

    fn map(&mut self, at: usize) -> Result<Node, Problem> {
        self.advance();
        let mut pairs = Vec::new();
        while !self.take("}") {
            if !pairs.is_empty() {
                self.expect(",")?;
                if self.take("}") {
                    break;
                }
            }
            let place = self.place();
            let key = match self.advance() {
                TokenKind::Name(text) | TokenKind::Text(text) => Kind::Literal(Value::Text(text)),
                TokenKind::Int(number) => Kind::Literal(Value::Text(number.to_string())),
                TokenKind::Sign("(") => {
                    let key = self.expression()?;
                    self.expect(")")?;
                    key.kind
                }
                _ => {
                    let message = "a map key must be a quoted string, a number, an identifier, or an expression enclosed in parentheses";
                    return Err((message.to_owned(), place));
                }
            };
            self.expect(":")?;
            let key = Node {
                kind: key,
                at: place,
            };
            pairs.push((key, self.expression()?));
        }
        Ok(Node {
            kind: Kind::Map(pairs),
            at,
        })
    }

    /// A call of a function; `first` is what a pipe brings.
    fn call(&mut self, name: &str, at: usize, first: Option<Node>) -> Result<Node, Problem> {
        let function = match known(name) {
            Known::Supported(function) => function,
            Known::Unsupported => {
                return Err((format!("the function {name} is not supported here"), at));
            }
            Known::Unknown => return Err((format!("unknown name {name}"), at)),
        };
        self.expect("(")?;
        let mut arguments: Vec<Node> = first.into_iter().collect();
        let mut comma = false;
        while !self.take(")") {
            if comma {
                self.expect(",")?;
                if self.take(")") {
                    break;
                }
            }
            comma = true;
            let is_predicate = function.takes_predicate() && arguments.len() == 1;
            arguments.push(if is_predicate {
                self.predicate()?
            } else {
                self.expression()?
            });
        }
        check_count(function, name, arguments.len(), at)?;
        Ok(Node {
            kind: Kind::Call(function, arguments),
            at,
        })
    }

    /// `{# > 1}`, or the same without braces.
    fn predicate(&mut self) -> Result<Node, Problem> {
        self.predicates += 1;
        let braces = self.take("{");
        let node = self.expression()?;
        if braces {
            self.expect("}")?;
        }
        self.predicates -= 1;
        Ok(node)
    }

    /// Members, indexes and slices after an operand.
    fn postfix(&mut self, mut node: Node) -> Result<Node, Problem> {
        let mut optional_chain = false;
        loop {
            let at = self.place();
            if self.is_sign(".") || self.is_sign("?.") {
                let optional = self.take("?.");
                if !optional {
                    self.advance();
                }
                optional_chain |= optional;
                if optional && self.is_sign("[") {
                    self.advance();
                    node = self.index(node, true, at)?;
                    continue;
                }
                let place = self.place();
                let TokenKind::Name(name) = self.advance() else {
                    self.at -= 1;
                    return Err(self.unexpected());
                };
                if self.is_sign("(") {
                    return Err((format!("the method {name} is not supported here"), place));
                }
                let name = Node {
                    kind: Kind::Literal(Value::Text(name)),
                    at: place,
                };
                node = Node {
                    kind: Kind::Member {
                        object: Box::new(node),
                        name: Box::new(name),
                        optional,
                    },
                    at,
                };
            } else if self.take("[") {
                node = self.index(node, false, at)?;
            } else {
                break;
            }
        }
        if optional_chain {
            let at = node.at;
            node = Node {
                kind: Kind::Chain(Box::new(node)),
                at,
            };
        }
        Ok(node)
    }

    /// What follows `[`.
    fn index(&mut self, object: Node, optional: bool, at: usize) -> Result<Node, Problem> {
        let object = Box::new(object);
        let from = if self.is_sign(":") {
            None
        } else {
            Some(Box::new(self.expression()?))
        };
        let kind = if self.take(":") {
            let to = if self.is_sign("]") {
                None
            } else {
                Some(Box::new(self.expression()?))
            };
            Kind::Slice { object, from, to }
        } else {
            match from {
                Some(name) => Kind::Member {
                    object,
                    name,
                    optional,
                },
                None => return Err(self.unexpected()),
            }
        };
        self.expect("]")?;
        Ok(Node { kind, at })
    }
}

fn check_count(function: Function, name: &str, count: usize, at: usize) -> Result<(), Problem> {
    let (least, most) = function.arguments();
    let message = if count < least {
        format!("not enough arguments to call {name}")
    } else if count > most {
        format!("too many arguments to call {name}")
    } else {
        return Ok(());
    };
    Err((message, at))
}
