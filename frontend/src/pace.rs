//! Pacing: a guest that a person types to is held back, so that its time does not run ahead of the
//! host's. Only when it runs is decided here, and when input arrives; never what it does.

use std::time::{Duration, Instant};

/// Whether guest time is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pacing {
    /// If a person types at a terminal.
    #[default]
    Person,
    /// Always: QEMU's `-icount sleep=on`.
    On,
    /// Never: QEMU's `-icount sleep=off`.
    Off,
}

/// The host's clock beside the guest's.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The guest's clock stood at 0 then; `None`: the guest runs free.
    began: Option<Instant>,
}

impl Pace {
    /// A guest's that starts now.
    pub(crate) fn new(pacing: Pacing, person: bool) -> Self {
        let held = pacing == Pacing::On || pacing == Pacing::Person && person;
        Self { began: held.then(Instant::now) }
    }

    /// The guest starts again.
    pub(crate) fn restart(&mut self) {
        self.began = self.began.map(|_| Instant::now());
    }

    /// The guest has stood still for `time`.
    pub(crate) fn stood(&mut self, time: Duration) {
        self.began = self.began.map(|began| began + time);
    }

    /// What the guest's clock would show by the host's, in nanoseconds; `None` if the guest runs free.
    pub(crate) fn now(&self) -> Option<u64> {
        self.began.map(|began| began.elapsed().as_nanos() as u64)
    }

    /// How far the guest, whose clock shows `guest` nanoseconds, is ahead of the host. A guest that is behind
    /// catches up as fast as it can.
    pub(crate) fn ahead(&self, guest: u64) -> Option<Duration> {
        let ahead = guest.saturating_sub(self.now()?);
        (ahead > 0).then(|| Duration::from_nanos(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_back() {
        let held = |pacing, person| Pace::new(pacing, person).now().is_some();
        assert_eq!([held(Pacing::Person, true), held(Pacing::Person, false)], [true, false]);
        assert_eq!([held(Pacing::On, false), held(Pacing::Off, true)], [true, false]);
    }

    #[test]
    fn how_far_ahead() {
        let pace = Pace::new(Pacing::On, false);
        let hour = 3_600_000_000_000;
        assert!(pace.ahead(hour).unwrap() <= Duration::from_secs(3600));
        assert!(pace.ahead(hour).unwrap() > Duration::from_secs(3000));
        assert_eq!(pace.ahead(0), None);
        assert_eq!(Pace::new(Pacing::Off, true).ahead(hour), None);
    }
}
