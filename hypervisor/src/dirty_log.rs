//! The machine frames that were stored to by others than the processors of a domain whose stores are written down: by
//! the hypervisor, or through another domain's mapping. Those processors' own stores are in their EPT.

use alloc::vec::Vec;

/// There was no memory for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A bit for each machine frame while there is a log.
#[derive(Debug, Default)]
pub struct DirtyLog(Option<Vec<u64>>);

impl DirtyLog {
    /// Whether there is a log.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a log of the frames up to `max_mfn`, unless there is one.
    pub fn begin(&mut self, max_mfn: u64) -> Result<(), NoMemory> {
        if self.0.is_none() {
            let words = (max_mfn as usize + 1).div_ceil(64);
            let mut written = Vec::new();
            written.try_reserve_exact(words).map_err(|_| NoMemory)?;
            written.resize(words, 0);
            self.0 = Some(written);
        }
        Ok(())
    }

    /// Ends the log.
    pub fn end(&mut self) {
        self.0 = None;
    }

    /// Notes `count` frames from `mfn` on.
    #[inline]
    pub fn note(&mut self, mfn: u64, count: u64) {
        let Some(written) = &mut self.0 else { return };
        for mfn in mfn..mfn + count {
            if let Some(word) = written.get_mut(mfn as usize / 64) {
                *word |= 1 << (mfn % 64);
            }
        }
    }

    /// Whether the frame is noted; not any more if `clean`.
    pub fn take(&mut self, mfn: u64, clean: bool) -> bool {
        let word = self.0.as_mut().and_then(|written| written.get_mut(mfn as usize / 64));
        let Some(word) = word else { return false };
        let noted = *word >> (mfn % 64) & 1 != 0;
        if clean {
            *word &= !(1 << (mfn % 64));
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_of_once() {
        let mut log = DirtyLog::default();
        log.note(3, 1);
        assert!(!log.take(3, false) && !log.is_on());
        log.begin(200).unwrap();
        log.note(62, 4);
        log.note(500, 1);
        log.begin(200).unwrap();
        let noted = |log: &mut DirtyLog, clean| {
            (0..600).filter(|mfn| log.take(*mfn, clean)).collect::<Vec<_>>()
        };
        assert_eq!(noted(&mut log, false), [62, 63, 64, 65]);
        assert_eq!(noted(&mut log, true), [62, 63, 64, 65]);
        assert_eq!(noted(&mut log, true), []);
        log.end();
        assert!(!log.is_on());
    }
}
