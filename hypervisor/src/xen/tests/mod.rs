//! Tests of the ABI logic on a machine in a vector.

mod build;
mod events;
mod grants;
mod hypercalls;
mod interrupts;
mod layouts;
mod memory;
