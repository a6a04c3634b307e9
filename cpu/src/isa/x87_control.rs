//! x87 control: FINIT, control and status words, environments, whole-state saves, stack pointer; moves
//! between registers.

use super::fast_path::{memory, registers};
use super::sse_moves::number;
use super::x87::begin;
use super::x87_control_fast::{LoadControl, StatusToAx, StoreControl};
use super::x87_fast::Exchange;
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::soft::{Kind, Num};
use crate::fpu::x87::INDEFINITE;
use crate::state::Fpu;
use crate::state::fpu::{C1, F80};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::Instruction;
use mmu::AccessKind;

type Done = Result<(), Trap>;

/// The exception masks of the control word.
const MASKS: u16 = 0x3f;

fn fninit(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    cpu.state.fpu.init_x87();
    cpu.update_fallback();
    Ok(())
}

fn fnclex(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    cpu.state.fpu.sw.replace(!0x7f00, 0);
    Ok(())
}

fn wait(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_wait()
}

impl Fpu {
    /// Sets the control word; bit 6 is always set, other reserved bits never.
    pub fn set_cw(&mut self, v: u16) {
        self.cw = v & 0x1f3f | 0x40;
        self.summarize();
    }

    /// Sets the status word, with the summary that follows.
    pub fn set_status_word(&mut self, v: u16) {
        self.sw.set(v);
        self.summarize();
    }

    /// The tag word: two bits for each of R0 to R7. SDM vol. 1, "x87 FPU Tag Word".
    fn tag_word(&self) -> u16 {
        (0..8).fold(0, |t, k| {
            let n = Num::of_f80(self.r[k].value());
            let tag = match n.kind {
                _ if self.r[k].is_empty() => 3,
                Kind::Zero => 1,
                Kind::Finite if !n.denormal => 0,
                _ => 2,
            };
            t | tag << (2 * k)
        })
    }

    fn set_tag_word(&mut self, t: u16) {
        self.set_tags((0..8).fold(0, |v, k| v | ((t >> (2 * k) & 3 != 3) as u8) << k));
    }
}

fn fldcw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let v = cpu.load_operand::<u16>(i)?;
    cpu.state.fpu.set_cw(v);
    cpu.update_fallback();
    Ok(())
}

fn fnstcw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    let v = cpu.state.fpu.cw;
    cpu.store_operand(i, v)
}

fn fnstsw(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    let v = cpu.state.fpu.sw.get();
    cpu.write(i, 0, v)
}

/// How an environment lies in memory: words of `W`, pointers split as in real mode or not.
struct Layout {
    word: usize,
    real: bool,
}

impl Layout {
    fn of<W: Word>(cpu: &Cpu) -> Layout {
        Layout { word: W::BYTES, real: !cpu.protected() || cpu.v86() }
    }

    fn size(&self) -> usize {
        7 * self.word
    }

    /// The seven words. SDM vol. 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE".
    fn pack(&self, f: &Fpu) -> [u32; 7] {
        // The upper halves of the first three and the last are written as ones.
        let one = |v: u16| v as u32 | 0xffff_0000;
        let (ip, dp, op) = (f.fip as u32, f.fdp as u32, (f.fop & 0x7ff) as u32);
        let (cs, ds) = match (self.real, self.word) {
            (true, 2) => (ip >> 4 & 0xf000 | op, dp >> 4 & 0xf000),
            (true, _) => (ip >> 4 & 0xfff_f000 | op, dp >> 4 & 0xfff_f000),
            // Selectors are zero: CPUID says that they are deprecated (leaf 7, EBX bit 13).
            (false, _) => (op << 16, 0xffff_0000),
        };
        let cut = |v: u32| if self.real && self.word == 4 { v & 0xffff } else { v };
        [one(f.cw), one(f.sw.get()), one(f.tag_word()), cut(ip), cs, cut(dp), ds]
    }

