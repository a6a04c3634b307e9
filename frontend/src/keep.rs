//! What is kept of a run besides its output: a recording, a snapshot.

use crate::kept::SnapshotAt;
use crate::output;
use crate::record::Recorder;
use crate::snapshot;
use crate::status::{Failure, Status};
use crate::values::Moment;
use platform::machine::{Input, Machine};
use platform::time::Icount;

/// Writes down what the user wants to keep of a run.
#[derive(Default)]
pub(crate) struct Keep {
    recorder: Option<Recorder>,
    snapshot: SnapshotAt,
    /// The end of what COM1 has sent, as much as a text that is waited for may begin in.
    tail: Vec<u8>,
    /// COM1 has sent the text.
    due: bool,
    /// The snapshot is written.
    done: bool,
}

impl Keep {
    /// Keeps what `snapshot` says, and a recording if there is a recorder.
    pub(crate) fn new(snapshot: &SnapshotAt, recorder: Option<Recorder>) -> Keep {
        Keep { snapshot: snapshot.clone(), recorder, ..Keep::default() }
    }

    /// The machine is about to run for the first time, or after a reset.
    pub(crate) fn begin(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        if self.moment() == Some(machine.now().0) {
            self.write(machine)?;
        }
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.begin(machine))
    }

    /// How far the machine may run from `now` on until something is to be written.
    pub(crate) fn ahead(&self, now: Icount) -> u64 {
        let left = |at: u64| at.saturating_sub(now.0).max(1);
        let recorded = self.recorder.as_ref().map_or(u64::MAX, |recorder| left(recorder.due()));
        recorded.min(self.moment().filter(|at| *at > now.0).map_or(u64::MAX, left))
    }

    /// When the snapshot is to be written, if that is a time.
    fn moment(&self) -> Option<u64> {
        match self.snapshot.snapshot_at {
            Some(Moment::Icount(at)) if !self.done => Some(at),
            _ => None,
        }
    }

    /// Serial port `port` has sent `bytes`.
    pub(crate) fn sent(&mut self, port: usize, bytes: &[u8]) {
        let Some(Moment::Text(text)) = &self.snapshot.snapshot_at else { return };
        if port != 0 || self.done || self.due {
            return;
        }
        let text = text.as_bytes();
        self.tail.extend(bytes);
        self.due = self.tail.windows(text.len()).any(|part| part == text);
        let rest = self.tail.len().saturating_sub(text.len() - 1);
        self.tail.drain(..rest);
    }

    /// The machine has taken `input` in, for `at`.
    pub(crate) fn input(&mut self, at: Icount, input: Input) -> Result<(), Failure> {
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.input(at, input))
    }

    /// The machine has come to a time of its own: writes what is due.
    pub(crate) fn look(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        if self.due || self.moment() == Some(machine.now().0) {
            self.write(machine)?;
        }
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.look(machine))
    }

    /// Somebody at the terminal wants the snapshot now, instead of later.
    pub(crate) fn now(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        let Some(path) = &self.snapshot.snapshot else {
            output::say("\nstrata: --snapshot does not say where to\n");
            return Ok(());
        };
        let said = format!("\nstrata: snapshot {}, at {}\n", path.display(), machine.now().0);
        self.write(machine)?;
        output::say(&said);
        Ok(())
    }

    /// The run has ended.
    pub(crate) fn end(
        &mut self,
        machine: &mut Machine,
        status: Status,
        by_guest: bool,
    ) -> Result<(), Failure> {
        if self.snapshot.snapshot_at.is_none() && !self.done {
            self.write(machine)?;
        }
        let recorder = self.recorder.as_mut();
        recorder.map_or(Ok(()), |recorder| recorder.end(machine, status, by_guest))?;
        match (&self.snapshot.snapshot, self.done) {
            (Some(path), false) => {
                let why = "it was not written, for the run has ended before --snapshot-at";
                Err(Failure::usage(format_args!("--snapshot {}", path.display()), why))
            }
            _ => Ok(()),
        }
    }

    /// Whether the run is being recorded.
    pub(crate) fn records(&self) -> bool {
        self.recorder.is_some()
    }

    /// Whether the end of the run must be at a time of the machine's own.
    pub(crate) fn wants_time(&self) -> bool {
        self.recorder.is_some() || self.snapshot.snapshot.is_some()
    }

    /// Writes the snapshot.
    fn write(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        (self.due, self.done) = (false, true);
        match &self.snapshot.snapshot {
            Some(path) => snapshot::write(machine, path),
            None => Ok(()),
        }
    }
}
