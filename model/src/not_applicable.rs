//! Keys of Tempo's configuration that mean nothing here.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A key of Tempo's that has no meaning here: any value is read over, and none is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotApplicable {
    present: bool,
}

impl NotApplicable {
    pub fn is_present(&self) -> bool {
        self.present
    }
}

impl<'de> Deserialize<'de> for NotApplicable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Self { present: true })
    }
}
