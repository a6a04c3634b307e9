//! VMX operation.

#[path = "../support/mod.rs"]
mod support;

mod exits;
