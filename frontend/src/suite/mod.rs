//! `strata test`: many guests, each by a child process of this program, and what came of each.
//!
//! Reading order: this file (what is asked, a test, a verdict), `kut` and `list` (where tests come from), `words`,
//! `shard` (parts of them), `run` (one test), `pool` (many at once), `told` (lines, TAP, JUnit, JSON).
//!
//! Invariant: a verdict and a hash follow from the test alone; with how many others it runs, and in which order,
//! changes nothing but the host's seconds.

mod kut;
mod list;
mod pool;
mod run;
mod shard;
mod told;
mod words;

use crate::limits::Limits;
use crate::status::{Failure, Status};
use crate::stop::Stop;
use shard::{Partition, ShardBy};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// A folder of kvm-unit-tests, built: the tests of its x86/unittests.cfg
    #[arg(long, value_name = "DIR", conflicts_with = "list", required_unless_present = "list")]
    kut: Option<PathBuf>,
    /// A TOML file with a table [[test]] for each test: name, kernel, words, status, text, limit
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Only the tests of a group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// How many run at once
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Only the K-th of N parts of the tests
    #[arg(long, value_name = "K/N", value_parser = shard::partition)]
    partition: Option<Partition>,
    /// What is to be the same in the parts: the number of tests, or their time
    #[arg(long, value_name = "WHAT", value_enum, default_value_t, requires = "partition")]
    shard_by: ShardBy,
    /// What --json has written of an earlier run: how long each test takes [default: up to its limit]
    #[arg(long, value_name = "FILE", requires = "partition")]
    times: Option<PathBuf>,
    /// Of kvm-unit-tests those too that are run by hand only
    #[arg(short, long)]
    all: bool,
    /// Write what came of the tests as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what came of the tests in the Test Anything Protocol
    #[arg(long, value_name = "FILE")]
    tap: Option<PathBuf>,
    /// Write what came of the tests as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the names of the tests, and run none
    #[arg(long)]
    names: bool,
    /// Only the tests of these names
    #[arg(value_name = "NAME")]
    only: Vec<String>,
}

/// One guest to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    name: String,
    groups: Vec<String>,
    /// The words behind `strata`.
    words: Vec<OsString>,
    /// The folder in which it runs.
    folder: PathBuf,
    /// The most instructions, if the command line does not say.
    limit: u64,
    expect: Expect,
    /// Why it is not run.
    skip: Option<String>,
    /// It runs only where it is asked for: by its name, its group, or with all.
    by_hand: bool,
}

/// What is to come of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expect {
    /// This exit status, and this text on the first serial port.
    Status { status: u8, text: Option<String> },
    /// The exit status of kvm-unit-tests, and nothing but warnings on standard error.
    Kut,
}

/// What has come of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Skip,
    /// The guest is not as it should be.
    Fail,
    /// The test could not be run.
    Error,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Skip => "SKIP",
            Self::Fail => "FAIL",
            Self::Error => "ERROR",
        }
    }
}

/// A test that was run.
#[derive(Debug, Clone)]
struct Outcome {
    verdict: Verdict,
    /// Why it is no pass, or what the guest sums up.
    reason: String,
    /// The exit status.
    status: Option<u8>,
    /// The hash of the final state.
    state: Option<String>,
    instructions: u64,
    cpu_seconds: f64,
    /// The end of what the guest has printed.
    output: String,
}

/// `strata test`.
pub(crate) fn run(asked: &Test, limits: &Limits) -> Result<Status, Failure> {
    let cases = cases(asked)?;
    if asked.names {
        let names: String = cases.iter().map(|case| format!("{}\n", case.name)).collect();
        return told::print(&names).map(|()| Status::Success);
    }
    let files = told::Files::create(asked)?;
    let stop = Stop::default();
    stop.on_signals()?;
    let outcomes = pool::run(&cases, limits, asked.jobs.into(), &stop)?;
    let all = cases.into_iter().zip(outcomes).collect::<Vec<_>>();
    files.write(&all)?;
    told::print(&told::sums(&all))?;
    let good = |outcome: &Outcome| matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
    Ok(match stop.asked() {
        Some(status) => status,
        None if all.iter().all(|(_, outcome)| good(outcome)) => Status::Success,
        None => Status::TestsFailed,
    })
}

/// The tests that are asked for.
fn cases(asked: &Test) -> Result<Vec<Case>, Failure> {
    let all = match (&asked.kut, &asked.list) {
        (Some(folder), _) => kut::read(folder)?,
        (None, Some(file)) => list::read(file)?,
        (None, None) => {
            return Err(Failure::usage("test", "accepted are --kut DIR and --list FILE"));
        }
    };
    let missing = asked.only.iter().find(|name| all.iter().all(|case| case.name != **name));
    if let Some(name) = missing {
        return Err(Failure::usage(name, "no such test; --names lists them"));
    }
    let wanted = |case: &Case| {
        (asked.only.is_empty() || asked.only.contains(&case.name))
            && asked.group.as_ref().is_none_or(|group| case.groups.contains(group))
    };
    let by_hand = asked.all || asked.group.is_some() || !asked.only.is_empty();
    let or_skipped = |mut case: Case| {
        if case.by_hand && !by_hand {
            case.skip = Some("test marked as manual run only".into());
        }
        case
    };
    let cases = all.into_iter().filter(wanted).map(or_skipped).collect();
    let whole = Partition { part: 1, of: 1 };
    let (part, times) = (asked.partition.unwrap_or(whole), asked.times.as_deref());
    shard::part(cases, part, asked.shard_by, times)
}
