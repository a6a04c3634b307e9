//! The `strata` command: command line, files, terminal and clock around the machine.
//!
//! Reading order: `args` (what can be asked), `values` and `domain` (how values are written),
//! `status` (how a run ends).

mod args;
mod domain;
mod status;
mod values;

fn main() {}
