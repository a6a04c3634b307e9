//! Tests of the ABI logic on a machine in a vector.

mod build;
mod console;
mod deadlines;
mod events;
mod grants;
mod heap;
mod hypercalls;
mod interrupts;
mod layouts;
mod memory;
mod migration;
mod pc;
mod preemption;
mod scheduler;
mod toolstack;
