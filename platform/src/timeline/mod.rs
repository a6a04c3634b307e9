//! A recorded run that can be gone through forwards and backwards.
//!
//! Backwards is forwards from an earlier point: the machine is put to the last one before, and runs again up to
//! where it is to be. Points are made as the run goes on, and more of them near where somebody looks.
//!
//! Reading order: this file (forwards, and to a position), `back` (backwards).

mod back;

use crate::machine::debugging::{Breakpoints, Event, Position};
use crate::machine::{Machine, MachineStop, Trail};
use crate::time::Icount;

/// Instructions between two points that are made as the run goes on.
const SPACING: u64 = 25_000_000;
/// Instructions before a position that was asked for at which a point is made: what is asked for next is near.
const NEAR: u64 = 50_000;
/// Instructions between two looks whether somebody has asked to stop.
const LOOK: u64 = 5_000_000;
/// The most pages that points hold, of 4 KiB: 1 GiB.
const PAGES: usize = 1 << 18;

/// Where a recorded run begins, and where else the machine can be had from.
pub trait Past {
    /// Why the machine cannot be had.
    type Error;

    /// The times at which the machine can be had, in order; the first is the start.
    fn starts(&self) -> &[Icount];

    /// The machine at start `n`, which knows all inputs to come.
    ///
    /// # Errors
    /// It cannot be had.
    fn restore(&mut self, n: usize) -> Result<Machine, Self::Error>;
}

/// Where a recorded run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the guest ends the run.
    Guest,
    /// At a machine time.
    Time(Icount),
}

/// What going on has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is more to come.
    More,
    /// The debugger's breakpoint, or step.
    Event(Event),
    /// The end of what was recorded, or of the run.
    End,
    /// The begin of what was recorded.
    Begin,
    /// Somebody has asked to stop.
    Interrupted,
}

/// A recorded run with a place.
pub struct Timeline<P> {
    past: P,
    machine: Machine,
    trail: Trail,
    end: End,
    breakpoints: Breakpoints,
}

impl<P: Past> Timeline<P> {
    /// The run that begins as `past` says, at its begin.
    ///
    /// # Errors
    /// The machine cannot be had.
    pub fn new(mut past: P, end: End) -> Result<Timeline<P>, P::Error> {
        let mut machine = past.restore(0)?;
        let trail = Trail::new(&mut machine);
        let breakpoints = Breakpoints::default();
        Ok(Timeline { past, machine, trail, end, breakpoints })
    }

    /// The machine as it is here.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine, for output to be taken, and the state hash.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// How many points there are, and how many pages they hold.
    #[must_use]
    pub fn points(&self) -> (usize, usize) {
        (self.trail.positions().count(), self.trail.held())
    }

    /// Sets the breakpoints.
    pub fn set_breakpoints(&mut self, at: Breakpoints) {
        self.breakpoints = at;
    }

    /// The breakpoints that are set.
    #[must_use]
    pub fn breakpoints(&self) -> &Breakpoints {
        &self.breakpoints
    }

    /// Goes on up to a breakpoint, for a while. With a processor: up to its next step.
    pub fn go_on(&mut self, step: Option<usize>) -> Outcome {
        self.machine.break_at(&self.breakpoints);
        self.machine.step_processor(step);
        let outcome = self.run(None, LOOK);
        self.machine.step_processor(None);
        outcome
    }

    /// Goes to `position`; false if the run ends before.
    ///
    /// # Errors
    /// The machine cannot be had.
    pub fn go_to(&mut self, position: Position) -> Result<bool, P::Error> {
        self.machine.break_at(&Breakpoints::default());
        self.put_before(position)?;
        Ok(self.reach(position))
    }

