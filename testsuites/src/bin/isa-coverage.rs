//! `isa-coverage`: prints which instruction forms are implemented and have a vector, by CPUID
//! feature. Exit status 1 if a form or its vector is missing and no table excuses it, or if the vectors
//! cover less than 99 % of all forms, those on request not counted.

#![expect(clippy::print_stdout, reason = "a command")]

use std::process::ExitCode;
use testsuites::coverage::{self, Report};

fn main() -> ExitCode {
    let report = Report::new(&coverage::covered());
    print!("{report}");
    if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
