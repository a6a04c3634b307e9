//! The skeleton of execution: small programs in 64-bit mode on a bare processor.

use cpu::bus::{Bus, Message};
use cpu::model::Model;
use cpu::state::{Segment, ar, seg};
use cpu::{CodeCache, Cpu, Stop};
use mmu::{HostPhys, Limits, Mmu, Ram};

struct NoBus;

impl Bus for NoBus {
    fn port_read(&mut self, _: u16, _: u8, _: u64) -> u32 {
        u32::MAX
    }
    fn port_write(&mut self, _: u16, _: u8, _: u32, _: u64) {}
    fn mmio_read(&mut self, _: HostPhys, _: u8, _: u64) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: HostPhys, _: u8, _: u64, _: u64) {}
    fn acknowledge(&mut self) -> u8 {
        0xff
    }
    fn message(&mut self, _: Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}

const CODE: u64 = 0x20_0000;

/// A processor in 64-bit mode with the first GiB mapped to itself, and `code` at [`CODE`].
fn machine(code: &[u8]) -> (Box<Cpu>, Mmu, CodeCache) {
    let mut mmu = Mmu::new(Ram::new(16 << 20).unwrap(), Limits::default());
    let put = |mmu: &mut Mmu, at: u64, v: u64| {
        assert!(mmu.write_slice(HostPhys(at), &v.to_le_bytes()));
    };
    put(&mut mmu, 0x1000, 0x2003);
    put(&mut mmu, 0x2000, 0x3003);
    for i in 0..512 {
        put(&mut mmu, 0x3000 + i * 8, i << 21 | 0x83);
    }
    assert!(mmu.write_slice(HostPhys(CODE), code));
    let mut cpu = Cpu::new(Model::default());
    cpu.state.sys.cr0 = 0x8000_0031;
    cpu.state.sys.cr4 = 0x20;
    cpu.state.sys.cr3 = 0x1000;
    cpu.state.sys.efer = 0xd00;
    let flags = ar::P | ar::S | ar::RW | ar::ACCESSED;
    let data = Segment { selector: 16, ar: flags | ar::DB | ar::G, limit: u32::MAX, base: 0 };
    cpu.set_segment(seg::SS, data);
    cpu.set_segment(seg::CS, Segment { ar: flags | ar::CODE | ar::L, selector: 8, ..data });
    cpu.state.rip = CODE;
    cpu.state.regs[4] = 0x10_0000;
    (cpu, mmu, CodeCache::new(1 << 20))
}

fn run(code: &[u8], until: u64) -> (Box<Cpu>, Stop) {
    let (mut cpu, mut mmu, mut cache) = machine(code);
    let stop = cpu.run(&mut mmu, &mut cache, &mut NoBus, 0, until);
    assert_eq!(cpu.now(), until, "exact count");
    (cpu, stop)
}

/// mov ecx, n; xor eax, eax; l: add eax, ecx; sub ecx, 1; jnz l; jmp $
const LOOP: &[u8] =
    &[0xb9, 0, 0, 16, 0, 0x31, 0xc0, 0x01, 0xc8, 0x83, 0xe9, 1, 0x75, 0xf9, 0xeb, 0xfe];

#[test]
fn a_loop_stops_exactly() {
    for until in [1, 2, 3, 4, 5, 6, 7, 63, 64, 65, 66, 100, 200, 1000, 12345] {
        let (cpu, stop) = run(LOOP, until);
        assert_eq!(stop, Stop::Budget);
        let n = until.saturating_sub(2);
        let adds = n.div_ceil(3);
        let want = (0..adds).fold(0u32, |s, k| s.wrapping_add(0x10_0000 - k as u32));
        assert_eq!(cpu.state.regs[0] as u32, want, "after {until}");
    }
}

