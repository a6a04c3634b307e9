//! The `strata` command: command line, files, terminal and clock around the machine.
//!
//! Reading order: `args` (what can be asked), `values` and `domain` (how values are written),
//! `files` (what is read), `console` and `drive` (a run), `status` (how it ends).
//!
//! Invariants: everything is read and checked before the machine starts; the host's clock, threads
//! and files exist here and nowhere below.

#![allow(dead_code, reason = "the machine lands next")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the host's clock and threads belong here"
)]

mod args;
mod console;
mod domain;
mod drive;
mod files;
mod status;
mod values;

fn main() {}
