//! System-management mode: small programs that an SMI meets at any instruction boundary, handlers that
//! change the save area, and who sees system-management RAM. VMX is in `vmx.rs`.

use crate::support::asm::assemble;
use crate::support::*;
use cpu::model::Model;
use cpu::state::{Activity, Segment, Smram, State, ar, seg};
use cpu::{Cpu, Stop};

/// Where the handler is, with SMBASE as at power-up.
const HANDLER: u64 = 0x3_8000;
/// SMBASE + 8000h: what the offsets of the save area count from.
const AREA: u64 = 0x3_8000;
/// The doubleword that handlers count in.
const COUNT: u64 = 0x7000;
const SMRAM: u64 = 0xa_0000;
/// Counts at [`COUNT`].
const INC: &str = "inc dword [0x7000]";
/// The handler that counts and resumes.
const COUNTING: &str = "inc dword [0x7000]; rsm";
const VM: u64 = 1 << 17;

/// Stores the doubleword `v` at `at`, above what 16-bit addresses reach.
fn poke(at: u64, v: u32) -> String {
    format!("mov dword [dword {at}], {v}")
}

/// Stores the byte `v` at `at`, above what 16-bit addresses reach.
fn poke_byte(at: u64, v: u8) -> String {
    format!("mov byte [dword {at}], {v}")
}

/// Runs `n` instructions, or until nothing can happen; a write to port B2h is an SMI.
fn advance(r: &mut Rig, n: u64) -> Stop {
    let until = r.now + n;
    loop {
        let stop = r.slice(until);
        if r.board.written.drain(..).any(|w| w.0 == 0xb2) {
            r.cpu.state.sys.smm.pending = true;
        }
        if stop != Stop::Io {
            return stop;
        }
    }
}

/// A processor at `code`, and an SMI handler.
fn rig(mode: Mode, code: &str, handler: &str) -> Rig {
    let mut r = Rig::new(mode, 0);
    r.code(CODE, code);
    r.code_as(16, HANDLER, handler);
    r
}

fn smi(r: &mut Rig) {
    r.cpu.state.sys.smm.pending = true;
}

/// The state but for system-management mode's own.
fn state(cpu: &Cpu) -> State {
    let mut s = cpu.save();
    s.sys.smm = Default::default();
    s
}

/// Whatever boundary an SMI comes at, the program ends as without the SMI.
#[track_caller]
fn check_transparent(what: &str, make: impl Fn() -> Rig) {
    let mut plain = make();
    assert_eq!(advance(&mut plain, 1000), Stop::Idle, "{what}");
    for at in 0..plain.now {
        let mut r = make();
        r.code_as(16, HANDLER, COUNTING);
        advance(&mut r, at);
        smi(&mut r);
        assert_eq!(advance(&mut r, 1000), Stop::Idle, "{what} at {at}");
        assert_eq!(r.word(COUNT, 4), 1, "{what} at {at}");
        assert_eq!(r.now, plain.now + 2, "{what} at {at}");
        assert_eq!(state(&r.cpu), state(&plain.cpu), "{what} at {at}");
        for at in (STACK - 64..STACK).chain(STACK0 - 64..STACK0) {
            assert_eq!(r.word(at, 1), plain.word(at, 1), "{what}: stack at {at:#x}");
        }
    }
}

/// The same bytes are a program in each mode, with registers of the mode's width.
const PROGRAM: &str = "mov eax, ss; mov ss, eax; sti; nop; inc ecx; add ebx, ecx; cli; int3";

fn program(mode: Mode, cpl: u8, change: impl Fn(&mut Rig)) -> Rig {
    let mut r = Rig::new(mode, cpl);
    r.code_as(64, CODE, PROGRAM);
    r.cpu.set_rflags(0x3000 | 0xd5);
    for n in [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        let wide = 0x1234_5678_9abc_def0u64.rotate_left(n as u32 * 4) ^ n as u64;
        r.set_reg(n, if mode == Long { wide } else { wide & 0xffff_ffff });
    }
    (r.cpu.state.sys.dr6, r.cpu.state.sys.dr[1]) = (0xffff_4ff1, 0x1234);
    r.cpu.state.sys.cr2 = 0x5678;
    change(&mut r);
    r
}

