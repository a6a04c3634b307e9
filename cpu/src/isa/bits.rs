//! Bit tests and scans, SETcc, CMOVcc, BMI, byte swaps.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::branch::condition;
use super::rm::{RegD, RegS, Rm, by_rm, try_flow};
use super::{AddressingMode, Exec, Form, Operands, forms};
use crate::Cpu;
use crate::dispatch::{Flow, Handler, Semantics, deferred, handler, uses};
use crate::mem::{Mem, get, put};
use crate::op::Op;
use crate::state::flags;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind};
use mmu::TlbEntry;
use std::marker::PhantomData;

/// `SETcc`.
pub(crate) struct Set<A, const CC: u8>(PhantomData<A>);
/// `CMOVcc`: the source is always read.
pub(crate) struct Cmov<A, W, const CC: u8>(PhantomData<(A, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, const CC: u8> Semantics for Set<A, CC> {
    const READS: u32 = A::ADDRESS;
    const SETS: u32 = A::SETS;
    const BITS: u32 = 8;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let v = condition::<CC>(cpu) as u8;
        try_flow!(A::store::<M, u8>(o, cpu, tlb, v));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const CC: u8> Semantics for Cmov<A, W, CC> {
    const READS: u32 = A::READS | uses::DST;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let new = try_flow!(A::load::<M, W>(o, cpu, tlb));
        let old = get::<W>(cpu, (*o).dst);
        put(cpu, (*o).dst, if condition::<CC>(cpu) { new } else { old });
        Flow::Next(1)
    }
}

fn set<const CC: u8>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Set<A, CC>)
}

fn cmov<W: Word, const CC: u8>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegS, |A| Cmov<A, W, CC>)
}

/// `BSWAP`.
pub(crate) struct Bswap<W>(PhantomData<W>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word> Semantics for Bswap<W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::DST;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        let v = get::<W>(cpu, (*o).dst).u().swap_bytes() >> (64 - W::BITS);
        // The 16-bit form is undefined; silicon clears the register.
        put(cpu, (*o).dst, W::of(if W::BITS == 16 { 0 } else { v }));
        Flow::Next(1)
    }
}

fn bswap<W: Word>(_: &Operands) -> Handler {
    handler::<Bswap<W>>()
}

const BT: u8 = 0;
const BTS: u8 = 1;
const BTR: u8 = 2;
const BTC: u8 = 3;

/// `BT` and its like on `r/m` with an immediate, or on a register: the offset stays in the operand.
pub(crate) struct Bit<A, W, const OP: u8, const IMM: bool>(PhantomData<(A, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const IMM: bool> Semantics for Bit<A, W, OP, IMM> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let n = if IMM { (*o).imm } else { get::<W>(cpu, (*o).src).u() } & (W::BITS as u64 - 1);
        if OP == BT {
            let a = try_flow!(A::load::<M, W>(o, cpu, tlb));
            bit_flag(&mut *cpu, a.u() >> n & 1 != 0);
            return Flow::Next(1);
        }
        try_flow!(A::update::<M, W>(o, cpu, tlb, |a: W| {
            let (old, mask) = (a.u(), 1 << n);
            bit_flag(&mut *cpu, old & mask != 0);
            W::of(match OP {
                BTS => old | mask,
                BTR => old & !mask,
                _ => old ^ mask,
            })
        }));
        Flow::Next(1)
    }
}

fn bit_imm<W: Word, const OP: u8>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Bit<A, W, OP, true>)
}

/// With a register offset: typed on a register, plain on memory, whose address the offset moves.
fn bit_reg<W: Word, const OP: u8>(s: &Operands) -> Handler {
    debug_assert!(s.addressing == AddressingMode::Reg);
    handler::<Bit<RegD, W, OP, false>>()
}

/// Sets CF to a bit; the other flags stay (OF, SF, AF, PF are undefined, ZF is unaffected).
#[inline(always)]
fn bit_flag(cpu: &mut Cpu, bit: bool) {
    cpu.state.flags.set_cf(bit);
}

