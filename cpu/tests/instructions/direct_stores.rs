//! MOVDIRI and MOVDIR64B: what they store, where they fault, and that a faulting one has stored nothing.

use crate::support::*;
use cpu::model::Model;
use cpu::state::{Segment, seg};

const SOURCE: u64 = 0x2_0004;
const TO: u64 = 0x3_0040;
/// The end of the only page that the rig maps in 64-bit mode.
const END: u64 = 0x20_0000;

const STORE_32: &str = "movdiri [rbx], eax";
const STORE_64: &str = "movdiri [rbx], rax";
const STORE_LINE: &str = "movdir64b rax, [rbx]";

/// `code` with the base register of a 32-bit program.
fn narrow(mode: Mode, code: &str) -> String {
    match mode {
        Long => code.to_owned(),
        _ => code.replace("rax, [", "eax, [").replace("[rbx]", "[ebx]"),
    }
}

/// A processor with both features, with [`bytes`] at `SOURCE`.
fn rig(mode: Mode, code: &str) -> Rig {
    let mut r = Rig::new(mode, 0);
    r.cpu.state.model = Model::parse("default,+movdiri,+movdir64b").unwrap();
    r.code(CODE, &format!("{}; hlt", narrow(mode, code)));
    r.put(SOURCE, &bytes());
    r.cpu.state.regs[0] = TO;
    r.cpu.state.regs[3] = SOURCE;
    r
}

/// 64 bytes that count from 1.
fn bytes() -> Vec<u8> {
    (1..=64).collect()
}

fn line(r: &Rig, at: u64) -> Vec<u8> {
    (0..8).flat_map(|n| r.word(at + 8 * n, 8).to_le_bytes()).collect()
}

/// The vector that the run ended with, `None` at the HLT after the instruction.
fn ended(r: &mut Rig, code: &str) -> Option<u64> {
    r.run();
    let v = r.vector();
    let end = CODE + r.length(&narrow(r.mode, code)) + 1;
    assert!(v.is_some() || r.rip() == end, "{:#x}", r.rip());
    v
}

#[track_caller]
fn check_word(mode: Mode, code: &str, value: u64, size: usize) {
    let mut r = rig(mode, code);
    (r.cpu.state.regs[0], r.cpu.state.regs[3]) = (value, TO + 3);
    r.put(TO, &[0xee; 16]);
    assert_eq!(ended(&mut r, code), None);
    assert_eq!(r.word(TO + 3, size), value & u64::MAX >> (64 - 8 * size));
    assert_eq!(r.word(TO + 3 + size as u64, 1), 0xee, "no byte more");
}

#[test]
fn movdiri_stores_a_word() {
    check_word(Long, STORE_32, 0x1122_3344_5566_7788, 4);
    check_word(Long, STORE_64, 0x1122_3344_5566_7788, 8);
    check_word(Protected, STORE_32, 0x5566_7788, 4);
}

#[track_caller]
fn check_line(mode: Mode, code: &str, prepare: impl FnOnce(&mut Rig), to: u64) {
    let mut r = rig(mode, code);
    prepare(&mut r);
    assert_eq!(ended(&mut r, code), None);
    assert_eq!(line(&r, to), bytes());
    assert_eq!((r.word(to - 8, 8), r.word(to + 64, 8)), (0, 0), "no byte more");
}

#[test]
fn movdir64b_stores_a_line() {
    check_line(Long, STORE_LINE, |_| (), TO);
    check_line(Protected, STORE_LINE, |_| (), TO);
    // Address size 32: the upper halves of the registers have no say.
    let short = "movdir64b eax, [ebx]";
    check_line(Long, short, |r| r.cpu.state.regs[0] |= 1 << 40, TO);
    // Address size 16.
    let code = "movdir64b ax, [bx]";
    let low = |r: &mut Rig| {
        (r.cpu.state.regs[0], r.cpu.state.regs[3]) = (0x1_2040, 0x1_3004);
        r.put(0x3004, &bytes());
    };
    check_line(Protected, code, low, 0x2040);
}

