//! The choice of the next to run: round robin, a slice at a time. Nothing but the time and the
//! list of the ready ones decides, so the same history gives the same choice.

/// The state of the round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundRobin {
    /// The one chosen last, by place in the round.
    last: Option<usize>,
    /// The end of the slice of `last`.
    slice_end: u64,
}

impl RoundRobin {
    /// The end of the slice of the one that runs.
    pub fn slice_end(&self) -> u64 {
        self.slice_end
    }

    /// The one to run at `now` out of `count`: the last one while its slice lasts and it is ready,
    /// else the next in the round that is, for a slice of `length`. None if nobody is.
    pub fn pick(
        &mut self,
        now: u64,
        length: u64,
        count: usize,
        ready: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let last = self.last.filter(|&last| last < count);
        if let Some(last) = last
            && now < self.slice_end
            && ready(last)
        {
            return Some(last);
        }
        let first = last.map_or(0, |last| last + 1);
        let next = (first..count).chain(0..first).find(|&i| ready(i))?;
        self.last = Some(next);
        self.slice_end = now.saturating_add(length);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: the time, who is ready, who is chosen.
    #[track_caller]
    fn check(rows: &[(u64, &[usize], Option<usize>)]) {
        let mut round = RoundRobin::default();
        for (now, ready, expected) in rows {
            let picked = round.pick(*now, 10, 3, |i| ready.contains(&i));
            assert_eq!(picked, *expected, "at {now}");
        }
    }

    #[test]
    fn everyone_gets_a_slice_in_turn() {
        let all: &[usize] = &[0, 1, 2];
        check(&[
            (0, all, Some(0)),
            (9, all, Some(0)),
            (10, all, Some(1)),
            (20, all, Some(2)),
            (30, all, Some(0)),
        ]);
    }

    #[test]
    fn who_is_not_ready_is_passed_over() {
        check(&[(0, &[0, 2], Some(0)), (5, &[2], Some(2)), (6, &[0, 2], Some(2)), (7, &[], None)]);
        check(&[(0, &[1], Some(1)), (10, &[1], Some(1)), (11, &[0, 1], Some(1))]);
        check(&[(u64::MAX, &[0], Some(0)), (u64::MAX, &[0, 1], Some(1))]);
    }
}
