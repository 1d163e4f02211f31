//! `deletion`: traces that are deleted before their time. Of mosso alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `deletion`: traces that are deleted before their time. Of mosso alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deletion {
    /// Whether `/api/deletions` is there. With `authentication` a credential needs `admin` to delete; without it
    /// everybody who may read may delete.
    pub enabled: bool,
}