/// The destination is in ES whatever segment the source has; ES counts in its linear address.
#[test]
fn movdir64b_stores_through_es() {
    let based = |r: &mut Rig| {
        let es = r.cpu.state.sys.seg[seg::ES];
        r.cpu.set_segment(seg::ES, Segment { base: 0x1_0020, ..es });
        r.cpu.state.regs[0] = TO - 0x20;
    };
    check_line(Protected, STORE_LINE, based, TO + 0x1_0000);
    check_line(Protected, "movdir64b eax, ds:[ebx]", based, TO + 0x1_0000);
}

#[test]
fn movdir64b_reads_across_pages() {
    let across = |r: &mut Rig| {
        r.put(0x3008, &(END | 0x87).to_le_bytes());
        r.cpu.state.regs[3] = END - 0x11;
        r.put(END - 0x11, &bytes());
    };
    check_line(Long, STORE_LINE, across, TO);
}

#[track_caller]
fn check_fault(mode: Mode, prepare: impl FnOnce(&mut Rig), vector: u64) {
    let mut r = rig(mode, STORE_LINE);
    r.put(TO & !0xff, &[0xee; 0x200]);
    prepare(&mut r);
    assert_eq!(ended(&mut r, STORE_LINE), Some(vector));
    let kept = (0..0x200).all(|n| r.word((TO & !0xff) + n, 1) == 0xee);
    assert!(kept, "nothing is stored");
}

#[test]
fn movdir64b_faults_before_it_stores() {
    for off in [1, 8, 32, 63] {
        check_fault(Long, |r| r.cpu.state.regs[0] += off, GP);
        check_fault(Protected, |r| r.cpu.state.regs[0] += off, GP);
    }
    check_fault(Long, |r| r.cpu.state.regs[0] = 1 << 47, GP);
    check_fault(Long, |r| r.cpu.state.regs[3] = 1 << 63, GP);
    // The second page of the source, the destination.
    check_fault(Long, |r| r.cpu.state.regs[3] = END - 0x11, PF);
    check_fault(Long, |r| r.cpu.state.regs[0] = END, PF);
    let read_only = |r: &mut Rig| {
        let es = r.cpu.state.sys.seg[seg::ES];
        r.cpu.set_segment(seg::ES, Segment { ar: es.ar & !2, ..es });
    };
    check_fault(Protected, read_only, GP);
    let limited = |r: &mut Rig| {
        let es = r.cpu.state.sys.seg[seg::ES];
        r.cpu.set_segment(seg::ES, Segment { limit: TO as u32 + 62, ..es });
    };
    check_fault(Protected, limited, GP);
}

#[test]
fn undefined() {
    let on = |model: &str, code: &str| {
        let mut r = rig(Long, code);
        r.cpu.state.model = Model::parse(model).unwrap();
        r.cpu.state.regs[3] = TO;
        ended(&mut r, code)
    };
    let both = "default,+movdiri,+movdir64b";
    for code in [STORE_32, STORE_64, STORE_LINE] {
        assert_eq!(on(both, code), None, "{code}");
        assert_eq!(on("v3", code), Some(UD), "{code}: in no model by itself");
        assert_eq!(on(both, &format!("db 0xf0; {code}")), Some(UD), "{code} with LOCK");
    }
    assert_eq!(on("default,+movdiri", STORE_LINE), Some(UD));
    assert_eq!(on("default,+movdir64b", STORE_32), Some(UD));
    // MOVDIRI EBX, EAX; MOVDIR64B RAX, RBX.
    assert_eq!(on(both, "db 0x0f, 0x38, 0xf9, 0xc3"), Some(UD));
    assert_eq!(on(both, "db 0x66, 0x0f, 0x38, 0xf8, 0xc3"), Some(UD));
}

#[test]
fn cpuid_shows_them() {
    let bits = |model: &str| {
        let r = Rig::new(Long, 0);
        let mut cpu = r.cpu;
        cpu.state.model = Model::parse(model).unwrap();
        cpu.cpuid(7, 0)[2] >> 27 & 3
    };
    assert_eq!(bits("v3"), 0);
    assert_eq!(bits("v3,+movdiri"), 1);
    assert_eq!(bits("v2,+movdir64b"), 2);
}
