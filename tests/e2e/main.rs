//! The real app on free ports, asked over its protocols. One binary: linking is the slow part.

mod conformance_suite;
mod durability;
mod language;
mod retention;
mod server;
mod start;
