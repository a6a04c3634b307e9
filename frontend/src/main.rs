//! The `strata` command: command line, files, terminal and clock around the machine.
//!
//! Reading order: `args` (what can be asked), `values` and `domain` (how values are written),
//! `launch`, `files` and `embedded` (what is booted), `session`, `console` and `runner` (a run), `status` and
//! `summary` (how it ends), `image`.
//!
//! Invariants: everything is read and checked before the machine starts; the host's clock, threads
//! and files exist here and nowhere below.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the host's clock and threads belong here"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

mod args;
mod console;
mod domain;
mod embedded;
mod files;
mod image;
mod launch;
mod runner;
mod session;
mod status;
mod summary;
mod values;

use args::{Args, Asked, Verb};
use status::{Failure, Status};
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = match args::parse(std::env::args_os()) {
        Ok(args) => obey(args),
        Err(Asked::Failure(failure)) => Err(failure),
        Err(Asked::Text(text)) => {
            println!("{}", text.trim_end());
            Ok(Status::Success)
        }
    };
    let status = ended.unwrap_or_else(|failure| {
        eprintln!("strata: {}", failure.text);
        failure.status
    });
    ExitCode::from(status.code())
}

/// Does what was asked.
fn obey(args: Args) -> Result<Status, Failure> {
    let launch = match args.verb {
        None => launch::main_job()?,
        Some(Verb::Host(host)) => launch::host(&host)?,
        Some(Verb::Run(run)) => launch::bare(run)?,
        Some(Verb::Image(image)) => return image::write(&image.out).map(|()| Status::Success),
    };
    session::run(&launch, &args.limits)
}
