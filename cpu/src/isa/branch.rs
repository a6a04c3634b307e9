//! Near branches in flat modes, and the links between blocks.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::{RegD, by_rm, try_flow};
use super::segmented::{near_call, near_call_rm, near_jump, near_jump_rm, near_return};
use super::{AddressingMode, Exec, Form, forms};
use crate::Cpu;
use crate::block::{BlockLimit, Key, NO_TAG, Start};
use crate::dispatch::{Flow, Handler, Semantics, handler, uses};
use crate::hint::rare;
use crate::isa::rm::Rm;
use crate::mem::Mem;
use crate::op::Op;
use crate::processor::{JUMP_ENTRIES, JumpEntry};
use crate::state::{CodeMode, gpr};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Code, ConditionCode, Instruction};
use mmu::TlbEntry;
use std::marker::PhantomData;

/// A direct jump; `X`: into another page.
pub(crate) struct Jmp<const X: bool>;
/// A conditional branch on condition `CC`.
pub(crate) struct Jcc<const CC: u8, const X: bool>;
/// A direct call that pushes a return address of width `W`.
pub(crate) struct Call<W, const X: bool>(PhantomData<W>);
/// An unresolved link inside the page: finds the target and links the branch.
pub(crate) struct Stub;
/// Checks the second page of an instruction that crosses pages.
pub(crate) struct Guard;
/// Leaves before the instruction at `page_offset`, if the host has a breakpoint there.
pub(crate) struct Break;
/// Leaves for the outer loop, to go on at `page_offset`.
pub(crate) struct Leave;

/// The target of a taken direct branch. In the cold twin an unresolvable target is null, with `cpu.rip`
/// set to it: the fetch faults there, after the branch.
#[inline(always)]
unsafe fn target<M: Mem, const X: bool>(op: *const Op, cpu: *mut Cpu) -> Option<*const Op> {
    if X {
        let link_tag = (*cpu).caches.link_tag;
        if (*op.add(1)).imm != link_tag && Op::alternate_tag(op) != link_tag {
            if !M::SLOW {
                rare();
                return None;
            }
            if !(*cpu).resolve_cross(op as *mut Op) {
                return Some(std::ptr::null());
            }
        }
    }
    Some((*op).imm as *const Op)
}

