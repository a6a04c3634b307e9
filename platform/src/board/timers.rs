//! The passing of time: the next deadline of all devices, and what an access does to it.

use super::{
    Board,
    table::{Id, SLOTS},
};
use crate::time::Icount;

/// What an access to a device may change, besides the value read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that anyone looks at.
    Nothing,
    /// What the machine looks at itself: an SMI, or the end of the run.
    Machine,
    /// How interrupt lines are taken, or which are asserted.
    Lines,
    /// The lines, and the device's deadline.
    Timed(Id),
    /// A function's configuration space, on which much depends.
    Configuration,
}

impl Board {
    /// The first instant at which an output may change by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Icount> {
        self.next
    }

    /// Goes to `now`, past the deadlines on the way. A device that no access reaches follows
    /// later: nothing of it changes before its deadline.
    pub fn arrive(&mut self, now: Icount) {
        while let Some(due) = self.next.filter(|&due| due <= now) {
            self.now = self.now.max(due);
            self.settle();
        }
        self.now = self.now.max(now);
    }

    /// Brings every device to `now`, one deadline after the other.
    pub fn advance(&mut self, now: Icount) {
        self.arrive(now);
        self.follow();
    }

    /// Brings every device to the board's time.
    fn follow(&mut self) {
        let now = self.now;
        for id in SLOTS {
            if let Some(device) = self.devices.timed(id) {
                device.advance(now);
            }
        }
        self.devices.optional_timed().for_each(|device| device.advance(now));
    }

    /// Samples the outputs and looks up the next deadline.
    pub(super) fn settle(&mut self) {
        self.traces.disturbed = true;
        // An access may have moved a deadline to before `now`.
        self.follow();
        self.sample(true);
        SLOTS.into_iter().for_each(|id| self.look_up(id));
        self.find_next();
    }

    /// Looks up the deadline of a device that has a slot.
    fn look_up(&mut self, id: Id) {
        if let Some(deadline) = id.slot().and_then(|slot| self.deadlines.get_mut(slot)) {
            *deadline = self.devices.timed(id).and_then(|device| device.deadline(self.now));
        }
    }

    fn find_next(&mut self) {
        let now = self.now;
        let optional =
            self.devices.optional_timed().filter_map(|device| device.deadline(now)).min();
        let first = self.deadlines.into_iter().chain([optional]).flatten().min();
        // At the end of time nothing comes any more.
        self.next = first.filter(|&due| due > now);
    }

    /// Counts the time of an access. One to the ISA bus takes a microsecond, as on a PC, so that a guest
    /// that polls sees time pass.
    pub(super) fn take_time(&mut self, id: Id) {
        if id.slow() {
            self.traces.time += self.rate.microsecond();
        }
    }

    /// The time that accesses have taken since the last call, in instructions.
    pub(crate) fn take_access_time(&mut self) -> u64 {
        std::mem::take(&mut self.traces.time)
    }

    /// Brings the device that is about to be accessed to now.
    pub(super) fn reach(&mut self, effect: Effect) {
        match effect {
            Effect::Timed(id) => {
                if let Some(device) = self.devices.timed(id) {
                    device.advance(self.now);
                }
            }
            Effect::Configuration => self.show_interrupts(),
            Effect::Nothing | Effect::Machine | Effect::Lines => {}
        }
    }

    /// [`Self::settle`] after an access that has changed no more than `effect`.
    pub(super) fn settle_after(&mut self, effect: Effect) {
        self.traces.disturbed |= effect != Effect::Nothing;
        match effect {
            Effect::Nothing | Effect::Machine => {}
            Effect::Lines => self.sample(true),
            Effect::Timed(id) => {
                self.reach(effect);
                self.sample(false);
                self.look_up(id);
                self.find_next();
            }
            Effect::Configuration => self.configured(),
        }
    }
}
