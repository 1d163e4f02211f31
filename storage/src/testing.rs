//! Storage that fails on purpose: for tests of this crate, and with the feature `testing` of others.
//!
//! ```text
//! Faults ─▶ FaultyStore   an object store of which any call can fail, before it is done or afterwards
//!        ─▶ Disk          a log's files in memory; a crash loses what was not synced, or tears it
//! whole_table             everything in a source, as one table
//! Power                   cut, nothing that hangs on it changes any more: the moment of a crash
//! ```

mod disk;
mod faults;
mod objects;
mod whole;

pub use disk::Disk;
pub use faults::{Call, Fault, Faults, Power};
pub use objects::FaultyStore;
pub use whole::whole_table;