#[test]
fn slices_of_any_length_stop_exactly() {
    // add eax, 1: more than a block holds; jmp to the first.
    const ADDS: u64 = 150;
    let mut code = [0x83, 0xc0, 1].repeat(ADDS as usize);
    code.extend([0xe9, 0x39, 0xfe, 0xff, 0xff]);
    for slice in 1..=70 {
        let (mut cpu, mut mmu, mut cache) = machine(&code);
        for now in (0..1000).step_by(slice) {
            let until = now + slice as u64;
            let stop = cpu.run(&mut mmu, &mut cache, &mut NoBus, now, until);
            assert_eq!((stop, cpu.now()), (Stop::Budget, until));
            let jumps = until / (ADDS + 1);
            assert_eq!(cpu.state.regs[0], until - jumps, "slices of {slice}, at {until}");
        }
    }
}

#[test]
fn calls_and_pages() {
    // call +0x2000 (another page); inc via add ebx,1 ; ret there; loop here.
    let mut code = vec![0x90; 0x3000];
    code[..7].copy_from_slice(&[0xe8, 0xfb, 0x1f, 0, 0, 0xeb, 0xf9]);
    code[0x2000..0x2004].copy_from_slice(&[0x83, 0xc3, 1, 0xc3]);
    let (cpu, _) = run(&code, 4 * 1000);
    assert_eq!(cpu.state.regs[3], 1000);
    assert_eq!(cpu.state.regs[4], 0x10_0000);
}

#[test]
fn instructions_cross_pages() {
    let mut code = vec![0x90; 0x1100];
    // jmp to 0xffe; there: add ebx, imm32 over the page end; jmp back.
    code[..5].copy_from_slice(&[0xe9, 0xf9, 0x0f, 0, 0]);
    code[0xffe..0x1004].copy_from_slice(&[0x81, 0xc3, 1, 0, 0, 0]);
    code[0x1004..0x1009].copy_from_slice(&[0xe9, 0xf7, 0xef, 0xff, 0xff]);
    let (cpu, _) = run(&code, 3 * 500);
    assert_eq!(cpu.state.regs[3], 500);
}

#[test]
fn code_that_writes_itself() {
    // l: add byte [rip + x], 1 (the immediate of mov bl, imm below); mov bl, 0; jmp l
    let code = [0x80, 0x05, 1, 0, 0, 0, 1, 0xb3, 0, 0xeb, 0xf5];
    let (cpu, _) = run(&code, 3 * 100);
    assert_eq!(cpu.state.regs[3] as u8, 100);
}

#[test]
fn a_displacement_over_two_gib_from_the_page() {
    // lea rax, [rip+0x7fffffff]; lea rbx, [rip-0x80000000]; mov ecx, [rip+0x7ffffff0]
    let code = [0x48, 0x8d, 0x05, 0xff, 0xff, 0xff, 0x7f, 0x48, 0x8d, 0x1d, 0, 0, 0, 0x80];
    let load = [0x8b, 0x0d, 0xf0, 0xff, 0xff, 0x7f];
    let (mut cpu, mut mmu, mut cache) = machine(&[&code[..], &load].concat());
    cpu.run(&mut mmu, &mut cache, &mut NoBus, 0, 3);
    assert_eq!(cpu.state.regs[0], CODE + 7 + 0x7fff_ffff);
    assert_eq!(cpu.state.regs[3], (CODE + 14).wrapping_sub(0x8000_0000));
    let (e, _) = cpu.stats.recent.iter().next().expect("not mapped");
    assert_eq!((e.vector, e.address), (14, CODE + 20 + 0x7fff_fff0));
}

