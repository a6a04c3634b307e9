//! From bytes to blocks: decoding with iced-x86, choice of handlers, links.

use crate::block::{BlockLimit, Decoded, Key, NO_TAG};
use crate::dispatch::{Handler, Plain, handler};
use crate::feature_filter::FeatureFilter;
use crate::isa::{self, AddressingMode, Exec, HandlerFor, Operands};
use crate::length;
use crate::limits::{MAX_BLOCK, MAX_LEN};
use crate::op::{Op, op_flags, slot};
use crate::operand::{register_offset, segment_number};
use crate::plain::{PlainFn, Side};
use crate::state::{CodeMode, seg};
use crate::superinst::select::{self, Explained};
use iced_x86::{
    Code, Decoder, DecoderError, FlowControl, Instruction, Mnemonic, OpKind, Register, RflagsBits,
};

/// The status flags in iced's `RflagsBits`: the low six bits.
const ALL_FLAGS: u32 = 0x3f;

/// The bytes that a block is decoded from: the rest of its page, and what follows it where an
/// instruction crosses into the next.
pub struct Source<'a> {
    /// Bytes from the first instruction to the end of the page.
    pub page: &'a [u8],
    /// The first bytes of the next page and its frame; `None` when it cannot be fetched.
    pub next: Option<(u64, [u8; MAX_LEN])>,
    /// What the model lacks.
    pub filter: &'a FeatureFilter,
    /// Page offsets at which there may be breakpoints of the host, sorted.
    pub breaks: &'a [u16],
}

impl Source<'_> {
    /// Whether there may be a breakpoint at page offset `offset`.
    fn breaks_at(&self, offset: u16) -> bool {
        self.breaks.binary_search(&offset).is_ok()
    }
}

/// A failed decode.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first instruction needs bytes of the next page, which were not given.
    NeedsNextPage,
}

fn bits(mode: CodeMode) -> u32 {
    match mode {
        CodeMode::Bits16 => 16,
        CodeMode::Bits32 | CodeMode::Flat32 => 32,
        CodeMode::Bits64 => 64,
    }
}

/// Decodes the block with `key`.
pub fn decode(
    key: Key,
    source: &Source,
    max: usize,
    fuse: bool,
) -> Result<(Decoded, usize), DecodeError> {
    let max = key.limit.limit(max);
    let mut insns = Vec::with_capacity(max);
    let end = scan(key, source.page, source, max, &mut insns);
    if insns.is_empty() {
        return straddling(key, source);
    }
    let n = insns.len();
    // What ends at a deadline runs once, most often.
    let fuse = fuse && key.limit == BlockLimit::ANY;
    let breaks = source.breaks_at(key.page_offset);
    Ok((Builder::new(key, &insns, end, fuse).build(breaks, None), n))
}

/// What the tables of superinstructions know of the block with `key`, see `superinst::select::explain`; nothing of one that
/// crosses a page.
pub fn explain(key: Key, source: &Source) -> Vec<Option<Explained>> {
    let mut insns = Vec::new();
    let end = scan(key, source.page, source, MAX_BLOCK, &mut insns);
    let mut builder = Builder::new(key, &insns, end, true);
    if !insns.is_empty() {
        builder.all();
    }
    select::explain(&builder.ops, &builder.handlers)
}

/// Decodes instructions up to the end of the page, the block's end, a breakpoint or `max`; returns the
/// offset after the last.
fn scan(key: Key, bytes: &[u8], source: &Source, max: usize, insns: &mut Vec<Instruction>) -> u16 {
    let filter = source.filter;
    // Intel's decoding, every extension that the model has.
    let mut decoder =
        Decoder::with_ip(bits(key.mode), bytes, key.page_offset as u64, filter.options);
    let mut end = key.page_offset;
    while insns.len() < max && decoder.can_decode() {
        let from = decoder.position();
        let mut i = decoder.decode();
        adjust(key.mode, &bytes[from..decoder.position()], &mut i);
        filter.apply(key.mode, &mut i);
        if i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        if i.is_invalid() && length::too_long(key.mode, bits(key.mode), &bytes[from..]) {
            let ip = i.ip();
            i.set_len(MAX_LEN + 1);
            i.set_ip(ip);
        }
        end = (key.page_offset as usize + decoder.position()) as u16;
        insns.push(i);
        if ends_block(&i, key.mode) || source.breaks_at(end) {
            break;
        }
    }
    end
}

