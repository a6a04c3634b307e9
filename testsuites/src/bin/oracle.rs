//! `oracle`: compares single instructions with the host's processor. Exit status 1 if some differ.
#![expect(clippy::print_stderr, reason = "a command")]

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> ExitCode {
    match testsuites::oracle::command::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("oracle: {e:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() -> ExitCode {
    eprintln!(
        "oracle: the host must be x86-64 Linux; the rows of silicon are replayed by the tests"
    );
    ExitCode::from(2)
}
