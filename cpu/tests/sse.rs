//! SSE instructions against the host's own processor: every implemented form with XMM operands, with
//! registers and with memory.
#![cfg(target_arch = "x86_64")]

mod native;

use iced_x86::{
    Code, CpuidFeature, Encoder, Instruction, MemoryOperand, OpCodeOperandKind, Register,
};
use native::{Native, Ours, Random, State};

/// An instruction of form `code`, if all its operands are of the kinds here.
fn make(code: Code, memory: bool, imm: u8) -> Option<Instruction> {
    use OpCodeOperandKind::*;
    let info = code.op_code();
    let mut i = Instruction::default();
    i.set_code(code);
    let mut wide = [Register::XMM1, Register::XMM2, Register::XMM3, Register::XMM4].into_iter();
    let mut gprs32 = [Register::EAX, Register::ECX].into_iter();
    let mut gprs64 = [Register::RAX, Register::RCX].into_iter();
    let mut mms = [Register::MM1, Register::MM2].into_iter();
    let mut uses_memory = false;
    for n in 0..info.op_count() {
        let register = match info.op_kind(n) {
            xmm_reg | xmm_rm | xmm_vvvv => wide.next()?,
            xmm_or_mem if !memory => wide.next()?,
            r32_reg | r32_rm => gprs32.next()?,
            r32_or_mem if !memory => gprs32.next()?,
            r64_reg | r64_rm => gprs64.next()?,
            r64_or_mem if !memory => gprs64.next()?,
            mm_reg | mm_rm => mms.next()?,
            mm_or_mem if !memory => mms.next()?,
            xmm_or_mem | r32_or_mem | r64_or_mem | mm_or_mem | mem if memory => {
                i.set_op_kind(n, iced_x86::OpKind::Memory);
                let m = MemoryOperand::with_base(Register::RSI);
                i.set_memory_base(m.base);
                i.set_memory_index_scale(1);
                uses_memory = true;
                continue;
            }
            imm8 => {
                i.set_immediate8(imm);
                i.set_op_kind(n, iced_x86::OpKind::Immediate8);
                continue;
            }
            _ => return Option::None,
        };
        i.set_op_kind(n, iced_x86::OpKind::Register);
        i.set_op_register(n, register);
    }
    (uses_memory == memory).then_some(i)
}

fn state(r: &mut Random) -> State {
    let mut s = State::default();
    for n in 0..6 {
        let v = r.vector();
        s.set_xmm(n, v);
    }
    for n in 0..4 {
        let v = r.vector().to_le_bytes();
        s.memory[16 * n..16 * n + 16].copy_from_slice(&v);
    }
    (s.rax, s.rcx, s.rdx) = (r.double(), r.next() >> r.below(64), r.next() >> r.below(64));
    s.flags = 2 | r.next() & 0x8d5;
    // Rounding, FTZ, DAZ and sticky flags at random, mostly the fast default; all masked.
    let control = match r.below(3) {
        0 => 0x1fa0,
        1 => 0x1f80 | (r.next() as u32 & 0xe07f),
        _ => 0x1f80 | (r.next() as u32 & 0x603f),
    };
    s.set_mxcsr(control);
    s.fx[4] = 0;
    s
}

#[track_caller]
fn check(code: Code, memory: bool, count: u32) -> Option<Result<(), String>> {
    let imms = code.op_code().op_count() > 1 && make(code, memory, 0)?.op_kinds().any(is_imm);
    let mut ours = Ours::new();
    let mut r = Random(code as u64);
    for round in 0..if imms { 40 } else { 1 } {
        let imm = if round < 16 { round as u8 } else { r.next() as u8 };
        let i = make(code, memory, imm)?;
        let mut encoder = Encoder::new(64);
        encoder.encode(&i, 0).unwrap_or_else(|e| panic!("{code:?}: {e}"));
        let bytes = encoder.take_buffer();
        let native = Native::new(&bytes, false);
        ours.place(&bytes);
        for _ in 0..count / if imms { 40 } else { 1 } {
            let s = state(&mut r);
            let (want, got) = (native.run(&s), ours.run(&s, bytes.len()));
            if want != got {
                return Some(Err(format!(
                    "{code:?} {bytes:02x?}\n{}",
                    difference(&s, &want, &got)
                )));
            }
        }
    }
    Some(Ok(()))
}

fn is_imm(k: iced_x86::OpKind) -> bool {
    k == iced_x86::OpKind::Immediate8
}

fn difference(s: &State, want: &State, got: &State) -> String {
    let mut t =
        format!("mxcsr in {:x}, host {:x}, ours {:x}\n", s.mxcsr(), want.mxcsr(), got.mxcsr());
    for n in 0..6 {
        let v = [s.xmm(n), want.xmm(n), got.xmm(n)];
        if n == 1 || n == 2 || v[1] != v[2] {
            t += &format!("xmm{n} in {:032x} host {:032x} ours {:032x}\n", v[0], v[1], v[2]);
        }
    }
    t += &format!("memory in {:032x}\n", u128::from_le_bytes(s.memory[..16].try_into().unwrap()));
    t += &format!("memory equal {}\n", want.memory == got.memory);
    for (name, v) in [
        ("rax", [s.rax, want.rax, got.rax]),
        ("rcx", [s.rcx, want.rcx, got.rcx]),
        ("flags", [s.flags, want.flags, got.flags]),
    ] {
        t += &format!("{name} in {:x} host {:x} ours {:x}\n", v[0], v[1], v[2]);
    }
    for n in (0..8).filter(|n| want.st(*n) != got.st(*n)) {
        t += &format!("st{n} in {:x?} host {:x?} ours {:x?}\n", s.st(n), want.st(n), got.st(n));
    }
    t += &format!(
        "cw/sw/tw in {:x?} host {:x?} ours {:x?}",
        &s.fx[..5],
        &want.fx[..5],
        &got.fx[..5]
    );
    t
}

/// Forms whose results differ between vendors, or that write where the test's memory is not.
fn excluded(code: Code) -> bool {
    use iced_x86::Mnemonic::*;
    matches!(code.mnemonic(), Rcpps | Rcpss | Rsqrtps | Rsqrtss | Maskmovdqu | Maskmovq)
        || matches!(code.mnemonic(), Ldmxcsr | Stmxcsr)
}

fn family(features: &[CpuidFeature], count: u32) {
    let (mut forms, mut wrong) = (0, Vec::new());
    for code in Code::values() {
        let of_family = code.cpuid_features().iter().any(|f| features.contains(f));
        let legacy = code.encoding() == iced_x86::EncodingKind::Legacy;
        if !of_family || !legacy || !cpu::isa::implemented(code) || excluded(code) {
            continue;
        }
        for done in [check(code, false, count), check(code, true, count)].into_iter().flatten() {
            forms += 1;
            wrong.extend(done.err());
        }
    }
    assert!(forms > 0);
    assert!(wrong.is_empty(), "{} of {forms} forms differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn sse_agrees_with_the_host() {
    family(&[CpuidFeature::SSE], 4000);
}

#[test]
fn sse2_agrees_with_the_host() {
    family(&[CpuidFeature::SSE2], 4000);
}