/// `BT` and its like. A register bit offset into memory reaches beyond the operand: the address moves
/// by whole words, signed.
fn bit<W: Word, const OP: u8>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let offset = cpu.read::<W>(i, 1)?;
    let mask = 1u64 << (offset.u() & (W::BITS as u64 - 1));
    let mut old = 0;
    let mut f = |a: W| {
        old = a.u();
        W::of(match OP {
            BTS => old | mask,
            BTR => old & !mask,
            _ => old ^ mask,
        })
    };
    if i.op0_kind() == OpKind::Memory {
        let s = crate::operand::segment_number(i.memory_segment());
        let far = if i.op1_kind() == OpKind::Register {
            (offset.s() >> W::BITS.trailing_zeros()).wrapping_mul(W::BYTES as i64)
        } else {
            0
        };
        let cut = u64::MAX >> (64 - 8 * crate::operand::address_size(i, cpu.is_64()));
        let off = cpu.ea(i).wrapping_add(far as u64) & cut;
        let la = cpu.linear(s, off, W::BYTES, OP != BT)?;
        if OP == BT {
            old = cpu.load_at::<W>(s, la)?.u();
        } else {
            cpu.update_at(s, la, f)?;
        }
    } else if OP == BT {
        old = cpu.read::<W>(i, 0)?.u();
    } else {
        cpu.modify(i, 0, &mut f)?;
    }
    bit_flag(cpu, old & mask != 0);
    Ok(())
}

const BSF: u8 = 0;
const BSR: u8 = 1;
const TZCNT: u8 = 2;
const LZCNT: u8 = 3;
const POPCNT: u8 = 4;

/// `BSF`, `BSR`, `TZCNT`, `LZCNT`, `POPCNT`.
pub(crate) struct Scan<A, W, const OP: u8>(PhantomData<(A, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8> Semantics for Scan<A, W, OP> {
    const READS: u32 = A::READS;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let v = try_flow!(A::load::<M, W>(o, cpu, tlb)).u();
        let top = 64 - W::BITS;
        let res = match OP {
            BSF | TZCNT => (v.trailing_zeros()).min(W::BITS),
            BSR => W::BITS.wrapping_sub(1).wrapping_sub(v.leading_zeros().wrapping_sub(top)),
            LZCNT => v.leading_zeros() - top,
            _ => v.count_ones(),
        };
        // With a zero source the destination of a scan stays.
        if !matches!(OP, BSF | BSR) || v != 0 {
            put(cpu, (*o).dst, W::of(res as u64));
        }
        let flag = |b: bool, f: u64| if b { f } else { 0 };
        let status = match OP {
            // The other flags stay (undefined).
            BSF | BSR => ((*cpu).state.flags.status() & !flags::ZF) | flag(v == 0, flags::ZF),
            POPCNT => flag(v == 0, flags::ZF),
            // SF, AF, PF, OF are undefined; Intel's silicon clears them.
            _ => flag(res == 0, flags::ZF) | flag(v == 0, flags::CF),
        };
        (*cpu).state.flags.set_status(status);
        Flow::Next(1)
    }
}

fn scan<W: Word, const OP: u8>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegS, |A| Scan<A, W, OP>)
}

/// `MOVBE`.
fn movbe<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?.u().swap_bytes() >> (64 - W::BITS);
    cpu.write(i, 0, W::of(v))
}

/// Sets SF and ZF from `res` and the given CF; OF = 0, and so are AF and PF, which the SDM leaves undefined.
fn bmi_flags<W: Word>(cpu: &mut Cpu, res: W, cf: bool) {
    let zf = if res.u() == 0 { flags::ZF } else { 0 };
    let sf = if res.s() < 0 { flags::SF } else { 0 };
    cpu.state.flags.set_status(zf | sf | cf as u64);
}

/// `ANDN`.
fn andn<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let b = cpu.read::<W>(i, 2)?.u();
    let res = W::of(!cpu.reg(i.op1_register()) & b);
    cpu.set_reg(i.op0_register(), res.u());
    bmi_flags(cpu, res, false);
    Ok(())
}