#[test]
fn any_boundary_of_any_mode() {
    check_transparent("real", || program(Real, 0, |_| {}));
    check_transparent("protected", || program(Protected, 0, |_| {}));
    check_transparent("protected, level 3", || program(Protected, 3, |_| {}));
    check_transparent("32-bit paging", || {
        program(Protected, 0, |r| {
            r.put(0x4000, &0x87u32.to_le_bytes());
            (r.cpu.state.sys.cr3, r.cpu.state.sys.cr4) = (0x4000, 0x10);
            r.cpu.state.sys.cr0 |= 1 << 31;
        })
    });
    check_transparent("PAE", || {
        program(Protected, 3, |r| {
            r.put(0x4000, &0x3001u64.to_le_bytes());
            r.put(0x4008, &[0; 24]);
            r.cpu.state.sys.pdpte = [0x3001, 0, 0, 0];
            (r.cpu.state.sys.cr3, r.cpu.state.sys.cr4) = (0x4000, 0x20);
            r.cpu.state.sys.cr0 |= 1 << 31;
        })
    });
    let long = |r: &mut Rig| {
        let base = 0xffff_8000_1234_5000;
        let fs = Segment { base, ..r.cpu.state.sys.seg[seg::FS] };
        r.cpu.set_segment(seg::FS, fs);
        let null = Segment { selector: 0, ar: ar::UNUSABLE, limit: 0, base: 0 };
        r.cpu.set_segment(seg::ES, null);
        r.cpu.state.sys.ldtr = null;
    };
    check_transparent("long", || program(Long, 0, long));
    check_transparent("long, level 3", || program(Long, 3, long));
    check_transparent("min32", || {
        program(Protected, 3, |r| {
            r.cpu.state.model = Model::named("min32").unwrap();
            // It has no more registers than its map.
            r.cpu.state.regs[8..].fill(0);
        })
    });
    check_transparent("single steps", || program(Long, 0, |r| r.cpu.set_rflags(0x102)));
}

#[test]
fn virtual_8086() {
    check_transparent("virtual-8086", || {
        program(Protected, 3, |r| {
            for s in 0..6 {
                let selector = if s == seg::SS { STACK >> 4 } else { CODE >> 4 };
                let ar = 0xf3;
                let g =
                    Segment { selector: selector as u16, ar, limit: 0xffff, base: selector << 4 };
                r.cpu.set_segment(s, g);
            }
            r.set_reg(gpr::RSP, 0);
            r.cpu.state.rip = 0;
            r.cpu.set_rflags(VM | 0x3002);
        })
    });
}

/// SDM vol. 3, "Processor Register Initialization in SMM".
#[test]
fn entry() {
    let mut r = rig(Long, "int3", "nop");
    r.cpu.state.sys.cr0 |= 0xc;
    r.cpu.state.sys.dr7 = 0x401;
    let before = r.cpu.state.sys.clone();
    smi(&mut r);
    advance(&mut r, 1);
    let s = &r.cpu.state.sys;
    assert!(s.smm.active && !s.smm.pending && s.nmi_blocked);
    assert_eq!((r.rip(), r.cpu.rflags(), s.cpl), (0x8001, 2, 0));
    assert_eq!((s.cr0, s.cr4, s.efer, s.dr7), (0x10, 0, 0, 0x400));
    let cs = s.seg[seg::CS];
    assert_eq!((cs.selector, cs.base, cs.limit), (0x3000, 0x3_0000, u32::MAX));
    for n in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
        let g = s.seg[n];
        assert_eq!((g.selector, g.base, g.limit, g.has(ar::RW)), (0, 0, u32::MAX, true));
    }
    assert_eq!((s.gdtr, s.idtr, s.ldtr, s.tr), (before.gdtr, before.idtr, before.ldtr, before.tr));
    assert!(!r.cpu.is_64());
}

