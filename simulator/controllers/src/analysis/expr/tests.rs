use super::*;
use serde_json::{Value as Json, json};

/// `result` as JSON, except for the numbers that JSON does not have.
fn result(json: Json) -> Value {
    match json.as_str() {
        Some("NaN") => Value::Float(f64::NAN),
        Some("+Inf") => Value::Float(f64::INFINITY),
        _ => Value::from(json),
    }
}

#[track_caller]
fn is(source: &str, given: Json, expected: &str) {
    let found = Expression::parse(source)
        .and_then(|expression| expression.evaluate(&result(given)))
        .map_or_else(|error| error.to_string(), |value| value.to_string());
    assert_eq!(found, expected, "{source}");
}

#[track_caller]
fn holds(source: &str, given: Json, expected: bool) {
    let found = Expression::parse(source).and_then(|it| it.holds(&result(given)));
    assert_eq!(found, Ok(expected), "{source}");
}

/// Both reading and evaluating may fail; either way the first line says why and where.
#[track_caller]
fn fails(source: &str, given: Json, expected: &str) {
    let error = Expression::parse(source)
        .and_then(|it| it.holds(&result(given)))
        .expect_err(source);
    let error = error.to_string();
    assert_eq!(error.lines().next(), Some(expected), "{source}");
}

#[test]
fn the_conditions_of_the_documentation_hold() {
    holds("result[0] >= 0.95", json!([0.99]), true);
    holds("result[0] >= 0.95", json!([0.5]), false);
    holds("len(result) == 0 || result[0] < 0.05", json!([]), true);
    holds("result == \"true\"", json!("true"), true);
    holds(
        "result.ok && result.successPercent >= 0.90",
        json!({"ok": true, "successPercent": 0.95}),
        true,
    );
    holds("asFloat(result) < 0.5", json!("0.25"), true);
    holds("asInt(result) == 3", json!("3"), true);
    holds("isNaN(result) || result >= 0.95", json!("NaN"), true);
    holds("isInf(result)", json!("+Inf"), true);
    holds("default(result, 0) < 0.05", json!(null), true);
    holds("isNil(result.missing)", json!({}), true);
    holds("all(result, # >= 0.9)", json!([0.9, 1.0]), true);
    holds("all(result, {# >= 0.9})", json!([0.9, 0.1]), false);
    holds("any(result, {asFloat(#) < 3.0})", json!(["7", "2"]), true);
    holds(
        "result.status in [\"ok\", \"degraded\"]",
        json!({"status": "ok"}),
        true,
    );
}

#[test]
fn operators_bind_as_in_expr_lang() {
    is("1 + 2 * 3", json!(null), "7");
    is("(1 + 2) * 3", json!(null), "9");
    is("2 ** 3 ** 2", json!(null), "512");
    is("-2 + 5", json!(null), "3");
    is("7 % 4", json!(null), "3");
    is("7 / 2", json!(null), "3.5");
    is("1 - 2 - 3", json!(null), "-4");
    is("not true or true", json!(null), "true");
    is("!(true && false)", json!(null), "true");
    is("1 < 2 and 2 < 3", json!(null), "true");
    is("\"a\" + \"b\" == \"ab\"", json!(null), "true");
    is("3 not in 1..2", json!(null), "true");
    is("1..3", json!(null), "[1 2 3]");
    is("true ? 1 : 2", json!(null), "1");
    is("nil ?? 4", json!(null), "4");
    is("false || nil ?? true", json!(null), "true");
    is("1 == 1.0", json!(null), "true");
}

#[test]
fn texts_lists_and_maps_are_taken_apart() {
    is("result[-1]", json!([1, 2, 3]), "3");
    is("result[1:]", json!([1, 2, 3]), "[2 3]");
    is("result[:1]", json!("hello"), "h");
    is("result.a.b[0]", json!({"a": {"b": [5]}}), "5");
    is("result[\"a-b\"]", json!({"a-b": 1}), "1");
    is("result?.a?.b", json!(null), "<nil>");
    is("result.a?.b.c", json!({}), "<nil>");
    is("{a: 1}.a", json!(null), "1");
    is("[1, 2,]", json!(null), "[1 2]");
    holds("result matches '^v[0-9]+$'", json!("v12"), true);
    holds("result contains 'err'", json!("error"), true);
    holds(
        "result startsWith 'v' and result endsWith \"2\"",
        json!("v12"),
        true,
    );
    holds("result not contains `x`", json!("v12"), true);
    holds("'a' in result", json!({"a": 1}), true);
}

