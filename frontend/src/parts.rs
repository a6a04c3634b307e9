//! The parts of a recording between its snapshots: each is checked by itself, on this machine or on many.

use crate::replay::{Nobody, Player, Replay, begins};
use crate::status::Failure;
use platform::machine::Config;
use platform::recording::Frame;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::ops::Range;

/// Part K of N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) part: usize,
    pub(crate) of: usize,
}

/// Reads `K/N`.
pub(crate) fn slice(text: &str) -> Result<Slice, String> {
    let numbers = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    let slice = numbers.map(|(part, of)| Slice { part, of });
    slice
        .filter(|s| (1..=s.of).contains(&s.part))
        .ok_or_else(|| "accepted is K/N with K from 1 to N".into())
}

impl Slice {
    /// Which of `count` parts it has.
    fn of(self, count: usize) -> Range<usize> {
        let cut = |part: usize| (count as u128 * part as u128 / self.of as u128) as usize;
        cut(self.part - 1)..cut(self.part)
    }
}

impl Replay {
    /// The parts: the frames of each, its snapshot first.
    fn parts(&self) -> Vec<Range<usize>> {
        let is_snapshot = |n: &usize| matches!(self.frames[*n], Frame::Snapshot { .. });
        let starts: Vec<usize> = (0..self.frames.len()).filter(is_snapshot).collect();
        // The snapshot at the end of a part is where the next is recorded from.
        let ends = starts.iter().skip(1).map(|n| *n + 1).chain([self.frames.len()]);
        starts.iter().zip(ends).map(|(start, end)| *start..end).collect()
    }

    /// Checks every part of a slice by itself, some at once: the end of each is the state from which the next was
    /// recorded. How many there are.
    pub(crate) fn verify(&self, jobs: usize, slice: Slice) -> Result<usize, Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
        let pool = pool.map_err(Failure::emulator)?;
        let parts = self.parts();
        let parts = &parts[slice.of(parts.len())];
        let check = || parts.par_iter().map(|part| self.part(part.start, part.end)).collect();
        let ends: Vec<_> = pool.install(check);
        ends.into_iter().collect::<Result<Vec<()>, _>>().map(|ends| ends.len())
    }

    /// Checks the frames after `start`, a snapshot, before `end`.
    fn part(&self, start: usize, end: usize) -> Result<(), Failure> {
        let Frame::Snapshot { at, file, id, .. } = &self.frames[start] else {
            return Err(self.wrong("no snapshot"));
        };
        let mut machine = self.load(file, id, &Config::default())?;
        let mut player = Player { replay: self, audience: &mut Nobody, agreed: *at };
        // The state of the snapshot is that to which the part before is compared.
        if let Some(Frame::Hash { hash, .. }) = start.checked_sub(1).map(|n| &self.frames[n]) {
            player.compare(&mut machine, start, hash)?;
        }
        for n in start + 1..end {
            match &self.frames[n] {
                Frame::Snapshot { begins: true, .. } => {
                    player.run_to_end(&mut machine).map(drop)?
                }
                _ => player.follow(&mut machine, n)?,
            }
        }
        Ok(())
    }

    /// The parts, for whoever spreads them over machines: of each from when to when it goes, the snapshot in which it
    /// begins, and the state in which it ends.
    pub(crate) fn manifest(&self) -> Value {
        let mut run = 0;
        let parts: Vec<Value> = self
            .parts()
            .into_iter()
            .zip(1..)
            .map(|(frames, number)| {
                run += usize::from(begins(&self.frames[frames.start]));
                self.entry(&frames, number, run)
            })
            .collect();
        json!({ "parts": parts })
    }

    fn entry(&self, part: &Range<usize>, number: usize, run: usize) -> Value {
        let (snapshot, id) = match &self.frames[part.start] {
            Frame::Snapshot { file, id, .. } => (file.clone(), hex(id)),
            _ => (String::new(), String::new()),
        };
        let own = &self.frames[part.start..part.end];
        let own = own.iter().skip(1).take_while(|frame| !begins(frame));
        let end = own.clone().filter_map(|frame| match frame {
            Frame::Hash { at, hash } | Frame::End { at, hash, .. } => Some((at.0, hex(hash))),
            _ => None,
        });
        let inputs = own.filter(|frame| matches!(frame, Frame::Input { .. })).count();
        let first = self.frames[part.start].at().0;
        let (last, state) = end.last().unzip();
        json!({
            "part": number, "run": run, "snapshot": snapshot, "id": id, "first": first, "last": last,
            "state": state, "inputs": inputs,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_all_parts_once() {
        for (count, of) in [(0, 3), (1, 3), (7, 3), (100, 7), (3, 3)] {
            let all = (1..=of).flat_map(|part| Slice { part, of }.of(count)).collect::<Vec<_>>();
            assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} in {of}");
        }
        for wrong in ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3"] {
            assert!(slice(wrong).is_err(), "{wrong}");
        }
    }
}