/// Offset from SMBASE + 8000h, bytes, value.
#[track_caller]
fn check_area(r: &Rig, rows: &[(u64, usize, u64)]) {
    for &(offset, size, value) in rows {
        assert_eq!(r.word(AREA + offset, size), value, "{offset:#x}");
    }
}

#[test]
fn save_areas() {
    let mut r = rig(Long, "int3", "nop");
    for n in (0..16).filter(|n| *n != 4) {
        r.set_reg(n, 0x1111_1111_1111_1111 * n as u64);
    }
    smi(&mut r);
    advance(&mut r, 1);
    let named = [(0x7fd8, STACK), (0x7f78, CODE), (0x7f70, 2), (0x7f68, 0xffff_0ff0)];
    let control = [(0x7f60, 0x400), (0x7f58, 0x8000_0011), (0x7f50, 0x1000), (0x7f48, 0x20)];
    for (offset, value) in named.into_iter().chain(control).chain([(0x7ed0, 0xd01)]) {
        check_area(&r, &[(offset, 8, value)]);
    }
    for n in (0..16).filter(|n| *n != 4) {
        check_area(&r, &[(0x7ff8 - 8 * n, 8, 0x1111_1111_1111_1111 * n)]);
    }
    check_area(
        &r,
        &[(0x7e10, 2, 8), (0x7e12, 2, 0xa09b), (0x7e14, 4, 0xffff_ffff), (0x7e18, 8, 0)],
    );
    check_area(&r, &[(0x7e20, 2, 0x10), (0x7e22, 2, 0xc093), (0x7e90, 2, 0x28), (0x7e98, 8, TSS)]);
    check_area(&r, &[(0x7e64, 2, 0x47), (0x7e68, 8, GDT), (0x7e84, 2, 0xfff), (0x7e88, 8, IDT)]);
    check_area(&r, &[(0x7efc, 4, 0x2_0064), (0x7f00, 4, 0x3_0000), (0x7ec9, 1, 0)]);

    let mut r = rig(Protected, "int3", "nop");
    r.cpu.state.model = Model::named("min32").unwrap();
    r.cpu.state.regs[..4].copy_from_slice(&[0xa, 0xc, 0xd, 0xb]);
    smi(&mut r);
    advance(&mut r, 1);
    check_area(&r, &[(0x7ffc, 4, 0x11), (0x7ff4, 4, 2), (0x7ff0, 4, CODE), (0x7fe0, 4, STACK)]);
    check_area(&r, &[(0x7fd0, 4, 0xa), (0x7fd4, 4, 0xc), (0x7fd8, 4, 0xd), (0x7fdc, 4, 0xb)]);
    check_area(&r, &[(0x7fac, 4, 8), (0x7fb0, 4, 0x10), (0x7fc4, 4, 0x28), (0x7fc8, 4, 0x400)]);
    check_area(&r, &[(0x7efc, 4, 0x2_0000), (0x7ef8, 4, 0x3_0000), (0x7f02, 2, 0)]);
}

#[test]
fn saved_registers_change() {
    // RAX and RIP; the program has an INT3 and, at 20h, another.
    for (model, rax, rip) in [("default", 0x7ff8, 0x7f78), ("min32", 0x7fd0, 0x7ff0)] {
        let change = [poke(AREA + rax, 0x1234_5678), poke(AREA + rip, CODE as u32 + 0x20)];
        let change = change.join("; ");
        let mut r = rig(Protected, &"int3; ".repeat(0x40), &format!("{change}; rsm"));
        r.cpu.state.model = Model::named(model).unwrap();
        smi(&mut r);
        finish(&mut r, Protected, BP, &[(0, CODE + 0x21)]);
        assert_eq!(r.reg(gpr::RAX), 0x1234_5678, "{model}");
    }
    // A program of 64-bit code goes on in real mode.
    let rows = [(0x7f58, 0x10), (0x7ed0, 0), (0x7f48, 0), (0x7e88, 0), (0x7e12, 0x9b), (0x7e18, 0)];
    let change = rows.map(|(o, v)| poke(AREA + o, v)).join("; ");
    let mut r = rig(Long, "int3", &format!("{change}; rsm"));
    r.gate(Real, 3, 0, 0);
    smi(&mut r);
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!((r.vector(), r.cpu.protected(), r.cpu.long_mode()), (Some(3), false, false));
}