/// `BLSR`, `BLSMSK`, `BLSI`.
fn lowest<W: Word, const OP: u8>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?.u();
    let res = W::of(match OP {
        1 => v & v.wrapping_sub(1),
        2 => v ^ v.wrapping_sub(1),
        _ => v & v.wrapping_neg(),
    });
    cpu.set_reg(i.op0_register(), res.u());
    bmi_flags(cpu, res, if OP == 3 { v != 0 } else { v == 0 });
    Ok(())
}

/// `BEXTR`.
fn bextr<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?.u();
    let control = cpu.reg(i.op2_register());
    let (start, len) = (control as u8 as u32, (control >> 8) as u8 as u32);
    let v = if start < 64 { v >> start } else { 0 };
    let v = if len < 64 { v & ((1 << len) - 1) } else { v };
    cpu.set_reg(i.op0_register(), v);
    // AF, SF and PF are undefined; Intel's silicon clears them.
    cpu.state.flags.set_status(if v == 0 { flags::ZF } else { 0 });
    Ok(())
}

/// `BZHI`.
fn bzhi<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?.u();
    let n = cpu.reg(i.op2_register()) as u8 as u32;
    let res = W::of(if n < W::BITS { v & ((1 << n) - 1) } else { v });
    cpu.set_reg(i.op0_register(), res.u());
    bmi_flags(cpu, res, n >= W::BITS);
    Ok(())
}

/// `PDEP` and `PEXT`.
fn deposit<W: Word, const EXTRACT: bool>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let mut mask = cpu.read::<W>(i, 2)?.u();
    let v = W::of(cpu.reg(i.op1_register())).u();
    let (mut res, mut k) = (0u64, 0);
    while mask != 0 {
        let low = mask.trailing_zeros();
        res |= if EXTRACT { (v >> low & 1) << k } else { (v >> k & 1) << low };
        mask &= mask - 1;
        k += 1;
    }
    cpu.set_reg(i.op0_register(), res);
    Ok(())
}

/// `MULX`.
fn mulx<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let b = cpu.read::<W>(i, 2)?.u();
    let a = W::of(cpu.state.regs[crate::state::gpr::RDX]).u();
    let p = a as u128 * b as u128;
    cpu.set_reg(i.op1_register(), W::of(p as u64).u());
    cpu.set_reg(i.op0_register(), W::of((p >> W::BITS) as u64).u());
    Ok(())
}

/// `RORX`, `SARX`, `SHLX`, `SHRX`.
fn shiftx<W: Word, const OP: u8>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?;
    let n = cpu.read::<W>(i, 2)?.u() as u32 & (W::BITS - 1);
    let res = match OP {
        0 if n != 0 => v.u() >> n | v.u() << (W::BITS - n),
        0 => v.u(),
        1 => (v.s() >> n) as u64,
        2 => v.u() << n,
        _ => v.u() >> n,
    };
    cpu.set_reg(i.op0_register(), W::of(res).u());
    Ok(())
}

