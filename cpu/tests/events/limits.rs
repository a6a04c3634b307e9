//! The limit of CS, which every byte of an instruction is checked against, and what far transfers make of
//! CS in real-address mode.

use crate::support::asm::assemble;
use crate::support::*;
use cpu::state::{Segment, seg};

/// A page whose successor is not there, with paging.
const LAST: u64 = 0x1_0000;

/// A rig in `mode` whose code segment begins at `base`, ends at `limit` and has `code` at `at`.
fn limited(mode: Mode, (base, limit): (u64, u32), at: u64, code: &str) -> Rig {
    let mut r = Rig::new(mode, 0);
    let cs = r.cpu.state.sys.seg[seg::CS];
    r.put(base + at, &assemble(mode.bits(), base + at, code));
    r.cpu.set_segment(seg::CS, Segment { base, limit, ..cs });
    r.cpu.state.rip = at;
    r
}

/// #GP(0) at the instruction at `fault`, wherever the run begins.
#[track_caller]
fn check_limit(mode: Mode, limit: u32, start: u64, fault: u64) {
    let mut r = limited(mode, (LAST, limit), 0, "nop");
    r.put(LAST, &[0x90; 0x1_0000]);
    // MOV eAX, imm
    r.put(LAST + fault, &[0xb8, 1, 2, 3, 4, 0xf4]);
    r.cpu.state.rip = start;
    let slot = if mode == Real { 0 } else { 1 };
    finish(&mut r, mode, GP, &[(slot, fault)]);
    assert_eq!(r.reg(gpr::RAX), 0, "the instruction has not run");
}

#[test]
fn every_byte_is_checked() {
    for missing in 1..=4 {
        let fault = 0x10 - 5 + missing;
        check_limit(Protected, 0xf, fault, fault);
        check_limit(Protected, 0xf, 0, fault);
        check_limit(Protected, 0xffff, 0x10000 - 0x500, 0x10000 - 5 + missing);
    }
    for missing in 1..=2 {
        check_limit(Real, 0xffff, 0x10000 - 3 + missing, 0x10000 - 3 + missing);
        check_limit(Real, 0xffff, 0x10000 - 0x500, 0x10000 - 3 + missing);
    }
}

/// An instruction that ends at the limit runs.
#[test]
fn the_last_byte_is_inside() {
    for (mode, code) in [(Real, "mov ax, 0x1234; hlt"), (Protected, "mov eax, 0x12345678; hlt")] {
        let size = assemble(mode.bits(), 0, code).len() as u64;
        let mut r = limited(mode, (LAST, 0xffff), 0x1_0000 - size, code);
        r.run();
        assert_eq!((r.rip(), r.vector()), (0x1_0000, None), "{mode:?}");
    }
}

/// In each mode that has limits, the instruction's length is what counts: prefixes, undefined opcodes.
#[test]
fn all_kinds_of_instructions() {
    for code in [&[0x66, 0xb8, 0, 0][..], &[0x0f, 0x0b], &[0xff, 0x35, 0, 0, 0, 0], &[0xf3, 0xa4]] {
        let fault = 0x100 - code.len() as u64 + 1;
        let mut r = limited(Protected, (LAST, 0xff), 0, "nop");
        r.put(LAST, &[0x90; 0x200]);
        r.put(LAST + fault, code);
        r.cpu.state.rip = 0x80;
        finish(&mut r, Protected, GP, &[(0, 0), (1, fault)]);
    }
}

/// The limit and the end of what is mapped: the byte that comes first decides.
#[test]
fn limit_or_page_fault() {
    let check = |limit: u32, vector: u64, error: u64| {
        let mut r = limited(Protected, (0, limit), LAST + 0xffe, "mov eax, 0x12345678");
        r.put(0x2_0000, &0x2_1007u32.to_le_bytes());
        for n in (0..0x100u32).filter(|n| *n != 0x11) {
            r.put(0x2_1000 + 4 * u64::from(n), &(n << 12 | 7).to_le_bytes());
        }
        r.cpu.state.sys.cr3 = 0x2_0000;
        r.cpu.state.sys.cr0 |= 1 << 31;
        finish(&mut r, Protected, vector, &[(0, error), (1, LAST + 0xffe)]);
    };
    check(0x1_0ffe, GP, 0);
    check(0x1_0fff, GP, 0);
    check(0x1_1000, PF, 0);
    check(0x1_1fff, PF, 0);
}

/// In real-address mode a transfer changes selector and base of CS; in virtual-8086 mode it sets all.
#[test]
fn far_transfers_in_real_mode() {
    let transfers = [
        ("jmp", "db 0xea, 0, 0, 0, 0x20"),
        ("call", "db 0x9a, 0, 0, 0, 0x20"),
        ("retf", "push 0x2000; push 0; retf"),
        ("iret", "pushf; push 0x2000; push 0; iret"),
        ("int", "int 0x50"),
    ];
    for rights in [0x9b, 0x93, 0x809f] {
        for (name, code) in transfers {
            let mut r = Rig::new(Real, 0);
            r.put(0x2_0000, &[0xf4]);
            r.put(0x50 * 4, &[0, 0, 0, 0x20]);
            r.code(CODE, code);
            let cs = r.cpu.state.sys.seg[seg::CS];
            r.cpu.set_segment(seg::CS, Segment { ar: rights, limit: 0x1_ffff, ..cs });
            r.run();
            let after = Segment { selector: 0x2000, base: 0x2_0000, ar: rights, limit: 0x1_ffff };
            assert_eq!((r.cpu.state.sys.seg[seg::CS], r.rip()), (after, 1), "{name}");
        }
    }
}
