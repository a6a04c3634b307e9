//! Backwards: what was last before here.

use super::{Outcome, Past, Timeline};
use crate::machine::debugging::{Breakpoints, Event, Hit, Position};

/// A breakpoint that was met on the way, and where.
#[derive(Clone, Copy)]
struct Met {
    event: Event,
    /// Where the machine was when it was told.
    at: Position,
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
    /// # Errors
    /// The machine cannot be had.
    pub fn go_back(&mut self, asked: &mut dyn FnMut() -> bool) -> Result<Outcome, P::Error> {
        let mut goal = self.machine.position();
        loop {
            self.machine.break_at(&Breakpoints::default());
            if !self.put_to_point_before(goal)? {
                return Ok(Outcome::Begin);
            }
            let from = self.machine.position();
            self.machine.break_at(&self.breakpoints);
            let Some(met) = self.last_met(goal, asked) else { return Ok(Outcome::Interrupted) };
            self.machine.break_at(&Breakpoints::default());
            if let Some(met) = met {
                self.go_to_met(&met)?;
                return Ok(Outcome::Event(met.event));
            }
            goal = from;
        }
    }

    /// The last breakpoint that is met from here on before `goal`. None if somebody has asked to stop.
    fn last_met(&mut self, goal: Position, asked: &mut dyn FnMut() -> bool) -> Option<Option<Met>> {
        let mut met = None;
        let counts = |p: Position| (p.retired, p.steps);
        loop {
            let outcome = self.run(Some(Position { at: Default::default(), ..goal }), super::LOOK);
            let at = self.machine.position();
            if let Outcome::Event(event) = outcome {
                let after =
                    matches!(event, Event::Hit { hit: Hit::Data { .. } | Hit::Vmwrite { .. }, .. });
                if at < goal || after && counts(at) <= counts(goal) {
                    met = Some(Met { event, at });
                }
            }
            if counts(at) >= counts(goal) || outcome == Outcome::End {
                return Some(met);
            }
            if outcome == Outcome::More && asked() {
                return None;
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
        if let Some(point) = self.trail.last_before(position) {
            self.trail.rewind(&mut self.machine, point);
            return Ok(true);
        }
        let first = self.trail.positions().next().unwrap_or_default();
        let at_begin = self.past.starts().first().is_none_or(|start| *start >= first.at);
        if at_begin {
            self.trail.rewind(&mut self.machine, first);
            return Ok(false);
        }
        self.start_before(position)?;
        // From the start to where the points were, with points between.
        self.run_to(Position { at: Default::default(), ..first });
        Ok(self
            .trail
            .last_before(position)
            .is_some_and(|point| self.trail.rewind(&mut self.machine, point)))
    }
}
