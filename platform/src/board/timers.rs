//! The passing of time: the next deadline of all devices, and what an access does to it.

use super::{Board, table::SLOTS};
use crate::time::Icount;

/// What an access to a device may change, besides the value read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that the board looks at.
    Nothing,
    /// How interrupt lines are taken, or which are asserted.
    Lines,
    /// The lines, and the deadline in this slot.
    Timed(usize),
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
    }

    /// Samples the outputs and looks up the next deadline.
    pub(super) fn settle(&mut self) {
        // An access may have moved a deadline to before `now`.
        self.follow();
        self.sample(true);
        (0..SLOTS.len()).for_each(|slot| self.look_up(slot));
        self.find_next();
    }

    /// Looks up the deadline of one slot's device.
    fn look_up(&mut self, slot: usize) {
        let device = self.devices.timed(SLOTS[slot]);
        self.deadlines[slot] = device.and_then(|device| device.deadline(self.now));
    }

    fn find_next(&mut self) {
        let now = self.now;
        // At the end of time nothing comes any more.
        self.next = self.deadlines.into_iter().flatten().min().filter(|&due| due > now);
    }

    /// Brings the device that is about to be accessed to now.
    pub(super) fn reach(&mut self, effect: Effect) {
        if let Effect::Timed(slot) = effect
            && let Some(device) = self.devices.timed(SLOTS[slot])
        {
            device.advance(self.now);
        }
    }

    /// [`Self::settle`] after an access that has changed no more than `effect`.
    pub(super) fn settle_after(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Lines => self.sample(true),
            Effect::Timed(slot) => {
                self.reach(effect);
                self.sample(false);
                self.look_up(slot);
                self.find_next();
            }
        }
    }
}
