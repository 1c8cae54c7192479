use serde_json::{Value, json};

use super::*;

fn scope(standing: Standing) -> Scope {
    let contexts = json!({
        "github": {"ref": "refs/heads/main", "sha": "abc", "event": {"head_commit": {"message": "Fix it"}}},
        "env": {"GREETING": "Hello", "count": "3"},
        "matrix": {"version": 12, "os": "linux"},
        "needs": {"a": {"result": "success"}, "b": {"result": "failure"}},
        "list": [{"name": "x"}, {"name": "y"}, {"other": 1}],
    });
    let Value::Object(contexts) = contexts else {
        unreachable!("an object is written above");
    };
    Scope {
        contexts,
        standing,
        workspace: PathBuf::from("/nonexistent"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "cases read better")]
#[track_caller]
fn case(text: &str, expected: Value) {
    let parsed = Expression::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let value = parsed.evaluate(&scope(Standing::Success)).unwrap();
    assert_eq!(value, expected, "{text}");
}

#[track_caller]
fn refused(text: &str, offset: usize, said: &str) {
    let error = Expression::parse(text).unwrap_err();
    assert!(error.message.contains(said), "{text}: {}", error.message);
    assert_eq!(error.offset, offset, "{text}: {}", error.message);
}

#[test]
fn literals_are_written_as_github_has_them() {
    case("null", json!(null));
    case("true", json!(true));
    case("711", json!(711));
    case("-9.2", json!(-9.2));
    case("0xff", json!(255));
    case("0o17", json!(15));
    case("-2.99e-2", json!(-0.0299));
    case("'Mona the Octocat'", json!("Mona the Octocat"));
    case("'It''s open source!'", json!("It's open source!"));
    case("''", json!(""));
}

#[test]
fn operators_bind_as_usual_and_give_their_operands() {
    case("1 < 2 && 'yes' || 'no'", json!("yes"));
    case("false || 'x'", json!("x"));
    case("'' && 'x'", json!(""));
    case("!false == true", json!(true));
    case("!(1 == 1)", json!(false));
    case("!!'a'", json!(true));
    case("true || false && false", json!(true));
    case("2 >= 2", json!(true));
    case("'a' < 'B'", json!(true));
    case("1 == 1 != false", json!(true));
}

#[test]
fn different_kinds_are_compared_as_numbers() {
    case("null == 0", json!(true));
    case("null == ''", json!(true));
    case("true == 1", json!(true));
    case("'1' == 1", json!(true));
    case("'' == 0", json!(true));
    case("'abc' == 0", json!(false));
    case("'abc' < 1 || 'abc' >= 1", json!(false));
    case("'Main' == 'mAIN'", json!(true));
    case("env.count > 2", json!(true));
    case("matrix == matrix", json!(false));
    case("'nan' == 'NaN'", json!(true));
    case("'inf' > 5", json!(false));
}

#[test]
fn contexts_are_looked_into_without_regard_to_case() {
    case("github.ref == 'refs/heads/main'", json!(true));
    case("GitHub.REF", json!("refs/heads/main"));
    case("github['sha']", json!("abc"));
    case("github.event.head_commit.message", json!("Fix it"));
    case("github.nothing.at.all", json!(null));
    case("env['GREET' || 'x']", json!(null));
    case("list[1].name", json!("y"));
    case("list[9]", json!(null));
    case("list[-1]", json!(null));
    case("matrix.version", json!(12));
}

#[test]
fn a_star_picks_from_each() {
    case("list.*.name", json!(["x", "y"]));
    case("list[*].name", json!(["x", "y"]));
    case("contains(needs.*.result, 'failure')", json!(true));
    case("join(needs.*.result, '+')", json!("success+failure"));
}

#[test]
fn functions_do_what_github_says() {
    case("contains('Hello world', 'LLO')", json!(true));
    case("contains(fromJSON('[1, \"2\"]'), 2)", json!(true));
    case("contains(fromJSON('[\"push\"]'), 'pus')", json!(false));
    case("startsWith('Hello world', 'he')", json!(true));
    case("endsWith('Hello world', 'LD')", json!(true));
    case("format('{0} {1} {{x}}', 'a', 1.0)", json!("a 1 {x}"));
    case("format('{0}{0}', true)", json!("truetrue"));
    case("join(fromJSON('[1,2]'))", json!("1,2"));
    case("fromJSON('{\"a\": [1]}').a[0]", json!(1));
    case("toJSON(fromJSON('{\"a\":1}'))", json!("{\n  \"a\": 1\n}"));
    case("TOJSON('x')", json!("\"x\""));
    case("hashFiles('**/lock')", json!(""));
    case("always() && success()", json!(true));
    case("failure() || cancelled()", json!(false));
}

#[test]
fn status_functions_say_how_things_stand() {
    let value = |text: &str, standing| {
        let parsed = Expression::parse(text).unwrap();
        parsed.evaluate(&scope(standing)).unwrap()
    };
    let all = [
        ("success()", Standing::Success),
        ("failure()", Standing::Failure),
        ("cancelled()", Standing::Cancelled),
    ];
    for (text, own) in all {
        for (_, standing) in all {
            assert_eq!(value(text, standing), json!(own == standing), "{text}");
        }
        assert_eq!(value(text, Standing::Skipped), json!(false));
    }
    assert_eq!(value("always()", Standing::Cancelled), json!(true));
    assert!(
        Expression::parse("1 == 1 && !failure()")
            .unwrap()
            .names_status()
    );
    assert!(!Expression::parse("github.ref").unwrap().names_status());
}

#[test]
fn what_is_no_expression_is_refused_with_its_offset() {
    refused("", 0, "an expression is expected");
    refused("github.", 7, "a name is expected after \".\"");
    refused("\"text\"", 0, "single quotes");
    refused("a = b", 2, "equality is \"==\"");
    refused("a & b", 2, "did you mean \"&&\"");
    refused("1 + 2", 2, "do not calculate");
    refused("contain(a, b)", 0, "did you mean contains?");
    refused("contains(a)", 0, "takes 2 argument(s), not 1");
    refused("(a", 2, "\")\" is expected");
    refused("a b", 2, "\"b\" is not expected here");
    refused("'open", 0, "not closed");
    refused(&"(".repeat(80), 50, "nested too deeply");
}

#[test]
fn a_function_that_cannot_answer_says_why() {
    let fails = |text: &str| {
        let parsed = Expression::parse(text).unwrap();
        parsed.evaluate(&scope(Standing::Success)).unwrap_err().0
    };
    assert!(fails("fromJSON('{')").contains("\"{\" is not JSON"));
    assert!(fails("format('{1}', 'a')").contains("asks for {1}"));
    assert!(fails("format('{', 'a')").contains("brace out of place"));
}

#[test]
fn text_around_expressions_is_kept_and_a_lone_one_keeps_its_type() {
    let template = |text: &str| {
        let value = Value::String(text.to_owned());
        let parsed = Template::parse(&value, text, &mut |_, _| {}).unwrap();
        parsed.evaluate(&scope(Standing::Success)).unwrap()
    };
    assert_eq!(template("v${{ matrix.version }}-x"), json!("v12-x"));
    assert_eq!(template("${{ matrix.version }}"), json!(12));
    assert_eq!(template("${{ '}}' }}${{ 'b' }}"), json!("}}b"));
    assert_eq!(template("no ${ } here"), json!("no ${ } here"));
    let unclosed = Template::parse(&Value::Null, "a ${{ b", &mut |_, _| {}).unwrap_err();
    assert!(unclosed.1.message.contains("closing }}"));
}
