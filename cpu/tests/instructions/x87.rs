//! x87 instructions against the host's own processor.

use crate::native::forms::{difference, encode, make};
use crate::native::{Native, Ours, Random, State};
use cpu::state::fpu::F80;
use iced_x86::{Code, CpuidFeature, Mnemonic};

fn state(r: &mut Random) -> State {
    let mut s = State::default();
    for n in 0..8 {
        let v = r.extended();
        s.set_st(n, v);
    }
    match r.below(4) {
        0 => s.memory[..4].copy_from_slice(&r.single().to_le_bytes()),
        1 => s.memory[..8].copy_from_slice(&r.double().to_le_bytes()),
        2 => {
            let v = r.extended();
            s.memory[..8].copy_from_slice(&v.m.to_le_bytes());
            s.memory[8..10].copy_from_slice(&v.se.to_le_bytes());
        }
        _ => (0..10).for_each(|k| s.memory[k] = (r.below(10) * 16 + r.below(10)) as u8),
    }
    s.flags = 2 | r.next() & 0x8d5;
    s.fx[4] = if r.below(3) == 0 { r.next() as u8 } else { 0xff };
    // Masks: mostly all; the flags that are set are masked ones.
    let masks = if r.below(2) == 0 { 0x3f } else { r.next() as u16 & 0x3f };
    s.set16(0, masks | 0x40 | (r.next() as u16 & 0xf00));
    s.set16(2, r.next() as u16 & (masks | 0x7f40));
    s
}

/// Whether the forms are compared elsewhere, with a tolerance, or reach memory in other ways.
fn excluded(code: Code) -> bool {
    use Mnemonic::*;
    let rest = matches!(
        code.mnemonic(),
        Fldenv | Fnstenv | Fnsave | Frstor | Fldcw | Wait | Fsetpm | Fnsetpm
    );
    rest || transcendental(code) || keeps_c1(code)
}

fn transcendental(code: Code) -> bool {
    use Mnemonic::*;
    matches!(code.mnemonic(), Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1)
}

/// Keeps operands inside the range that an instruction is defined for, and states in which vendors
/// agree.
fn restricted(code: Code, mut s: State) -> State {
    use Mnemonic::*;
    let v = s.st(0);
    match code.mnemonic() {
        F2xm1 if v.se & 0x7fff > 0x3ffe => {
            s.set_st(0, F80 { se: v.se & 0x8000 | 0x3ff0 | v.se & 14, ..v })
        }
        Fyl2xp1 if v.se & 0x7fff > 0x3ffc => {
            s.set_st(0, F80 { se: v.se & 0x8000 | 0x3ff0 | v.se & 12, ..v })
        }
        // The host pushes a number whose conversion found an unmasked denormal.
        Fld => s.fx[0] |= 2,
        _ => {}
    }
    // A dividend that stays as it is underflows, unless that is masked: on AMD's processors also where the divisor is
    // infinite.
    if matches!(code.mnemonic(), Fprem | Fprem1) && !super::sse::host_is_intels() {
        s.fx[0] |= 0x10;
    }
    // A push of an empty register onto a full stack: which fault comes first differs.
    if code == Code::Fld_sti {
        let top = s.get16(2) >> 11 & 7;
        s.fx[4] = if s.fx[4] & 1 != 0 { 0xff } else { !(1 << ((top + 7) & 7)) };
    }
    s
}

fn check(
    code: Code,
    memory: bool,
    count: u32,
    same: fn(&State, &State) -> bool,
) -> Option<Result<(), String>> {
    let mut ours = Ours::new();
    let mut r = Random(code as u64);
    for sti in 0..4 {
        let bytes = encode(&make(code, memory, sti)?);
        let native = Native::new(&bytes, false);
        ours.place(&bytes);
        for _ in 0..count {
            let s = restricted(code, state(&mut r));
            let (want, got) = (native.run(&s), ours.run(&s, bytes.len()));
            if !same(&want, &got) {
                return Some(Err(format!(
                    "{code:?} {bytes:02x?}\n{}",
                    difference(&s, &want, &got)
                )));
            }
        }
    }
    Some(Ok(()))
}

#[track_caller]
fn family(features: &[CpuidFeature], chosen: fn(Code) -> bool, same: fn(&State, &State) -> bool) {
    let (mut forms, mut wrong) = (0, Vec::new());
    for code in Code::values() {
        let of_family = code.cpuid_features().iter().any(|f| features.contains(f));
        if !of_family || !cpu::isa::implemented(code) || !chosen(code) {
            continue;
        }
        for memory in [false, true] {
            if let Some(done) = check(code, memory, 3000, same) {
                forms += 1;
                wrong.extend(done.err());
            }
        }
    }
    assert!(forms > 0);
    assert!(wrong.is_empty(), "{} of {forms} forms differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

const FEATURES: &[CpuidFeature] = &[
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::CMOV,
    CpuidFeature::SSE3,
];

#[test]
fn x87_agrees_with_the_host() {
    let x87 = |code: Code| format!("{:?}", code.mnemonic()).starts_with('F') && !excluded(code);
    family(FEATURES, x87, |a, b| a == b);
}

/// What clears C1 on Intel's processors and leaves it alone on others.
fn keeps_c1(code: Code) -> bool {
    use Mnemonic::*;
    matches!(code.mnemonic(), Fcomi | Fcomip | Fucomi | Fucomip)
}

#[test]
fn comparisons_to_flags_agree_with_the_host() {
    family(FEATURES, keeps_c1, |a, b| {
        let (mut a, mut b) = (*a, *b);
        a.set16(2, a.get16(2) & !0x200);
        b.set16(2, b.get16(2) & !0x200);
        a == b
    });
}

/// Whether two results are the same up to one unit in the last place.
fn near(a: F80, b: F80) -> bool {
    let key = |v: F80| (v.se as i128) << 64 | (v.m << 1) as i128;
    a == b || (key(a) - key(b)).abs() <= 2
}

#[test]
fn transcendental_functions_agree_with_the_host() {
    family(FEATURES, transcendental, |a, b| {
        // C1 says which way the last bit was rounded.
        (a.get16(2) ^ b.get16(2)) & !0x200 == 0
            && a.fx[4] == b.fx[4]
            && (0..8).all(|n| near(a.st(n), b.st(n)))
    });
}
