//! What each model has: instructions that it lacks raise #UD, and control bits, MSRs and CPUID follow.

mod rig;

use cpu::feature::{self, FEATURES};
use cpu::model::Model;
use iced_x86::{Code, CpuidFeature};
use rig::*;

const UD: u64 = 6;
const GP: u64 = 13;

/// Runs `code` on the model and halts behind it; the vector that it ended with, `None` without a fault.
fn outcome(model: &str, mode: Mode, code: &[u8]) -> Option<u64> {
    let mut r = Rig::new(mode, 0);
    r.cpu.state.model = Model::parse(model).unwrap();
    r.cpu.state.sys.cr4 |= 0x600;
    r.cpu.state.regs[0] = 0x2_0000;
    r.put(CODE, &[code, &[0xf4]].concat());
    r.run();
    let v = r.vector();
    assert!(
        v.is_some() || r.cpu.state.rip == CODE + code.len() as u64 + 1,
        "{:#x}",
        r.cpu.state.rip
    );
    v
}

/// `code` is defined on `with` and undefined on `without`, in 64-bit mode.
#[track_caller]
fn check(code: &[u8], with: &str, without: &str) {
    assert_eq!(outcome(with, Long, code), None, "{with}");
    assert_eq!(outcome(without, Long, code), Some(UD), "{without}");
}

#[test]
fn instructions() {
    check(&[0xf2, 0x0f, 0x7c, 0xc1], "v2", "v1"); // haddps
    check(&[0x66, 0x0f, 0x38, 0x00, 0xc1], "v2", "v2,-ssse3"); // pshufb
    check(&[0x66, 0x0f, 0x38, 0x40, 0xc1], "v2", "v1"); // pmulld
    check(&[0x66, 0x0f, 0x3a, 0x63, 0xc1, 0], "v2", "v2,-sse4.2"); // pcmpistri
    check(&[0xf2, 0x0f, 0x38, 0xf1, 0xc1], "v2", "v1"); // crc32
    check(&[0xf3, 0x0f, 0xb8, 0xc1], "v2", "v1"); // popcnt
    check(&[0x0f, 0x38, 0xf0, 0x08], "default", "v2"); // movbe
    check(&[0x48, 0x0f, 0xc7, 0x08], "v2", "v1"); // cmpxchg16b
    check(&[0x0f, 0x01, 0xf9], "v2", "v1"); // rdtscp
    check(&[0xc4, 0xe2, 0x78, 0xf2, 0xc1], "default", "v2"); // andn
    check(&[0xc4, 0xe2, 0x7b, 0xf5, 0xc1], "default", "default,-bmi2"); // pdep
    check(&[0x66, 0x0f, 0x38, 0xf6, 0xc1], "default", "default,-adx"); // adcx
    check(&[0x66, 0x0f, 0x38, 0xdc, 0xc1], "default", "default,-aes"); // aesenc
    check(&[0x66, 0x0f, 0x3a, 0x44, 0xc1, 0], "default", "v2"); // pclmulqdq
    check(&[0x0f, 0x38, 0xc9, 0xc1], "default", "default,sha-ni=off"); // sha1msg1
    check(&[0x0f, 0xc7, 0xf1], "default", "default,-rdrand"); // rdrand
    check(&[0x0f, 0xc7, 0xf9], "default", "default,-rdseed"); // rdseed
    check(&[0xf3, 0x0f, 0xc7, 0xf9], "default", "default,-rdpid"); // rdpid
    check(&[0x66, 0x0f, 0xae, 0x38], "default", "default,-clflushopt");
    check(&[0x66, 0x0f, 0xae, 0x30], "default", "default,-clwb");
    check(&[0x0f, 0xae, 0x38], "v1", "v1,-clflush");
    check(&[0x0f, 0x01, 0xe8], "default,+serialize", "default,-serialize");
    check(&[0x0f, 0x01, 0xcb], "v3", "v3,-smap"); // stac
    check(&[0x66, 0x0f, 0x38, 0x82, 0x08], "default", "default,-invpcid");
    check(&[0x9f], "v1", "v1,-lahf-lm");
    check(&[0x0f, 0xc7, 0x08], "v1", "v1,-cx8"); // cmpxchg8b
    check(&[0x0f, 0x44, 0xc1], "v1", "v1,-cmov");
    check(&[0x0f, 0x31], "v1", "v1,-tsc"); // rdtsc
    check(&[0x0f, 0xfc, 0xc1], "v1", "v1,-mmx"); // paddb
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
    let on = [
        0xb8, 0x20, 0x06, 0x04, 0x00, // mov eax, 40620h
        0x0f, 0x22, 0xe0, // mov cr4, rax
        0x31, 0xc9, 0x31, 0xd2, 0xb8, 7, 0, 0, 0, // xor ecx, ecx; xor edx, edx; mov eax, 7
        0x0f, 0x01, 0xd1, // xsetbv
    ];
    let check = |code: &[u8], with: &str, without: &str| {
        check(&[&on, code].concat(), with, without);
    };
    check(&[0xc5, 0xf5, 0xfe, 0xc2], "v3", "v3,-avx2"); // vpaddd ymm
    check(&[0xc4, 0xe2, 0xf5, 0xb8, 0xc2], "v3", "v3,-fma"); // vfmadd231pd
    check(&[0xc4, 0xe2, 0x7d, 0x13, 0xc2], "v3", "v3,-f16c"); // vcvtph2ps
    check(&[0xc4, 0xe2, 0x71, 0xdc, 0xc2], "v3", "v3,-aes"); // vaesenc xmm
    let all = [&on[..], &[0xc5, 0xf4, 0x58, 0xc2]].concat(); // vaddps ymm
    assert_eq!(outcome("v3", Long, &all), None);
    assert_eq!(outcome("default", Long, &all), Some(GP), "XCR0.AVX is reserved");
    assert_eq!(outcome("v1", Long, &all), Some(GP), "CR4.OSXSAVE is reserved");
    assert_eq!(outcome("v2", Long, &[&on[..8], &[0x0f, 0xae, 0x23]].concat()), None, "xsave");
}

