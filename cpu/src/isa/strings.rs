//! String instructions: MOVS, STOS, LODS, SCAS, CMPS, with REP as host bulk copies.
//!
//! A REP retires as one instruction per chunk of at most [`CHUNK`] iterations, at whose end RIP still
//! points at it: so it is interruptible, exact at a fault, and no count, however large, holds the host
//! up. SDM vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".

use super::{Exec, Form, forms};
use crate::Cpu;
use crate::operand::segment_number;
use crate::state::{flags, gpr, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind};
use mmu::{AccessKind, HostPhys};

/// BlockLimit iterations of a REP that retire as one instruction.
pub(super) const CHUNK: u64 = 1 << 14;
const PAGE: u64 = 4096;

/// What a string instruction works with.
struct Strings {
    /// All address bits.
    mask: u64,
    /// Segment of the source.
    source: usize,
    /// Bytes that an iteration moves on; negative with DF.
    step: i64,
    /// Bytes of an element.
    size: u64,
    /// Upwards in 64-bit mode, and nobody watches: what the TLB knows needs no further checks.
    plain: bool,
}

impl Strings {
    fn new<W: Word>(cpu: &Cpu, i: &Instruction) -> Strings {
        let bits = address_bits(i);
        let down = cpu.state.flags.system & flags::DF != 0;
        let size = W::BYTES as u64;
        Strings {
            mask: u64::MAX >> (64 - bits),
            source: segment_number(i.memory_segment()),
            step: if down { -(size as i64) } else { size as i64 },
            size,
            plain: cpu.is_64() && !down && !cpu.aligned_only() && !cpu.watching(),
        }
    }

    fn offset(&self, cpu: &Cpu, reg: usize) -> u64 {
        cpu.state.regs[reg] & self.mask
    }

    /// Moves an index register on by `n` elements, at the address size.
    fn advance(&self, cpu: &mut Cpu, reg: usize, n: u64) {
        let to = cpu.state.regs[reg].wrapping_add((self.step as u64).wrapping_mul(n));
        self.set(cpu, reg, to);
    }

    fn set(&self, cpu: &mut Cpu, reg: usize, v: u64) {
        let r = &mut cpu.state.regs[reg];
        match self.mask {
            0xffff => u16::put(r, v as u16),
            0xffff_ffff => u32::put(r, v as u32),
            _ => *r = v,
        }
    }

    /// How many elements from offset `off` on stay in one page and do not wrap; 0 where the first does
    /// not.
    fn run(&self, la: u64, off: u64, count: u64) -> u64 {
        let (at, size) = (la & (PAGE - 1), self.size);
        let above = (PAGE - at) / size;
        let room = if self.step > 0 { above } else { at / size + 1 };
        let wrap = if self.step > 0 { (self.mask - off) / size } else { off / size };
        count.min(if above == 0 { 0 } else { room }).min(wrap)
    }

    /// The lowest address of a run of `n` elements from `a`.
    fn lowest(&self, a: u64, n: u64) -> u64 {
        if self.step > 0 { a } else { a.wrapping_sub((n - 1) * self.size) }
    }
}

/// Address size of a string instruction in bits.
fn address_bits(i: &Instruction) -> u32 {
    for kind in [i.op0_kind(), i.op1_kind()] {
        match kind {
            OpKind::MemorySegSI | OpKind::MemoryESDI => return 16,
            OpKind::MemorySegESI | OpKind::MemoryESEDI => return 32,
            _ => {}
        }
    }
    64
}

impl Cpu {
    /// Whether something is due after every iteration of a REP: traps, exits of the monitor trap flag.
    fn stops_at_iterations(&self) -> bool {
        self.state.flags.system & flags::TF != 0 || self.watching() || self.needs_exact_step()
    }
}

/// How many elements a REP with 64-bit addresses does at once, upwards, if nothing stands in the way but the
/// memory itself.
fn at_once(cpu: &Cpu, i: &Instruction, s: &Strings) -> Option<u64> {
    let off = !cpu.stops_at_iterations() && s.plain && s.mask == u64::MAX;
    let count = cpu.state.regs[gpr::RCX];
    (off && i.has_rep_prefix() && (1..=CHUNK).contains(&count)).then_some(count)
}

/// [`repeat`] of a comparison. A fault, trap or interrupt between iterations finds the flags as they were before the
/// instruction. SDM vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".
fn repeat_comparison(
    cpu: &mut Cpu,
    i: &Instruction,
    s: &Strings,
    step: impl FnMut(&mut Cpu, u64) -> Result<(u64, bool), Trap>,
) -> Result<(), Trap> {
    let before = cpu.state.flags;
    let done = repeat(cpu, i, s, step);
    if done.is_err() {
        cpu.state.flags = before;
    }
    done
}

/// MOVS and STOS with 32-bit addresses: in 64-bit mode Intel's silicon clears the upper halves of the index registers
/// also where a count of 0 or a fault lets nothing be done. The SDM leaves it open.
fn clear_upper(cpu: &mut Cpu, i: &Instruction, s: &Strings, indices: &[usize]) {
    if s.mask == 0xffff_ffff && (i.has_rep_prefix() || i.has_repne_prefix()) {
        indices.iter().for_each(|r| s.advance(cpu, *r, 0));
    }
}