/// Where silicon sees another instruction than iced.
fn adjust(mode: CodeMode, bytes: &[u8], i: &mut Instruction) {
    let long = mode == CodeMode::Bits64;
    // 64-bit mode knows no prefixes for CS, DS, ES, SS.
    if long && i.has_segment_prefix() && segment_number(i.segment_prefix()) < seg::FS {
        i.set_segment_prefix(Register::None);
    }
    match i.code() {
        // W1 is VPINSRQ and VPEXTRQ, which 64-bit mode alone has.
        Code::VEX_Vpinsrd_xmm_xmm_rm32_imm8 | Code::VEX_Vpextrd_rm32_xmm_imm8
            if !long && vex_w(bytes) =>
        {
            i.set_code(Code::INVALID);
        }
        _ => {}
    }
}

/// W of a three-byte VEX prefix.
fn vex_w(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|b| *b == 0xc4);
    at.and_then(|k| bytes.get(k + 2)).is_some_and(|b| b >> 7 != 0)
}

fn straddling(key: Key, source: &Source) -> Result<(Decoded, usize), DecodeError> {
    let Some((frame, next)) = source.next else { return Err(DecodeError::NeedsNextPage) };
    let mut bytes = source.page.to_vec();
    bytes.extend_from_slice(&next);
    bytes.truncate(MAX_LEN);
    let mut insns = Vec::new();
    let end = scan(key, &bytes, source, 1, &mut insns);
    let breaks = source.breaks_at(key.page_offset);
    Ok((Builder::new(key, &insns, end, false).build(breaks, Some(frame)), 1))
}

/// Whether nothing is decoded after this instruction.
fn ends_block(i: &Instruction, mode: CodeMode) -> bool {
    if i.is_invalid() {
        return true;
    }
    match isa::form(i, mode) {
        Exec::EndsBlock(_) => return true,
        Exec::Missing => return true,
        _ => {}
    }
    !matches!(i.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
}

/// Whether the instruction may fault, so that the flags before it must be exact.
fn may_fault(i: &Instruction, make: &Exec) -> bool {
    match make {
        Exec::Handler(_) => {
            // Vector instructions may raise #NM.
            let faults = |k| match i.op_kind(k) {
                OpKind::Memory => true,
                OpKind::Register => !i.op_register(k).is_gpr(),
                _ => false,
            };
            let divides = matches!(i.mnemonic(), Mnemonic::Div | Mnemonic::Idiv);
            divides || i.is_stack_instruction() || (0..i.op_count()).any(faults)
        }
        Exec::Jcc => false,
        _ => true,
    }
}

fn has_memory(i: &Instruction) -> bool {
    (0..i.op_count()).any(|k| i.op_kind(k) == OpKind::Memory)
}

/// Status flags that the instruction surely writes.
fn writes(i: &Instruction) -> u32 {
    // A shift by CL, or by an immediate that is 0 modulo the width, may leave the flags alone.
    let last = i.op_count().wrapping_sub(1);
    let certain =
        !isa::is_shift(i) || (is_immediate(i.op_kind(last)) && i.immediate(last) & 31 != 0);
    if !certain {
        return 0;
    }
    // Divisions and bit tests, which leave SF undefined, keep what they leave undefined. The others compute it, also
    // multiplications, which are taken with the former: the superinstructions have been chosen so.
    let undefined = i.rflags_undefined();
    let kept = if undefined & RflagsBits::SF != 0 { undefined } else { 0 };
    i.rflags_modified() & !kept & ALL_FLAGS
}

/// For each instruction, the status flags that are read before they are next written.
fn live_flags(insns: &[Instruction], mode: CodeMode) -> Vec<u32> {
    let mut after = vec![ALL_FLAGS; insns.len()];
    let mut live = ALL_FLAGS;
    for (k, i) in insns.iter().enumerate().rev() {
        let make = isa::form(i, mode);
        if i.flow_control() == FlowControl::ConditionalBranch {
            live = ALL_FLAGS;
        }
        after[k] = live;
        live = (live & !writes(i)) | (i.rflags_read() & ALL_FLAGS);
        if may_fault(i, &make) {
            live = ALL_FLAGS;
        }
    }
    after
}

struct Builder<'a> {
    key: Key,
    insns: &'a [Instruction],
    live: Vec<u32>,
    end: u16,
    fuse: bool,
    ops: Vec<Op>,
    /// The handlers of the operations for any operands; none of what only holds a link.
    handlers: Vec<Option<Handler>>,
    #[expect(clippy::vec_box, reason = "operations refer to them by address")]
    sides: Vec<Box<Side>>,
    /// Branches that need a stub: (index of the branch, page offset of the target).
    branches: Vec<(usize, u16)>,
}