    fn unpack(&self, f: &mut Fpu, w: [u32; 7]) {
        f.set_tag_word(w[2] as u16);
        f.cw = 0;
        f.set_status_word(w[1] as u16);
        f.set_cw(w[0] as u16);
        let upper = |v: u32| (v & 0xfff_f000) << 4;
        let (ip, dp) = if self.real { (upper(w[4]), upper(w[6])) } else { (0, 0) };
        f.fip = (w[3] | ip) as u64;
        f.fdp = (w[5] | dp) as u64;
        let in_high = !self.real && self.word == 4;
        f.fop = (if in_high { w[4] >> 16 } else { w[4] }) as u16 & 0x7ff;
    }
}

fn environment(layout: &Layout, f: &Fpu) -> Vec<u8> {
    let words = layout.pack(f);
    words.iter().flat_map(|w| w.to_le_bytes()[..layout.word].to_vec()).collect()
}

fn load_environment(layout: &Layout, f: &mut Fpu, bytes: &[u8]) {
    let mut words = [0; 7];
    for (w, b) in words.iter_mut().zip(bytes.chunks(layout.word)) {
        *w = b.iter().rev().fold(0, |v, b| v << 8 | *b as u32);
    }
    layout.unpack(f, words);
}

/// Segment and linear address of an area made of `word`s. Silicon looks at its first word, then at its
/// last byte.
fn area(
    cpu: &mut Cpu,
    i: &Instruction,
    (size, word): (usize, usize),
    kind: AccessKind,
) -> Result<(usize, u64), Trap> {
    let (s, la) = cpu.memory_operand(i, word, kind == AccessKind::Write)?;
    cpu.probe(s, la, word, kind)?;
    cpu.memory_operand(i, size, kind == AccessKind::Write)?;
    let last = cpu.step(la, size as u64 - 1);
    cpu.probe(s, last, 1, kind)?;
    Ok((s, la))
}

fn store(cpu: &mut Cpu, i: &Instruction, bytes: &[u8], word: usize) -> Done {
    let (s, la) = area(cpu, i, (bytes.len(), word), AccessKind::Write)?;
    cpu.store_bytes(s, la, bytes)
}

fn load(cpu: &mut Cpu, i: &Instruction, size: usize, word: usize) -> Result<Vec<u8>, Trap> {
    let mut bytes = vec![0; size];
    let (s, la) = area(cpu, i, (size, word), AccessKind::Read)?;
    cpu.load_bytes(s, la, &mut bytes)?;
    Ok(bytes)
}

fn fnstenv<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    let bytes = environment(&Layout::of::<W>(cpu), &cpu.state.fpu);
    store(cpu, i, &bytes, W::BYTES)?;
    cpu.state.fpu.cw |= MASKS;
    cpu.update_fallback();
    cpu.state.fpu.summarize();
    Ok(())
}

fn fldenv<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let layout = Layout::of::<W>(cpu);
    let bytes = load(cpu, i, layout.size(), W::BYTES)?;
    load_environment(&layout, &mut cpu.state.fpu, &bytes);
    cpu.update_fallback();
    Ok(())
}

fn fnsave<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check_nowait()?;
    let mut bytes = environment(&Layout::of::<W>(cpu), &cpu.state.fpu);
    for n in 0..8 {
        let v = cpu.state.fpu.st(n);
        bytes.extend(v.m.to_le_bytes());
        bytes.extend(v.se.to_le_bytes());
    }
    store(cpu, i, &bytes, W::BYTES)?;
    cpu.state.fpu.init_x87();
    cpu.update_fallback();
    Ok(())
}

fn frstor<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let layout = Layout::of::<W>(cpu);
    let bytes = load(cpu, i, layout.size() + 80, W::BYTES)?;
    let (env, registers) = bytes.split_at(layout.size());
    let f = &mut cpu.state.fpu;
    load_environment(&layout, f, env);
    let top = f.top();
    for (n, b) in registers.chunks(10).enumerate() {
        let m = b[..8].iter().rev().fold(0, |v, b| v << 8 | *b as u64);
        f.set_value(top + n, F80 { m, se: u16::from_le_bytes([b[8], b[9]]) });
    }
    cpu.update_fallback();
    Ok(())
}

