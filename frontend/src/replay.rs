//! Replaying a recording: the same run again, compared with what was recorded at every state hash.

use crate::difference;
use crate::snapshot::{self, Chain};
use crate::status::Failure;
use platform::machine::{Config, Machine, MachineStop};
use platform::recording::{FILE, Frame, Recording};
use platform::snapshot::{Id, Snapshot};
use platform::time::Icount;
use platform::timeline::End;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Instructions between two looks at the host.
const SLICE: u64 = 4_000_000;

/// A recording in its directory.
pub(crate) struct Replay {
    directory: PathBuf,
    pub(crate) frames: Vec<Frame>,
    /// Bytes of an incomplete frame at the end.
    pub(crate) cut: u64,
}

/// Where a replay goes: what the machine sends, and whether it is to end.
pub(crate) trait Audience {
    /// Takes what the machine has sent.
    fn take(&mut self, machine: &mut Machine) -> Result<(), Failure>;
}

impl Replay {
    /// Reads the frames of the recording in `directory`.
    pub(crate) fn read(directory: &Path) -> Result<Replay, Failure> {
        let path = directory.join(FILE);
        let wrong = |why: String| Failure::usage(path.display(), why);
        let file = File::open(&path).map_err(|e| wrong(e.to_string()))?;
        let Recording { frames, cut } =
            Recording::read(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;
        Ok(Replay { directory: directory.to_owned(), frames, cut })
    }

    /// The exit status of the recorded command, if the recording has its end.
    pub(crate) fn status(&self) -> Option<u8> {
        self.frames.iter().find_map(|frame| match frame {
            Frame::End { status, .. } => Some(*status),
            _ => None,
        })
    }

    /// The snapshot `file` of the recording with what it is an increment to.
    fn chain(&self, file: &str, id: &Id) -> Result<(PathBuf, Chain), Failure> {
        let path = snapshot::beside(&self.directory.join(FILE), file)?;
        let chain = Chain::read(&path)?;
        if chain.last().id() != *id {
            let why = "this is not the snapshot that was recorded";
            return Err(Failure::usage(path.display(), why));
        }
        Ok((path, chain))
    }

    /// The machine of a snapshot of the recording, the pages of which are compared with what was written.
    pub(crate) fn load(&self, file: &str, id: &Id, host: &Config) -> Result<Machine, Failure> {
        let (path, chain) = self.chain(file, id)?;
        chain.load(&path, host)
    }

    /// Plays all, or up to machine time `to` of the last run in it. The machine as it is then.
    pub(crate) fn play(
        &self,
        to: Option<u64>,
        host: &Config,
        audience: &mut dyn Audience,
    ) -> Result<Machine, Failure> {
        let last = self.frames.iter().rposition(begins).unwrap_or(0);
        let mut player = Player { replay: self, audience, agreed: Icount(0) };
        let mut machine: Option<Machine> = None;
        for (n, frame) in self.frames.iter().enumerate() {
            if let Frame::Snapshot { file, id, begins: true, .. } = frame {
                if let Some(machine) = &mut machine {
                    player.run_to_end(machine)?;
                }
                machine = Some(self.load(file, id, host)?);
                continue;
            }
            let machine = machine.as_mut().ok_or_else(|| self.wrong("no snapshot"))?;
            match to.map(Icount) {
                Some(to) if n > last && frame.at() > to => {
                    player.run_to(machine, to)?;
                    break;
                }
                _ => player.follow(machine, n)?,
            }
        }
        machine.ok_or_else(|| self.wrong("no snapshot"))
    }

    /// The frames of the last run in the recording, its snapshot first.
    pub(crate) fn last_run(&self) -> &[Frame] {
        &self.frames[self.frames.iter().rposition(begins).unwrap_or(0)..]
    }

    /// The snapshots of the last run in the recording: the frames, with their times.
    pub(crate) fn starts(&self) -> Vec<(usize, Icount)> {
        let last = self.frames.iter().rposition(begins).unwrap_or(0);
        let snapshots = self.frames.iter().enumerate().skip(last);
        let snapshots = snapshots.filter(|(_, frame)| matches!(frame, Frame::Snapshot { .. }));
        snapshots.map(|(n, frame)| (n, frame.at())).collect()
    }

    /// The machine at frame `n`, a snapshot, which knows all that it is given afterwards.
    pub(crate) fn machine_at(&self, n: usize, host: &Config) -> Result<Machine, Failure> {
        let Some(Frame::Snapshot { file, id, .. }) = self.frames.get(n) else {
            return Err(self.wrong("no snapshot"));
        };
        let mut machine = self.load(file, id, host)?;
        for frame in self.frames[n + 1..].iter().take_while(|frame| !begins(frame)) {
            if let Frame::Input { at, input } = frame {
                machine.input(*at, input.clone());
            }
        }
        Ok(machine)
    }

    /// Where the last run in the recording ends.
    pub(crate) fn end(&self) -> End {
        match self.frames.last() {
            Some(Frame::End { by_guest: true, .. }) => End::Guest,
            _ => End::Time(
                self.frames
                    .iter()
                    .rev()
                    .take_while(|f| !begins(f))
                    .map(Frame::at)
                    .max()
                    .unwrap_or_default(),
            ),
        }
    }

    pub(crate) fn wrong(&self, why: &str) -> Failure {
        Failure::usage(self.directory.join(FILE).display(), why)
    }
}

/// Whether a frame begins a run.
pub(crate) fn begins(frame: &Frame) -> bool {
    matches!(frame, Frame::Snapshot { begins: true, .. })
}

/// An audience that forgets what a machine sends.
pub(crate) struct Nobody;

impl Audience for Nobody {
    fn take(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        forget_output(machine);
        Ok(())
    }
}

/// Takes what the machine has sent to ports of which nobody hears.
pub(crate) fn forget_output(machine: &mut Machine) {
    drop((machine.serial_output(0), machine.serial_output(1), machine.debug_output()));
}

/// A machine that follows the frames of a recording.
pub(crate) struct Player<'a> {
    pub(crate) replay: &'a Replay,
    pub(crate) audience: &'a mut dyn Audience,
    /// The last time at which the states were the same.
    pub(crate) agreed: Icount,
}