/// Where LZCNT and TZCNT are missing, BSR and BSF stand behind a prefix that means nothing.
#[test]
fn counts_were_scans() {
    let run = |model: &str, code: &[u8]| {
        let mut r = Rig::new(Long, 0);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.cpu.state.regs[1] = 0x100;
        r.put(CODE, &[code, &[0xf4]].concat());
        r.run();
        r.cpu.state.regs[0]
    };
    assert_eq!(run("default", &[0xf3, 0x0f, 0xbd, 0xc1]), 23, "lzcnt");
    assert_eq!(run("v2", &[0xf3, 0x0f, 0xbd, 0xc1]), 8, "bsr");
    assert_eq!(run("default", &[0xf3, 0x0f, 0xbc, 0xc1]), 8, "tzcnt");
    assert_eq!(run("v2", &[0xf3, 0x0f, 0xbc, 0xc1]), 8, "bsf");
}

#[test]
fn min32() {
    for code in [
        &[0x0f, 0xae, 0x00][..], // fxsave
        &[0x0f, 0x58, 0xc1],     // addps
        &[0x66, 0x0f, 0x58, 0xc1],
        &[0x0f, 0xfc, 0xc1],
        &[0x0f, 0x05],       // syscall
        &[0x0f, 0x01, 0xc1], // vmcall
    ] {
        assert_eq!(outcome("min32", Protected, code), Some(UD), "{code:x?}");
    }
    for code in [&[0x0f, 0x44, 0xc1][..], &[0xd9, 0xe8], &[0x0f, 0xc7, 0x08], &[0x0f, 0x31]] {
        assert_eq!(outcome("min32", Protected, code), None, "{code:x?}");
    }
    let m = Model::parse("min32").unwrap();
    assert_eq!(m.efer_bits(), 0);
    assert_eq!(m.cr4_bits() & 0x7f_f600, 0, "nothing behind the 32-bit years");
}

fn rdmsr(msr: u32) -> Vec<u8> {
    [&[0xb9][..], &msr.to_le_bytes(), &[0x0f, 0x32]].concat()
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
}

/// VMX capabilities follow: a control that enables a missing instruction is reserved.
#[test]
fn capabilities() {
    let proc2 = |model: &str| {
        let mut r = Rig::new(Long, 0);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.put(CODE, &[&rdmsr(0x48b)[..], &[0xf4]].concat());
        r.run();
        r.cpu.state.regs[2] as u32
    };
    assert_eq!(proc2("default") & (1 << 12 | 1 << 3), 1 << 12 | 1 << 3);
    assert_eq!(proc2("default,-invpcid") & 1 << 12, 0);
    assert_eq!(proc2("default,-rdtscp") & 1 << 3, 0);
    assert_eq!(proc2("default,-xsaves") & 1 << 20, 0);
}