#[test]
fn relocation() {
    for (model, field, to) in [
        ("default", 0x7f00, 0x4_0000u64),
        ("min32", 0x7ef8, 0x4_0000),
        ("default", 0x7f00, 0x4_0123),
    ] {
        let mut r = rig(Real, "nop; int3", &format!("{}; rsm", poke(AREA + field, to as u32)));
        r.cpu.state.model = Model::named(model).unwrap();
        r.code_as(16, to + 0x8000, COUNTING);
        smi(&mut r);
        advance(&mut r, 3);
        assert_eq!((r.cpu.state.sys.smm.base as u64, r.rip()), (to, CODE + 1));
        smi(&mut r);
        advance(&mut r, 1);
        assert_eq!(r.cpu.state.sys.seg[seg::CS].selector as u64, to >> 4);
        assert_eq!(r.word(to + 0x8000 + field, 4), to);
        finish(&mut r, Real, BP, &[(0, CODE + 2)]);
        assert_eq!(r.word(COUNT, 4), 1);
        // INIT keeps it, reset does not.
        r.cpu.state.sys.init_pending = true;
        assert_eq!(advance(&mut r, 1), Stop::Idle);
        assert_eq!(r.cpu.state.sys.smm.base as u64, to);
        r.cpu.reset();
        assert_eq!(r.cpu.state.sys.smm.base, 0x3_0000);
    }
}

#[test]
fn auto_halt_restart() {
    for (model, field) in [("default", 0x7ec9), ("min32", 0x7f02)] {
        let halted = |handler: &str| {
            let mut r = rig(Protected, "hlt; nop; int3", handler);
            r.cpu.state.model = Model::named(model).unwrap();
            assert_eq!(advance(&mut r, 100), Stop::Idle);
            smi(&mut r);
            assert!(r.cpu.wakeable());
            r
        };
        let mut r = halted(COUNTING);
        assert_eq!(advance(&mut r, 100), Stop::Idle);
        assert_eq!((r.rip(), r.cpu.state.sys.activity), (CODE + 1, Activity::Hlt));
        assert_eq!((r.word(COUNT, 4), r.word(AREA + field, 1)), (1, 1));
        let mut r = halted(&format!("{}; rsm", poke_byte(AREA + field, 0)));
        finish(&mut r, Protected, BP, &[(0, CODE + 3)]);
    }
}

#[test]
fn one_more_is_latched() {
    let again = "cmp dword [0x7000], 1; jne l; out 0xb2, al; l: rsm";
    let mut r = rig(Protected, "nop; int3", &format!("{INC}; {again}"));
    smi(&mut r);
    advance(&mut r, 4);
    assert!(r.cpu.state.sys.smm.active && r.cpu.state.sys.smm.pending);
    // RSM, and the next SMI before an instruction of the program
    advance(&mut r, 1);
    assert_eq!(
        (r.cpu.state.sys.smm.active, r.cpu.state.sys.smm.pending, r.rip()),
        (false, true, CODE)
    );
    advance(&mut r, 1);
    assert_eq!((r.cpu.state.sys.smm.active, r.cpu.state.sys.smm.pending), (true, false));
    assert_eq!(r.word(AREA + 0x7f78, 8), CODE);
    finish(&mut r, Protected, BP, &[(0, CODE + 2)]);
    assert_eq!(r.word(COUNT, 4), 2);
}

#[test]
fn an_out_is_followed_by_its_smi() {
    let mut r = rig(Long, "out 0xb2, al; out 0xb2, al; int3", COUNTING);
    assert_eq!(advance(&mut r, 100), Stop::Idle);
    assert_eq!((r.word(COUNT, 4), r.vector()), (2, Some(3)));
    assert_eq!(r.word(AREA + 0x7f78, 8), CODE + 4);
}

