//! System-management mode.

#[path = "../support/mod.rs"]
mod support;

mod programs;
mod vmx;