/// Runs `element` or bulk steps as the REP prefix says. `step` does up to the given number of
/// iterations and returns how many, and whether a REPE/REPNE condition ended the loop.
fn repeat(
    cpu: &mut Cpu,
    i: &Instruction,
    s: &Strings,
    mut step: impl FnMut(&mut Cpu, u64) -> Result<(u64, bool), Trap>,
) -> Result<(), Trap> {
    if !i.has_rep_prefix() && !i.has_repne_prefix() {
        return step(cpu, 1).map(|_| ());
    }
    let most = if cpu.stops_at_iterations() { 1 } else { CHUNK };
    let mut budget = most;
    loop {
        let count = s.offset(cpu, gpr::RCX);
        if count == 0 {
            if s.mask == 0xffff_ffff {
                s.set(cpu, gpr::RCX, 0);
            }
            break;
        }
        if budget == 0 || cpu.env.io {
            return Err(Trap::Again);
        }
        let (done, ended) = step(cpu, count.min(budget))?;
        s.set(cpu, gpr::RCX, count - done);
        budget -= done;
        if ended {
            break;
        }
    }
    cpu.env.charge(most - budget);
    Ok(())
}

/// The frame after a run of bytes, if it is RAM without traps.
fn frame(cpu: &mut Cpu, la: u64, kind: AccessKind) -> Result<Option<HostPhys>, Trap> {
    if cpu.watching() || cpu.watches_page(la) {
        return Ok(None);
    }
    let p = cpu.translate(la, kind)?;
    let plain = cpu.mmu().ram.is_ram(p) && !cpu.mmu().kinds(p).slow_path;
    Ok(plain.then_some(p))
}

fn movs<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = Strings::new::<W>(cpu, i);
    if let Some(n) = at_once(cpu, i, &s).filter(|_| s.source < seg::FS) {
        let (from, to) = (cpu.state.regs[gpr::RSI], cpu.state.regs[gpr::RDI]);
        if cpu.copies_whole(from, to, s.size * n) {
            s.advance(cpu, gpr::RSI, n);
            s.advance(cpu, gpr::RDI, n);
            cpu.state.regs[gpr::RCX] = 0;
            return Ok(());
        }
    }
    clear_upper(cpu, i, &s, &[gpr::RSI, gpr::RDI]);
    repeat(cpu, i, &s, |cpu, n| {
        let (from, to) = (s.offset(cpu, gpr::RSI), s.offset(cpu, gpr::RDI));
        let src = cpu.linear(s.source, from, W::BYTES, false)?;
        let dst = cpu.linear(seg::ES, to, W::BYTES, true)?;
        let n = s.run(src, from, s.run(dst, to, n));
        let known = if s.plain { cpu.copy_plain(src, dst, s.size, n) } else { 0 };
        let n = match (known, n) {
            (0, 0 | 1) => None,
            (0, n) => copy_run(cpu, &s, (src, from), (dst, to), n)?,
            (done, _) => Some(done),
        };
        if n.is_none() {
            let v = cpu.load_at::<W>(s.source, src)?;
            cpu.store_at(seg::ES, dst, v)?;
        }
        let n = n.unwrap_or(1);
        s.advance(cpu, gpr::RSI, n);
        s.advance(cpu, gpr::RDI, n);
        Ok((n, false))
    })
}

/// Copies up to `n` elements inside one page on each side; `None` where that has to go one by one.
fn copy_run(
    cpu: &mut Cpu,
    s: &Strings,
    (src, from): (u64, u64),
    (dst, to): (u64, u64),
    n: u64,
) -> Result<Option<u64>, Trap> {
    let bytes = (n * s.size) as usize;
    if cpu.linear(s.source, s.lowest(from, n), bytes, false).is_err()
        || cpu.linear(seg::ES, s.lowest(to, n), bytes, true).is_err()
        || cpu.aligned_only()
    {
        return Ok(None);
    }
    let Some(p) = frame(cpu, src, AccessKind::Read)? else { return Ok(None) };
    let Some(q) = frame(cpu, dst, AccessKind::Write)? else { return Ok(None) };
    // Where the destination lies ahead inside the source, each element copied is read again: copy at
    // most the distance at a time.
    let distance = if s.step > 0 { q.0.wrapping_sub(p.0) } else { p.0.wrapping_sub(q.0) };
    let n = if distance < n * s.size { distance / s.size } else { n };
    if n == 0 {
        return Ok(None);
    }
    let (p, q) = (HostPhys(s.lowest(p.0, n)), HostPhys(s.lowest(q.0, n)));
    let bytes = (n * s.size) as usize;
    if !cpu.mmu().ram.copy(p, q, bytes) {
        return Ok(None);
    }
    cpu.stored(q, bytes);
    Ok(Some(n))
}