#[test]
fn nmi_and_init_wait() {
    let inside = |handler: &str| {
        let mut r = rig(Real, "nop; int3", handler);
        smi(&mut r);
        advance(&mut r, 1);
        assert!(r.cpu.state.sys.smm.active);
        r
    };
    let mut r = inside(COUNTING);
    r.cpu.state.sys.nmi_pending = true;
    finish(&mut r, Real, NMI, &[(0, CODE)]);
    assert!(!r.cpu.state.sys.smm.active);
    // IRET lets it in.
    let mut r = inside(&format!("{INC}; pushf; push cs; push 0x800b; iret; rsm"));
    r.cpu.state.sys.nmi_pending = true;
    finish(&mut r, Real, NMI, &[(0, 0x800b), (1, 0x3000)]);
    assert!(r.cpu.state.sys.smm.active);
    // Blocking from before the SMI lasts.
    let mut r = rig(Real, "nop; int3", COUNTING);
    (r.cpu.state.sys.nmi_blocked, r.cpu.state.sys.nmi_pending) = (true, true);
    smi(&mut r);
    finish(&mut r, Real, BP, &[]);
    assert!(r.cpu.state.sys.nmi_blocked && r.cpu.state.sys.nmi_pending);
    // INIT
    let mut r = inside(COUNTING);
    r.cpu.state.sys.init_pending = true;
    r.cpu.receive(&message(6));
    advance(&mut r, 1);
    assert_eq!(
        (r.cpu.state.sys.smm.active, r.rip(), r.cpu.state.sys.init_pending),
        (false, CODE, true)
    );
    assert_eq!(advance(&mut r, 1), Stop::Idle);
    assert_eq!(
        (r.cpu.state.sys.activity, r.cpu.state.sys.init_pending),
        (Activity::WaitSipi, false)
    );
}

fn message(delivery: u8) -> cpu::bus::Message {
    let destination = cpu::bus::Destination::All;
    cpu::bus::Message { destination, delivery, vector: 0, level: false, source: 0 }
}

#[test]
fn by_message_and_while_waiting_for_a_start() {
    let mut r = rig(Real, "int3", COUNTING);
    r.cpu.receive(&message(2));
    finish(&mut r, Real, BP, &[]);
    assert_eq!(r.word(COUNT, 4), 1);
    let mut r = rig(Real, "", COUNTING);
    r.cpu.wait_for_sipi();
    r.cpu.receive(&message(2));
    assert_eq!((advance(&mut r, 10), r.cpu.wakeable()), (Stop::Idle, false));
    r.code(0x7_0000, "hlt");
    r.cpu.receive(&cpu::bus::Message { vector: 0x70, ..message(6) });
    assert_eq!(advance(&mut r, 10), Stop::Idle);
    assert_eq!((r.word(COUNT, 4), r.rip(), r.now), (1, 1, 3));
}

/// The processor shuts down over this rule.
#[track_caller]
fn check_refused(mode: Mode, model: &str, pokes: &[(u64, u32)], says: &str) {
    let change: Vec<String> = pokes.iter().map(|(o, v)| poke(AREA + o, *v)).collect();
    let change = change.join("; ");
    let mut r = rig(mode, "int3", &format!("{change}; rsm"));
    r.cpu.state.model = Model::named(model).unwrap();
    smi(&mut r);
    assert_eq!(advance(&mut r, 100), Stop::TripleFault, "{says}");
    assert_eq!(r.cpu.stats.rsm_refused, Some(says));
}