/// `ADCX` and `ADOX`: an add with carry through one flag alone.
fn adx<W: Word, const FLAG: u64>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let b = cpu.read::<W>(i, 1)?.u() as u128;
    let status = cpu.state.flags.status();
    let sum = cpu.reg(i.op0_register()) as u128 + b + (status & FLAG != 0) as u128;
    cpu.set_reg(i.op0_register(), W::of(sum as u64).u());
    cpu.state.flags.set_status((status & !FLAG) | if sum >> W::BITS != 0 { FLAG } else { 0 });
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Seto_rm8 => Exec::Handler(set::<0>);
    Setno_rm8 => Exec::Handler(set::<1>);
    Setb_rm8 => Exec::Handler(set::<2>);
    Setae_rm8 => Exec::Handler(set::<3>);
    Sete_rm8 => Exec::Handler(set::<4>);
    Setne_rm8 => Exec::Handler(set::<5>);
    Setbe_rm8 => Exec::Handler(set::<6>);
    Seta_rm8 => Exec::Handler(set::<7>);
    Sets_rm8 => Exec::Handler(set::<8>);
    Setns_rm8 => Exec::Handler(set::<9>);
    Setp_rm8 => Exec::Handler(set::<10>);
    Setnp_rm8 => Exec::Handler(set::<11>);
    Setl_rm8 => Exec::Handler(set::<12>);
    Setge_rm8 => Exec::Handler(set::<13>);
    Setle_rm8 => Exec::Handler(set::<14>);
    Setg_rm8 => Exec::Handler(set::<15>);
    Cmovo_r16_rm16 => Exec::Handler(cmov::<u16, 0>);
    Cmovo_r32_rm32 => Exec::Handler(cmov::<u32, 0>);
    Cmovo_r64_rm64 => Exec::Handler(cmov::<u64, 0>);
    Cmovno_r16_rm16 => Exec::Handler(cmov::<u16, 1>);
    Cmovno_r32_rm32 => Exec::Handler(cmov::<u32, 1>);
    Cmovno_r64_rm64 => Exec::Handler(cmov::<u64, 1>);
    Cmovb_r16_rm16 => Exec::Handler(cmov::<u16, 2>);
    Cmovb_r32_rm32 => Exec::Handler(cmov::<u32, 2>);
    Cmovb_r64_rm64 => Exec::Handler(cmov::<u64, 2>);
    Cmovae_r16_rm16 => Exec::Handler(cmov::<u16, 3>);
    Cmovae_r32_rm32 => Exec::Handler(cmov::<u32, 3>);
    Cmovae_r64_rm64 => Exec::Handler(cmov::<u64, 3>);
    Cmove_r16_rm16 => Exec::Handler(cmov::<u16, 4>);
    Cmove_r32_rm32 => Exec::Handler(cmov::<u32, 4>);
    Cmove_r64_rm64 => Exec::Handler(cmov::<u64, 4>);
    Cmovne_r16_rm16 => Exec::Handler(cmov::<u16, 5>);
    Cmovne_r32_rm32 => Exec::Handler(cmov::<u32, 5>);
    Cmovne_r64_rm64 => Exec::Handler(cmov::<u64, 5>);
    Cmovbe_r16_rm16 => Exec::Handler(cmov::<u16, 6>);
    Cmovbe_r32_rm32 => Exec::Handler(cmov::<u32, 6>);
    Cmovbe_r64_rm64 => Exec::Handler(cmov::<u64, 6>);
    Cmova_r16_rm16 => Exec::Handler(cmov::<u16, 7>);
    Cmova_r32_rm32 => Exec::Handler(cmov::<u32, 7>);
    Cmova_r64_rm64 => Exec::Handler(cmov::<u64, 7>);
    Cmovs_r16_rm16 => Exec::Handler(cmov::<u16, 8>);
    Cmovs_r32_rm32 => Exec::Handler(cmov::<u32, 8>);
    Cmovs_r64_rm64 => Exec::Handler(cmov::<u64, 8>);
    Cmovns_r16_rm16 => Exec::Handler(cmov::<u16, 9>);
    Cmovns_r32_rm32 => Exec::Handler(cmov::<u32, 9>);
    Cmovns_r64_rm64 => Exec::Handler(cmov::<u64, 9>);
    Cmovp_r16_rm16 => Exec::Handler(cmov::<u16, 10>);
    Cmovp_r32_rm32 => Exec::Handler(cmov::<u32, 10>);
    Cmovp_r64_rm64 => Exec::Handler(cmov::<u64, 10>);
    Cmovnp_r16_rm16 => Exec::Handler(cmov::<u16, 11>);
    Cmovnp_r32_rm32 => Exec::Handler(cmov::<u32, 11>);
    Cmovnp_r64_rm64 => Exec::Handler(cmov::<u64, 11>);
    Cmovl_r16_rm16 => Exec::Handler(cmov::<u16, 12>);
    Cmovl_r32_rm32 => Exec::Handler(cmov::<u32, 12>);
    Cmovl_r64_rm64 => Exec::Handler(cmov::<u64, 12>);
    Cmovge_r16_rm16 => Exec::Handler(cmov::<u16, 13>);
    Cmovge_r32_rm32 => Exec::Handler(cmov::<u32, 13>);
    Cmovge_r64_rm64 => Exec::Handler(cmov::<u64, 13>);
    Cmovle_r16_rm16 => Exec::Handler(cmov::<u16, 14>);
    Cmovle_r32_rm32 => Exec::Handler(cmov::<u32, 14>);
    Cmovle_r64_rm64 => Exec::Handler(cmov::<u64, 14>);
    Cmovg_r16_rm16 => Exec::Handler(cmov::<u16, 15>);
    Cmovg_r32_rm32 => Exec::Handler(cmov::<u32, 15>);
    Cmovg_r64_rm64 => Exec::Handler(cmov::<u64, 15>);
    Bswap_r16 => Exec::Handler(bswap::<u16>);
    Bswap_r32 => Exec::Handler(bswap::<u32>);
    Bswap_r64 => Exec::Handler(bswap::<u64>);
    Bt_rm16_r16 => Exec::RegisterHandler(bit_reg::<u16, BT>, bit::<u16, BT>);
    Bt_rm16_imm8 => Exec::Handler(bit_imm::<u16, BT>);
    Bt_rm32_r32 => Exec::RegisterHandler(bit_reg::<u32, BT>, bit::<u32, BT>);
    Bt_rm32_imm8 => Exec::Handler(bit_imm::<u32, BT>);
    Bt_rm64_r64 => Exec::RegisterHandler(bit_reg::<u64, BT>, bit::<u64, BT>);
    Bt_rm64_imm8 => Exec::Handler(bit_imm::<u64, BT>);
    Bts_rm16_r16 => Exec::RegisterHandler(bit_reg::<u16, BTS>, bit::<u16, BTS>);
    Bts_rm16_imm8 => Exec::Handler(bit_imm::<u16, BTS>);
    Bts_rm32_r32 => Exec::RegisterHandler(bit_reg::<u32, BTS>, bit::<u32, BTS>);
    Bts_rm32_imm8 => Exec::Handler(bit_imm::<u32, BTS>);
    Bts_rm64_r64 => Exec::RegisterHandler(bit_reg::<u64, BTS>, bit::<u64, BTS>);
    Bts_rm64_imm8 => Exec::Handler(bit_imm::<u64, BTS>);
    Btr_rm16_r16 => Exec::RegisterHandler(bit_reg::<u16, BTR>, bit::<u16, BTR>);
    Btr_rm16_imm8 => Exec::Handler(bit_imm::<u16, BTR>);
    Btr_rm32_r32 => Exec::RegisterHandler(bit_reg::<u32, BTR>, bit::<u32, BTR>);
    Btr_rm32_imm8 => Exec::Handler(bit_imm::<u32, BTR>);
    Btr_rm64_r64 => Exec::RegisterHandler(bit_reg::<u64, BTR>, bit::<u64, BTR>);
    Btr_rm64_imm8 => Exec::Handler(bit_imm::<u64, BTR>);
    Btc_rm16_r16 => Exec::RegisterHandler(bit_reg::<u16, BTC>, bit::<u16, BTC>);
    Btc_rm16_imm8 => Exec::Handler(bit_imm::<u16, BTC>);
    Btc_rm32_r32 => Exec::RegisterHandler(bit_reg::<u32, BTC>, bit::<u32, BTC>);
    Btc_rm32_imm8 => Exec::Handler(bit_imm::<u32, BTC>);
    Btc_rm64_r64 => Exec::RegisterHandler(bit_reg::<u64, BTC>, bit::<u64, BTC>);
    Btc_rm64_imm8 => Exec::Handler(bit_imm::<u64, BTC>);
    Bsf_r16_rm16 => Exec::Handler(scan::<u16, BSF>);
    Bsf_r32_rm32 => Exec::Handler(scan::<u32, BSF>);
    Bsf_r64_rm64 => Exec::Handler(scan::<u64, BSF>);
    Bsr_r16_rm16 => Exec::Handler(scan::<u16, BSR>);
    Bsr_r32_rm32 => Exec::Handler(scan::<u32, BSR>);
    Bsr_r64_rm64 => Exec::Handler(scan::<u64, BSR>);
    Tzcnt_r16_rm16 => Exec::Handler(scan::<u16, TZCNT>);
    Tzcnt_r32_rm32 => Exec::Handler(scan::<u32, TZCNT>);
    Tzcnt_r64_rm64 => Exec::Handler(scan::<u64, TZCNT>);
    Lzcnt_r16_rm16 => Exec::Handler(scan::<u16, LZCNT>);
    Lzcnt_r32_rm32 => Exec::Handler(scan::<u32, LZCNT>);
    Lzcnt_r64_rm64 => Exec::Handler(scan::<u64, LZCNT>);
    Popcnt_r16_rm16 => Exec::Handler(scan::<u16, POPCNT>);
    Popcnt_r32_rm32 => Exec::Handler(scan::<u32, POPCNT>);
    Popcnt_r64_rm64 => Exec::Handler(scan::<u64, POPCNT>);
    Movbe_r16_m16 => Exec::Function(movbe::<u16>);
    Movbe_m16_r16 => Exec::Function(movbe::<u16>);
    Movbe_r32_m32 => Exec::Function(movbe::<u32>);
    Movbe_m32_r32 => Exec::Function(movbe::<u32>);
    Movbe_r64_m64 => Exec::Function(movbe::<u64>);
    Movbe_m64_r64 => Exec::Function(movbe::<u64>);
    VEX_Andn_r32_r32_rm32 => Exec::Function(andn::<u32>);
    VEX_Blsr_r32_rm32 => Exec::Function(lowest::<u32, 1>);
    VEX_Blsmsk_r32_rm32 => Exec::Function(lowest::<u32, 2>);
    VEX_Blsi_r32_rm32 => Exec::Function(lowest::<u32, 3>);
    VEX_Bextr_r32_rm32_r32 => Exec::Function(bextr::<u32>);
    VEX_Bzhi_r32_rm32_r32 => Exec::Function(bzhi::<u32>);
    VEX_Pdep_r32_r32_rm32 => Exec::Function(deposit::<u32, false>);
    VEX_Pext_r32_r32_rm32 => Exec::Function(deposit::<u32, true>);
    VEX_Mulx_r32_r32_rm32 => Exec::Function(mulx::<u32>);
    VEX_Rorx_r32_rm32_imm8 => Exec::Function(shiftx::<u32, 0>);
    VEX_Sarx_r32_rm32_r32 => Exec::Function(shiftx::<u32, 1>);
    VEX_Shlx_r32_rm32_r32 => Exec::Function(shiftx::<u32, 2>);
    VEX_Shrx_r32_rm32_r32 => Exec::Function(shiftx::<u32, 3>);
    Adcx_r32_rm32 => Exec::Function(adx::<u32, { flags::CF }>);
    Adox_r32_rm32 => Exec::Function(adx::<u32, { flags::OF }>);
    VEX_Andn_r64_r64_rm64 => Exec::Function(andn::<u64>);
    VEX_Blsr_r64_rm64 => Exec::Function(lowest::<u64, 1>);
    VEX_Blsmsk_r64_rm64 => Exec::Function(lowest::<u64, 2>);
    VEX_Blsi_r64_rm64 => Exec::Function(lowest::<u64, 3>);
    VEX_Bextr_r64_rm64_r64 => Exec::Function(bextr::<u64>);
    VEX_Bzhi_r64_rm64_r64 => Exec::Function(bzhi::<u64>);
    VEX_Pdep_r64_r64_rm64 => Exec::Function(deposit::<u64, false>);
    VEX_Pext_r64_r64_rm64 => Exec::Function(deposit::<u64, true>);
    VEX_Mulx_r64_r64_rm64 => Exec::Function(mulx::<u64>);
    VEX_Rorx_r64_rm64_imm8 => Exec::Function(shiftx::<u64, 0>);
    VEX_Sarx_r64_rm64_r64 => Exec::Function(shiftx::<u64, 1>);
    VEX_Shlx_r64_rm64_r64 => Exec::Function(shiftx::<u64, 2>);
    VEX_Shrx_r64_rm64_r64 => Exec::Function(shiftx::<u64, 3>);
    Adcx_r64_rm64 => Exec::Function(adx::<u64, { flags::CF }>);
    Adox_r64_rm64 => Exec::Function(adx::<u64, { flags::OF }>);
};
