//! A recording, as gdb goes through it.

use super::domains::Domains;
use super::subject::{Moved, Subject};
use crate::replay::Replay;
use crate::status::Failure;
use platform::machine::debugging::{Breakpoints, Position};
use platform::machine::{Config, Icount, Machine};
use platform::timeline::{Outcome, Past, Timeline};

/// The snapshots of a recording, to begin from.
pub(crate) struct Snapshots {
    replay: Replay,
    host: Config,
    /// Numbers of the frames with the snapshots.
    frames: Vec<usize>,
    times: Vec<Icount>,
}

impl Past for Snapshots {
    type Error = Failure;

    fn starts(&self) -> &[Icount] {
        &self.times
    }

    fn restore(&mut self, n: usize) -> Result<Machine, Failure> {
        self.replay.machine_at(self.frames[n], &self.host)
    }
}

/// The last run of a recording.
pub(super) struct Recorded {
    timeline: Timeline<Snapshots>,
    domains: Domains,
}

impl Recorded {
    /// The run, at its begin.
    pub(super) fn new(replay: Replay, host: Config) -> Result<Recorded, Failure> {
        let timeline = timeline(replay, host)?;
        let domains = Domains::of(timeline.machine());
        Ok(Recorded { timeline, domains })
    }
}

/// The last run of a recording, at its begin.
pub(crate) fn timeline(replay: Replay, host: Config) -> Result<Timeline<Snapshots>, Failure> {
    let (frames, times) = replay.starts().into_iter().unzip();
    let end = replay.end();
    Timeline::new(Snapshots { replay, host, frames, times }, end)
}

impl Subject for Recorded {
    fn machine(&self) -> &Machine {
        self.timeline.machine()
    }

    fn machine_mut(&mut self) -> Option<&mut Machine> {
        None
    }

    fn domains(&self) -> &Domains {
        &self.domains
    }

    fn write_events_down(&mut self, on: bool) -> String {
        self.timeline.machine_mut().write_events_down(on);
        self.timeline.machine_mut().take_trace()
    }

    fn set_breakpoints(&mut self, at: Breakpoints) {
        self.timeline.set_breakpoints(at);
    }

    fn go_on(&mut self, step: Option<usize>) -> Result<Outcome, Failure> {
        Ok(self.timeline.go_on(step))
    }

    fn goes_back(&self) -> bool {
        true
    }

    fn step_back(&mut self, processor: usize) -> Result<bool, Failure> {
        self.timeline.step_back(processor)
    }

    fn go_back(&mut self, asked: &mut dyn FnMut() -> bool) -> Result<Outcome, Failure> {
        self.timeline.go_back(asked)
    }

    fn go_to(&mut self, to: Moved) -> Result<bool, Failure> {
        match to {
            Moved::Position(position) => self.timeline.go_to(position),
            Moved::Time(time) => self.timeline.go_to_time(time),
            Moved::End => {
                self.timeline.go_to_end();
                Ok(true)
            }
        }
    }

    fn position(&self) -> Position {
        self.timeline.machine().position()
    }
}