#[test]
fn bad_images() {
    let long = |pokes: &[(u64, u32)], says| check_refused(Long, "default", pokes, says);
    long(&[(0x7f58, 0x8000_0010)], "CR0.PG is not set without PE");
    long(&[(0x7f58, 0xa000_0011)], "CR0.NW is not set without CD");
    long(&[(0x7f5c, 1)], "CR0 bits 63:32 are 0");
    long(&[(0x7f48, 0x20 | 1 << 23)], "CR4 has no reserved bit");
    long(&[(0x7f4c, 1)], "CR4 has no reserved bit");
    long(&[(0x7f48, 0x2020)], "CR4.VMXE is 0");
    long(&[(0x7ed0, 0x1d01)], "EFER has no reserved bit");
    long(&[(0x7f48, 0)], "CR4.PAE is set in IA-32e mode");
    long(&[(0x7f58, 0x11), (0x7f48, 0x2_0020)], "CR4.PCIDE is 0 outside IA-32e mode");
    long(&[(0x7f54, 0x100)], "CR3 is within the physical-address width");
    long(&[(0x7e10, 0xe09b_0008)], "CS is not 64-bit and 32-bit at once");
    let pae = [(0x7ed0, 0), (0x7f50, 0x3000), (0x7f48, 0x20), (0x7f58, 0x8000_0011)];
    long(&pae, "the PDPTEs have no reserved bit");
    check_refused(Protected, "min32", &[(0x7ffc, 0x8000_0010)], "CR0.PG is not set without PE");
    check_refused(Protected, "min32", &[(0x7f14, 0x2_0000)], "CR4 has no reserved bit");
}

/// Any bytes at all in the save area: RSM restores or refuses, and the program goes on somewhere.
#[test]
fn random_images() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut restored = 0;
    for n in 0..3000 {
        let mode = [Real, Protected, Long][n % 3];
        let mut r = rig(mode, "nop; int3", "nop; rsm");
        if n % 4 == 0 {
            r.cpu.state.model = Model::named("min32").unwrap();
        }
        smi(&mut r);
        advance(&mut r, 1);
        for _ in 0..1 + random() % 40 {
            let at = AREA + 0x7e00 + random() % 0x200;
            r.put(at, &[random() as u8]);
        }
        if n % 16 == 0 {
            (0..0x40).for_each(|k| r.put(AREA + 0x7e00 + 8 * k, &random().to_le_bytes()));
        }
        advance(&mut r, 40);
        restored += r.cpu.stats.rsm_refused.is_none() as u32;
        let s = &r.cpu.state.sys;
        assert!(s.cr0 >> 31 & 1 <= s.cr0 & 1 && s.cr4 & !r.cpu.state.model.cr4_bits() == 0);
        assert_eq!(s.efer >> 10 & 1 != 0, s.efer >> 8 & 1 != 0 && s.cr0 >> 31 & 1 != 0);
        assert!(r.cpu.rflags() & !0x3f_7fd7 == 0);
    }
    assert!((500..2900).contains(&restored), "{restored}");
}

/// Puts bytes into system-management RAM, by an open window.
fn put_smram(r: &mut Rig, at: u64, bytes: &[u8]) {
    let old = r.cpu.state.sys.smm.smram;
    r.cpu.state.sys.smm.smram = Smram { enabled: true, open: true, closed: false };
    advance(r, 0);
    r.put(at, bytes);
    r.cpu.state.sys.smm.smram = old;
    advance(r, 0);
}

