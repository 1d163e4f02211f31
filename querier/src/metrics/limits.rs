//! What measuring may take.

use std::sync::Arc;

use crate::cancellation::Cancellation;
use crate::shown::Shown;

/// What measuring may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Most numbers that are held: series times intervals.
    pub max_samples: usize,
    /// Most exemplars in the answer.
    pub max_exemplars: usize,
    /// What they say of their spans.
    pub exemplar_labels: Arc<Shown>,
    /// Ends measuring when nobody waits for it any more.
    pub cancellation: Cancellation,
}
