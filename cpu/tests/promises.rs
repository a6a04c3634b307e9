//! Every type of the tables of superinstructions, on random states, against what it promises (the constants of
//! [`cpu::dispatch::Semantics`]): a state is run twice, the second time with something else that the type promises not
//! to look at.
//!
//! Only where the tables are: debug builds, the feature `loop-dispatch` and builds without `superinst` have none.
#![cfg(all(feature = "superinst", threaded))]
#![allow(dead_code, reason = "the modules are those of the other test too")]

#[path = "superinst/assemble.rs"]
mod assemble;
#[path = "superinst/random.rs"]
mod random;
#[path = "superinst/side.rs"]
mod side;

use assemble::Assembler;
use cpu::dispatch::{class, deferred, uses};
use cpu::state::State;
use cpu::state::fpu::C1;
use cpu::superinst::{Promises, Type};
use random::Random;
use side::{Outcome, Side};

/// Programs for each type, each with registers of its own.
const PROGRAMS: usize = 8;
/// Random states for each program.
const STATES: usize = 16;

/// An instruction in place, and what its type promises of its operands.
struct Subject<'a> {
    side: &'a mut Side,
    promises: Promises,
    /// See [`class::exact`].
    operands: u64,
    /// Whether the flags after it are not seen because others are written before the end.
    flags_unseen: bool,
}

#[test]
fn every_type_keeps_its_promises() {
    let (mut side, mut random, assembler) = (Side::new(true), Random(2), Assembler::new());
    let start = side.start();
    let (mut broken, mut finished, mut count) = (Vec::new(), 0, 0);
    for (number, (text, of)) in (0..).zip(cpu::superinst::types()) {
        count += 1;
        let flags_unseen = text.starts_with("{nf}");
        let mut found = 0;
        for _ in 0..PROGRAMS {
            let Some((code, operands)) = program(&assembler, &text, number, &mut random) else {
                continue;
            };
            found += 1;
            side.load(&code);
            let Type { promises, .. } = *of;
            let mut subject = Subject { side: &mut side, promises, operands, flags_unseen };
            for _ in 0..STATES {
                match subject.check(&random.state(&start), &mut random) {
                    Ok(done) => finished += usize::from(done),
                    Err(what) => broken.push(format!("{text}: {what}")),
                }
            }
        }
        if found == 0 {
            broken.push(format!("{text}: nothing is decoded to it"));
        }
    }
    let total = broken.len();
    broken.dedup();
    broken.truncate(20);
    assert!(total == 0, "{total} promises are broken:\n{}", broken.join("\n"));
    assert!(count > 400 && finished > 20_000, "{count} types, {finished} states");
}

/// Code that begins with an operation of the type with this number, and the operands.
fn program(
    assembler: &Assembler,
    text: &str,
    number: u32,
    random: &mut Random,
) -> Option<(Vec<u8>, u64)> {
    (0..20).find_map(|_| {
        let code = assembler.program(text, text.starts_with("{nf}"), random)?;
        let first = side::explained(&code)?;
        (first.number == number).then_some((code, first.operands))
    })
}

impl Subject<'_> {
    /// Checks the promises on a state; whether the instruction finished.
    fn check(&mut self, state: &State, random: &mut Random) -> Result<bool, String> {
        let data = random.data();
        // The first run fills the TLB.
        self.side.run(state, &data, 1000);
        let before = self.side.run(state, &data, 1000);
        if before.faulted() {
            return Ok(false);
        }
        self.sets(state, &before)?;
        for (changed, what) in self.unseen(state, random) {
            let after = self.side.run(&changed, &data, 1000);
            self.same(&changed, state, &before, &after).map_err(|e| format!("{what}: {e}"))?;
        }
        Ok(true)
    }

    /// States that the type promises not to tell from `state`, but for what it preserves.
    fn unseen(&self, state: &State, random: &mut Random) -> Vec<(State, &'static str)> {
        let parts = self.promises.kills | self.promises.preserves;
        let mut states = Vec::new();
        if self.promises.replayable {
            states.push((self.other_registers(state, random), "REPLAYABLE, READS"));
        }
        let mut with = |part: u32, what, change: &mut dyn FnMut(&mut State)| {
            let mut changed = state.clone();
            change(&mut changed);
            if parts & part != 0 {
                states.push((changed, what));
            }
        };
        with(deferred::FLAGS, "FLAGS", &mut |s| s.flags.set_status(random.next()));
        with(deferred::INSTRUCTION, "INSTRUCTION", &mut |s| s.fpu.fip ^= 0x5555);
        with(deferred::C1, "C1", &mut |s| s.fpu.sw.replace(C1, s.fpu.sw.get() ^ C1));
        states
    }

    /// Registers changed are registers that the type sets, and no more bits than it says.
    fn sets(&self, state: &State, after: &Outcome) -> Result<(), String> {
        let sets = class::registers(self.promises.sets, self.operands) | self.tail();
        let place = self.operands as u8;
        for (k, (old, new)) in state.regs.iter().zip(&after.state.regs).enumerate() {
            if old != new && sets >> k & 1 == 0 {
                return Err(format!("SETS: register {k} is not in {sets:#x}"));
            }
            let narrow = self.promises.sets & uses::DST != 0 && place as usize == 8 * k;
            let narrow = narrow && self.tail() >> k & 1 == 0;
            if narrow && self.promises.bits < 32 && (old ^ new) >> self.promises.bits != 0 {
                return Err(format!("BITS: more than {} of register {k}", self.promises.bits));
            }
        }
        Ok(())
    }

    /// R12, which the code after it writes.
    fn tail(&self) -> u32 {
        u32::from(self.flags_unseen) << 12
    }

    /// Other values in the registers that the type does not read.
    fn other_registers(&self, state: &State, random: &mut Random) -> State {
        let reads = class::registers(self.promises.reads, self.operands) | self.tail();
        let mut state = state.clone();
        for (k, register) in state.regs.iter_mut().enumerate().filter(|(k, _)| reads >> k & 1 == 0)
        {
            *register ^= random.next() << (k % 2);
        }
        state
    }

    /// Two runs that began with what the type does not look at changed end alike, but for what it preserves.
    fn same(&self, changed: &State, state: &State, a: &Outcome, b: &Outcome) -> Result<(), String> {
        let mut expect = a.clone();
        for k in 0..16 {
            if changed.regs[k] != state.regs[k] {
                expect.state.regs[k] = changed.regs[k];
            }
        }
        let preserves = self.promises.preserves;
        if preserves & deferred::FLAGS != 0 && !self.flags_unseen && changed.flags != state.flags {
            expect.state.flags = changed.flags;
        }
        if preserves & deferred::INSTRUCTION != 0 && changed.fpu.fip != state.fpu.fip {
            expect.state.fpu.fip = changed.fpu.fip;
        }
        if preserves & deferred::C1 != 0 && changed.fpu.sw != state.fpu.sw {
            expect.state.fpu.sw.replace(C1, changed.fpu.sw.get());
        }
        if self.flags_unseen {
            expect.state.regs[12] = b.state.regs[12];
        }
        if expect == *b { Ok(()) } else { Err(expect.difference(b)) }
    }
}
