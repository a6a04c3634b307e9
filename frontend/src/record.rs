//! Recording: every input with its stamp, state hashes and snapshots, in a directory.

use crate::snapshot;
use crate::status::{Failure, Status};
use platform::machine::{Input, Machine};
use platform::recording::{FILE, Frame, Writer};
use platform::snapshot::Lineage;
use platform::time::Icount;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How often something is written, in instructions of machine time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Every {
    /// Between two state hashes.
    pub(crate) hash: u64,
    /// Between two snapshots.
    pub(crate) snapshot: u64,
}

/// Of so much machine time one instruction is retired at least where processors are not idle. A guest that polls a
/// device retires one in two hundred.
const BUSY: u64 = 1000;

/// When something is to be written next: when so much machine time has passed, unless the processors were idle.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    /// Machine time between two.
    every: u64,
    /// The machine time of the next look.
    at: u64,
    /// Instructions that are to be retired by then.
    retired: u64,
}

impl Due {
    /// `every` instructions of machine time from here on.
    fn after(machine: &Machine, every: u64) -> Due {
        let at = machine.now().0.saturating_add(every);
        Due { every, at, retired: machine.retired().saturating_add(every / BUSY) }
    }

    /// Whether it is to be written here; else when the next look is, if this was one.
    fn is_here(&mut self, machine: &Machine) -> bool {
        if machine.now().0 < self.at {
            return false;
        }
        let idle = machine.retired() < self.retired;
        if idle {
            self.at = machine.now().0.saturating_add(self.every);
        }
        !idle
    }
}

/// Writes a recording.
pub(crate) struct Recorder {
    directory: PathBuf,
    log: Writer<File>,
    every: Every,
    hash: Due,
    snapshot: Due,
    /// Snapshots so far.
    count: u32,
    /// Those of the run that is recorded.
    lineage: Lineage,
}

impl Recorder {
    /// Begins a recording in the directory `directory`, which is made, and must not have one.
    pub(crate) fn create(directory: &Path, every: Every) -> Result<Recorder, Failure> {
        let shown = directory.display();
        let wrong = |why: String| Failure::usage(format!("-o {shown}"), why);
        fs::create_dir_all(directory).map_err(|e| wrong(e.to_string()))?;
        let file = File::options().write(true).create_new(true).open(directory.join(FILE));
        let log = file.and_then(Writer::new).map_err(|e| match e.kind() {
            ErrorKind::AlreadyExists => {
                wrong("there is a recording already; accepted is a directory without one".into())
            }
            _ => wrong(e.to_string()),
        })?;
        let (directory, lineage) = (directory.to_owned(), Lineage::default());
        let [hash, snapshot] = [Due::default(); 2];
        Ok(Recorder { directory, log, every, hash, snapshot, count: 0, lineage })
    }

    /// A run begins: the machine is as after power-on, with what it boots in memory.
    pub(crate) fn begin(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        self.lineage = Lineage::default();
        self.snapshot(machine, true)?;
        self.hash = Due::after(machine, self.every.hash);
        Ok(())
    }

    /// The machine takes `input` at `at`.
    pub(crate) fn input(&mut self, at: Icount, input: Input) -> Result<(), Failure> {
        self.add(&Frame::Input { at, input })
    }

    /// When something is to be written next.
    pub(crate) fn due(&self) -> u64 {
        self.hash.at.min(self.snapshot.at)
    }

    /// The machine has come to a time of its own: writes what is due.
    pub(crate) fn look(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        let kept = self.snapshot.is_here(machine);
        if self.hash.is_here(machine) || kept {
            self.hash = Due::after(machine, self.every.hash);
            self.add(&Frame::Hash { at: machine.now(), hash: machine.state_hash() })?;
        }
        if kept { self.snapshot(machine, false) } else { Ok(()) }
    }

    /// The run has ended.
    pub(crate) fn end(
        &mut self,
        machine: &mut Machine,
        status: Status,
        by_guest: bool,
    ) -> Result<(), Failure> {
        let (at, hash, status) = (machine.now(), machine.state_hash(), status.code());
        self.add(&Frame::End { at, hash, by_guest, status })?;
        self.log.sync().map_err(|error| self.failed(&error))
    }

    fn snapshot(&mut self, machine: &mut Machine, begins: bool) -> Result<(), Failure> {
        let at = machine.now();
        let file = format!("{:06}.snapshot", self.count);
        let path = self.directory.join(&file);
        let id = snapshot::write_next(machine, &path, &mut self.lineage)?;
        self.count += 1;
        self.snapshot = Due::after(machine, self.every.snapshot);
        self.add(&Frame::Snapshot { at, file, id, begins })?;
        self.log.sync().map_err(|error| self.failed(&error))
    }

    fn add(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.log.add(frame).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let path = self.directory.join(FILE);
        Failure::emulator(format_args!(
            "{}: {error}; what was recorded before can be replayed",
            path.display()
        ))
    }
}
