//! The canonical text of every part of a query: group keys, metric labels, error messages. What is printed parses back
//! to the same tree.

use std::fmt::{self, Display, Formatter, Write};

use crate::ast::*;
use crate::lexer::ends_name;
use crate::value::Static;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        without_hints(f, self)?;
        hints(f, self)
    }
}

fn without_hints(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    write!(f, "{}", query.pipeline)?;
    query.metrics.as_ref().map_or(Ok(()), |metrics| write!(f, " | {metrics}"))
}

fn hints(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    if query.hints.is_empty() {
        return Ok(());
    }
    let hints: Vec<String> = query.hints.iter().map(|(name, value)| format!("{name}={value}")).collect();
    write!(f, " with ({})", hints.join(", "))
}

impl Display for MetricsExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        operation(f, self)?;
        self.queries().first().map_or(Ok(()), |query| hints(f, query))
    }
}

/// Without its hints.
fn operation(f: &mut Formatter<'_>, expr: &MetricsExpr) -> fmt::Result {
    match expr {
        MetricsExpr::Query(query) => without_hints(f, query),
        MetricsExpr::Series { op, left, right } => {
            in_parentheses(f, left)?;
            write!(f, " {op} ")?;
            in_parentheses(f, right)
        }
        MetricsExpr::Scalar { op, series, scalar, is_left: true } => {
            write!(f, "{scalar} {op} ")?;
            in_parentheses(f, series)
        }
        MetricsExpr::Scalar { op, series, scalar, is_left: false } => {
            in_parentheses(f, series)?;
            write!(f, " {op} {scalar}")
        }
        MetricsExpr::Staged { series, stages } => {
            in_parentheses(f, series)?;
            stages.iter().try_for_each(|stage| write!(f, " {stage}"))
        }
    }
}

fn in_parentheses(f: &mut Formatter<'_>, expr: &MetricsExpr) -> fmt::Result {
    f.write_str("(")?;
    operation(f, expr)?;
    f.write_str(")")
}

impl Display for Pipeline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, &self.stages, " | ")
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spans(expr) => write!(f, "{expr}"),
            Self::Scalar(filter) => write!(f, "{filter}"),
            Self::By(expr) => write!(f, "by({expr})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                list(f, fields, ", ")?;
                f.write_str(")")
            }
        }
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let operand = |f: &mut Formatter<'_>, expr: &Self| match expr {
            Self::Op { .. } => write!(f, "({expr})"),
            _ => write!(f, "{expr}"),
        };
        match self {
            Self::Filter(expr) => write!(f, "{{ {expr} }}"),
            Self::Pipeline(pipeline) => write!(f, "({pipeline})"),
            Self::Op { op, left, right } => {
                operand(f, left)?;
                write!(f, " {op} ")?;
                operand(f, right)
            }
        }
    }
}

impl Display for SpansetOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::And => f.write_str("&&"),
            Self::Or => f.write_str("||"),
            Self::Structural(relation, Form::Plain) => f.write_str(relation.symbol()),
            Self::Structural(relation, Form::Negated) => write!(f, "!{}", relation.symbol()),
            Self::Structural(relation, Form::Union) => write!(f, "&{}", relation.symbol()),
        }
    }
}

impl Relation {
    pub(crate) const ALL: [Self; 5] = [Self::Child, Self::Descendant, Self::Parent, Self::Ancestor, Self::Sibling];

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Child => ">",
            Self::Descendant => ">>",
            Self::Parent => "<",
            Self::Ancestor => "<<",
            Self::Sibling => "~",
        }
    }
}

impl Display for ScalarFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.op, self.right)
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let operand = |f: &mut Formatter<'_>, expr: &Self| match expr {
            Self::Binary { .. } => write!(f, "({expr})"),
            _ => write!(f, "{expr}"),
        };
        match self {
            Self::Aggregate(aggregate) => write!(f, "{aggregate}"),
            Self::Literal(value) => write!(f, "{value}"),
            Self::Pipeline { pipeline, aggregate } => write!(f, "({pipeline} | {aggregate})"),
            Self::Binary { op, left, right } => {
                operand(f, left)?;
                write!(f, " {op} ")?;
                operand(f, right)
            }
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count()"),
            Self::Min(expr) => write!(f, "min({expr})"),
            Self::Max(expr) => write!(f, "max({expr})"),
            Self::Avg(expr) => write!(f, "avg({expr})"),
            Self::Sum(expr) => write!(f, "sum({expr})"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (prefix, name) = match self {
            Self::Intrinsic(intrinsic) => return write!(f, "{intrinsic}"),
            Self::Attribute { scope: Some(scope), name } => (scope.name(), name),
            Self::Attribute { scope: None, name } => ("", name),
            Self::Parent(name) => ("parent", name),
        };
        write!(f, "{prefix}.")?;
        // A digit right after the bare dot would read as a number.
        let reads_as_number = prefix.is_empty() && name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || reads_as_number || name.contains(|c| c == '"' || ends_name(c)) {
            quote(f, name)
        } else {
            f.write_str(name)
        }
    }
}

