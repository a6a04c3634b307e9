//! The host's processor as the oracle of single instructions in user mode.
//!
//! Reading order: [`case`] (what an instruction meets, and what came of it), [`base`] (the frozen
//! states that cases are written as differences from), [`generate`] (where cases come from), [`host`]
//! (a confined child runs them), [`ours`] (a bare processor runs them), [`compare`].

pub mod aim;
pub mod base;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod campaign;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod capture;
pub mod case;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod child;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod command;
pub mod compare;
pub mod differences;
pub mod edges;
pub mod encode;
pub mod generate;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod host;
pub mod ours;
pub mod row;
pub mod rows;
pub mod segments;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod shared;
pub mod shrink;
pub mod silicon;
pub mod vary;
pub mod vectors;
pub mod wild;

pub use base::Random;
pub use case::{CODE, Case, DATA, DATA_SIZE, Event, Line, Mode, Outcome, Patch, State};
