//! `isa-coverage`: prints which instruction forms are implemented and have a vector, by CPUID
//! feature. Exit status 1 if a form is missing that no table excuses, or if the vectors cover less
//! than 99 % of those that silicon in user mode can witness.

#![expect(clippy::print_stdout, reason = "a command")]

use std::process::ExitCode;
use testsuites::coverage::{self, Report};

fn main() -> ExitCode {
    let report = Report::new(&coverage::covered());
    print!("{report}");
    if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
