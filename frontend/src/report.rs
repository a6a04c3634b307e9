//! A run in numbers, for other programs (`--report FILE`). docs/report.schema.json says what is in it.

use crate::status::{Failure, Status};
use crate::summary::{self, Summary};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The form's version: another one is not read as this.
const VERSION: u32 = 1;

/// A file for the report, which is there from the start of the run on.
pub(crate) struct Report {
    path: PathBuf,
    file: File,
}

impl Report {
    /// A new file.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error| {
            let what = format!("--report {}", path.display());
            Failure::usage(what, format!("{error}; accepted is a file that can be written"))
        };
        Ok(Self { path: path.to_owned(), file: File::create(path).map_err(failed)? })
    }

    /// Writes the report.
    pub(crate) fn write(
        mut self,
        summary: &Summary,
        status: Status,
        message: Option<&str>,
    ) -> Result<(), Failure> {
        let text = format!("{:#}\n", content(summary, status, message));
        let written = self.file.write_all(text.as_bytes());
        let path = self.path.display();
        written.map_err(|error| Failure::emulator(format_args!("--report {path}: {error}")))
    }
}

/// How a run ended, as a word.
fn word(status: Status) -> &'static str {
    match status {
        Status::Success => "success",
        Status::Usage => "usage",
        Status::GuestPanicked => "guest-panicked",
        Status::Halted => "halted",
        Status::TripleFault => "triple-fault",
        Status::Emulator => "emulator",
        Status::Limit => "limit",
        Status::Interrupted(_) => "interrupted",
        Status::Quit | Status::Closed => "quit",
        Status::Differs => "differs",
        Status::TestsFailed => "tests-failed",
        Status::Found => "found",
        Status::DebugExit(_) => "debug-exit",
    }
}

fn content(summary: &Summary, status: Status, message: Option<&str>) -> Value {
    let sum = |of: fn(&summary::Level) -> u64| summary.levels.iter().map(of).sum::<u64>();
    let seconds: f64 = summary.levels.iter().map(|level| level.seconds).sum();
    json!({
        "version": VERSION,
        "strata": env!("CARGO_PKG_VERSION"),
        "status": status.code(),
        "ended": word(status),
        "debug_exit": if let Status::DebugExit(value) = status { Some(value) } else { None },
        "ending": summary::ending(status),
        "message": message,
        "state": summary.state_text(),
        "time": summary.time,
        "instructions": sum(|level| level.instructions),
        "cpu_seconds": seconds,
        "levels": summary.levels.iter().enumerate().map(|(n, level)| of_level(summary, n, level)).collect::<Vec<_>>(),
        "exits": counts(&summary.exits),
        "failed_entries": counts(&summary.refused),
        "translations": counts(&summary.translations),
        "unimplemented": counts(&summary.unimplemented),
        "refused_msrs": counts(&summary.refused_msrs),
        "devices": summary.accesses.iter().map(|(name, reads, writes)| {
            json!({"name": name, "reads": reads, "writes": writes})
        }).collect::<Vec<_>>(),
        "unclaimed": summary.unclaimed,
        "refused_accesses": counts(&summary.refused_accesses),
    })
}

/// A level with its exits.
fn of_level(summary: &Summary, place: usize, level: &summary::Level) -> Value {
    let exits = summary
        .exits_of(place)
        .map(|(reason, name, count)| json!({"reason": reason, "name": name, "count": count}));
    json!({
        "name": level.name,
        "instructions": level.instructions,
        "exits": exits.collect::<Vec<_>>(),
    })
}

/// Names and counts, those of which there are any.
fn counts(counts: &[(String, u64)]) -> Value {
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    counts.map(|(name, count)| json!({"name": name, "count": count})).collect()
}
