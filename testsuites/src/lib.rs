//! What the tests of the whole machine share.
//!
//! Reading order: [`guests`] builds the operating systems that the tests boot, from Debian's
//! packages; [`strata`] runs the `strata` command and reads what it said; [`bochs`] runs the
//! hypervisor elsewhere; [`fuzz`] runs arbitrary bytes on a bare processor; [`mod@bench`] measures;
//! [`superinst`] finds superinstructions for what a guest runs most; [`tidy`] holds the rules about the source;
//! [`outcome`] says how a test ends that is neither passed nor failed.
//!
//! Invariants: nothing here is part of the emulator, so the host's clock, files and processes may
//! be used; a guest is built once and then only read; where something cannot be had (no network,
//! no package) the caller gets an error that says so; a test that the machine cannot run is a skip, which is
//! counted.

pub mod bench;
pub mod bochs;
pub mod coverage;
pub mod fuzz;
pub mod guests;
pub mod on_xen;
pub mod oracle;
pub mod outcome;
pub mod strata;
pub mod superinst;
pub mod tidy;
