//! The `strata` command: command line, files, terminal and clock around the machine.
//!
//! Reading order: `args` (what can be asked), `values`, `qemu` and `domain` (how values are written), `launch`, `files` and `embedded` (what is booted), `session`, `console`, `input`, `output`, `monitor`, `pace`, `stop`, `process` and
//! `runner` (a run), `counts`, `trace`, `events`, `status`, `summary` and `report` (what is told of it), `kept`, `keep`, `snapshot`, `record`, `replay`, `parts`, `difference`, `apart`
//! and `time_travel` (runs that are kept), `explore` (many futures of one state), `debug` (gdb), `suite` (many runs), `memory`, `image`, `link`, `manual`.
//!
//! Invariants: everything is read and checked before the machine starts; the host's clock, threads
//! and files exist here and nowhere below. Nothing is printed by a macro that panics where the stream is full or
//! closed: [`output`] writes.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the host's clock and threads belong here"
)]

mod apart;
mod args;
mod console;
mod counts;
mod debug;
mod difference;
mod domain;
mod embedded;
mod events;
mod explore;
mod expression;
mod files;
mod image;
mod input;
mod keep;
mod kept;
mod keys;
mod launch;
mod limits;
mod link;
mod manual;
mod memory;
mod monitor;
mod output;
mod pace;
mod parts;
mod process;
mod qemu;
mod record;
mod replay;
mod report;
mod runner;
mod session;
mod snapshot;
mod status;
mod stop;
mod suite;
mod summary;
mod time_travel;
mod trace;
mod values;

use args::{Args, Asked, Verb};
use keep::Keep;
use status::{Failure, Status};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    stop::files_may_be_full();
    let argv: Vec<_> = std::env::args_os().collect();
    let as_qemu = args::as_qemu(&argv);
    let ended = match args::parse(&argv) {
        Ok(args) if is_elsewhere(&args) => process::start(&argv),
        Ok(args) => obey(args),
        Err(Asked::Failure(failure)) => Err(failure),
        Err(Asked::Text(text)) => print(text.trim_end()),
    };
    let status = ended.unwrap_or_else(|failure| {
        let name = if as_qemu { qemu::NAME } else { "strata" };
        output::say(&format!("{name}: {}\n", failure.text));
        failure.status
    });
    ExitCode::from(if as_qemu { qemu::code(status) } else { status.code() })
}

/// The run is to be in the background, in a process that has not been started yet.
fn is_elsewhere(args: &Args) -> bool {
    matches!(&args.verb, Some(Verb::Run(run)) if run.process.is_elsewhere())
}

/// Prints the text that was asked for. A reader that has found what it looked for, as `grep -q`, leaves quietly.
fn print(text: &str) -> Result<Status, Failure> {
    let mut out = std::io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(Status::Success),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Interrupted(0)),
        Err(error) => Err(Failure::output("standard output", &error)),
    }
}

/// Does what was asked.
fn obey(args: Args) -> Result<Status, Failure> {
    if let Some(heeded) = args.verb.as_ref().and_then(Verb::limits) {
        args.limits.only(heeded)?;
    }
    let launch = match args.verb {
        None => launch::main_job()?,
        Some(Verb::Host(host)) => launch::host(&host)?,
        Some(Verb::Run(run)) => launch::bare(run)?,
        Some(Verb::Qemu) => unreachable!("its words are those of run"),
        Some(Verb::Link(link)) => return link::make(&link.folder).map(|()| Status::Success),
        Some(Verb::Image(image)) => return image::write(&image.out).map(|()| Status::Success),
        Some(Verb::Restore(restore)) => return time_travel::restore(&restore, &args.limits),
        Some(Verb::Snapshot(snapshot)) => return time_travel::snapshot(&snapshot),
        Some(Verb::Hash(asked)) => return time_travel::hash(&asked),
        Some(Verb::Record(record)) => return time_travel::record(record, args.limits),
        Some(Verb::Replay(replay)) => return time_travel::replay(&replay),
        Some(Verb::Diff(asked)) => return apart::run(&asked),
        Some(Verb::Explore(asked)) => return explore::run(asked, &args.limits),
        Some(Verb::Debug(asked)) => return debug::recording(&asked),
        Some(Verb::Man) => return print(manual::page()?.trim_end()),
        Some(Verb::Completions(asked)) => {
            return print(manual::completions(asked.shell).trim_end());
        }
        Some(Verb::Test(test)) => return suite::run(&test, &args.limits),
    };
    let keep = Keep::new(&launch.keep, None);
    session::run(&launch, &args.limits, keep)
}
