//! Makes a random state fit an instruction: addresses that reach the data, targets that lie in the code
//! page, selectors that exist. Most of the time: the rest must fault alike.

use super::edges::edges;
use super::segments::{self, DATA_SELECTORS, STACK_SELECTORS};
use super::{CODE, Case, DATA, DATA_SIZE, Mode, Random};
use iced_x86::{
    Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpCodeOperandKind, OpKind, Register,
};

/// A linear address in the data, often near an end of a page; now and then in the code, which cannot be
/// written.
fn target(r: &mut Random) -> u64 {
    if r.one_in(48) {
        return CODE + r.below(4096 + 32);
    }
    DATA.wrapping_add(match r.below(8) {
        0 => 4096u64.wrapping_sub(r.below(40)),
        1 => (DATA_SIZE as u64).wrapping_sub(r.below(40)),
        2 => r.below(24).wrapping_sub(8),
        3 | 4 => 256 + (r.below(DATA_SIZE as u64 - 1500) & !63),
        5 | 6 => 256 + (r.below(DATA_SIZE as u64 - 1500) & !15),
        _ => 256 + r.below(DATA_SIZE as u64 - 1500),
    })
}

/// An offset in the code page after the instruction; now and then at its end, or in the data, which
/// cannot be run.
fn landing(case: &Case, r: &mut Random) -> u64 {
    match r.below(48) {
        0 => return case.mode.start() + 4094 + r.below(4),
        1 => return DATA + r.below(DATA_SIZE as u64),
        _ => {}
    }
    case.mode.start() + 16 + r.below(4000)
}

/// A selector of any kind.
fn selector(r: &mut Random) -> u16 {
    let rpl = if r.one_in(4) { r.below(4) as u16 } else { 3 };
    match r.below(16) {
        0 => r.draw() as u16,
        1 => rpl,
        // The last of the global table tells the number of the host's processor.
        2..=5 => (r.below(15) as u16) << 3 | rpl,
        _ => (r.below(segments::LOCAL.len() as u64 + 1) as u16) << 3 | 4 | rpl,
    }
}

/// Points what the instruction uses at what is there.
pub fn aim(case: &mut Case, r: &mut Random) {
    load_segments(case, r);
    patch_code(case, r);
    if r.one_in(24) {
        return;
    }
    let i = case.instruction();
    aim_stack(case, r);
    aim_implied(case, &i, r);
    let at = aim_memory(case, &i, r);
    edges(case, &i, at, r);
    aim_targets(case, &i, at, r);
    aim_selectors(case, &i, at, r);
}

/// Segment registers of 32- and 16-bit code, bases of FS and GS in 64-bit mode.
fn load_segments(case: &mut Case, r: &mut Random) {
    let s = &mut case.state;
    if case.mode == Mode::Bits64 {
        s.bases = [0, 1].map(|_| if r.one_in(2) { DATA } else { r.below(1 << 20) });
        return;
    }
    for n in [0, 3, 4, 5] {
        if r.one_in(3) {
            s.segs[n] = DATA_SELECTORS[r.below(DATA_SELECTORS.len() as u64) as usize];
        }
    }
    if r.one_in(6) {
        s.segs[2] = STACK_SELECTORS[r.below(STACK_SELECTORS.len() as u64) as usize];
    }
    if r.one_in(16) {
        s.segs[1] = *match case.mode {
            Mode::Bits16 => &[0x07u16, 0x5f],
            _ => &[0x23, 0x37],
        }
        .get(r.below(2) as usize)
        .unwrap_or(&0x23);
        s.rip = CODE.wrapping_sub(segments::base(s.segs[1]));
    }
    s.bases = [s.segs[4], s.segs[5]].map(segments::base);
}