/// Commits a taken branch.
#[inline(always)]
unsafe fn take<M: Mem, const X: bool>(op: *const Op, cpu: *mut Cpu, to: *const Op) -> Flow {
    if X {
        if M::SLOW && to.is_null() {
            return Flow::Exit;
        }
        let delta = ((*op.add(1)).disp as i64 as u64) << 12;
        (*cpu).state.bases.page = (*cpu).state.bases.page.wrapping_add(delta);
        (*cpu).caches.link_tag = (*cpu).caches.link_tag.wrapping_add(delta);
    }
    Flow::Taken(to)
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const X: bool> Semantics for Jmp<X> {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        let to = try_flow!(target::<M, X>(op, cpu));
        take::<M, X>(op, cpu, to)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const CC: u8, const X: bool> Semantics for Jcc<CC, X> {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if !condition::<CC>(cpu) {
            return Flow::Next(1 + X as usize);
        }
        let to = try_flow!(target::<M, X>(op, cpu));
        take::<M, X>(op, cpu, to)
    }
}

/// Condition `CC` from the lazy flags; the common ones in line.
///
/// # Safety
/// As [`Semantics::run`].
#[inline(always)]
pub(crate) unsafe fn condition<const CC: u8>(cpu: *mut Cpu) -> bool {
    let v = match CC >> 1 {
        1 => (*cpu).state.flags.cf(),
        2 => (*cpu).state.flags.zf(),
        3 => (*cpu).state.flags.cf() || (*cpu).state.flags.zf(),
        4 => (*cpu).state.flags.sf(),
        _ => return (*cpu).state.flags.cond(CC),
    };
    v ^ (CC & 1 != 0)
}

#[inline(always)]
unsafe fn push<M: Mem, W: Word>(cpu: *mut Cpu, tlb: *mut TlbEntry, v: u64) -> Option<()> {
    let sp = W::of((*cpu).state.regs[gpr::RSP].wrapping_sub(W::BYTES as u64)).u();
    M::store(cpu, tlb, sp, W::of(v))?;
    (*cpu).state.regs[gpr::RSP] = sp;
    Some(())
}

#[inline(always)]
unsafe fn return_address(op: *const Op, cpu: *mut Cpu) -> u64 {
    (*cpu).state.bases.page.wrapping_add((*op).page_offset as u64 + (*op).len as u64)
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word, const X: bool> Semantics for Call<W, X> {
    const READS: u32 = uses::RSP;
    const SETS: u32 = uses::RSP;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let to = try_flow!(target::<M, X>(op, cpu));
        try_flow!(push::<M, W>(cpu, tlb, return_address(op, cpu)));
        take::<M, X>(op, cpu, to)
    }
}

/// The first operation at linear address `to`; as [`target`].
#[inline(always)]
unsafe fn lookup<M: Mem>(cpu: *mut Cpu, to: u64) -> Option<JumpEntry> {
    let e = (&raw const *(*cpu).caches.jump_cache as *const JumpEntry)
        .add(jump_index(to, (*cpu).caches.space_tag));
    if (*e).to == to && (*e).space_tag == (*cpu).caches.space_tag {
        return Some(*e);
    }
    if !M::SLOW {
        rare();
        return None;
    }
    if (*cpu).is_64() && !(*cpu).canonical(to) {
        (*cpu).env.trap = Some(Trap::GP0);
        return None;
    }
    let op = (*cpu).resolve_indirect(to);
    Some((*cpu).jump_entry(to, op))
}

/// Where a target stands in the indirect-branch cache under the generation `mix`: pages at the same offset
/// spread out, and so do address spaces, which share a kernel.
#[inline(always)]
pub(crate) fn jump_index(to: u64, mix: u64) -> usize {
    (to ^ to >> 12 ^ mix) as usize & (JUMP_ENTRIES - 1)
}

#[inline(always)]
unsafe fn go<M: Mem>(cpu: *mut Cpu, to: u64, jump: JumpEntry) -> Flow {
    if M::SLOW && jump.op.is_null() {
        (*cpu).state.rip = to;
        return Flow::Exit;
    }
    (*cpu).state.bases.page = to & !0xfff;
    (*cpu).caches.link_tag = jump.link_tag;
    Flow::Taken(jump.op)
}

/// The bits of `link_tag` that are the page's address; the others are the generation's.
pub(crate) const TAG_ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// `JMP r/m`.
pub(crate) struct JmpRm<A, W>(PhantomData<(A, W)>);
/// `CALL r/m`.
pub(crate) struct CallRm<A, W>(PhantomData<(A, W)>);
/// `RET` and `RET imm16`.
pub(crate) struct Ret<W>(PhantomData<W>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for JmpRm<A, W> {
    const READS: u32 = A::READS;
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let to = try_flow!(A::load::<M, W>(op, cpu, tlb)).u();
        let next = try_flow!(lookup::<M>(cpu, to));
        go::<M>(cpu, to, next)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for CallRm<A, W> {
    const READS: u32 = A::READS | uses::RSP;
    const SETS: u32 = uses::RSP;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let to = try_flow!(A::load::<M, W>(op, cpu, tlb)).u();
        if M::SLOW {
            try_flow!((*cpu).probe_push(W::BYTES));
        }
        let next = try_flow!(lookup::<M>(cpu, to));
        try_flow!(push::<M, W>(cpu, tlb, return_address(op, cpu)));
        go::<M>(cpu, to, next)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word> Semantics for Ret<W> {
    const READS: u32 = uses::RSP;
    const SETS: u32 = uses::RSP;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let sp = (*cpu).state.regs[gpr::RSP];
        let to = try_flow!(M::load::<W>(cpu, tlb, sp)).u();
        let next = try_flow!(lookup::<M>(cpu, to));
        (*cpu).state.regs[gpr::RSP] = W::of(sp.wrapping_add(W::BYTES as u64 + (*op).imm)).u();
        go::<M>(cpu, to, next)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Stub {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if !M::SLOW {
            return Flow::Slow;
        }
        match (*cpu).resolve_stub(op) {
            Some(to) => Flow::Taken(to),
            None => {
                (*cpu).set_rip_at((*op).page_offset);
                Flow::Exit
            }
        }
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Leave {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        (*cpu).set_rip_at((*op).page_offset);
        Flow::Exit
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Break {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if !M::SLOW {
            return Flow::Slow;
        }
        // The operation retires nothing.
        (*cpu).env.budget_at_op = (*cpu).env.budget;
        let address = (*cpu).state.bases.page.wrapping_add((*op).page_offset as u64);
        if !(*cpu).breaks_at(address) {
            return Flow::Next(1);
        }
        (*cpu).set_rip_at((*op).page_offset);
        Flow::Exit
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Guard {
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if (*op).imm == (*cpu).caches.link_tag {
            return Flow::Next(1);
        }
        if !M::SLOW {
            return Flow::Slow;
        }
        if (*cpu).guard(op as *mut Op) {
            return Flow::Next(1);
        }
        (*cpu).set_rip_at((*op).page_offset);
        Flow::Exit
    }
}

impl Cpu {
    /// The block at `page_offset` of the page that runs now, for the stub of a branch, which is linked.
    /// `None` when the block needs the next page and that cannot be fetched.
    #[cold]
    fn resolve_stub(&mut self, stub: *const Op) -> Option<*const Op> {
        // SAFETY: the builder made the stub and points it at its branch; both live.
        let (key, branch) = unsafe {
            let s = &*stub;
            (stub_key(s), s.imm as *mut Op)
        };
        let to = self.block(key, self.state.bases.page).ok()?.op;
        // SAFETY: as above.
        unsafe { (*branch).imm = to as u64 };
        self.code().link(key, branch, stub as u64);
        Some(to)
    }

    /// Resolves a branch into another page, and stamps the link with where it holds. False, with RIP at
    /// the target, when the target cannot be fetched from, or lies across a wrap of the address space.
    #[cold]
    fn resolve_cross(&mut self, branch: *mut Op) -> bool {
        // SAFETY: the builder put the link after its branch.
        let (op, link) = unsafe { (&mut *branch, &mut *branch.add(1)) };
        let page = self.state.bases.page.wrapping_add((link.disp as i64 as u64) << 12);
        let target = page.wrapping_add(link.page_offset as u64);
        self.state.rip = if self.is_64() { target } else { target as u32 as u64 };
        let wraps =
            if self.is_64() { (page ^ self.state.bases.page) >> 47 != 0 } else { page >> 32 != 0 };
        if wraps {
            return false;
        }
        let Ok(key) = self.key_at(target) else { return false };
        // What another address space has linked holds here too where the frame is the same.
        let frame = (key.frame as u32).to_le_bytes();
        if link.imm == NO_TAG || [link.dst, link.src, link.base, link.index] != frame {
            let Ok(Start { op: to, .. }) = self.block(key, page) else { return false };
            op.imm = to as u64;
            [link.dst, link.src, link.base, link.index] = frame;
            self.code().link(key, &raw mut *link, NO_TAG);
            link.imm = NO_TAG;
        }
        // Two address spaces that take turns find their own stamps.
        op.set_alternate_tag(link.imm);
        link.imm = self.caches.link_tag;
        true
    }

    /// The block at linear address `to`, entered into the indirect-branch cache; null when it cannot be
    /// fetched from.
    #[cold]
    fn resolve_indirect(&mut self, to: u64) -> *const Op {
        let Ok(key) = self.key_at(to) else { return std::ptr::null() };
        let Ok(Start { op, .. }) = self.block(key, to & !0xfff) else { return std::ptr::null() };
        self.note_jump_entry(to, op);
        op
    }

    /// Enters the block at linear address `to` into the indirect-branch cache.
    pub(crate) fn note_jump_entry(&mut self, to: u64, op: *const Op) {
        self.caches.jump_cache[jump_index(to, self.caches.space_tag)] = self.jump_entry(to, op);
    }

    /// The entry of the block at `op`, which begins at linear address `to`.
    fn jump_entry(&self, to: u64, op: *const Op) -> JumpEntry {
        let mix = self.caches.space_tag;
        JumpEntry { to, space_tag: mix, link_tag: (to & TAG_ADDRESS) | mix, op }
    }

    /// Whether the second page of the instruction that `guard` stands before is still the frame that
    /// it was decoded from; if not, the block is dropped.
    #[cold]
    fn guard(&mut self, guard: *mut Op) -> bool {
        // SAFETY: the guard is the running operation.
        let op = unsafe { &mut *guard };
        let Ok(first) = self.key_at(self.state.bases.page.wrapping_add(op.page_offset as u64))
        else {
            return false;
        };
        let next = self.step(self.state.bases.page, 0x1000);
        if self.key_at(next).is_ok_and(|second| second.frame == op.disp as u32 as u64) {
            op.imm = self.caches.link_tag;
            return true;
        }
        // Decoding it anew meets the fault, if there is one.
        self.code().drop_key(Key { limit: BlockLimit::of(op.src), ..first });
        false
    }
}

fn stub_key(s: &Op) -> Key {
    Key {
        frame: s.disp as u32 as u64,
        page_offset: s.page_offset,
        mode: mode_of(s.dst),
        limit: BlockLimit::of(s.src),
    }
}

fn mode_of(v: u8) -> CodeMode {
    match v {
        0 => CodeMode::Bits16,
        1 => CodeMode::Bits32,
        2 => CodeMode::Flat32,
        _ => CodeMode::Bits64,
    }
}

/// The handler of conditional branch `i`.
pub(crate) fn jcc(i: &Instruction, cross: bool) -> Handler {
    macro_rules! pick {
        ($($cc:ident $n:literal)*) => {
            match (i.condition_code(), cross) {
                $((ConditionCode::$cc, false) => handler::<Jcc<$n, false>>(),
                (ConditionCode::$cc, true) => handler::<Jcc<$n, true>>(),)*
                // Only conditional branches come here, and these are all their conditions.
                _ => handler::<Jcc<0, false>>(),
            }
        };
    }
    pick!(o 0 no 1 b 2 ae 3 e 4 ne 5 be 6 a 7 s 8 ns 9 p 10 np 11 l 12 ge 13 le 14 g 15)
}

/// The handler of a direct jump.
pub(crate) fn jmp(cross: bool) -> Handler {
    if cross { handler::<Jmp<true>>() } else { handler::<Jmp<false>>() }
}

/// The handler of a direct call.
pub(crate) fn call(i: &Instruction, cross: bool) -> Handler {
    match (i.code() == Code::Call_rel32_64, cross) {
        (true, false) => handler::<Call<u64, false>>(),
        (true, true) => handler::<Call<u64, true>>(),
        (false, false) => handler::<Call<u32, false>>(),
        (false, true) => handler::<Call<u32, true>>(),
    }
}

fn jmp_rm<W: Word>(am: AddressingMode) -> Handler {
    by_rm!(am, RegD, |A| JmpRm<A, W>)
}

fn call_rm<W: Word>(am: AddressingMode) -> Handler {
    by_rm!(am, RegD, |A| CallRm<A, W>)
}

fn ret<W: Word>(_: AddressingMode) -> Handler {
    handler::<Ret<W>>()
}

/// Near branches of flat modes, all with segmented twins in [`super::segmented`].
#[rustfmt::skip]
pub(crate) const FORMS: &[Form] = forms! {
    Jmp_rel8_64 => Exec::Jmp;
    Jmp_rel32_64 => Exec::Jmp;
    Jmp_rel8_32 => Exec::Jmp, segmented Exec::EndsBlock(near_jump);
    Jmp_rel32_32 => Exec::Jmp, segmented Exec::EndsBlock(near_jump);
    Jmp_rel8_16 => Exec::EndsBlock(near_jump);
    Jmp_rel16 => Exec::EndsBlock(near_jump);
    Call_rel32_64 => Exec::Call;
    Call_rel32_32 => Exec::Call, segmented Exec::EndsBlock(near_call::<u32>);
    Call_rel16 => Exec::EndsBlock(near_call::<u16>);
    Jmp_rm64 => Exec::Indirect(jmp_rm::<u64>);
    Jmp_rm32 => Exec::Indirect(jmp_rm::<u32>), segmented Exec::EndsBlock(near_jump_rm::<u32>);
    Jmp_rm16 => Exec::EndsBlock(near_jump_rm::<u16>);
    Call_rm64 => Exec::Indirect(call_rm::<u64>);
    Call_rm32 => Exec::Indirect(call_rm::<u32>), segmented Exec::EndsBlock(near_call_rm::<u32>);
    Call_rm16 => Exec::EndsBlock(near_call_rm::<u16>);
    Retnq => Exec::Indirect(ret::<u64>);
    Retnq_imm16 => Exec::Indirect(ret::<u64>);
    Retnd => Exec::Indirect(ret::<u32>), segmented Exec::EndsBlock(near_return::<u32>);
    Retnd_imm16 => Exec::Indirect(ret::<u32>), segmented Exec::EndsBlock(near_return::<u32>);
    Retnw => Exec::EndsBlock(near_return::<u16>);
    Retnw_imm16 => Exec::EndsBlock(near_return::<u16>);
};