impl<'a> Builder<'a> {
    fn new(key: Key, insns: &'a [Instruction], end: u16, fuse: bool) -> Self {
        let live = live_flags(insns, key.mode);
        let (ops, handlers, sides, branches) = Default::default();
        Builder { key, insns, live, end, fuse, ops, handlers, sides, branches }
    }

    /// Appends the operations of all instructions.
    fn all(&mut self) {
        let mut k = 0;
        while k < self.insns.len() {
            k += self.instruction(k);
        }
        if !ends_without_next(self.insns.last(), self.key.mode) {
            self.fall_through();
        }
    }

    fn build(mut self, breaks: bool, second: Option<u64>) -> Decoded {
        if breaks {
            self.breakpoint();
        }
        if let Some(frame) = second {
            self.guard(frame);
        }
        self.all();
        if self.fuse {
            select::specialise(&mut self.ops, &self.handlers);
        }
        let stubs = self.branches.iter().map(|&(branch, po)| (branch, self.stub(po))).collect();
        Decoded { ops: self.ops, stubs, sides: self.sides, end: self.end, second }
    }

    /// Appends an operation that `handler` does.
    fn push(&mut self, handler: Handler, op: Op) {
        self.ops.push(Op { handler: handler.run(), ..op });
        self.handlers.push(Some(handler));
    }

    /// An operation for instruction `k`, without operands.
    fn blank(&self, k: usize, handler: Handler) -> Op {
        let i = &self.insns[k];
        Op {
            handler: handler.run(),
            imm: 0,
            disp: 0,
            dst: slot::ZERO,
            src: slot::ZERO,
            base: slot::ZERO,
            index: slot::ZERO,
            retired: k as u16 + 1,
            page_offset: i.ip() as u16,
            scale: 1,
            seg: slot::ZERO,
            len: i.len() as u8,
            flags: 0,
        }
    }

    /// Appends the operations of instruction `k`; returns how many instructions they take.
    fn instruction(&mut self, k: usize) -> usize {
        let i = self.insns[k];
        match isa::form(&i, self.key.mode) {
            Exec::Function(f) => self.plain(k, f, false),
            Exec::EndsBlock(f) => self.plain(k, f, true),
            Exec::Missing => self.plain(k, isa::missing, true),
            Exec::Handler(pick) => return self.typed(k, pick),
            Exec::RegisterHandler(_, f) if has_memory(&i) => self.plain(k, f, false),
            Exec::RegisterHandler(pick, _) => return self.typed(k, pick),
            Exec::FastPath(pick, f) => self.fast_path(k, pick, f),
            Exec::Jcc => self.branch(k, |cross| isa::branch::jcc(&i, cross)),
            Exec::Jmp => self.branch(k, isa::branch::jmp),
            Exec::Call => self.branch(k, |cross| isa::branch::call(&i, cross)),
            Exec::Indirect(f) => {
                let (am, op) = self.operands(k);
                self.push(f(am), op);
            }
        }
        1
    }

    fn plain(&mut self, k: usize, f: PlainFn, end: bool) {
        let h = if end { handler::<Plain<true>>() } else { handler::<Plain<false>>() };
        let op = self.blank(k, h);
        self.with_side(k, f, h, op);
    }

    /// Appends an operation that `handler` does and that refers to side data.
    fn with_side(&mut self, k: usize, f: PlainFn, handler: Handler, op: Op) {
        let side = Box::new(Side { f, insn: self.insns[k] });
        self.push(handler, Op { imm: &*side as *const Side as u64, ..op });
        self.sides.push(side);
    }

    /// As [`Builder::plain`], with operands and a handler that need not go to the side data.
    fn fast_path(&mut self, k: usize, pick: HandlerFor, f: PlainFn) {
        let (am, mut op) = self.operands(k);
        let i = &self.insns[k];
        if am == AddressingMode::Reg && !(i.op_count() > 2 && i.op_kind(2) == OpKind::Register) {
            // The last source is in `index` whether it is the second or the third operand.
            op.index = op.src;
        }
        let shape = Operands { insn: i, addressing: am, flags: true };
        self.with_side(k, f, pick(&shape), op);
    }

