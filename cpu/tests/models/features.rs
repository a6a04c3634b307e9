//! What each model has: instructions that it lacks raise #UD, and control bits, MSRs and CPUID follow.

use crate::support::*;
use cpu::feature::{self, FEATURES};
use cpu::model::Model;
use iced_x86::{Code, CpuidFeature};

/// Runs `code` on the model and halts; the vector that ended the run, `None` without a fault.
fn outcome(model: &str, mode: Mode, code: &str) -> Option<u64> {
    let mut r = Rig::new(mode, 0);
    r.cpu.state.model = Model::parse(model).unwrap();
    r.cpu.state.sys.cr4 |= 0x600;
    r.set_reg(gpr::RAX, 0x2_0000);
    r.code(CODE, &format!("{code}; hlt"));
    r.run();
    let v = r.vector();
    assert!(v.is_some() || r.rip() == CODE + r.length(code) + 1, "{:#x}", r.rip());
    v
}

/// `code` is defined on `with` and undefined on `without`, in 64-bit mode.
#[track_caller]
fn check(code: &str, with: &str, without: &str) {
    assert_eq!(outcome(with, Long, code), None, "{with}");
    assert_eq!(outcome(without, Long, code), Some(UD), "{without}");
}

#[test]
fn instructions() {
    check("haddps xmm0, xmm1", "v2", "v1");
    check("pshufb xmm0, xmm1", "v2", "v2,-ssse3");
    check("pmulld xmm0, xmm1", "v2", "v1");
    check("pcmpistri xmm0, xmm1, 0", "v2", "v2,-sse4.2");
    check("crc32 eax, ecx", "v2", "v1");
    check("popcnt eax, ecx", "v2", "v1");
    check("movbe ecx, [rax]", "default", "v2");
    check("cmpxchg16b [rax]", "v2", "v1");
    check("rdtscp", "v2", "v1");
    check("andn eax, eax, ecx", "default", "v2");
    check("pdep eax, eax, ecx", "default", "default,-bmi2");
    check("adcx eax, ecx", "default", "default,-adx");
    check("aesenc xmm0, xmm1", "default", "default,-aes");
    check("pclmulqdq xmm0, xmm1, 0", "default", "v2");
    check("sha1msg1 xmm0, xmm1", "default", "default,sha-ni=off");
    check("rdrand ecx", "default", "default,-rdrand");
    check("rdseed ecx", "default", "default,-rdseed");
    check("rdpid rcx", "default", "default,-rdpid");
    check("clflushopt [rax]", "default", "default,-clflushopt");
    check("clwb [rax]", "default", "default,-clwb");
    check("clflush [rax]", "v1", "v1,-clflush");
    check("serialize", "default,+serialize", "default,-serialize");
    check("stac", "v3", "v3,-smap");
    check("invpcid rcx, [rax]", "default", "default,-invpcid");
    check("lahf", "v1", "v1,-lahf-lm");
    check("cmpxchg8b [rax]", "v1", "v1,-cx8");
    check("cmove eax, ecx", "v1", "v1,-cmov");
    check("rdtsc", "v1", "v1,-tsc");
    check("paddb mm0, mm1", "v1", "v1,-mmx");
}

/// Every form that a bit of CPUID stands for is implemented, as far as Intel's decoding and our other
/// features give the form.
#[test]
fn no_model_promises_a_form_that_is_missing() {
    let ours = |c: &Code| c.cpuid_features().iter().all(|f| feature::group(*f).is_some());
    let decoded = |c: &Code| {
        let o = c.op_code();
        let intel = o.intel_decoder16() || o.intel_decoder32() || o.intel_decoder64();
        o.is_instruction() && intel && !o.fwait() && o.decoder_option() == 0
    };
    let forms = |f: CpuidFeature| Code::values().filter(move |c| c.cpuid_features().contains(&f));
    for row in FEATURES {
        for f in row.decoder {
            let promised: Vec<Code> = forms(*f).filter(ours).filter(decoded).collect();
            assert!(!promised.is_empty(), "{f:?} has forms");
            for code in promised {
                assert!(cpu::isa::implemented(code), "{} promises {code:?}", row.name);
            }
        }
    }
}

/// With OSXSAVE and XCR0 set by the code itself.
#[test]
fn vectors() {
    let on = "mov eax, 0x40620; mov cr4, rax; xor ecx, ecx; xor edx, edx; mov eax, 7; xsetbv";
    let check = |code: &str, with: &str, without: &str| {
        check(&format!("{on}; {code}"), with, without);
    };
    check("vpaddd ymm0, ymm1, ymm2", "v3", "v3,-avx2");
    check("vfmadd231pd ymm0, ymm1, ymm2", "v3", "v3,-fma");
    check("vcvtph2ps ymm0, xmm2", "v3", "v3,-f16c");
    check("vaesenc xmm0, xmm1, xmm2", "v3", "v3,-aes");
    let all = format!("{on}; vaddps ymm0, ymm1, ymm2");
    assert_eq!(outcome("v3", Long, &all), None);
    assert_eq!(outcome("default", Long, &all), Some(GP), "XCR0.AVX is reserved");
    assert_eq!(outcome("v1", Long, &all), Some(GP), "CR4.OSXSAVE is reserved");
    assert_eq!(outcome("v2", Long, "mov eax, 0x40620; mov cr4, rax; xsave [rbx]"), None, "xsave");
}

