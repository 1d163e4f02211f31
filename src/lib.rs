//! mosso: traces in over OTLP, out over Tempo's API. This crate wires the parts; they live in crates of their own.
//!
//! A library beside the binary, so that tests start what `main` starts.

pub mod adoption;
pub mod app;
pub mod cli;
pub mod config;
mod deletion;
pub mod exposure;
pub mod generating;
pub mod reload;
pub mod target;
mod tasks;
pub mod telemetry;
mod user_overrides;
