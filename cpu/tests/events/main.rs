//! Exceptions, interrupts, privilege changes and what else interrupts a program.

#[path = "../support/mod.rs"]
mod support;

mod apic;
mod exceptions;
mod limits;
mod system;
mod transfers;
mod virtual86;
