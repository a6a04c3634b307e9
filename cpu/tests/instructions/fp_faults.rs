//! When floating-point and vector instructions fault, and what they leave.

use crate::native::{Ours, State};
use crate::support::asm::assemble;
use cpu::state::control::{
    CR0_EM, CR0_MP, CR0_NE, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE,
};
use cpu::trap::vector::{GP, MF, NM, UD, XM};

const ADDPS: &str = "addps xmm1, xmm2";
const DIVPS: &str = "divps xmm1, xmm2";
const MOVAPS: &str = "movaps xmm1, [rsi]";
const MOVAPS_OFF: &str = "movaps xmm1, [rsi+8]";
const MOVUPS_OFF: &str = "movups xmm1, [rsi+8]";
const PADDB_MM: &str = "paddb mm1, mm2";
const FADD: &str = "fadd st0, st1";
const FWAIT: &str = "wait";
const FNINIT: &str = "fninit";
const FNSTSW: &str = "fnstsw ax";
const FXSAVE: &str = "fxsave [rsi]";
const FXSAVE_OFF: &str = "fxsave [rsi+8]";
const LDMXCSR: &str = "ldmxcsr [rsi]";
const XGETBV: &str = "xgetbv";
const VADDPS: &str = "vaddps xmm1, xmm1, xmm2";

/// What is different from the usual: all on, nothing pending.
#[derive(Default)]
struct Case {
    /// CR0 bits set.
    cr0: u64,
    /// CR4 bits cleared.
    cr4: u64,
    /// MXCSR, if not the default.
    mxcsr: Option<u32>,
    /// x87 control and status word, if not the default.
    x87: Option<(u16, u16)>,
    /// XCR0, if not 7.
    xcr0: Option<u64>,
}

#[track_caller]
fn check(code: &str, case: Case, want: Option<u8>) {
    let mut ours = Ours::new();
    ours.place(&assemble(64, 0, code));
    ours.cpu.state.sys.cr0 |= case.cr0;
    ours.cpu.state.sys.cr4 &= !case.cr4;
    ours.cpu.state.sys.xcr0 = case.xcr0.unwrap_or(7);
    let mut s = State::default();
    s.set_mxcsr(case.mxcsr.unwrap_or(0x1f80));
    let (cw, sw) = case.x87.unwrap_or((0x37f, 0));
    s.set16(0, cw);
    s.set16(2, sw);
    s.set_xmm(1, 0x3f80_0000);
    s.memory[..4].copy_from_slice(&0x0001_0000u32.to_le_bytes());
    assert_eq!(ours.vector_of(&s), want, "{code}");
}

#[test]
fn control_bits_decide() {
    let cr0 = |cr0| Case { cr0, ..Case::default() };
    let cr4 = |cr4| Case { cr4, ..Case::default() };
    for code in [ADDPS, MOVAPS, MOVUPS_OFF] {
        check(code, Case::default(), None);
        check(code, cr0(CR0_TS), Some(NM));
        check(code, cr0(CR0_EM), Some(UD));
        check(code, cr0(CR0_EM | CR0_TS), Some(UD));
        check(code, cr4(CR4_OSFXSR), Some(UD));
    }
    check(PADDB_MM, cr0(CR0_TS), Some(NM));
    check(PADDB_MM, cr0(CR0_EM), Some(UD));
    check(PADDB_MM, cr4(CR4_OSFXSR), None);
    for code in [FADD, FNINIT, FNSTSW, FXSAVE] {
        check(code, Case::default(), None);
        check(code, cr0(CR0_TS), Some(NM));
        check(code, cr0(CR0_EM), Some(NM));
    }
    check(FWAIT, cr0(CR0_EM), None);
    check(FWAIT, cr0(CR0_TS | CR0_MP), Some(NM));
    check(XGETBV, cr4(CR4_OSXSAVE), Some(UD));
    check(VADDPS, Case::default(), None);
    check(VADDPS, Case { xcr0: Some(3), ..Case::default() }, Some(UD));
    check(VADDPS, cr4(CR4_OSXSAVE), Some(UD));
    check(VADDPS, cr0(CR0_TS), Some(NM));
}

#[test]
fn misaligned_operands_and_reserved_bits() {
    check(MOVAPS_OFF, Case::default(), Some(GP));
    check(FXSAVE_OFF, Case::default(), Some(GP));
    check(LDMXCSR, Case::default(), Some(GP));
}

#[test]
fn unmasked_exceptions() {
    let mxcsr = |v| Case { mxcsr: Some(v), ..Case::default() };
    // 1 / 0.
    check(DIVPS, mxcsr(0x1f80), None);
    check(DIVPS, mxcsr(0x1d80), Some(XM));
    check(DIVPS, Case { cr4: CR4_OSXMMEXCPT, ..mxcsr(0x1d80) }, Some(UD));
    let x87 = |cw, sw| Case { x87: Some((cw, sw)), cr0: CR0_NE, ..Case::default() };
    for code in [FADD, FWAIT, PADDB_MM] {
        check(code, x87(0x37f, 1), None);
        check(code, x87(0x37e, 0x8081), Some(MF));
    }
    check(FNSTSW, x87(0x37e, 0x8081), None);
    check(FNINIT, x87(0x37e, 0x8081), None);
}

/// Divides 1 by 3 in all lanes while the host's MXCSR is `host`: the quotients, the guest's MXCSR, the host's.
fn divided(host: u32) -> (u128, u32, u32) {
    let mut ours = Ours::new();
    let code = assemble(64, 0, DIVPS);
    ours.place(&code);
    let mut s = State::default();
    s.set_mxcsr(0x1f80);
    let lanes = |v: f32| v.to_bits() as u128 * 0x1_00000001_00000001_00000001;
    s.set_xmm(1, lanes(1.0));
    s.set_xmm(2, lanes(3.0));
    cpu::fpu::host::set_mxcsr(host);
    let after = ours.run(&s, code.len());
    let left = cpu::fpu::host::mxcsr();
    cpu::fpu::host::set_mxcsr(0x1f80);
    (after.xmm(1), after.mxcsr(), left)
}

#[test]
fn the_hosts_mode_reaches_no_guest() {
    for host in [0x1f80, 0x1fbf, 0x3f80, 0x5f80, 0x7f80, 0x9fc0] {
        let third = 0x3eaaaaab_3eaaaaab_3eaaaaab_3eaaaaab;
        assert_eq!(divided(host), (third, 0x1fa0, host), "{host:x}");
    }
}
