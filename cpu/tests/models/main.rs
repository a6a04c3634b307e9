//! Processor models.

#[path = "../support/mod.rs"]
mod support;

mod features;
