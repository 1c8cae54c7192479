//! Which functions there are: names, arguments, results.

use super::ast::Type::{self, Matrix, Scalar, String, Vector};

/// A function's shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: &'static str,
    /// Types of its arguments.
    pub(crate) args: &'static [Type],
    /// How many of the last may be left out; the last may be repeated where it is `REPEATED`.
    pub(crate) optional: usize,
    /// Type of its result.
    pub(crate) returns: Type,
}

/// In [`Function::optional`]: the last argument may be given any number of times, or not at all.
pub(crate) const REPEATED: usize = usize::MAX;

const fn function(
    name: &'static str,
    args: &'static [Type],
    optional: usize,
    returns: Type,
) -> Function {
    Function {
        name,
        args,
        optional,
        returns,
    }
}

/// A function of one number.
type Math = fn(f64) -> f64;

/// Functions of one number, sample by sample.
pub(crate) const MATH: &[(&str, Math)] = &[
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("deg", |x| x * 180.0 / std::f64::consts::PI),
    ("exp", f64::exp),
    ("floor", f64::floor),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("rad", |x| x * std::f64::consts::PI / 180.0),
    ("sgn", sign),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
];

fn sign(x: f64) -> f64 {
    if x < 0.0 {
        -1.0
    } else if x > 0.0 {
        1.0
    } else {
        x
    }
}

const MATH_ARGS: &[Type] = &[Vector];

const OTHERS: &[Function] = &[
    function("absent", &[Vector], 0, Vector),
    function("absent_over_time", &[Matrix], 0, Vector),
    function("avg_over_time", &[Matrix], 0, Vector),
    function("changes", &[Matrix], 0, Vector),
    function("clamp", &[Vector, Scalar, Scalar], 0, Vector),
    function("clamp_max", &[Vector, Scalar], 0, Vector),
    function("clamp_min", &[Vector, Scalar], 0, Vector),
    function("count_over_time", &[Matrix], 0, Vector),
    function("day_of_month", &[Vector], 1, Vector),
    function("day_of_week", &[Vector], 1, Vector),
    function("day_of_year", &[Vector], 1, Vector),
    function("days_in_month", &[Vector], 1, Vector),
    function("delta", &[Matrix], 0, Vector),
    function("deriv", &[Matrix], 0, Vector),
    function("histogram_quantile", &[Scalar, Vector], 0, Vector),
    function("holt_winters", &[Matrix, Scalar, Scalar], 0, Vector),
    function("hour", &[Vector], 1, Vector),
    function("idelta", &[Matrix], 0, Vector),
    function("increase", &[Matrix], 0, Vector),
    function("irate", &[Matrix], 0, Vector),
    function(
        "label_join",
        &[Vector, String, String, String],
        REPEATED,
        Vector,
    ),
    function(
        "label_replace",
        &[Vector, String, String, String, String],
        0,
        Vector,
    ),
    function("last_over_time", &[Matrix], 0, Vector),
    function("max_over_time", &[Matrix], 0, Vector),
    function("min_over_time", &[Matrix], 0, Vector),
    function("minute", &[Vector], 1, Vector),
    function("month", &[Vector], 1, Vector),
    function("pi", &[], 0, Scalar),
    function("predict_linear", &[Matrix, Scalar], 0, Vector),
    function("present_over_time", &[Matrix], 0, Vector),
    function("quantile_over_time", &[Scalar, Matrix], 0, Vector),
    function("rate", &[Matrix], 0, Vector),
    function("resets", &[Matrix], 0, Vector),
    function("round", &[Vector, Scalar], 1, Vector),
    function("scalar", &[Vector], 0, Scalar),
    function("sort", &[Vector], 0, Vector),
    function("sort_desc", &[Vector], 0, Vector),
    function("stddev_over_time", &[Matrix], 0, Vector),
    function("stdvar_over_time", &[Matrix], 0, Vector),
    function("sum_over_time", &[Matrix], 0, Vector),
    function("time", &[], 0, Scalar),
    function("timestamp", &[Vector], 0, Vector),
    function("vector", &[Scalar], 0, Vector),
    function("year", &[Vector], 1, Vector),
];

/// What Prometheus has and this program has not.
const FOREIGN: &[&str] = &[
    "double_exponential_smoothing",
    "first_over_time",
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "info",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// The function of a name.
///
/// # Errors
/// Where there is none, with the nearest name or the reason.
pub(crate) fn find(name: &str) -> Result<Function, std::string::String> {
    if let Some((name, _)) = MATH.iter().find(|(known, _)| *known == name) {
        return Ok(function(name, MATH_ARGS, 0, Vector));
    }
    if let Some(known) = OTHERS.iter().find(|known| known.name == name) {
        return Ok(*known);
    }
    if FOREIGN.contains(&name) {
        return Err(format!("PromQL function {name} is not supported here"));
    }
    let hint = nearest(name).map_or_else(std::string::String::new, |near| {
        format!("; did you mean {near}?")
    });
    Err(format!("unknown function with name {name:?}{hint}"))
}

fn nearest(name: &str) -> Option<&'static str> {
    let all = MATH
        .iter()
        .map(|(known, _)| *known)
        .chain(OTHERS.iter().map(|known| known.name));
    all.map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, known)| known)
}

/// Letters to change, add or remove (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_function_is_answered_with_the_right_one() {
        let said = find("rates").unwrap_err();
        assert!(said.contains("did you mean rate?"), "{said}");
        let said = find("histogram_sum").unwrap_err();
        assert_eq!(said, "PromQL function histogram_sum is not supported here");
    }
}