fn stos<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = Strings::new::<W>(cpu, i);
    let v = W::of(cpu.state.regs[gpr::RAX]);
    if let Some(n) = at_once(cpu, i, &s) {
        let bytes = (n * s.size) as usize;
        if cpu.fill_plain(cpu.state.regs[gpr::RDI], v.u(), W::BYTES, bytes) {
            s.advance(cpu, gpr::RDI, n);
            cpu.state.regs[gpr::RCX] = 0;
            return Ok(());
        }
    }
    clear_upper(cpu, i, &s, &[gpr::RDI]);
    repeat(cpu, i, &s, |cpu, n| {
        let to = s.offset(cpu, gpr::RDI);
        let dst = cpu.linear(seg::ES, to, W::BYTES, true)?;
        let n = s.run(dst, to, n);
        let bytes = (n * s.size) as usize;
        if s.plain && cpu.fill_plain(dst, v.u(), W::BYTES, bytes) {
            s.advance(cpu, gpr::RDI, n);
            return Ok((n, false));
        }
        let low = s.lowest(to, n.max(1));
        let bulk = n > 1 && cpu.linear(seg::ES, low, bytes, true).is_ok() && !cpu.aligned_only();
        let target = if bulk { frame(cpu, dst, AccessKind::Write)? } else { None };
        let n = match target {
            Some(q) => {
                let q = HostPhys(s.lowest(q.0, n));
                let done = cpu.mmu().ram.fill(q, W::BYTES, v.u(), n as usize);
                debug_assert!(done, "the run lies in a frame of RAM");
                cpu.stored(q, bytes);
                n
            }
            None => {
                cpu.store_at(seg::ES, dst, v)?;
                1
            }
        };
        s.advance(cpu, gpr::RDI, n);
        Ok((n, false))
    })
}

fn lods<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = Strings::new::<W>(cpu, i);
    repeat(cpu, i, &s, |cpu, _| {
        let from = s.offset(cpu, gpr::RSI);
        let src = cpu.linear(s.source, from, W::BYTES, false)?;
        let v = cpu.load_at::<W>(s.source, src)?;
        W::put(&mut cpu.state.regs[gpr::RAX], v);
        s.advance(cpu, gpr::RSI, 1);
        Ok((1, false))
    })
}

/// Compares as CMP does; whether the REPE/REPNE condition ends the loop.
fn compare<W: Word>(cpu: &mut Cpu, i: &Instruction, a: W, b: W) -> bool {
    let res = W::of(a.u().wrapping_sub(b.u()));
    cpu.state.flags.set_cc(flags::class::SUB, res, a);
    (a == b) == i.has_repne_prefix()
}

fn scas<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = Strings::new::<W>(cpu, i);
    repeat_comparison(cpu, i, &s, |cpu, _| {
        let dst = cpu.linear(seg::ES, s.offset(cpu, gpr::RDI), W::BYTES, false)?;
        let b = cpu.load_at::<W>(seg::ES, dst)?;
        let a = W::of(cpu.state.regs[gpr::RAX]);
        s.advance(cpu, gpr::RDI, 1);
        Ok((1, compare(cpu, i, a, b)))
    })
}

fn cmps<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = Strings::new::<W>(cpu, i);
    repeat_comparison(cpu, i, &s, |cpu, _| {
        let src = cpu.linear(s.source, s.offset(cpu, gpr::RSI), W::BYTES, false)?;
        let dst = cpu.linear(seg::ES, s.offset(cpu, gpr::RDI), W::BYTES, false)?;
        let b = cpu.load_at::<W>(seg::ES, dst)?;
        let a = cpu.load_at::<W>(s.source, src)?;
        s.advance(cpu, gpr::RSI, 1);
        s.advance(cpu, gpr::RDI, 1);
        Ok((1, compare(cpu, i, a, b)))
    })
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Movsb_m8_m8 => Exec::Function(movs::<u8>);
    Movsw_m16_m16 => Exec::Function(movs::<u16>);
    Movsd_m32_m32 => Exec::Function(movs::<u32>);
    Movsq_m64_m64 => Exec::Function(movs::<u64>);
    Stosb_m8_AL => Exec::Function(stos::<u8>);
    Stosw_m16_AX => Exec::Function(stos::<u16>);
    Stosd_m32_EAX => Exec::Function(stos::<u32>);
    Stosq_m64_RAX => Exec::Function(stos::<u64>);
    Lodsb_AL_m8 => Exec::Function(lods::<u8>);
    Lodsw_AX_m16 => Exec::Function(lods::<u16>);
    Lodsd_EAX_m32 => Exec::Function(lods::<u32>);
    Lodsq_RAX_m64 => Exec::Function(lods::<u64>);
    Scasb_AL_m8 => Exec::Function(scas::<u8>);
    Scasw_AX_m16 => Exec::Function(scas::<u16>);
    Scasd_EAX_m32 => Exec::Function(scas::<u32>);
    Scasq_RAX_m64 => Exec::Function(scas::<u64>);
    Cmpsb_m8_m8 => Exec::Function(cmps::<u8>);
    Cmpsw_m16_m16 => Exec::Function(cmps::<u16>);
    Cmpsd_m32_m32 => Exec::Function(cmps::<u32>);
    Cmpsq_m64_m64 => Exec::Function(cmps::<u64>);
};