/// Runs `code` with RBX, RSI, RDI, R10 and R15 as given and the other registers at odd values until it faults,
/// which nobody handles. What it leaves behind by itself must be what it leaves one instruction at a time.
fn check_fault(code: &[u8], [rbx, rsi, rdi, r10, r15]: [u64; 5]) {
    let run = |max_block, fuse| {
        let (mut cpu, mut mmu, mut cache) = machine(code);
        (cache.max_block, cache.fuse) = (max_block, fuse);
        for (n, r) in cpu.state.regs.iter_mut().enumerate().filter(|(n, _)| *n != 4) {
            *r = 0x111 * n as u64;
        }
        (cpu.state.regs[3], cpu.state.regs[6], cpu.state.regs[7]) = (rbx, rsi, rdi);
        (cpu.state.regs[10], cpu.state.regs[15]) = (r10, r15);
        let mut stop = Stop::Io;
        while stop == Stop::Io {
            // Reads and writes behind the end of RAM.
            let now = cpu.now();
            stop = cpu.run(&mut mmu, &mut cache, &mut NoBus, now, 100_000);
        }
        assert_eq!(stop, Stop::TripleFault);
        let x87 = (cpu.state.fpu.fip, cpu.state.fpu.fdp, cpu.state.fpu.sw.get());
        (cpu.now(), cpu.state.rip, cpu.rflags(), cpu.state.regs, x87)
    };
    assert_eq!(run(64, true), run(1, false), "{code:x?}");
}

#[test]
fn what_a_row_owes_is_paid_at_a_fault() {
    const OUT: u64 = 1 << 40;
    let edges = [0, 1, 0xff, 0x1000, u64::MAX];
    // The rows of the sieve: l: cmp rsi, r15; jae out; mov byte [rbx + rsi], 0; add rsi, rdx; jmp l
    let sieve =
        [0x4c, 0x39, 0xfe, 0x73, 0x09, 0xc6, 4, 0x33, 0, 0x48, 1, 0xd6, 0xeb, 0xf2, 0x0f, 0x0b];
    for (rsi, r15) in edges.iter().flat_map(|a| edges.map(|b| (*a, b))) {
        check_fault(&sieve, [OUT, rsi, 0, 0, r15]);
        check_fault(&sieve, [(1 << 30) - 0x800, rsi, 0, 0, r15]);
    }
    // CRC-32: movzx r10d, byte [rsi + r9]; xor r10b, r8b; movzx r10d, r10b; shr r8d, 8; xor r8d, [rdi + r10*4];
    // add r9, 1; cmp r9, 0x1000; jne l; ud2
    let crc = [
        0x46, 0x0f, 0xb6, 0x14, 0x0e, 0x45, 0x30, 0xc2, 0x45, 0x0f, 0xb6, 0xd2, 0x41, 0xc1, 0xe8,
        8, 0x46, 0x33, 0x04, 0x97, 0x49, 0x83, 0xc1, 1, 0x49, 0x81, 0xf9, 0, 0x10, 0, 0, 0x75,
        0xdf, 0x0f, 0x0b,
    ];
    for rdi in [OUT, (1 << 30) - 0x100, 0x4000] {
        check_fault(&crc, [0, 0x4000, rdi, 0, 0]);
    }
    // The points of the Mandelbrot set: fninit; five constants; jmp l; l: fsubrp st1, st; fadd qword [r10]; fxch;
    // fmulp st2, st; fld st1; faddp st2, st; fxch; fadd qword [rsi]; ud2
    let mut x87 = [
        0xdb, 0xe3, 0xd9, 0, 0xd9, 0, 0xd9, 0, 0xd9, 0, 0xd9, 0, 0xeb, 0, 0xde, 0xe1, 0x41, 0xdc,
        2, 0xd9, 0xc9, 0xde, 0xca, 0xd9, 0xc1, 0xde, 0xc2, 0xd9, 0xc9, 0xdc, 6, 0x0f, 0x0b,
    ];
    for first in 0..6 {
        // FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, from one of them on.
        (0..5).for_each(|n| x87[3 + 2 * n] = 0xe8 + (first + n as u8) % 6);
        for (rsi, r10) in [(OUT, OUT), (OUT, 0x4000), (0x4000, 0x4000)] {
            check_fault(&x87, [0, rsi, 0, r10, 0]);
        }
    }
}
