//! Cases: every instruction form, from its opcode, with random prefixes, operands and states.

use super::vary::vary;
use super::{CODE, Case, DATA, DATA_SIZE, Mode, Random};
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, MandatoryPrefix, Mnemonic,
    OpCodeTableKind, OpKind, Register,
};

/// The forms that user mode can run alone and that do not look at what the child has beyond the case.
pub fn forms(mode: Mode) -> Vec<Code> {
    Code::values().filter(|&c| mode == Mode::Bits64 && wanted(c)).collect()
}

fn wanted(code: Code) -> bool {
    let o = code.op_code();
    let legacy = o.encoding() == EncodingKind::Legacy;
    let tables = matches!(
        o.table(),
        OpCodeTableKind::Normal
            | OpCodeTableKind::T0F
            | OpCodeTableKind::T0F38
            | OpCodeTableKind::T0F3A
    );
    o.is_instruction()
        && (legacy && tables)
        && o.mode64()
        && o.cpl3()
        && cpu::isa::implemented(code)
        && !excluded(code)
}

#[expect(clippy::too_many_lines, reason = "a table of names")]
fn excluded(code: Code) -> bool {
    use Mnemonic::*;
    let features = code.cpuid_features();
    let timing =
        [CpuidFeature::RDRAND, CpuidFeature::RDSEED, CpuidFeature::VMX, CpuidFeature::RDTSCP];
    features.iter().any(|f| timing.contains(f))
        || segment(code)
        || far(code)
        || matches!(
            code.mnemonic(),
            Syscall
                | Sysenter
                | Cpuid
                | Rdtsc
                | Int
                | Int1
                | Int3
                | Iretd
                | Iret
                | Iretq
                | Pushfd
                | Pushfq
                | Pushf
                | Popf
                | Popfq
                | Popfd
                | Lsl
                | Lar
                | Verr
                | Verw
                | Sldt
                | Str
                | Sgdt
                | Sidt
                | Smsw
                | Xgetbv
                | Rdpid
                | Insb
                | Insw
                | Insd
                | Outsb
                | Outsw
                | Outsd
                | In
                | Out
                | Cli
                | Sti
                | Hlt
                | Rdfsbase
                | Rdgsbase
                | Wrfsbase
                | Wrgsbase
                | Clflush
                | Clflushopt
                | Clwb
                | Retf
                | Xsave
                | Xsave64
                | Xsavec
                | Xsavec64
                | Xsaveopt
                | Xsaveopt64
                | Xrstor
                | Xrstor64
                | Fxsave
                | Fxsave64
                | Fxrstor
                | Fxrstor64
                | Rdtscp
                | Serialize
                | Ud0
                | Ud1
                | Monitor
                | Mwait
        )
}

fn segment(code: Code) -> bool {
    let o = code.op_code();
    (0..o.op_count()).any(|n| format!("{:?}", o.op_kind(n)).contains("seg_reg"))
        || format!("{code:?}").ends_with("S")
            && matches!(code.mnemonic(), Mnemonic::Push | Mnemonic::Pop)
}

fn far(code: Code) -> bool {
    let name = format!("{code:?}");
    code.is_jmp_far()
        || code.is_call_far()
        || name.starts_with('L') && name.contains("_m1632")
        || ["Lfs", "Lgs", "Lss", "Lds", "Les"].iter().any(|p| name.starts_with(p))
        || ["_FS", "_GS", "FS", "GS"].iter().any(|s| name.ends_with(s))
}

