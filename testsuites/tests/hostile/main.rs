//! Hostile and greedy guests: whatever a guest does, the run ends when it is asked to, and the host's memory and
//! processor time stay within bounds.
//!
//! [`emulator`] has bare guests against the emulator, each of which is run for [`run::seconds`], a second if the
//! environment does not ask for more: CONTRIBUTING.md says how to run them for a minute each. [`domains`] has domUs
//! against the hypervisor and their neighbours.

#[path = "../../../cpu/tests/support/asm.rs"]
#[allow(dead_code, reason = "guests use their part of the assembler")]
mod asm;
mod domains;
mod emulator;
mod image;
#[path = "../../../cpu/tests/support/operand.rs"]
#[allow(dead_code, reason = "guests use their part of the assembler")]
mod operand;
mod run;
mod vmx;
