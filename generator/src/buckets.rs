//! Buckets of histograms that are chosen by their bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Upper bounds of a histogram's buckets in seconds: finite, ascending, without `+Inf`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<f64>")]
#[schemars(with = "Vec<f64>")]
pub struct Buckets(Vec<f64>);

/// No bound is NaN.
impl Eq for Buckets {}

/// Bounds that make no histogram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("histogram buckets must be finite and ascending, without duplicates")]
pub struct BucketsError;

impl TryFrom<Vec<f64>> for Buckets {
    type Error = BucketsError;

    fn try_from(bounds: Vec<f64>) -> Result<Self, BucketsError> {
        let ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let usable = ascending && bounds.iter().all(|bound| bound.is_finite());
        if usable { Ok(Self(bounds)) } else { Err(BucketsError) }
    }
}

impl Buckets {
    /// `count` bounds, each twice the one before.
    pub fn doubling(first: f64, count: i32) -> Self {
        Self((0..count).map(|power| first * f64::powi(2.0, power)).collect())
    }

    pub fn bounds(&self) -> &[f64] {
        &self.0
    }
}
