//! Backwards: what was last before here.

use super::{Outcome, Past, SPACING, Timeline};
use crate::machine::debugging::{Breakpoints, Event, Hit, Position};
use crate::time::Icount;

/// The most instructions between a point and the one at which a search from it ends, if there is no start between.
const LONGEST: u64 = 8 * SPACING;
/// The most breakpoints that a search meets before it looks for the last of them from halfway on.
const CROWD: u64 = 1000;

/// A breakpoint that was met on the way, and where.
#[derive(Clone, Copy)]
struct Met {
    event: Event,
    /// Where the machine was when it was told.
    at: Position,
}

/// What a search comes to.
enum Search {
    /// The last breakpoint that is met.
    Met(Met),
    /// No breakpoint is met.
    Nothing,
    /// There are too many to go on.
    Crowded,
    /// Somebody has asked to stop.
    Interrupted,
}

impl<P: Past> Timeline<P> {
    /// Goes to where `processor` was before its last step. False, at the begin of the run, if it has made none.
    ///
    /// # Errors
    /// The machine cannot be had.
    pub fn step_back(&mut self, processor: usize) -> Result<bool, P::Error> {
        self.machine.break_at(&Breakpoints::default());
        let mut here = self.machine.position();
        let goal = here;
        loop {
            if !self.put_to_point_before(here)? {
                return Ok(false);
            }
            here = self.machine.position();
            self.reach(goal);
            if let Some((retired, steps)) = self.machine.ran(processor) {
                self.go_before(retired, steps)?;
                return Ok(true);
            }
        }
    }

    /// Goes back to the last breakpoint that is met before here: a breakpoint on an instruction, or where a VM exit
    /// has been made; before the instruction that accesses data. `asked` says whether to stop.
    ///
    /// Each stretch that is searched is twice as long as the one after it, so that a machine that has to go far back
    /// is seldom put elsewhere.
    ///
    /// # Errors
    /// The machine cannot be had.
    pub fn go_back(&mut self, asked: &mut dyn FnMut() -> bool) -> Result<Outcome, P::Error> {
        let mut goal = self.machine.position();
        let (mut stretch, mut patient) = (0, false);
        loop {
            self.machine.break_at(&Breakpoints::default());
            if !self.put_back(goal, stretch)? {
                return Ok(Outcome::Begin);
            }
            let from = self.machine.position();
            self.machine.break_at(&self.breakpoints);
            let search = self.search(goal, patient, asked);
            self.machine.break_at(&Breakpoints::default());
            match search {
                Search::Met(met) => {
                    self.go_to_met(&met)?;
                    return Ok(Outcome::Event(met.event));
                }
                Search::Nothing => {
                    (goal, patient) = (from, false);
                    stretch = (stretch * 2).clamp(SPACING, LONGEST);
                }
                Search::Crowded => {
                    let here = self.machine.position().retired;
                    self.run_to(Position::first(here.midpoint(goal.retired), 0));
                    self.mark();
                    // There is no point where the machine cannot be saved.
                    patient = self.trail.last_before(goal).is_none_or(|point| point <= from);
                    stretch = 0;
                }
                Search::Interrupted => return Ok(Outcome::Interrupted),
            }
        }
    }

    /// Searches for the last breakpoint that is met from here on before `goal`; not among many, if it is not near
    /// and nobody is `patient`.
    fn search(&mut self, goal: Position, patient: bool, asked: &mut dyn FnMut() -> bool) -> Search {
        let mut found = Search::Nothing;
        let mut count = 0;
        let counts = |p: Position| (p.retired, p.steps);
        loop {
            let outcome = self.run(Some(Position { at: Icount(0), ..goal }), super::LOOK);
            let at = self.machine.position();
            if let Outcome::Event(event) = outcome {
                let after =
                    matches!(event, Event::Hit { hit: Hit::Data { .. } | Hit::Vmwrite { .. }, .. });
                if at < goal || after && counts(at) <= counts(goal) {
                    found = Search::Met(Met { event, at });
                }
                count += 1;
            }
            if counts(at) >= counts(goal) || outcome == Outcome::End {
                return found;
            }
            if !patient && count >= CROWD && goal.retired.saturating_sub(at.retired) > CROWD {
                return Search::Crowded;
            }
            if outcome == Outcome::More && asked() {
                return Search::Interrupted;
            }
        }
    }

    /// Goes where the machine was when a breakpoint was met, or before the instruction that did so.
    fn go_to_met(&mut self, met: &Met) -> Result<(), P::Error> {
        let Event::Hit { hit, .. } = met.event else { return Ok(()) };
        match hit {
            Hit::Code { .. } | Hit::Exit { .. } => self.go_to(met.at).map(drop),
            Hit::Data { .. } | Hit::Vmwrite { .. } => self.go_before(met.at.retired, met.at.steps),
        }
    }

    /// Goes to before the step that ends where so many instructions are retired and steps made.
    fn go_before(&mut self, retired: u64, steps: u32) -> Result<(), P::Error> {
        if let Some(steps) = steps.checked_sub(1) {
            return self.go_to(Position::first(retired, steps)).map(drop);
        }
        let Some(before) = retired.checked_sub(1) else { return Ok(()) };
        self.go_to(Position::first(before, 0))?;
        // Steps that take no time come before the instruction; the last of them is not known before it is passed.
        let mut steps = 0;
        loop {
            self.reach(Position::first(before, steps + 1));
            let Position { retired, steps: now, .. } = self.machine.position();
            if retired > before || now <= steps {
                break;
            }
            steps = now;
        }
        self.go_to(Position::first(before, steps)).map(drop)
    }

    /// Puts the machine to the last point before `position`. False, with the machine at the begin of the run, if there
    /// is none.
    fn put_to_point_before(&mut self, position: Position) -> Result<bool, P::Error> {
        let here = self.trail.positions().next().unwrap_or_default();
        if !self.put_back(position, 0)? {
            return Ok(false);
        }
        if self.machine.position() < here {
            // From the start to where the points were, with points between.
            self.run_to(Position { at: Icount(0), ..here });
            if let Some(point) = self.trail.last_before(position) {
                self.trail.rewind(&mut self.machine, point);
            }
        }
        Ok(true)
    }

    /// Puts the machine to the last point that is so many instructions before `position`, or, where there is none, to
    /// the first point before it, or to the last start. False, with the machine at the begin of the run, if that is
    /// not before `position`.
    fn put_back(&mut self, position: Position, stretch: u64) -> Result<bool, P::Error> {
        let far = Position::first(position.retired.saturating_sub(stretch), 0);
        let first = self.trail.positions().next().unwrap_or_default();
        let point = match stretch {
            0 => self.trail.last_before(position),
            _ => self.trail.last_before(far).or_else(|| (first < position).then_some(first)),
        };
        if let Some(point) = point {
            self.trail.rewind(&mut self.machine, point);
            return Ok(true);
        }
        if self.past.starts().first().is_none_or(|start| *start >= first.at) {
            self.trail.rewind(&mut self.machine, first);
            return Ok(false);
        }
        self.start_before(position)?;
        Ok(self.machine.position() < position)
    }
}
