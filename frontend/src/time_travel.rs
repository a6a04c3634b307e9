//! The verbs about runs that are kept: `restore`, `snapshot`, `hash`, `record`, `replay`.

use crate::args::{self, Asked, Verb};
use crate::difference;
use crate::keep::Keep;
use crate::kept::{Hash, Record, Replay, Restore, Snapshot as Looked, SnapshotVerb};
use crate::launch::{self, Launch};
use crate::limits::Limits;
use crate::output;
use crate::parts::Slice;
use crate::record::{Every, Recorder};
use crate::replay::{self, Audience};
use crate::session;
use crate::snapshot::Chain;
use crate::status::{Failure, Status};
use platform::machine::{Config, Machine};
use platform::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Write, stdout};
use std::path::Path;

/// `strata restore`.
pub(crate) fn restore(asked: &Restore, limits: &Limits) -> Result<Status, Failure> {
    let chain = Chain::read(&asked.file)?;
    chain.verify(&asked.file)?;
    let host = Config {
        trace: asked.trace.items(),
        code: asked.accel.unwrap_or_default(),
        ..Config::default()
    };
    let launch = launch::restored(chain.last().saved().config(), asked);
    let machine = chain.restore(&asked.file, &host)?;
    session::go_on(machine, &launch, limits)
}

/// `strata snapshot`.
pub(crate) fn snapshot(asked: &Looked) -> Result<Status, Failure> {
    match &asked.verb {
        SnapshotVerb::Info { file } => {
            let chain = Chain::read(file)?;
            let state = restored(&chain, file)?.state_hash();
            print(&info(&chain, &state))?;
            Ok(Status::Success)
        }
        SnapshotVerb::Verify { file } => {
            let chain = Chain::read(file)?;
            chain.verify(file)?;
            print("all of it is as it was written\n")?;
            Ok(Status::Success)
        }
        SnapshotVerb::Diff { first, second } => {
            let (first, second) = (side(first)?, side(second)?);
            let text = differences(first, second);
            print(if text.is_empty() { "no difference\n" } else { &text })?;
            Ok(if text.is_empty() { Status::Success } else { Status::Differs })
        }
    }
}

/// `strata hash`.
pub(crate) fn hash(asked: &Hash) -> Result<Status, Failure> {
    let chain = Chain::read(&asked.file)?;
    let state = restored(&chain, &asked.file)?.state_hash();
    print(&format!("state {}\n", hex(&state)))?;
    Ok(Status::Success)
}

/// The machine of a chain, to be looked at.
fn restored(chain: &Chain, path: &Path) -> Result<Machine, Failure> {
    chain.restore(path, &Config::default())
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::output("standard output", &error))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What `snapshot info` prints.
fn info(chain: &Chain, state: &[u8; 32]) -> String {
    let last = chain.last();
    let (saved, config) = (last.saved(), last.saved().config());
    let parent = last.parent().map_or("none".into(), |parent| parent.file.clone());
    let memory = saved.memory() >> 20;
    let pages =
        |snapshots: &[Snapshot]| -> usize { snapshots.iter().map(|s| s.pages().count()).sum() };
    let rows = [
        ("identity", hex(&last.id())),
        ("parent", parent),
        ("machine time", saved.now().0.to_string()),
        ("instructions", saved.retired().to_string()),
        ("machine", format!("-m {memory} -smp {} -cpu {}", config.vcpus, config.cpu_model)),
        ("pages", pages(std::slice::from_ref(last)).to_string()),
        ("pages with parents", pages(chain.snapshots()).to_string()),
        ("state", hex(state)),
    ];
    rows.iter().fold(String::new(), |text, (name, value)| format!("{text}{name:<20}{value}\n"))
}

/// A snapshot with the hashes of all pages of its memory.
type Side = (Chain, BTreeMap<usize, [u8; 16]>);

fn side(path: &Path) -> Result<Side, Failure> {
    let chain = Chain::read(path)?;
    let pages = restored(&chain, path)?.held_pages().into_iter().collect();
    Ok((chain, pages))
}