impl Player<'_> {
    /// Does what frame `n`, which begins no run, says, and compares.
    pub(crate) fn follow(&mut self, machine: &mut Machine, n: usize) -> Result<(), Failure> {
        match &self.replay.frames[n] {
            Frame::Input { at, input } => {
                if machine.input(*at, input.clone()) != *at {
                    return Err(self.replay.wrong("an input before the time of the frame before"));
                }
                Ok(())
            }
            Frame::Hash { at, hash } => {
                self.run_to(machine, *at)?;
                self.compare(machine, n, hash)
            }
            // The frame before has the hash of this state.
            Frame::Snapshot { at, .. } => self.run_to(machine, *at),
            Frame::End { at, hash, by_guest, .. } => {
                if *by_guest {
                    self.run_to_end(machine)?;
                } else {
                    self.run_to(machine, *at)?;
                }
                self.compare(machine, n, hash)
            }
        }
    }

    /// Runs to machine time `at`.
    fn run_to(&mut self, machine: &mut Machine, at: Icount) -> Result<(), Failure> {
        while machine.now() < at {
            let left = at.0 - machine.now().0;
            match self.slice(machine, left)? {
                MachineStop::Budget | MachineStop::Paused => {}
                stop => {
                    return Err(self.diverged(machine.now(), &format!("the guest ends: {stop:?}")));
                }
            }
        }
        Ok(())
    }

    /// Runs until the guest ends the run.
    pub(crate) fn run_to_end(&mut self, machine: &mut Machine) -> Result<MachineStop, Failure> {
        loop {
            match self.slice(machine, SLICE)? {
                MachineStop::Budget | MachineStop::Paused => {}
                stop => return Ok(stop),
            }
        }
    }

    fn slice(&mut self, machine: &mut Machine, most: u64) -> Result<MachineStop, Failure> {
        let stop = machine.run(most.min(SLICE));
        self.audience.take(machine)?;
        Ok(stop)
    }

    /// Compares the state at frame `n` with the recorded one.
    pub(crate) fn compare(
        &mut self,
        machine: &mut Machine,
        n: usize,
        hash: &[u8; 32],
    ) -> Result<(), Failure> {
        if machine.state_hash() == *hash {
            self.agreed = machine.now();
            return Ok(());
        }
        let at = machine.now();
        let difference = self.difference(machine, n)?;
        Err(self.diverged(at, &difference))
    }

    /// In what the machine differs from the recorded one at the first snapshot from frame `n` on.
    fn difference(&mut self, machine: &mut Machine, n: usize) -> Result<String, Failure> {
        for frame in &self.replay.frames[n..] {
            match frame {
                Frame::Snapshot { begins: true, .. } | Frame::End { .. } => break,
                Frame::Hash { .. } => {}
                Frame::Input { at, input } => drop(machine.input(*at, input.clone())),
                Frame::Snapshot { at, file, id, .. } => {
                    self.run_to(machine, *at)?;
                    let (_, chain) = self.replay.chain(file, id)?;
                    return Ok(first_difference(machine, chain.last()));
                }
            }
        }
        Ok("no snapshot follows that would say in what".into())
    }

    fn diverged(&self, at: Icount, what: &str) -> Failure {
        let (from, to) = (self.agreed.0, at.0);
        Failure::emulator(format_args!("the runs part between {from} and {to}: {what}"))
    }
}

/// The first field or page in which a machine differs from a snapshot of the same time.
fn first_difference(machine: &mut Machine, recorded: &Snapshot) -> String {
    let fields = difference::between(recorded.saved().clone(), machine.save());
    if let Some(first) = fields.first() {
        let difference::Difference { field, first: then, second: now } = first;
        return format!("{field} was {then}, is {now}; {} fields differ", fields.len());
    }
    let now: std::collections::BTreeMap<_, _> = machine.held_pages().into_iter().collect();
    let page = recorded.pages().find(|(n, hash)| now.get(n) != Some(hash));
    page.map_or("more pages of memory hold anything".into(), |(n, _)| {
        format!("page {n:#x} of memory")
    })
}
