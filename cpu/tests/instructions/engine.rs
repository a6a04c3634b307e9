//! How the engine runs code: small programs in 64-bit mode, with the first GiB mapped to itself.

use crate::support::{Long, Rig};
use cpu::state::{Activity, Segment, ar, gpr, seg};
use cpu::{CodeCache, Stop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the programs begin: not in the first large page.
const CODE: u64 = 0x20_0000;
const STACK: u64 = 0x10_0000;

/// A processor in 64-bit mode with `code` at [`CODE`], and no tables for exceptions.
fn machine(code: &str) -> Rig {
    let mut r = Rig::bare(Long, 16 << 20);
    r.put(0x1000, &0x2003u64.to_le_bytes());
    r.put(0x2000, &0x3003u64.to_le_bytes());
    for n in 0..512 {
        r.put(0x3000 + n * 8, &(n << 21 | 0x83).to_le_bytes());
    }
    let cpu = &mut r.cpu;
    cpu.state.sys.cr0 = 0x8000_0031;
    cpu.state.sys.cr4 = 0x20;
    cpu.state.sys.cr3 = 0x1000;
    cpu.state.sys.efer = 0xd00;
    let flags = ar::P | ar::S | ar::RW | ar::ACCESSED;
    let data = Segment { selector: 16, ar: flags | ar::DB | ar::G, limit: u32::MAX, base: 0 };
    cpu.set_segment(seg::SS, data);
    cpu.set_segment(seg::CS, Segment { ar: flags | ar::CODE | ar::L, selector: 8, ..data });
    cpu.state.rip = CODE;
    r.set_reg(gpr::RSP, STACK);
    r.code(CODE, code);
    r
}

/// Runs to the instruction count `until`, in one slice.
#[track_caller]
fn run_to(r: &mut Rig, until: u64) {
    assert_eq!((r.slice(until), r.now), (Stop::Budget, until), "exact count");
}

const LOOP: &str = "mov ecx, 0x100000; xor eax, eax; l: add eax, ecx; sub ecx, 1; jne l; jmp $";

#[test]
fn a_loop_stops_exactly() {
    for until in [1, 2, 3, 4, 5, 6, 7, 63, 64, 65, 66, 100, 200, 1000, 12345] {
        let mut r = machine(LOOP);
        run_to(&mut r, until);
        let n = until.saturating_sub(2);
        let adds = n.div_ceil(3);
        let want = (0..adds).fold(0u32, |s, k| s.wrapping_add(0x10_0000 - k as u32));
        assert_eq!(r.reg(gpr::RAX) as u32, want, "after {until}");
    }
}

#[test]
fn slices_of_any_length_stop_exactly() {
    // More than a block holds.
    const ADDS: u64 = 150;
    let code = format!("l: {} jmp l", "add eax, 1;".repeat(ADDS as usize));
    for slice in 1..=70 {
        let mut r = machine(&code);
        for now in (0..1000).step_by(slice) {
            let until = now + slice as u64;
            run_to(&mut r, until);
            let jumps = until / (ADDS + 1);
            assert_eq!(r.reg(gpr::RAX), until - jumps, "slices of {slice}, at {until}");
        }
    }
}

#[test]
fn calls_and_pages() {
    // The function lies in another page.
    let mut r = machine("l: call $+0x2000; jmp l");
    r.code(CODE + 0x2000, "add ebx, 1; ret");
    run_to(&mut r, 4 * 1000);
    assert_eq!((r.reg(gpr::RBX), r.reg(gpr::RSP)), (1000, STACK));
}

#[test]
fn instructions_cross_pages() {
    let mut r = machine("jmp $+0xffe");
    r.code(CODE + 0xffe, "add ebx, strict dword 1; jmp $-0x1004");
    run_to(&mut r, 3 * 500);
    assert_eq!(r.reg(gpr::RBX), 500);
}

#[test]
fn code_that_writes_itself() {
    // The addition changes the immediate of the move.
    let mut r = machine("l: add byte [rip+1], 1; mov bl, 0; jmp l");
    run_to(&mut r, 3 * 100);
    assert_eq!(r.reg(gpr::RBX) as u8, 100);
}

#[test]
fn a_displacement_over_two_gib_from_the_page() {
    let code = "lea rax, [rip+0x7fffffff]; lea rbx, [rip-0x80000000]; mov ecx, [rip+0x7ffffff0]";
    let mut r = machine(code);
    r.slice(3);
    assert_eq!(r.reg(gpr::RAX), CODE + 7 + 0x7fff_ffff);
    assert_eq!(r.reg(gpr::RBX), (CODE + 14).wrapping_sub(0x8000_0000));
    let (e, _) = r.cpu.stats.recent.iter().next().expect("not mapped");
    assert_eq!((e.vector, e.address), (14, CODE + 20 + 0x7fff_fff0));
}

/// Runs `code` with RBX, RSI, RDI, R10 and R15 as given and the other registers at odd values until it faults,
/// which nobody handles. A run in one go must leave what a run one instruction at a time leaves.
#[track_caller]
fn check_fault(code: &str, [rbx, rsi, rdi, r10, r15]: [u64; 5]) {
    let run = |max_block, fuse| {
        let mut r = machine(code);
        (r.cache.max_block, r.cache.fuse) = (max_block, fuse);
        for n in (0..16).filter(|n| *n != gpr::RSP) {
            r.set_reg(n, 0x111 * n as u64);
        }
        for (n, v) in [(gpr::RBX, rbx), (gpr::RSI, rsi), (gpr::RDI, rdi), (10, r10), (15, r15)] {
            r.set_reg(n, v);
        }
        let mut stop = Stop::Io;
        while stop == Stop::Io {
            // Reads and writes after the end of RAM.
            stop = r.slice(100_000);
        }
        assert_eq!(stop, Stop::TripleFault);
        let cpu = &r.cpu;
        let x87 = (cpu.state.fpu.fip, cpu.state.fpu.fdp, cpu.state.fpu.sw.get());
        (cpu.now(), cpu.state.rip, cpu.rflags(), cpu.state.regs, x87)
    };
    assert_eq!(run(64, true), run(1, false), "{code}");
}

#[test]
fn what_a_row_owes_is_paid_at_a_fault() {
    const OUT: u64 = 1 << 40;
    let edges = [0, 1, 0xff, 0x1000, u64::MAX];
    // The sieve.
    let sieve = "l: cmp rsi, r15; jae m; mov byte [rbx+rsi], 0; add rsi, rdx; jmp l; m: ud2";
    for (rsi, r15) in edges.iter().flat_map(|a| edges.map(|b| (*a, b))) {
        check_fault(sieve, [OUT, rsi, 0, 0, r15]);
        check_fault(sieve, [(1 << 30) - 0x800, rsi, 0, 0, r15]);
    }
    // CRC-32.
    let crc = "l: movzx r10d, byte [rsi+r9]; xor r10b, r8b; movzx r10d, r10b; shr r8d, 8; \
               xor r8d, [rdi+r10*4]; add r9, 1; cmp r9, 0x1000; jne l; ud2";
    for rdi in [OUT, (1 << 30) - 0x100, 0x4000] {
        check_fault(crc, [0, 0x4000, rdi, 0, 0]);
    }
    // The points of the Mandelbrot set, with five constants on the stack.
    let constants = ["fld1", "fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2"];
    let points = "jmp l; l: fsubrp st1, st0; fadd qword [r10]; fxch st0, st1; fmulp st2, st0; fld st1; \
                  faddp st2, st0; fxch st0, st1; fadd qword [rsi]; ud2";
    for first in 0..6 {
        let five = (0..5).map(|n| constants[(first + n) % 6]).collect::<Vec<_>>().join("; ");
        let x87 = format!("fninit; {five}; {points}");
        for (rsi, r10) in [(OUT, OUT), (OUT, 0x4000), (0x4000, 0x4000)] {
            check_fault(&x87, [0, rsi, 0, r10, 0]);
        }
    }
}

/// The processor's state as it is saved, and its count of instructions.
fn saved(r: &Rig) -> (cpu::state::State, u64) {
    (r.cpu.save(), r.now)
}

#[test]
fn a_pause_is_an_instruction_boundary() {
    // The board asks for a pause with each access, and the run may go on after it.
    let code = "mov ecx, 2000; mov edi, 0x180000; cld; l: out 0x80, al; add ebx, ecx; \
                push rcx; mov esi, 0x120000; mov ecx, 0x9000; rep lodsb; mov ecx, 100; rep stosb; pop rcx; loop l; jmp $";
    let run = |pauses: bool| {
        let mut r = machine(code);
        let flag = Arc::new(AtomicBool::new(false));
        r.cpu.pause_by(flag.clone());
        r.board.pause = pauses.then(|| flag.clone());
        let mut paused = 0;
        while r.now < 13_000 {
            match r.slice(13_000) {
                Stop::Paused => {
                    assert_eq!(
                        (r.slice(13_000), r.rip()),
                        (Stop::Paused, r.rip()),
                        "as long as it is set"
                    );
                    flag.store(false, Ordering::Relaxed);
                    paused += 1;
                }
                stop => assert!(stop == Stop::Io || stop == Stop::Budget, "{stop:?}"),
            }
        }
        (saved(&r), paused)
    };
    let (want, none) = run(false);
    let (got, paused) = run(true);
    assert_eq!((got == want, none), (true, 0));
    assert!(paused > 900, "{paused} pauses");
}

#[test]
fn a_full_code_cache_ends_a_slice() {
    // Each jump is taken, to the next: a block from each of them on. Twice, and over again.
    const JUMPS: usize = 20_000;
    const BUDGET: usize = 4096;
    let mut r = machine("cmp eax, eax; jmp near $+5");
    r.cache = CodeCache::new(BUDGET);
    let at = CODE + r.length("cmp eax, eax; jmp near $+5");
    let sled = [0x74, 0x00].repeat(JUMPS);
    r.put(at, &sled);
    let end = at + sled.len() as u64;
    r.code(end, &format!("jmp near $-{}", sled.len()));
    run_to(&mut r, 3 * JUMPS as u64);
    let stats = r.cache.stats;
    // A block and its stubs may come on top.
    assert!(stats.peak_ops < BUDGET as u64 + 200, "{stats:?}");
    assert!(stats.flushes > 100, "{stats:?}");
}

#[test]
fn links_count_as_code_that_is_held() {
    // The page that the call leads to is now one frame, now another: each time the link is made anew.
    const PAGES: u64 = 0x40_0000;
    let mut r = machine(
        "mov rbx, 0x405008; mov rsi, 0x601000; l: call 0x601000; xor qword [rbx], 0x1000; invlpg [rsi]; jmp l",
    );
    // Page tables for 0x600000 at 0x405000, itself mapped where it is.
    r.put(0x3000 + 3 * 8, &0x40_5003u64.to_le_bytes());
    r.put(PAGES + 0x5000 + 8, &0x40_2003u64.to_le_bytes());
    r.put(PAGES + 0x2000, &[0xc3]);
    r.put(PAGES + 0x3000, &[0xc3]);
    r.cache = CodeCache::new(64);
    run_to(&mut r, 5 * 10_000);
    assert!(r.cache.stats.flushes > 10, "{:?}", r.cache.stats);
}

/// Runs `code` up to its HLT in runs of `length`, where an access takes time: the time at the end, and of
/// the end of the last instruction that has taken some.
fn time_of(code: &str, access: u64, length: u64) -> (u64, u64) {
    let mut r = machine(code);
    r.board.pause = Some(Arc::default());
    r.board.time = access;
    while r.cpu.state.sys.activity != Activity::Hlt {
        let until = r.now + length;
        if r.slice(until) == Stop::Idle && r.cpu.state.sys.activity == Activity::Active {
            r.now = r.cpu.wakes_at().min(until);
        }
    }
    (r.now, r.cpu.save().sys.stalled_until)
}

/// What an instruction takes besides itself passes before the next one, wherever runs are cut.
#[test]
fn pauses_and_accesses_take_time() {
    for length in [1, 2, 7, 99, 100, 101, 5_000] {
        assert_eq!(time_of("nop; hlt", 1000, length), (2, 0), "{length}");
        assert_eq!(time_of("pause; nop; hlt", 0, length), (103, 0), "{length}");
        assert_eq!(time_of("in al, 0x70; hlt", 1000, length), (1002, 0), "{length}");
        let repeated = "mov ecx, 3; mov edx, 0x70; mov edi, 0x11000; rep insb; hlt";
        assert_eq!(time_of(repeated, 10, length), (37, 0), "{length}");
    }
}