    /// Goes to machine time `time`; false if the run ends before.
    ///
    /// # Errors
    /// The machine cannot be had.
    pub fn go_to_time(&mut self, time: Icount) -> Result<bool, P::Error> {
        self.machine.break_at(&Breakpoints::default());
        let starts = self.past.starts();
        let start = starts.iter().rposition(|at| *at <= time).unwrap_or(0);
        let after = |position: &Position| position.at >= starts[start];
        let point = self.trail.last_at_time(time);
        match point.filter(|p| after(p) || p.at.0.saturating_add(SPACING) > time.0) {
            Some(point) if !self.is_on_the_way(point, self.machine.now() <= time) => {
                self.trail.rewind(&mut self.machine, point);
            }
            Some(_) => {}
            None => self.start(start)?,
        }
        while self.machine.now() < time {
            let left = time.0 - self.machine.now().0;
            if left > 2 * NEAR && !self.advance(left - NEAR) {
                return Ok(false);
            } else if left > 2 * NEAR {
                self.mark();
            } else if !self.advance(left) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes to the end of the run.
    pub fn go_to_end(&mut self) {
        self.machine.break_at(&Breakpoints::default());
        while self.run(None, LOOK) == Outcome::More {}
    }

    /// Whether the machine is behind `point` and `before` where it is to be.
    fn is_on_the_way(&self, point: Position, before: bool) -> bool {
        before && self.machine.position() >= point
    }

    /// Runs so long of machine time, in parts with points between; false if the run ends.
    fn advance(&mut self, time: u64) -> bool {
        let end = self.machine.now().plus(time);
        while self.machine.now() < end {
            let left = end.0 - self.machine.now().0;
            if self.run(None, left.min(LOOK)) != Outcome::More {
                return false;
            }
        }
        true
    }

    /// Puts the machine where it can go to `position` from, as near as may be.
    fn put_before(&mut self, position: Position) -> Result<(), P::Error> {
        let Some(point) = self.trail.last_at(position) else {
            return self.start_before(position);
        };
        if !self.is_on_the_way(point, self.machine.position() <= position) {
            self.trail.rewind(&mut self.machine, point);
        }
        Ok(())
    }

    /// Puts the machine to the last start before a position that is before all points.
    fn start_before(&mut self, position: Position) -> Result<(), P::Error> {
        let starts = self.past.starts();
        let first = self.trail.positions().next().map_or(Icount(0), |p| p.at);
        let mut n = starts.iter().rposition(|at| *at < first).unwrap_or(0);
        self.start(n)?;
        while n > 0 && self.machine.position() > position {
            n -= 1;
            self.start(n)?;
        }
        Ok(())
    }

    /// Puts the machine to start `n`, from which a new trail begins.
    fn start(&mut self, n: usize) -> Result<(), P::Error> {
        self.machine = self.past.restore(n)?;
        self.trail = Trail::new(&mut self.machine);
        Ok(())
    }

    /// Goes on to `position`, from before; false if the run ends before.
    fn reach(&mut self, position: Position) -> bool {
        let far = position.retired.saturating_sub(self.machine.position().retired);
        if far > 2 * NEAR {
            if !self.run_to(Position::first(position.retired - NEAR, 0)) {
                return false;
            }
            self.mark();
        }
        if !self.run_to(Position { at: Icount(0), ..position }) {
            return false;
        }
        // Time passes where there is nothing to do.
        while self.machine.now() < position.at {
            self.machine.run_until(Some(position));
            let left = position.at.0 - self.machine.now().0;
            let stop = self.machine.run(left);
            self.machine.run_until(None);
            if stop != MachineStop::Budget {
                break;
            }
        }
        self.machine.position() == position || position.at == Icount(0)
    }

    /// Goes on to the first moment with the counts of `position`, from before; false if the run ends before.
    fn run_to(&mut self, position: Position) -> bool {
        let is_there = |machine: &Machine| {
            let Position { retired, steps, .. } = machine.position();
            (retired, steps) >= (position.retired, position.steps)
        };
        while !is_there(&self.machine) {
            if self.run(Some(position), LOOK) != Outcome::More {
                return is_there(&self.machine);
            }
        }
        true
    }

    /// Runs for `most` of machine time, to `position` at the latest, or to what stops the machine.
    fn run(&mut self, position: Option<Position>, most: u64) -> Outcome {
        let left = match self.end {
            End::Guest => u64::MAX,
            End::Time(at) => at.0.saturating_sub(self.machine.now().0),
        };
        if left == 0 {
            return Outcome::End;
        }
        self.machine.run_until(position);
        let stop = self.machine.run(most.min(left));
        self.machine.run_until(None);
        self.forget_output();
        if let Some(event) = self.machine.take_event() {
            return Outcome::Event(event);
        }
        self.mark_if_far();
        match stop {
            MachineStop::Budget | MachineStop::Paused => Outcome::More,
            _ => Outcome::End,
        }
    }

    /// Takes what the machine has sent, for nobody.
    fn forget_output(&mut self) {
        let machine = &mut self.machine;
        drop((machine.serial_output(0), machine.serial_output(1), machine.debug_output()));
    }

    /// Makes a point here if the last is far away.
    fn mark_if_far(&mut self) {
        let here = self.machine.position();
        let last = self.trail.last_at(here).map_or(0, |point| point.retired);
        if here.retired - last >= SPACING {
            self.mark();
        }
    }

    fn mark(&mut self) {
        self.trail.mark(&mut self.machine);
        self.trail.thin(&self.machine, PAGES);
    }
}
