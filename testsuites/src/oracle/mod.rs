//! The host's processor as the oracle of single instructions in user mode.
//!
//! Reading order: [`case`] (what an instruction meets, and what came of it), [`base`] (the frozen
//! states that cases are written as differences from), [`generate`] (where cases come from), [`host`]
//! (a confined child runs them), [`ours`] (a bare processor runs them), [`compare`].

pub mod aim;
pub mod base;
pub mod campaign;
pub mod capture;
pub mod case;
mod child;
pub mod compare;
pub mod differences;
pub mod encode;
pub mod generate;
pub mod host;
pub mod ours;
pub mod row;
pub mod segments;
mod shared;
pub mod shrink;
pub mod vary;
pub mod vectors;
pub mod wild;

pub use base::Random;
pub use case::{CODE, Case, DATA, DATA_SIZE, Event, Line, Mode, Outcome, Patch, State};
