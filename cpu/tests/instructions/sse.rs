//! SSE instructions against the host's own processor: every implemented form with XMM operands, with
//! registers and with memory.

use crate::native::forms::{difference, encode, make};
use crate::native::{Native, Ours, Random, State};
use crate::support::asm::assemble;
use cpu::state::fpu::F80;
use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, Register};

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
    s.upper.iter_mut().for_each(|v| *v = r.vector());
    (s.rax, s.rcx, s.rdx) = (r.double(), r.next() >> r.below(64), r.next() >> r.below(64));
    s.flags = 2 | r.next() & 0x8d5;
    // Rounding, FTZ, DAZ and sticky flags at random, mostly the fast default; all masked.
    let control = match r.below(3) {
        0 => 0x1fa0,
        1 => 0x1f80 | (r.next() as u32 & 0xe07f),
        _ => 0x1f80 | (r.next() as u32 & 0x603f),
    };
    s.set_mxcsr(control);
    for n in 0..8 {
        s.set_st(n, F80 { m: r.vector() as u64, se: r.next() as u16 });
    }
    s.fx[4] = r.next() as u8;
    s.set16(2, (r.next() as u16 & 7) << 11);
    s
}

/// Makes the indices of a gather point into the test's memory.
fn indices(s: &mut State, i: &Instruction, r: &mut Random) {
    if i.memory_index() == Register::None {
        return;
    }
    let lane = if format!("{:?}", i.code()).contains("vm32") { 32 } else { 64 };
    let mut small = || (0..128 / lane).fold(0, |v, _| v << lane | r.below(8) as u128);
    s.set_xmm(2, small());
    s.upper[2] = small();
}

#[track_caller]
fn check(code: Code, memory: bool, count: u32) -> Option<Result<(), String>> {
    let imms = code.op_code().op_count() > 1 && make(code, memory, 0)?.op_kinds().any(is_imm);
    let mut ours = Ours::new();
    let mut r = Random(code as u64);
    for round in 0..if imms { 40 } else { 1 } {
        let imm = if round < 16 { round as u8 } else { r.next() as u8 };
        let i = make(code, memory, imm)?;
        let bytes = encode(&i);
        let native = Native::new(&bytes, i.code().encoding() == EncodingKind::VEX);
        ours.place(&bytes);
        for _ in 0..count / if imms { 40 } else { 1 } {
            let mut s = state(&mut r);
            indices(&mut s, &i, &mut r);
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

/// Forms whose results differ between vendors, or that write where the test's memory is not.
fn excluded(code: Code) -> bool {
    use iced_x86::Mnemonic::*;
    matches!(code.mnemonic(), Rcpps | Rcpss | Rsqrtps | Rsqrtss | Maskmovdqu | Maskmovq)
        || matches!(code.mnemonic(), Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss | Vmaskmovdqu)
        || matches!(code.mnemonic(), Ldmxcsr | Stmxcsr | Vldmxcsr | Vstmxcsr)
        || matches!(code.mnemonic(), Dpps | Dppd | Vdpps | Vdppd) && !host_is_intels()
}

/// Whether the host's processor is Intel's: of several NaNs dot products choose others than AMD's.
pub(super) fn host_is_intels() -> bool {
    std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Genu")
}

fn family(features: &[CpuidFeature], count: u32) {
    let (mut forms, mut wrong) = (0, Vec::new());
    for code in Code::values() {
        let of_family = code.cpuid_features().iter().any(|f| features.contains(f));
        let known = matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
        if !of_family || !known || !cpu::isa::implemented(code) || excluded(code) {
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

#[test]
fn mmx_agrees_with_the_host() {
    family(&[CpuidFeature::MMX], 4000);
}

#[test]
fn sse3_to_sse42_agree_with_the_host() {
    use CpuidFeature::*;
    family(&[SSE3, SSSE3, SSE4_1, SSE4_2], 4000);
}

#[test]
fn crypto_agrees_with_the_host() {
    family(&[CpuidFeature::AES, CpuidFeature::PCLMULQDQ, CpuidFeature::SHA], 4000);
}

#[test]
fn avx_agrees_with_the_host() {
    family(&[CpuidFeature::AVX], 2000);
}

#[test]
fn avx2_fma_and_f16c_agree_with_the_host() {
    family(&[CpuidFeature::AVX2, CpuidFeature::FMA, CpuidFeature::F16C], 2000);
}

/// Saves of the whole state: the areas are equal byte for byte, but for what is not written.
#[test]
fn fxsave_and_fxrstor_agree_with_the_host() {
    for text in ["fxsave64 [rsi]", "fxrstor64 [rsi]", "fxsave [rsi]"] {
        let bytes = assemble(64, 0, text);
        let native = Native::new(&bytes, false);
        let mut ours = Ours::new();
        ours.place(&bytes);
        let mut r = Random(7);
        for _ in 0..2000 {
            let mut s = state(&mut r);
            let other = state(&mut r);
            s.memory[..512].copy_from_slice(&other.fx);
            s.memory[6..24].fill(0);
            (0..8).for_each(|n| s.memory[42 + 16 * n..48 + 16 * n].fill(0));
            let (mut want, got) = (native.run(&s), ours.run(&s, bytes.len()));
            // MXCSR_MASK is the vendor's.
            want.memory[28..32].copy_from_slice(&got.memory[28..32]);
            assert!(want.memory == got.memory, "{text}: {:x?}", first(&want, &got));
            assert!(want == got, "{text}: {}", difference(&s, &want, &got));
        }
    }
}

/// The first byte of memory in which two outcomes differ.
fn first(a: &State, b: &State) -> Option<(usize, u8, u8)> {
    let bytes = a.memory.iter().zip(&b.memory).enumerate();
    bytes.map(|(k, (x, y))| (k, *x, *y)).find(|(_, x, y)| x != y)
}