    fn typed(&mut self, k: usize, pick: HandlerFor) -> usize {
        let i = self.insns[k];
        let (am, mut op) = self.operands(k);
        let next = self.insns.get(k + 1);
        if self.fuse
            && let Some(j) = next.filter(|j| matches!(isa::form(j, self.key.mode), Exec::Jcc))
            && self.same_page(j)
            && let Some(f) = isa::fuse::fused(&i, am, j)
        {
            op.retired += 1;
            op.flags |= op_flags::FUSED;
            if am == AddressingMode::Reg {
                op.disp = op.imm as i32;
            } else if i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory {
                op.src = op.imm as u8;
            }
            self.branches.push((self.ops.len(), target(j, self.key.mode).1));
            self.push(f, op);
            return 2;
        }
        let flags = self.live[k] & i.rflags_modified() & ALL_FLAGS != 0;
        let shape = Operands { insn: &i, addressing: am, flags };
        self.push(pick(&shape), op);
        1
    }

    /// Whether the direct branch `j` stays in the block's page.
    fn same_page(&self, j: &Instruction) -> bool {
        target(j, self.key.mode).0 == 0
    }

    /// Binds the operands of instruction `k`: register 0 to `dst`, the next register to `src`, memory to
    /// `base`, `index`, `scale`, `disp`, an immediate to `imm`.
    fn operands(&self, k: usize) -> (AddressingMode, Op) {
        let i = &self.insns[k];
        // Every path gives the operation its own handler before it is pushed.
        let mut op = self.blank(k, handler::<Plain<true>>());
        let mut am = AddressingMode::Reg;
        for n in 0..i.op_count() {
            match i.op_kind(n) {
                OpKind::Register if n == 0 => op.dst = register_slot(i.op_register(n)),
                OpKind::Register if n == 2 && i.op_kind(1) == OpKind::Register => {
                    op.index = register_slot(i.op_register(n))
                }
                OpKind::Register => op.src = register_slot(i.op_register(n)),
                OpKind::Memory => am = self.memory(i, &mut op),
                OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {}
                OpKind::FarBranch16 | OpKind::FarBranch32 => {}
                _ if is_immediate(i.op_kind(n)) => op.imm = i.immediate(n),
                _ => {}
            }
        }
        if i.is_stack_instruction() && am == AddressingMode::Reg {
            op.flags |= (seg::SS as u8) << op_flags::SEG_SHIFT;
        }
        (am, op)
    }

    fn memory(&self, i: &Instruction, op: &mut Op) -> AddressingMode {
        let (base, index) = (i.memory_base(), i.memory_index());
        op.base = register_slot(base);
        op.index = register_slot(index);
        op.scale = i.memory_index_scale() as u8;
        op.disp = i.memory_displacement64() as i32;
        let far = base == Register::RIP && op.disp as u64 != i.memory_displacement64();
        if far {
            // Relative to the page instead of the instruction, it may be over 2 GiB by up to a page
            // and an instruction; there is no index.
            op.index = slot::TWO_PAGES;
            op.disp = i.memory_displacement64().wrapping_sub(8192) as i32;
        }
        let s = segment_number(i.memory_segment());
        op.flags |= (s as u8) << op_flags::SEG_SHIFT;
        let long = self.key.mode == CodeMode::Bits64;
        op.flags |= match crate::operand::address_size(i, long) {
            2 => op_flags::ADDR16,
            4 => op_flags::ADDR32,
            _ => 0,
        };
        if s >= seg::FS {
            op.seg = slot::SEG + 8 * s as u8;
        }
        // CS is flat too, but never writable.
        let flat = self.key.mode == CodeMode::Flat32 && s < seg::FS && s != seg::CS;
        if !long && !flat {
            op.flags |= op_flags::LEGACY;
        }
        let simple = long && s < seg::FS && op.flags & (op_flags::ADDR32 | op_flags::ADDR16) == 0;
        match (simple, index) {
            (true, Register::None) if !far => AddressingMode::Base,
            (true, _) => AddressingMode::Index,
            _ => AddressingMode::General,
        }
    }

