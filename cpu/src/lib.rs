//! The processor: decode, execute, events, VMX.
//!
//! Reading order: [`state`] (what a processor is), `processor` (how the interpreter holds it), [`op`] and
//! [`dispatch`] (how an operation runs), [`mem`] and `access` (how it reaches memory), [`isa`] (the instruction
//! tables), [`decode`] and [`block`] (how code becomes operations), `run` (the outer loop), `events`, `smm`,
//! [`vmx`].
//!
//! Invariants: a handler that fails has changed nothing architectural; the state after `n` retired
//! instructions depends on the state before and on what the [`bus::Bus`] answers, not on dispatch mode,
//! block length, fusion or cache sizes.

mod access;
pub mod apic;
mod arena;
pub mod block;
mod breakpoints;
pub mod bus;
mod choose;
mod control;
mod cpuid;
mod debug;
pub mod decode;
mod delivery;
pub mod descriptors;
mod device_access;
pub mod dispatch;
mod events;
pub mod feature;
pub mod feature_filter;
mod floating_point;
pub mod fpu;
mod hand_over;
mod hint;
mod interface;
pub mod isa;
mod length;
pub mod limits;
pub mod mem;
pub mod model;
mod msr;
pub mod op;
pub mod operand;
pub mod plain;
mod processor;
mod reset;
mod run;
mod save;
mod smm;
pub mod state;
pub mod superinst;
mod tasks;
pub mod trace;
pub mod trap;
pub mod vmx;
pub mod word;

pub use block::CodeCache;
pub use interface::EntryState;
pub use processor::Cpu;
pub use run::Stop;
pub use state::CodeMode;
