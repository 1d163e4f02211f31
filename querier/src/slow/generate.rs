//! Spans and queries from a random draw, small enough that queries often find something.

mod expressions;
mod queries;
mod spans;

pub(crate) use expressions::any_expr;
pub(crate) use queries::{any_metrics, any_search, asks_for_children};
pub(crate) use spans::{LONGEST_MILLIS, any_dealt, any_spans};

/// Keys of attributes.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// Names, and texts of attributes.
const TEXTS: [&str; 4] = ["", "x", "xy", "7"];
const SERVICES: [&str; 2] = ["x", "y"];