/// Where LZCNT and TZCNT are missing, BSR and BSF stand after a prefix that means nothing.
#[test]
fn counts_were_scans() {
    let run = |model: &str, code: &str| {
        let mut r = Rig::new(Long, 0);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.set_reg(gpr::RCX, 0x100);
        r.code(CODE, &format!("{code}; hlt"));
        r.run();
        r.reg(gpr::RAX)
    };
    assert_eq!(run("default", "lzcnt eax, ecx"), 23, "lzcnt");
    assert_eq!(run("v2", "lzcnt eax, ecx"), 8, "bsr");
    assert_eq!(run("default", "tzcnt eax, ecx"), 8, "tzcnt");
    assert_eq!(run("v2", "tzcnt eax, ecx"), 8, "bsf");
}

#[test]
fn min32() {
    for code in [
        "fxsave [eax]",
        "addps xmm0, xmm1",
        "addpd xmm0, xmm1",
        "paddb mm0, mm1",
        "syscall",
        "vmcall",
    ] {
        assert_eq!(outcome("min32", Protected, code), Some(UD), "{code}");
    }
    for code in ["cmove eax, ecx", "fld1", "cmpxchg8b [eax]", "rdtsc"] {
        assert_eq!(outcome("min32", Protected, code), None, "{code}");
    }
    let m = Model::parse("min32").unwrap();
    assert_eq!(m.efer_bits(), 0);
    assert_eq!(m.cr4_bits() & 0x7f_f600, 0, "nothing after the 32-bit years");
}

fn rdmsr(msr: u32) -> String {
    format!("mov ecx, {msr}; rdmsr")
}

#[test]
fn msrs() {
    let check = |msr: u32, with: &str, without: &str| {
        assert_eq!(outcome(with, Long, &rdmsr(msr)), None, "{msr:#x} {with}");
        assert_eq!(outcome(without, Long, &rdmsr(msr)), Some(GP), "{msr:#x} {without}");
    };
    check(0x480, "default", "default,-vmx");
    check(0x3a, "default", "v2");
    check(0x277, "v1", "v1,-pat");
    check(0xfe, "v1", "v1,-mtrr");
    check(0x179, "v1", "v1,-mca");
    check(0x6e0, "v2", "v1");
    check(0x3b, "default", "v2");
    check(0xda0, "default", "default,-xsaves");
    check(0xc000_0081, "v1", "v1,-syscall");
    check(0xc000_0103, "v2", "v1");
    assert_eq!(outcome("min32", Protected, &rdmsr(0xc000_0080)), Some(GP), "EFER");
}

/// CPUID shows what is there.
#[test]
fn leaves() {
    let leaf = |model: &str, leaf: u32| {
        let mut r = Rig::new(Long, 0);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.cpu.cpuid(leaf, 0)
    };
    assert_eq!(leaf("min32", 0)[0], 2);
    assert_eq!(leaf("min32", 0x8000_0000)[0], 0x8000_0004);
    assert_eq!(leaf("v3", 0)[0], 0x16);
    assert_eq!(leaf("v3", 7)[1] & 1 << 5, 1 << 5);
    assert_eq!(leaf("v3,-avx2", 7)[1] & 1 << 5, 0);
    assert_eq!(leaf("v3", 0xd)[0], 7);
    assert_eq!(leaf("v3,-avx", 0xd)[0], 3);
    assert_eq!(leaf("v3,-xsave", 0xd), [0; 4]);
    // No processor has anything to say here; other leaves that do not exist are as the last basic one.
    for n in [0x4000_0000, 0x4000_0001, 0x4000_0010, 0x4000_0100, 0x4fff_ffff] {
        assert_eq!(leaf("v3", n), [0; 4], "{n:#x}");
    }
    for n in [0x17, 0x3fff_ffff, 0x5000_0000, 0x7fff_ffff, 0x8000_0009, 0xc000_0000, u32::MAX] {
        assert_eq!(leaf("v3", n), leaf("v3", 0x16), "{n:#x}");
    }
}

/// IA32_DEBUGCTL has LBR and BTF; a VM entry takes the same bits.
#[test]
fn debug_control() {
    for n in 0..64 {
        let code = format!(
            "mov ecx, 0x1d9; mov eax, {}; mov edx, {}; wrmsr; rdmsr",
            (1u64 << n) as u32,
            (1u64 << n) >> 32
        );
        assert_eq!(outcome("default", Long, &code), (n > 1).then_some(GP), "bit {n}");
    }
}

/// VMX capabilities follow: a control that enables a missing instruction is reserved.
#[test]
fn capabilities() {
    let proc2 = |model: &str| {
        let mut r = Rig::new(Long, 0);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.code(CODE, &format!("{}; hlt", rdmsr(0x48b)));
        r.run();
        r.reg(gpr::RDX) as u32
    };
    assert_eq!(proc2("default") & (1 << 12 | 1 << 3), 1 << 12 | 1 << 3);
    assert_eq!(proc2("default,-invpcid") & 1 << 12, 0);
    assert_eq!(proc2("default,-rdtscp") & 1 << 3, 0);
    assert_eq!(proc2("default,-xsaves") & 1 << 20, 0);
}