/// Lines for fields and pages that differ.
fn differences((first, mine): Side, (second, other): Side) -> String {
    let mut text = String::new();
    let fields = difference::between(first.last().saved().clone(), second.last().saved().clone());
    for difference::Difference { field, first, second } in fields {
        _ = writeln!(text, "{field}: {first} -> {second}");
    }
    let numbers = mine.keys().chain(other.keys().filter(|n| !mine.contains_key(*n)));
    let mut pages: Vec<_> = numbers.filter(|n| mine.get(n) != other.get(n)).collect();
    pages.sort();
    for n in pages {
        let what = match (mine.get(n), other.get(n)) {
            (Some(_), None) => "zero in the second",
            (None, _) => "zero in the first",
            _ => "differs",
        };
        _ = writeln!(text, "page {n:#x}: {what}");
    }
    text
}

/// The run that `words`, after `--` of the verb `verb`, ask for, with its limits.
pub(crate) fn launch_of(words: Vec<OsString>, verb: &str) -> Result<(Launch, Limits), Failure> {
    let words: Vec<_> = std::iter::once(OsString::from("strata")).chain(words).collect();
    let inner = args::parse(&words).map_err(|error| match error {
        Asked::Failure(failure) => failure,
        Asked::Text(_) => Failure::input(format_args!("{verb}: after -- stand the words of a run")),
    })?;
    let launch = match inner.verb {
        None => launch::main_job()?,
        Some(Verb::Host(host)) => launch::host(&host)?,
        Some(Verb::Run(run)) if run.process.daemonize => {
            return Err(Failure::usage("-daemonize", "accepted with run and qemu"));
        }
        Some(Verb::Run(run)) => launch::bare(run)?,
        Some(_) => {
            let why = "accepted after -- are run, host and no verb";
            return Err(Failure::usage(verb, why));
        }
    };
    Ok((launch, inner.limits))
}

/// `strata record`.
pub(crate) fn record(asked: Record, limits: Limits) -> Result<Status, Failure> {
    let Record { out, hash_every, snapshot_every, words } = asked;
    let (launch, own) = launch_of(words, "record")?;
    let recorder = Recorder::create(&out, Every { hash: hash_every, snapshot: snapshot_every })?;
    let keep = Keep::new(&launch.keep, Some(recorder));
    session::run(&launch, &own.or(limits), keep)
}

/// `strata replay`.
pub(crate) fn replay(asked: &Replay) -> Result<Status, Failure> {
    let recording = replay::Replay::read(&asked.directory)?;
    if recording.cut > 0 {
        output::say(&format!(
            "strata: the recording ends in the middle of a frame, of which there are {} bytes\n",
            recording.cut
        ));
    }
    if asked.manifest {
        print(&format!("{:#}\n", recording.manifest()))?;
        return Ok(Status::Success);
    }
    if asked.verify {
        let all = Slice { part: 1, of: 1 };
        let parts = recording.verify(asked.jobs.into(), asked.slice.unwrap_or(all))?;
        print(&format!("{parts} parts are as recorded\n"))?;
        return Ok(Status::Success);
    }
    let host = Config { code: asked.accel.unwrap_or_default(), ..Config::default() };
    let mut machine = recording.play(asked.to, &host, &mut Terminal)?;
    let now = machine.now().0;
    let end = match recording.status() {
        Some(status) if asked.to.is_none() => format!("the end, exit status {status}"),
        _ => format!("{now} instructions of machine time"),
    };
    output::say(&format!("-- as recorded, up to {end}\nstate {}\n", hex(&machine.state_hash())));
    Ok(Status::Success)
}

/// What COM1 sends is for standard output.
struct Terminal;

impl Audience for Terminal {
    fn take(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        let bytes = machine.serial_output(0);
        replay::forget_output(machine);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut out = stdout();
        let written = out.write_all(&bytes).and_then(|()| out.flush());
        written.map_err(|error| Failure::output("standard output", &error))
    }
}