/// An attribute name in quotes, where only quotes and backslashes are escaped.
fn quote(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('"')
}

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(value) => write!(f, "{value}"),
            Self::Field(field) => write!(f, "{field}"),
            Self::Unary { op, expr } => {
                write!(f, "{op}")?;
                operand(f, expr)
            }
            Self::Binary { op, left, right } => {
                // A sign binds weaker than these operators: `-5 * x` would read as `-(5 * x)`.
                let signed =
                    matches!(op, BinaryOp::Arithmetic(op) if !matches!(op, ArithmeticOp::Add | ArithmeticOp::Sub));
                match &**left {
                    Self::Literal(value) if signed && is_negative(value) => write!(f, "({left})")?,
                    _ => operand(f, left)?,
                }
                write!(f, " {op} ")?;
                operand(f, right)
            }
        }
    }
}

/// Operations are put in parentheses, fields and literals are not.
fn operand(f: &mut Formatter<'_>, expr: &FieldExpr) -> fmt::Result {
    match expr {
        FieldExpr::Unary { .. } | FieldExpr::Binary { .. } => write!(f, "({expr})"),
        FieldExpr::Literal(_) | FieldExpr::Field(_) => write!(f, "{expr}"),
    }
}

fn is_negative(value: &Static) -> bool {
    match value {
        Static::Int(i64::MIN) => false, // prints as a word
        Static::Int(number) | Static::Duration(number) => *number < 0,
        Static::Float(number) => number.is_sign_negative(),
        _ => false,
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Neg => "-",
            Self::Not => "!",
        })
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arithmetic(op) => write!(f, "{op}"),
            Self::Compare(op) => write!(f, "{op}"),
            Self::Logic(LogicOp::And) => f.write_str("&&"),
            Self::Logic(LogicOp::Or) => f.write_str("||"),
        }
    }
}

impl Display for ArithmeticOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        })
    }
}

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        })
    }
}

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.function)?;
        if !self.by.is_empty() {
            f.write_str(" by (")?;
            list(f, &self.by, ", ")?;
            f.write_str(")")?;
        }
        for stage in &self.second_stages {
            write!(f, " {stage}")?;
        }
        Ok(())
    }
}

impl Display for MetricsFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate | Self::CountOverTime => write!(f, "{}()", self.name()),
            Self::MinOverTime(field)
            | Self::MaxOverTime(field)
            | Self::AvgOverTime(field)
            | Self::SumOverTime(field)
            | Self::HistogramOverTime(field) => write!(f, "{}({field})", self.name()),
            Self::QuantileOverTime { field, quantiles } => {
                write!(f, "{}({field}, ", self.name())?;
                list(f, quantiles, ", ")?;
                f.write_str(")")
            }
            Self::Compare { selection, top, window } => {
                write!(f, "{}({{ {selection} }}, {top}", self.name())?;
                if let Some((start, end)) = window {
                    write!(f, ", {start}, {end}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl MetricsFunction {
    /// The word that the query uses.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::CountOverTime => "count_over_time",
            Self::MinOverTime(_) => "min_over_time",
            Self::MaxOverTime(_) => "max_over_time",
            Self::AvgOverTime(_) => "avg_over_time",
            Self::SumOverTime(_) => "sum_over_time",
            Self::HistogramOverTime(_) => "histogram_over_time",
            Self::QuantileOverTime { .. } => "quantile_over_time",
            Self::Compare { .. } => "compare",
        }
    }
}

impl Display for SecondStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopK(limit) => write!(f, "| topk({limit})"),
            Self::BottomK(limit) => write!(f, "| bottomk({limit})"),
            Self::Compare { op, threshold } => write!(f, "{op} {threshold}"),
        }
    }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