/// Rewrites displacements without a register, and the targets of direct branches.
fn patch_code(case: &mut Case, r: &mut Random) {
    let mut decoder =
        Decoder::with_ip(case.mode.bits(), &case.code, case.mode.start(), DecoderOptions::NONE);
    let i = decoder.decode();
    if i.is_invalid() || r.one_in(8) {
        return;
    }
    let at = decoder.get_constant_offsets(&i);
    let absolute = i.memory_base() == Register::None && i.memory_index() == Register::None;
    let relative = matches!(i.memory_base(), Register::RIP | Register::EIP);
    let code = code_selector(case, r);
    let mut put = |offset: usize, size: usize, v: u64| {
        case.code[offset..offset + size].copy_from_slice(&v.to_le_bytes()[..size]);
    };
    if at.has_displacement() && (absolute || relative) && i.memory_segment() != Register::FS {
        let from = if relative { i.next_ip() } else { 0 };
        put(at.displacement_offset(), at.displacement_size(), target(r).wrapping_sub(from));
    }
    let near =
        matches!(i.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if near && at.has_immediate() && at.immediate_size() > 1 {
        put(at.immediate_offset(), at.immediate_size(), r.below(4000));
    }
    if matches!(i.op0_kind(), OpKind::FarBranch16 | OpKind::FarBranch32) {
        put(at.immediate_offset(), at.immediate_size(), case.mode.start() + 16 + r.below(4000));
        put(at.immediate_offset2(), 2, code as u64);
    }
    case.trim();
}

/// Where a far transfer may go. To 64-bit code only from a flat stack, see [`super::generate::endless`].
fn code_selector(case: &Case, r: &mut Random) -> u16 {
    const CODE: [u16; 6] = [0x07, 0x23, 0x33, 0x37, 0x57, 0x5f];
    let s = if r.one_in(3) { selector(r) } else { CODE[r.below(6) as usize] };
    let flat = case.state.segs[2] == 0x2b;
    if !flat && s & 0xfff8 == 0x30 { 0x23 } else { s }
}

/// Replaces the low `size` bytes.
fn set(v: &mut u64, size: usize, new: u64) {
    let mask = u64::MAX >> (64 - 8 * size);
    *v = *v & !mask | new & mask;
}

fn aim_stack(case: &mut Case, r: &mut Random) {
    let base = if case.mode == Mode::Bits64 { 0 } else { segments::base(case.state.segs[2]) };
    let align = if r.one_in(8) { !0 } else { !7 };
    let at = if r.one_in(8) { target(r) } else { DATA + 1024 + r.below(6000) } & align;
    case.state.regs[4] = at.wrapping_sub(base) as u32 as u64;
    if r.one_in(4) {
        case.state.regs[5] = case.state.regs[4].wrapping_add(r.below(64) * 8);
    }
}

/// The base of a segment register in this case.
fn base(case: &Case, s: Register) -> u64 {
    let n = s.number();
    match (case.mode, n) {
        (Mode::Bits64, 4) => case.state.bases[0],
        (Mode::Bits64, 5) => case.state.bases[1],
        (Mode::Bits64, _) => 0,
        _ => segments::base(case.state.segs[n]),
    }
}

/// Registers that string instructions and the like use without saying so; counts.
fn aim_implied(case: &mut Case, i: &Instruction, r: &mut Random) {
    use OpKind::{
        MemoryESDI, MemoryESEDI, MemoryESRDI, MemorySegDI, MemorySegEDI, MemorySegESI,
        MemorySegRDI, MemorySegRSI, MemorySegSI,
    };
    for n in 0..i.op_count() {
        let (reg, size, segment) = match i.op_kind(n) {
            MemorySegSI => (6, 2, i.memory_segment()),
            MemorySegESI => (6, 4, i.memory_segment()),
            MemorySegRSI => (6, 8, i.memory_segment()),
            MemoryESDI => (7, 2, Register::ES),
            MemoryESEDI => (7, 4, Register::ES),
            MemoryESRDI => (7, 8, Register::ES),
            MemorySegDI => (7, 2, i.memory_segment()),
            MemorySegEDI => (7, 4, i.memory_segment()),
            MemorySegRDI => (7, 8, i.memory_segment()),
            _ => continue,
        };
        let at = target(r).wrapping_sub(base(case, segment));
        set(&mut case.state.regs[reg], size, at);
    }
    if i.has_rep_prefix() || i.has_repne_prefix() {
        case.state.regs[1] = r.below(40);
    }
}

/// Points the memory operand into the data; its linear address.
fn aim_memory(case: &mut Case, i: &Instruction, r: &mut Random) -> Option<u64> {
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    if !memory {
        return None;
    }
    let (b, x) = (i.memory_base(), i.memory_index());
    let scale = i.memory_index_scale() as u64;
    let at = target(r);
    let mut rest = at.wrapping_sub(base(case, i.memory_segment()));
    rest = rest.wrapping_sub(i.memory_displacement64());
    if x.is_vector_register() {
        vector_index(case, x, r);
    } else if x.is_gpr() && x != b {
        set(&mut case.state.regs[x.number()], x.size(), r.below(64).wrapping_sub(32));
        let v = case.state.regs[x.number()] & u64::MAX >> (64 - 8 * x.size());
        rest = rest.wrapping_sub(v.wrapping_mul(scale));
    } else if x.is_gpr() {
        // One register twice: near enough if it divides.
        rest /= scale + 1;
    }
    if b.is_gpr() {
        set(&mut case.state.regs[b.number()], b.size(), rest);
    } else if x.is_gpr() && b == Register::None {
        set(&mut case.state.regs[x.number()], x.size(), rest.wrapping_add(32) / scale);
    }
    bit_offset(case, i, r);
    Some(at)
}

/// Lanes of small numbers.
fn vector_index(case: &mut Case, x: Register, r: &mut Random) {
    let wide = r.one_in(2);
    let mut lanes = || {
        (0..4).fold(0u128, |v, k| {
            let lane = if wide && k & 1 == 1 { 0 } else { r.below(96).wrapping_sub(16) };
            let lane = if wide { lane & 0x3f } else { lane as u32 as u64 };
            v | (lane as u128) << (32 * k)
        })
    };
    case.state.xmm[x.number()] = lanes();
    case.state.upper[x.number()] = lanes();
}

/// A bit offset into memory must stay near.
fn bit_offset(case: &mut Case, i: &Instruction, r: &mut Random) {
    let bits = matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
    let reg = i.op1_register();
    if bits
        && i.op1_kind() == OpKind::Register
        && reg.full_register() != i.memory_base().full_register()
    {
        let size = reg.size();
        set(&mut case.state.regs[reg.number()], size, r.below(4096).wrapping_sub(1024));
    }
}

/// The offset that a stack pointer leads to, as a linear address.
fn stack(case: &Case) -> u64 {
    let base = if case.mode == Mode::Bits64 { 0 } else { segments::base(case.state.segs[2]) };
    case.state.regs[4].wrapping_add(base)
}

/// Puts targets in the code page where indirect branches and returns find them.
fn aim_targets(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    let to = landing(case, r);
    let near = i.is_jmp_near_indirect() || i.is_call_near_indirect();
    let far = i.is_jmp_far_indirect() || i.is_call_far_indirect();
    let bytes = to.to_le_bytes();
    match (i.op0_kind(), at) {
        (OpKind::Register, _) if near => {
            case.state.regs[i.op0_register().number()] = to;
        }
        (OpKind::Memory, Some(at)) if near => case.poke(at, &bytes),
        (OpKind::Memory, Some(at)) if far => {
            let size = far_offset(i.code());
            let mut pointer = bytes[..size].to_vec();
            pointer.extend(code_selector(case, r).to_le_bytes());
            case.poke(at, &pointer);
        }
        _ => {}
    }
    let size = match i.mnemonic() {
        Mnemonic::Ret => 8,
        Mnemonic::Retf | Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => stack_size(i.code()),
        _ => return,
    };
    let mut frame = bytes[..size].to_vec();
    if i.mnemonic() != Mnemonic::Ret {
        let flags = r.draw() & 0x24_4dd5;
        let sp = DATA + 512 + r.below(4096);
        let ss = if r.one_in(3) { selector(r) } else { 0x2b };
        for v in [code_selector(case, r) as u64, flags, sp, ss as u64] {
            frame.extend(&v.to_le_bytes()[..size]);
        }
        if i.mnemonic() == Mnemonic::Retf {
            // No flags in this frame.
            frame.drain(2 * size..3 * size);
        }
    }
    case.poke(stack(case), &frame);
}

fn far_offset(code: Code) -> usize {
    match code {
        Code::Jmp_m1616 | Code::Call_m1616 => 2,
        Code::Jmp_m1664 | Code::Call_m1664 => 8,
        _ => 4,
    }
}

fn stack_size(code: Code) -> usize {
    let name = format!("{code:?}");
    match name.as_bytes().get(4) {
        Some(b'w') => 2,
        Some(b'd') => 4,
        _ => 8,
    }
}

/// Puts selectors where segment registers are loaded from, or looked up.
fn aim_selectors(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    use Mnemonic::*;
    let s = selector(r);
    let o = i.code().op_code();
    let loads = (0..o.op_count()).any(|n| o.op_kind(n) == OpCodeOperandKind::seg_reg);
    match i.mnemonic() {
        Pop if i.op0_register().is_segment_register() => {
            case.poke(stack(case), &s.to_le_bytes());
        }
        Lds | Les | Lfs | Lgs | Lss => {
            if let Some(at) = at {
                let offset = match i.code().op_code().operand_size() {
                    16 => 2,
                    64 => 8,
                    _ => 4,
                };
                case.poke(at.wrapping_add(offset), &s.to_le_bytes());
            }
        }
        Lar | Lsl | Verr | Verw | Arpl | Mov if loads || i.mnemonic() != Mov => {
            for n in 0..i.op_count() {
                match (i.op_kind(n), at) {
                    (OpKind::Register, _) if i.op_register(n).is_gpr() => {
                        set(&mut case.state.regs[i.op_register(n).number()], 2, s as u64);
                    }
                    (OpKind::Memory, Some(at)) => case.poke(at, &s.to_le_bytes()),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
