//! Many small blocks → few large ones: the spans of a window of time lie together, the parts of a trace in one place.
//!
//! ```text
//! manifest ─▶ planner   which blocks belong together (pure)
//!             division  which of their traces go to which new block, in which row groups (pure)
//!             merge     rows of all inputs, newest first, in one pass and within a byte budget ─▶ files of the new blocks
//!             worker    one job at a time: merge, commit
//! ```
//!
//! Consistency. The files of the new blocks are stored first; then one manifest commit takes the inputs out and the new
//! blocks in, and fails when an input is no longer there. So any number of workers and processes may merge on one store:
//! of several that took the same input one commits, and the others throw their work away. The inputs' files, and what a
//! process leaves that dies between any two writes, are deleted by [`crate::garbage`]. A job that takes so long that its
//! files might be among them is given up.
//!
//! Time. Most blocks of a window hold spans of that window and a few that do not belong: spans sent late, clocks gone
//! wrong, traces that took days. One of them is enough to make a block look as if it held all the time between, and
//! every query would open it. So a merge sorts by time: traces that lie in the window go to one block; a window with
//! many others gets a block of its own, which joins the blocks of that window; what is left goes to a small block
//! apart, and such blocks are merged with each other only. What claims to end long after it was written is another
//! block apart: it is kept until then.
//!
//! Blocks whose spans were first written in different windows are never merged: retention drops a block as a whole, when
//! the last of its spans has to go, and so keeps no span longer than a window for the sake of others.

mod cursor;
mod division;
mod merge;
pub mod planner;
mod worker;

#[cfg(test)]
mod tests;

pub use worker::{Compactor, Config};
