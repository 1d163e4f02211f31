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

    /// Present when one of them is: for a section that is reported as one key.
    pub fn any<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Self {
        Self { present: keys.into_iter().any(Self::is_present) }
    }
}

impl<'de> Deserialize<'de> for NotApplicable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(Self { present: true })
    }
}
