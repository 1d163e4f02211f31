//! The log on the bucket: requests that are acknowledged when the object that has them is stored, so a writer needs no disk.
//!
//! ```text
//! cluster/log/<incarnation>/<20-digit number>      1, 2, 3 … without gaps, each put only if absent
//! ```
//!
//! An incarnation is one start of a writer; its log is never continued. Each object is a batch of requests of all tenants. The
//! manifest's watermark of such a writer is the number of an object.
//!
//! - **One put at a time.** Object n + 1 is put when n is certain. So what is acknowledged has no gaps, and whoever puts the next
//!   number first wins it.
//! - **An answer that says nothing** (a timeout; "already exists", which stores also say when two puts met and neither was
//!   stored, or when a put was repeated behind our back): the object that is there is read, and its nonce compared. Nothing
//!   there: the same object is put again. Our nonce: stored. A seal: the log is closed. Anything else: two write one log.
//! - **A seal** is an object without requests at the next number, put by somebody who does not hear of the writer. If the
//!   writer's put comes first, it lives. A seal counts only if a listing *after* it shows nothing above it: whoever slept between
//!   its own listing and its put may have found a number free that was used and deleted long ago. The newest object is never
//!   deleted while its writer is a member, so such a listing shows what is above.
//! - **A number that was deleted is free again**, so a put must not be believed that is later than a seal and its deletion.
//!   A seal can be put once the object before it is there, and is deleted an hour after its writer was retired. So a put is
//!   believed if the put before it began less than [`TRUSTED_FOR`] ago, by the longer of two clocks; otherwise only when the
//!   writer's record is found to stand after it ([`crate::members::Standing`]).
//!
//! What blocks have is deleted by its writer, an hour later ([`collect`]); the rest of a log after its writer's record.
//!
//! - `object`: the format; `writer`: appending; `reader`: listing and reading; `seal`; `collect`.

pub mod collect;
mod object;
mod reader;
mod seal;
mod writer;

use std::time::Duration;

pub use object::{LogEntry, LogObject};
pub use reader::LogReader;
pub use seal::{Seal, seal};
pub use writer::{BucketLog, Settings};

/// How long after the beginning of the put before it a put is believed without another look. Far less than
/// [`crate::members::KEPT_RETIRED`].
pub const TRUSTED_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