    /// A direct branch: one operation when it stays in the page, else two, the second with the
    /// generation that the link was made in.
    fn branch(&mut self, k: usize, pick: impl Fn(bool) -> Handler) {
        let (delta, po) = target(&self.insns[k], self.key.mode);
        let cross = delta != 0;
        let handler = pick(cross);
        let mut op = self.blank(k, handler);
        op.flags |= (seg::SS as u8) << op_flags::SEG_SHIFT;
        self.push_link(handler, op, delta, po);
    }

    fn push_link(&mut self, handler: Handler, op: Op, delta: i32, po: u16) {
        let cross = delta != 0;
        if cross {
            let link = Op { imm: NO_TAG, disp: delta, page_offset: po, ..op };
            let mut op = op;
            op.set_alternate_tag(NO_TAG);
            self.push(handler, op);
            self.ops.push(link);
            self.handlers.push(None);
        } else {
            self.branches.push((self.ops.len(), po));
            self.push(handler, op);
        }
    }

    /// A jump to the instruction after the block, charged with no instruction of its own. Where segments
    /// have limits, the outer loop has to look at RIP.
    fn fall_through(&mut self) {
        if !self.key.mode.flat() {
            let leave = handler::<isa::branch::Leave>();
            let op = self.blank(self.insns.len() - 1, leave);
            return self.push(leave, Op { page_offset: self.end, len: 0, ..op });
        }
        let delta = (self.end >> 12) as i32;
        let jump = isa::branch::jmp(delta != 0);
        let op = self.blank(self.insns.len() - 1, jump);
        let op = Op { page_offset: self.end, len: 0, ..op };
        self.push_link(jump, op, delta, self.end & 0xfff);
    }

    /// Where an unresolved link of this page leads: finds or decodes the target, and links to the target.
    fn stub(&self, po: u16) -> Op {
        let mut op = self.blank(0, handler::<isa::branch::Stub>());
        op.retired = 0;
        op.page_offset = po;
        op.disp = self.key.frame as u32 as i32;
        op.dst = self.key.mode as u8;
        op.src = self.key.limit.index();
        op
    }

    /// Looks whether there is a breakpoint on the first instruction.
    fn breakpoint(&mut self) {
        let look = handler::<isa::branch::Break>();
        let op = Op { retired: 0, ..self.blank(0, look) };
        self.push(look, op);
    }

    /// Checks that the second page is still the one decoded from.
    fn guard(&mut self, frame: u64) {
        let guard = handler::<isa::branch::Guard>();
        let mut op = self.blank(0, guard);
        op.retired = 0;
        op.len = 0;
        op.disp = frame as u32 as i32;
        op.dst = self.key.mode as u8;
        op.src = self.key.limit.index();
        op.flags = (seg::CS as u8) << op_flags::SEG_SHIFT;
        self.push(guard, op);
    }
}

/// Whether no operation follows the block's last instruction.
fn ends_without_next(last: Option<&Instruction>, mode: CodeMode) -> bool {
    let Some(i) = last else { return false };
    match isa::form(i, mode) {
        Exec::EndsBlock(_) | Exec::Missing | Exec::Jmp | Exec::Call | Exec::Indirect(_) => true,
        _ => i.is_invalid(),
    }
}

fn is_immediate(k: OpKind) -> bool {
    use OpKind::*;
    matches!(
        k,
        Immediate8
            | Immediate8_2nd
            | Immediate16
            | Immediate32
            | Immediate64
            | Immediate8to16
            | Immediate8to32
            | Immediate8to64
            | Immediate32to64
    )
}

fn register_slot(r: Register) -> u8 {
    match r {
        Register::None => slot::ZERO,
        Register::RIP | Register::EIP => slot::PAGE_BASE,
        r if r.is_gpr() => register_offset(r),
        // Where it is among the vectors; the last register, where no instruction knows the number.
        r if r.is_vector_register() => (r.number().min(15) * 16) as u8,
        // Where it is from TOP.
        r if r.is_st() => (r.number() * 16) as u8,
        // Segment and other registers: their number.
        r => r.number() as u8,
    }
}

/// The target of a direct near branch, decoded with its page offset as IP: (page delta, page offset).
fn target(i: &Instruction, mode: CodeMode) -> (i32, u16) {
    let t = i.near_branch_target();
    let t = if mode == CodeMode::Bits64 { t as i64 } else { t as u32 as i32 as i64 };
    ((t >> 12) as i32, (t & 0xfff) as u16)
}