#[test]
fn functions_look_at_every_item() {
    let orders = || json!([{"price": 3, "ok": true}, {"price": 5, "ok": false}]);
    is("filter(result, .ok)", orders(), "[map[ok:true price:3]]");
    is("map(result, #.price)", orders(), "[3 5]");
    is("sum(map(result, {.price}))", orders(), "8");
    is("sum(result, .price)", orders(), "8");
    is("count(result, {not .ok})", orders(), "1");
    is("find(result, .price > 3).price", orders(), "5");
    is("findIndex(result, .price > 3)", orders(), "1");
    is("none(result, .price > 9)", orders(), "true");
    is("one(result, .ok)", orders(), "true");
    is("reduce(1..4, #acc + #)", json!(null), "10");
    is("map(1..2, #index)", json!(null), "[0 1]");
    is("all(result, any(#, # > 1))", json!([[1, 2], [3]]), "true");
    is("result | filter(.ok) | len()", orders(), "1");
    is("max(result)", json!([1, 7, 3]), "7");
    is("min(3, 2)", json!(null), "2");
    is("mean(result)", json!([1, 2]), "1.5");
    is("median(result)", json!([3, 1, 2]), "2");
    is(
        "round(2.5) + floor(1.7) + ceil(0.1) + abs(-1)",
        json!(null),
        "6",
    );
    is(
        "upper(trim(\" a \")) + join(split(\"b,c\", \",\"), \"-\")",
        json!(null),
        "Ab-c",
    );
    is("int(\"4\") + int(2.9)", json!(null), "6");
    is("sort([3, 1])", json!(null), "[1 3]");
    is("fromJSON(result).a", json!("{\"a\": 2}"), "2");
}

#[test]
fn an_evaluation_that_does_not_fit_says_where() {
    fails(
        "result[0] < 1",
        json!([]),
        "index out of range: 0 (array length is 0) (1:7)",
    );
    fails(
        "result < \"1\"",
        json!(1),
        "invalid operation: < (mismatched types float64 and string) (1:8)",
    );
    fails(
        "result.a.b == 1",
        json!({}),
        "cannot fetch b from <nil> (1:9)",
    );
    fails("result", json!(1), "expected bool, but got float64 (1:1)");
    fails(
        "asInt(result) > 1",
        json!("x"),
        "strconv.ParseInt: parsing \"x\": invalid syntax (1:1)",
    );
    fails(
        "len(result) > 1",
        json!(1),
        "invalid argument for len (type float64) (1:1)",
    );
    fails("1 % 0 == 1", json!(null), "integer divide by zero (1:3)");
    fails(
        "all(result, #)",
        json!([1]),
        "predicate should return bool (got float64) (1:13)",
    );
    fails(
        "result matches '('",
        json!("x"),
        "error parsing regexp: \"(\" (1:8)",
    );
    fails(
        "len(1..100000000) > 1",
        json!(null),
        "memory budget exceeded (1:6)",
    );
    fails(
        "all(1..9999, all(1..9999, # > 0))",
        json!(null),
        "memory budget exceeded (1:31)",
    );
}

#[test]
fn what_cannot_be_read_says_where() {
    fails("", json!(1), "unexpected end of expression (1:1)");
    fails("result >", json!(1), "unexpected end of expression (1:9)");
    fails(
        "result > 1)",
        json!(1),
        "unexpected token Bracket(\")\") (1:11)",
    );
    fails("foo > 1", json!(1), "unknown name foo (1:1)");
    fails("foo(1) > 1", json!(1), "unknown name foo (1:1)");
    fails(
        "# > 1",
        json!(1),
        "cannot use pointer accessor outside predicate: # (1:1)",
    );
    fails("result == 'a", json!(1), "literal not terminated (1:11)");
    fails("result ~ 1", json!(1), "unrecognized character: '~' (1:8)");
    fails(
        "len() > 1",
        json!(1),
        "not enough arguments to call len (1:1)",
    );
    fails(
        "len(1, 2) > 1",
        json!(1),
        "too many arguments to call len (1:1)",
    );
    fails("let x = 1; x", json!(1), "let is not supported here (1:1)");
    fails(
        "now() > 1",
        json!(1),
        "the function now is not supported here (1:1)",
    );
    fails(
        "result.foo() > 1",
        json!(1),
        "the method foo is not supported here (1:8)",
    );
    fails(
        &"(".repeat(500),
        json!(1),
        "the expression is nested too deeply (1:65)",
    );
    fails(
        &"-".repeat(500),
        json!(1),
        "the expression is nested too deeply (1:65)",
    );
    let powers = "1 ** ".repeat(300) + "1";
    assert!(Expression::parse(&powers).is_err());
    is(&("1 + ".repeat(400) + "1"), json!(null), "401");
    fails(
        &("1 + ".repeat(1000) + "1"),
        json!(1),
        "the expression is too long (1:2001)",
    );
}

#[test]
fn a_problem_is_shown_under_the_expression() {
    let error = Expression::parse("result[0] <\n  foo").unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown name foo (2:3)\n |   foo\n | ..^"
    );
}