fn ffree<const POP: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    cpu.state.fpu.free(number(i.op0_register()));
    cpu.state.fpu.set_sw(C1, false);
    if POP {
        cpu.state.fpu.pop();
    }
    Ok(())
}

fn rotate<const BY: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    f.set_top(f.top() + BY);
    f.set_sw(C1, false);
    Ok(())
}

/// Nothing but the wait.
fn fnop(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)
}

/// What did something before the 80387.
fn obsolete(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.x87_check_nowait()
}

fn fxch(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let n = number(i.op1_register());
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    if f.empty(0) || f.empty(n) {
        if !f.stack_fault(false) {
            return Ok(());
        }
        for k in [0, n] {
            if f.empty(k) {
                f.set_st(k, INDEFINITE);
            }
        }
    }
    let (a, b) = (f.st(0), f.st(n));
    f.set_st(0, b);
    f.set_st(n, a);
    Ok(())
}

fn fcmov<const CC: u8>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let n = number(i.op1_register());
    let moves = cpu.state.flags.cond(CC);
    let f = &mut cpu.state.fpu;
    if f.empty(0) || f.empty(n) {
        if f.stack_fault(false) {
            f.set_st(0, INDEFINITE);
        }
    } else if moves {
        f.set_st(0, f.st(n));
    }
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Wait => Exec::Function(wait);
    Fxch_st0_sti => Exec::FastPath(registers::<Exchange>, fxch);
    Fxch_st0_sti_DDC8 => Exec::FastPath(registers::<Exchange>, fxch);
    Fxch_st0_sti_DFC8 => Exec::FastPath(registers::<Exchange>, fxch);
    Fcmovb_st0_sti => Exec::Function(fcmov::<2>);
    Fcmovnb_st0_sti => Exec::Function(fcmov::<3>);
    Fcmove_st0_sti => Exec::Function(fcmov::<4>);
    Fcmovne_st0_sti => Exec::Function(fcmov::<5>);
    Fcmovbe_st0_sti => Exec::Function(fcmov::<6>);
    Fcmovnbe_st0_sti => Exec::Function(fcmov::<7>);
    Fcmovu_st0_sti => Exec::Function(fcmov::<10>);
    Fcmovnu_st0_sti => Exec::Function(fcmov::<11>);
    Fninit => Exec::Function(fninit);
    Fnclex => Exec::Function(fnclex);
    Fldcw_m2byte => Exec::FastPath(memory::<LoadControl>, fldcw);
    Fnstcw_m2byte => Exec::FastPath(memory::<StoreControl>, fnstcw);
    Fnstsw_m2byte => Exec::Function(fnstsw);
    Fnstsw_AX => Exec::FastPath(registers::<StatusToAx>, fnstsw);
    Fnstenv_m14byte => Exec::Function(fnstenv::<u16>);
    Fnstenv_m28byte => Exec::Function(fnstenv::<u32>);
    Fldenv_m14byte => Exec::Function(fldenv::<u16>);
    Fldenv_m28byte => Exec::Function(fldenv::<u32>);
    Fnsave_m94byte => Exec::Function(fnsave::<u16>);
    Fnsave_m108byte => Exec::Function(fnsave::<u32>);
    Frstor_m94byte => Exec::Function(frstor::<u16>);
    Frstor_m108byte => Exec::Function(frstor::<u32>);
    Ffree_sti => Exec::Function(ffree::<false>);
    Ffreep_sti => Exec::Function(ffree::<true>);
    Fincstp => Exec::Function(rotate::<1>);
    Fdecstp => Exec::Function(rotate::<7>);
    Fnop => Exec::Function(fnop);
    Fneni => Exec::Function(obsolete);
    Fndisi => Exec::Function(obsolete);
    Fnsetpm => Exec::Function(obsolete);
};