/// What data accesses and instruction fetches see: data sheet, "SMM Control Table". The same processor
/// goes through all rows, twice, so that nothing cached for one row serves another.
#[test]
fn who_sees_smram() {
    let rows = [
        // G_SMRAME, D_OPEN, D_CLS: data and code outside, data and code inside
        ((false, false, false), (false, false), (false, false)),
        ((false, true, false), (false, false), (false, false)),
        ((true, false, false), (false, false), (true, true)),
        ((true, true, false), (true, true), (true, true)),
        ((true, false, true), (false, false), (false, true)),
    ];
    let probe = "mov eax, [dword 0xa0000]; mov [0x7004], eax; jmp 0xa000:0x10";
    let mut r = rig(Real, probe, probe);
    put_smram(&mut r, SMRAM, &0x1234_5678u32.to_le_bytes());
    put_smram(&mut r, SMRAM + 0x10, &[0xcc]);
    for k in 0..2 * rows.len() {
        let ((enabled, open, closed), outside, inside) = rows[k % rows.len()];
        for (smm, (data, code)) in [(false, outside), (true, inside)] {
            let what = format!("row {k}, in SMM: {smm}");
            r.cpu.reset();
            r.real();
            // The limit of DS lets 32-bit offsets through.
            let ds = Segment { limit: u32::MAX, ..r.cpu.state.sys.seg[seg::DS] };
            r.cpu.set_segment(seg::DS, ds);
            r.cpu.state.rip = CODE;
            r.cpu.state.sys.smm.smram = Smram { enabled, open, closed };
            r.cpu.state.sys.smm.pending = smm;
            assert_eq!(advance(&mut r, 100), Stop::Idle, "{what}");
            assert_eq!(r.cpu.state.sys.smm.active, smm, "{what}");
            let seen = if data { 0x1234_5678 } else { 0xffff_ffff };
            assert_eq!(r.word(0x7004, 4), seen, "{what}");
            assert_eq!(r.vector(), Some(if code { 3 } else { UD }), "{what}");
        }
    }
}

/// A handler in system-management RAM, changed by an open window, and by itself.
#[test]
fn code_in_smram() {
    let mut r = rig(Real, "nop; nop; nop; mov byte [0x8002], 0xe; nop; nop", "");
    r.cpu.state.sys.smm.base = SMRAM as u32;
    r.cpu.state.sys.smm.smram.enabled = true;
    put_smram(&mut r, SMRAM + 0x8000, &assemble(16, 0x8000, COUNTING));
    for n in 1..=3 {
        smi(&mut r);
        advance(&mut r, 3);
        assert_eq!((r.word(COUNT, 4), r.rip()), (n, CODE + n));
    }
    // With DS = a000h: INC becomes DEC.
    let ds = Segment { base: SMRAM, ..r.cpu.state.sys.seg[seg::DS] };
    r.cpu.set_segment(seg::DS, ds);
    r.cpu.state.sys.smm.smram.open = true;
    advance(&mut r, 1);
    r.cpu.state.sys.smm.smram.open = false;
    smi(&mut r);
    advance(&mut r, 2);
    assert_eq!((r.word(COUNT, 4), r.cpu.state.sys.smm.active), (2, false));
    // The handler makes of its next instruction, DEC, an INC.
    let turn = poke_byte(SMRAM + 0x900a, 6);
    r.cpu.state.sys.smm.base = SMRAM as u32 + 0x1000;
    let handler = format!("{turn}; dec dword [0x7000]; rsm");
    put_smram(&mut r, SMRAM + 0x9000, &assemble(16, 0x9000, &handler));
    smi(&mut r);
    advance(&mut r, 3);
    assert_eq!((r.word(COUNT, 4), r.cpu.state.sys.smm.active), (3, false));
    assert_eq!(r.mmu.ram.smram_page(9)[..7], assemble(16, 0x9000, &turn)[..7]);
}

/// Two processors on one memory, one in system-management mode, step in turns.
#[test]
fn two_processors() {
    let look = "l: mov al, [0]; inc bx; jmp l";
    let mut r = rig(Real, look, &format!("mov ax, 0xa000; mov ds, ax; {look}"));
    let mut other = Rig::new(Real, 0).cpu;
    for cpu in [&mut r.cpu, &mut other] {
        let ds = Segment { base: SMRAM, ..cpu.state.sys.seg[seg::DS] };
        cpu.set_segment(seg::DS, ds);
        cpu.state.sys.smm.smram.enabled = true;
    }
    put_smram(&mut r, SMRAM, &[0x55]);
    smi(&mut r);
    advance(&mut r, 2);
    for n in 0..60 {
        for (cpu, sees) in [(&mut r.cpu, 0x55), (&mut other, 0xff)] {
            loop {
                let now = cpu.now();
                cpu.run(&mut r.mmu, &mut r.cache, &mut r.board, now, now + 1);
                if cpu.now() > now {
                    break;
                }
            }
            assert_eq!(cpu.state.regs[0] as u8, sees, "step {n}");
        }
    }
}
