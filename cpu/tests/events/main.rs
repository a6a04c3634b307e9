//! Exceptions, interrupts, privilege changes and what else interrupts a program.

#[path = "../support/mod.rs"]
mod support;

mod exceptions;
mod system;
mod transfers;
mod virtual86;
