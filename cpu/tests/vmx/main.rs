//! VMX operation.

#[path = "../support/mod.rs"]
mod support;

mod activity;
mod delivery;
mod exits;
