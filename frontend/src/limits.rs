//! The flags of every run: what ends it from outside, and what is told of it.

use crate::events::{self, Chosen};
use crate::status::Failure;
use crate::values;
use std::path::PathBuf;

/// What ends a run from outside, and what is told of every run.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Limits {
    /// End after N instructions
    #[arg(long, value_name = "N", global = true, value_parser = values::limit)]
    pub(crate) limit_instructions: Option<u64>,
    /// End after S seconds of the host's clock
    #[arg(long, value_name = "S", global = true, value_parser = values::limit)]
    pub(crate) limit_seconds: Option<u64>,
    /// Write down in JSON how the run ended and what it has counted
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) report: Option<PathBuf>,
    /// Write down VM entries and exits: FILE.json for trace viewers, FILE.jsonl or FILE.txt, then domain=NAME,
    /// reason=NUMBER, except=NUMBER, from=N, to=N, last=N behind commas
    #[arg(long, value_name = "FILE,OPTIONS", global = true, value_parser = events::chosen)]
    pub(crate) events: Option<Chosen>,
}

impl Limits {
    /// These, and where they say nothing `others`.
    pub(crate) fn or(self, others: Limits) -> Limits {
        Limits {
            limit_instructions: self.limit_instructions.or(others.limit_instructions),
            limit_seconds: self.limit_seconds.or(others.limit_seconds),
            report: self.report.or(others.report),
            events: self.events.or(others.events),
        }
    }

    /// Refuses those that are not `heeded`.
    pub(crate) fn only(&self, heeded: &[&str]) -> Result<(), Failure> {
        let Limits { limit_instructions, limit_seconds, report, events } = self;
        let asked = [
            (limit_instructions.is_some(), "--limit-instructions"),
            (limit_seconds.is_some(), "--limit-seconds"),
            (report.is_some(), "--report"),
            (events.is_some(), "--events"),
        ];
        let first = asked.into_iter().find(|(asked, flag)| *asked && !heeded.contains(flag));
        first.map_or(Ok(()), |(_, flag)| {
            let why = "accepted with a run: the main job, run, host, qemu, restore and record";
            Err(Failure::usage(flag, why))
        })
    }
}