/// Bytes of an instruction with this form, if the dice allow.
fn bytes(code: Code, r: &mut Random) -> Option<[u8; 15]> {
    let o = code.op_code();
    let mut b = Vec::with_capacity(32);
    if r.below(8) == 0 && (0..o.op_count()).any(|n| format!("{:?}", o.op_kind(n)).contains("mem")) {
        b.push(0xf0);
    }
    if o.operand_size() == 16 || r.below(16) == 0 && o.mandatory_prefix() == MandatoryPrefix::None {
        b.push(0x66);
    }
    if r.below(16) == 0 || o.address_size() == 32 {
        b.push(0x67);
    }
    match o.mandatory_prefix() {
        MandatoryPrefix::P66 => b.push(0x66),
        MandatoryPrefix::PF3 => b.push(0xf3),
        MandatoryPrefix::PF2 => b.push(0xf2),
        _ if r.below(4) == 0 && o.can_use_rep_prefix() => b.push(0xf3),
        _ if r.below(4) == 0 && o.can_use_repne_prefix() => b.push(0xf2),
        _ => {}
    }
    let w = if o.operand_size() == 64 { 8 } else { 0 };
    if w != 0 || r.below(2) == 0 {
        b.push(0x40 | w | r.below(16) as u8 & if w == 0 { 7 } else { 15 });
    }
    match o.table() {
        OpCodeTableKind::T0F => b.push(0x0f),
        OpCodeTableKind::T0F38 => b.extend([0x0f, 0x38]),
        OpCodeTableKind::T0F3A => b.extend([0x0f, 0x3a]),
        _ => {}
    }
    let op = o.op_code();
    if o.op_code_len() == 2 {
        b.push((op >> 8) as u8);
    }
    b.push(op as u8 | if register_in_opcode(code) { r.below(8) as u8 } else { 0 });
    let mut modrm = r.draw() as u8;
    if o.group_index() >= 0 {
        modrm = modrm & 0xc7 | (o.group_index() as u8) << 3;
    }
    if o.op_code_len() == 1 {
        b.push(modrm);
    }
    while b.len() < 15 {
        b.push(if r.below(4) == 0 { 0 } else { r.draw() as u8 });
    }
    b.truncate(15);
    let b: [u8; 15] = b.try_into().ok()?;
    let i = Decoder::with_ip(64, &b, CODE, DecoderOptions::NONE).decode();
    let segment = matches!(i.memory_segment(), Register::FS | Register::GS);
    (i.code() == code && !segment).then_some(b)
}

fn register_in_opcode(code: Code) -> bool {
    let o = code.op_code();
    (0..o.op_count()).any(|n| format!("{:?}", o.op_kind(n)).ends_with("opcode"))
}

/// A case of form `code` in `mode`, with the data of seed `page`.
pub fn case(mode: Mode, code: Code, page: u64, r: &mut Random) -> Option<Case> {
    let b = (0..64).find_map(|_| bytes(code, r))?;
    let mut case = Case::new(mode, b, r.draw() >> 16, page);
    vary(&mut case, r);
    aim(&mut case, r);
    Some(case)
}

/// An address in the data, often near an end of a page.
fn target(r: &mut Random) -> u64 {
    DATA + match r.below(4) {
        0 => 4096u64.wrapping_sub(r.below(20)),
        1 => (DATA_SIZE as u64).wrapping_sub(r.below(20)),
        2 => 256 + (r.below(DATA_SIZE as u64 - 600) & !15),
        _ => 256 + r.below(DATA_SIZE as u64 - 600),
    }
}

/// Points the registers that address memory into the data.
fn aim(case: &mut Case, r: &mut Random) {
    let i = case.instruction();
    let number = |reg: Register| reg.full_register().number();
    case.state.regs[4] = target(r) & !7;
    for n in 0..i.op_count() {
        match i.op_kind(n) {
            OpKind::MemorySegRSI | OpKind::MemorySegESI => case.state.regs[6] = target(r),
            OpKind::MemoryESRDI | OpKind::MemoryESEDI => case.state.regs[7] = target(r),
            _ => {}
        }
    }
    if i.has_rep_prefix() || i.has_repne_prefix() {
        case.state.regs[1] = r.below(40);
    }
    let (base, index) = (i.memory_base(), i.memory_index());
    let scale = i.memory_index_scale() as u64;
    if index.is_gpr() && index != base {
        case.state.regs[number(index)] = r.below(64).wrapping_sub(32);
    }
    if base.is_gpr() {
        let x = if index.is_gpr() { case.state.regs[number(index)].wrapping_mul(scale) } else { 0 };
        let at = target(r).wrapping_sub(x).wrapping_sub(i.memory_displacement64());
        case.state.regs[number(base)] = at;
    }
    // A bit offset into memory must stay near.
    if matches!(i.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && i.op1_kind() == OpKind::Register
        && number(i.op1_register()) != number(base)
    {
        case.state.regs[number(i.op1_register())] = r.below(4096).wrapping_sub(1024);
    }
}
