//! The real app on free ports, asked over its protocols. One binary: linking is the slow part.

mod conformance_suite;
mod damage;
mod durability;
mod language;
mod retention;
mod server;
mod start;
mod stored;
mod tools;
mod traffic;
