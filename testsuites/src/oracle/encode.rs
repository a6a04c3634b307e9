//! Bytes of an instruction with a given form: its opcode, with random prefixes and operands.

use super::{Mode, Random};
use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, MandatoryPrefix, OpCodeInfo, OpCodeTableKind,
};

/// Random bytes that the decoder takes for `code`, if the dice allow.
pub fn bytes(mode: Mode, code: Code, r: &mut Random) -> Option<[u8; 15]> {
    let o = code.op_code();
    (0..64).find_map(|_| {
        let mut b = Vec::with_capacity(32);
        match o.encoding() {
            EncodingKind::Legacy => legacy(mode, o, &mut b, r),
            _ => vex(mode, o, &mut b, r),
        }
        opcode(o, &mut b, r);
        while b.len() < 15 {
            b.push(if r.one_in(4) { 0 } else { r.draw() as u8 });
        }
        b.truncate(15);
        let b: [u8; 15] = b.try_into().ok()?;
        let options = DecoderOptions::NONE;
        let i = Decoder::with_ip(mode.bits(), &b, mode.start(), options).decode();
        (i.code() == code).then_some(b)
    })
}

/// Prefixes and escape bytes.
fn legacy(mode: Mode, o: &OpCodeInfo, b: &mut Vec<u8>, r: &mut Random) {
    if o.can_use_lock_prefix() && r.one_in(4) || r.one_in(64) {
        b.push(0xf0);
    }
    override_segment(b, r);
    let plain = o.mandatory_prefix() == MandatoryPrefix::None;
    let default = if mode == Mode::Bits16 { 16 } else { 32 };
    let other = matches!(o.operand_size(), 16 | 32) && o.operand_size() != default;
    if other || plain && r.one_in(16) {
        b.push(0x66);
    }
    let default = mode.bits();
    if o.address_size() != 0 && o.address_size() != default || r.one_in(12) {
        b.push(0x67);
    }
    match o.mandatory_prefix() {
        MandatoryPrefix::P66 => b.push(0x66),
        MandatoryPrefix::PF3 => b.push(0xf3),
        MandatoryPrefix::PF2 => b.push(0xf2),
        _ if o.can_use_rep_prefix() && r.one_in(3) => b.push(0xf3),
        _ if o.can_use_repne_prefix() && r.one_in(3) => b.push(0xf2),
        _ if r.one_in(48) => b.push(0xf2 | r.below(2) as u8),
        _ => {}
    }
    if mode == Mode::Bits64 {
        let w = if o.operand_size() == 64 || r.one_in(32) { 8 } else { 0 };
        if w != 0 || r.one_in(2) {
            b.push(0x40 | w | r.below(8) as u8);
        }
    }
    match o.table() {
        OpCodeTableKind::T0F => b.push(0x0f),
        OpCodeTableKind::T0F38 => b.extend([0x0f, 0x38]),
        OpCodeTableKind::T0F3A => b.extend([0x0f, 0x3a]),
        _ => {}
    }
}

fn override_segment(b: &mut Vec<u8>, r: &mut Random) {
    const SEGMENTS: [u8; 6] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
    if r.one_in(12) {
        b.push(SEGMENTS[r.below(6) as usize]);
    }
}

/// A VEX prefix, after the few prefixes that may come first.
fn vex(mode: Mode, o: &OpCodeInfo, b: &mut Vec<u8>, r: &mut Random) {
    override_segment(b, r);
    if r.one_in(12) {
        b.push(0x67);
    }
    let map = match o.table() {
        OpCodeTableKind::T0F38 => 2,
        OpCodeTableKind::T0F3A => 3,
        _ => 1,
    };
    let pp = match o.mandatory_prefix() {
        MandatoryPrefix::P66 => 1,
        MandatoryPrefix::PF3 => 2,
        MandatoryPrefix::PF2 => 3,
        _ => 0,
    };
    let dice = |any: bool, v: u32, r: &mut Random| if any { r.below(2) as u8 } else { v as u8 };
    let w = dice(o.is_wig(), o.w(), r);
    let l = dice(o.is_lig(), o.l(), r);
    let third = (0..o.op_count()).any(|n| format!("{:?}", o.op_kind(n)).ends_with("vvvv"));
    let vvvv = if third || r.one_in(64) { r.below(16) as u8 } else { 15 };
    let mut rxb = (r.draw() as u8) & 0xe0;
    let mut last = w << 7 | vvvv << 3 | l << 2 | pp;
    if mode != Mode::Bits64 {
        // The bits that tell VEX from LDS and LES there.
        rxb |= 0xc0;
        last |= 0x40;
    }
    if map == 1 && w == 0 && rxb & 0x60 == 0x60 && r.one_in(2) {
        b.extend([0xc5, last & 0x7f | rxb & 0x80]);
    } else {
        b.extend([0xc4, rxb | map, last]);
    }
}

/// Opcode and ModRM.
fn opcode(o: &OpCodeInfo, b: &mut Vec<u8>, r: &mut Random) {
    let op = o.op_code();
    if o.op_code_len() == 2 {
        return b.extend([(op >> 8) as u8, op as u8 | low_bits(o, r)]);
    }
    b.push(op as u8 | low_bits(o, r));
    let mut modrm = r.draw() as u8;
    if o.group_index() >= 0 {
        modrm = modrm & 0xc7 | (o.group_index() as u8) << 3;
    }
    if o.rm_group_index() >= 0 {
        modrm = modrm & 0xf8 | o.rm_group_index() as u8;
    }
    b.push(modrm);
}

/// The register in the opcode.
fn low_bits(o: &OpCodeInfo, r: &mut Random) -> u8 {
    use iced_x86::OpCodeOperandKind::{r8_opcode, r16_opcode, r32_opcode, r64_opcode, sti_opcode};
    let here = [r8_opcode, r16_opcode, r32_opcode, r64_opcode, sti_opcode];
    let register = (0..o.op_count()).any(|n| here.contains(&o.op_kind(n)));
    if register { r.below(8) as u8 } else { 0 }
}
