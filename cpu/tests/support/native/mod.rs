//! Runs one instruction on the host's processor and on ours, from the same state.
#![expect(unsafe_code, reason = "calls machine code made by the test")]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod forms;

use crate::support::asm::assemble;
use cpu::bus::{Bus, Message};
use cpu::state::control::{
    CR0_ET, CR0_MP, CR0_NE, CR0_PE, CR0_PG, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_PAE, EFER_LMA, EFER_LME,
};
use cpu::state::fpu::F80;
use cpu::state::{Segment, TableRegister, ar, gpr, seg};
use cpu::{CodeCache, Cpu};
use memmap2::{Mmap, MmapMut};
use mmu::{HostPhys, Limits, Mmu, Ram};

/// What an instruction reads and writes. The first 512 bytes are an FXSAVE area.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct State {
    pub fx: [u8; 512],
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub flags: u64,
    pub pad: [u8; 32],
    pub memory: [u8; 1024],
    /// The upper halves of YMM0 to YMM15.
    pub upper: [u128; 16],
}

impl Default for State {
    fn default() -> Self {
        let mut s = State {
            fx: [0; 512],
            rax: 0,
            rcx: 0,
            rdx: 0,
            flags: 2,
            pad: [0; 32],
            memory: [0; 1024],
            upper: [0; 16],
        };
        s.set16(0, 0x37f);
        s.set_mxcsr(0x1f80);
        s
    }
}

impl State {
    pub fn set16(&mut self, at: usize, v: u16) {
        self.fx[at..at + 2].copy_from_slice(&v.to_le_bytes());
    }
    pub fn get16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.fx[at], self.fx[at + 1]])
    }
    pub fn set_mxcsr(&mut self, v: u32) {
        self.fx[24..28].copy_from_slice(&v.to_le_bytes());
        self.fx[28..32].copy_from_slice(&0xffffu32.to_le_bytes());
    }
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.fx[24..28].try_into().unwrap())
    }
    pub fn set_xmm(&mut self, n: usize, v: u128) {
        self.fx[160 + 16 * n..176 + 16 * n].copy_from_slice(&v.to_le_bytes());
    }
    pub fn xmm(&self, n: usize) -> u128 {
        u128::from_le_bytes(self.fx[160 + 16 * n..176 + 16 * n].try_into().unwrap())
    }
    /// ST(n).
    pub fn set_st(&mut self, n: usize, v: F80) {
        self.fx[32 + 16 * n..40 + 16 * n].copy_from_slice(&v.m.to_le_bytes());
        self.fx[40 + 16 * n..42 + 16 * n].copy_from_slice(&v.se.to_le_bytes());
    }
    pub fn st(&self, n: usize) -> F80 {
        let at = 32 + 16 * n;
        F80 {
            m: u64::from_le_bytes(self.fx[at..at + 8].try_into().unwrap()),
            se: self.get16(at + 8),
        }
    }
    /// Forgets what the two may differ in: pointers and opcode of the last x87 instruction.
    fn cleaned(mut self) -> Self {
        self.fx[6..24].fill(0);
        self.fx[28..32].fill(0);
        self.fx[416..].fill(0);
        for n in 0..8 {
            self.fx[42 + 16 * n..48 + 16 * n].fill(0);
        }
        // Status flags and DF.
        self.flags &= 0xcd5;
        self
    }
}

/// A page of machine code.
pub struct Native {
    code: Mmap,
    avx: bool,
}

impl Native {
    /// Code that loads a [`State`] at RDI (memory operand at RSI), does `op`, and stores the outcome.
    pub fn new(op: &[u8], avx: bool) -> Native {
        let upper = |form: &dyn Fn(u32) -> String| match avx {
            true => (0..16).map(form).collect::<Vec<_>>().join("; "),
            false => String::new(),
        };
        let load = upper(&|n| format!("vinsertf128 ymm{n}, ymm{n}, [rdi+{}], 1", 1600 + 16 * n));
        let store = upper(&|n| format!("vextractf128 [rdi+{}], ymm{n}, 1", 1600 + 16 * n));
        let before = format!(
            "fxrstor64 [rdi]; {load}; mov rax, [rdi+512]; mov rcx, [rdi+520]; mov rdx, [rdi+528]; \
             push qword [rdi+536]; popfq"
        );
        let after = format!(
            "pushfq; pop qword [rdi+536]; mov [rdi+512], rax; mov [rdi+520], rcx; \
             mov [rdi+528], rdx; fxsave64 [rdi]; {store}; {}; fninit; push 0x1f80; \
             ldmxcsr [rsp]; pop rax; cld; ret",
            if avx { "vzeroupper" } else { "" },
        );
        let c = [&assemble(64, 0, &before), op, &assemble(64, 0, &after)].concat();
        let mut m = MmapMut::map_anon(4096).unwrap();
        m[..c.len()].copy_from_slice(&c);
        Native { code: m.make_exec().unwrap(), avx }
    }

    pub fn run(&self, s: &State) -> State {
        let mut s = *s;
        // SAFETY: the code obeys the calling convention, up to vector and x87 state, which it leaves
        // as at entry of a function.
        unsafe {
            std::arch::asm!(
                "call {code}", code = in(reg) self.code.as_ptr(),
                in("rdi") &mut s, in("rsi") &raw mut s.memory,
                out("rax") _, out("rcx") _, out("rdx") _, out("r8") _,
                clobber_abi("sysv64"),
            );
        }
        s.cleaned()
    }
}

struct NoBus;

impl Bus for NoBus {
    fn port_read(&mut self, _: u16, _: u8, _: u64) -> u32 {
        panic!("no port is read")
    }
    fn port_write(&mut self, _: u16, _: u8, _: u32, _: u64) {
        panic!("no port is written")
    }
    fn mmio_read(&mut self, _: HostPhys, _: u8, _: u64) -> u64 {
        panic!("no device is read")
    }
    fn mmio_write(&mut self, _: HostPhys, _: u8, _: u64, _: u64) {
        panic!("no device is written")
    }
    fn acknowledge(&mut self) -> u8 {
        panic!("no interrupt is acknowledged")
    }
    fn message(&mut self, _: Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}

/// Our processor, in 64-bit mode.
pub struct Ours {
    pub cpu: Box<Cpu>,
    mmu: Mmu,
    code: CodeCache,
    now: u64,
}

const CODE: u64 = 0x10000;
const MEMORY: u64 = 0x20000;
const HANDLERS: u64 = 0x30000;
const STACK: u64 = 0x38000;
const GDT: u64 = 0x40000;
const IDT: u64 = 0x41000;

impl Ours {
    pub fn new() -> Ours {
        let mut mmu = Mmu::new(Ram::new(4 << 20).unwrap(), Limits::default());
        for (at, v) in
            [(0x1000u64, 0x2007u64), (0x2000, 0x3007), (0x3000, 0x87), (0x3008, 0x200087)]
        {
            assert!(mmu.write_slice(HostPhys(at), &v.to_le_bytes()));
        }
        let mut cpu = Cpu::new(cpu::model::Model::new(cpu::feature::ModelName::V3));
        cpu.state.sys.cr0 = CR0_PE | CR0_PG | CR0_MP | CR0_NE | CR0_ET;
        cpu.state.sys.cr3 = 0x1000;
        cpu.state.sys.cr4 =
            CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | cpu::state::control::CR4_OSXSAVE;
        cpu.state.sys.xcr0 = 7;
        cpu.state.sys.efer = EFER_LME | EFER_LMA;
        let data = ar::P | ar::S | ar::RW | ar::ACCESSED;
        let flat = Segment { selector: 8, ar: data | ar::G | ar::DB, limit: u32::MAX, base: 0 };
        for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
            cpu.set_segment(s, flat);
        }
        let ar = data | ar::CODE | ar::L | ar::G;
        cpu.set_segment(seg::CS, Segment { selector: 16, ar, limit: u32::MAX, base: 0 });
        Ours { cpu, mmu, code: CodeCache::new(1 << 20), now: 0 }
    }

    /// Places the instruction.
    pub fn place(&mut self, op: &[u8]) {
        self.code.flush(&mut self.mmu);
        let mut page = [0xcc; 32];
        page[..op.len()].copy_from_slice(op);
        assert!(self.mmu.write_slice(HostPhys(CODE), &page));
    }

    /// Does the instruction once.
    pub fn run(&mut self, s: &State, len: usize) -> State {
        self.load(s);
        self.cpu.run(&mut self.mmu, &mut self.code, &mut NoBus, self.now, self.now + 1);
        self.now += 1;
        assert_eq!(self.cpu.state.rip, CODE + len as u64, "the instruction did not complete");
        self.save()
    }

    /// Does the instruction once; the vector of the exception that it raised.
    pub fn vector_of(&mut self, s: &State) -> Option<u8> {
        self.handlers();
        self.load(s);
        self.cpu.state.regs[gpr::RSP] = STACK;
        self.cpu.run(&mut self.mmu, &mut self.code, &mut NoBus, self.now, self.now + 1);
        self.now += 1;
        let at = self.cpu.state.rip.wrapping_sub(HANDLERS);
        (at < 32 * 16).then_some((at / 16) as u8)
    }

    /// Handlers that stay where they are, one for each vector.
    fn handlers(&mut self) {
        let code = 0x00af_9b00_0000_ffffu64;
        assert!(self.mmu.write_slice(HostPhys(GDT + 16), &code.to_le_bytes()));
        for v in 0..32 {
            let to = HANDLERS + 16 * v;
            let gate = (to & 0xffff) | 16 << 16 | 0x8e00 << 32 | (to >> 16) << 48;
            assert!(self.mmu.write_slice(HostPhys(IDT + 16 * v), &gate.to_le_bytes()));
            assert!(self.mmu.write_slice(HostPhys(to), &assemble(64, to, "jmp $")));
        }
        self.cpu.state.sys.gdtr = TableRegister { base: GDT, limit: 23 };
        self.cpu.state.sys.idtr = TableRegister { base: IDT, limit: 511 };
    }

    fn load(&mut self, s: &State) {
        let f = &mut self.cpu.state.fpu;
        for n in 0..16 {
            f.xmm[n] = s.xmm(n);
        }
        f.upper = s.upper;
        f.mxcsr = s.mxcsr();
        f.cw = s.get16(0);
        f.sw.set(s.get16(2));
        let top = f.top();
        for n in 0..8 {
            f.set_value(top + n, s.st(n));
        }
        f.set_tags(s.fx[4]);
        let r = &mut self.cpu.state.regs;
        (r[gpr::RAX], r[gpr::RCX], r[gpr::RDX]) = (s.rax, s.rcx, s.rdx);
        (r[gpr::RSI], r[gpr::RDI]) = (MEMORY, MEMORY);
        self.cpu.set_rflags(s.flags);
        self.cpu.state.rip = CODE;
        self.cpu.state.sys.activity = Default::default();
        assert!(self.mmu.write_slice(HostPhys(MEMORY), &s.memory));
    }

    fn save(&mut self) -> State {
        let mut s = State::default();
        let f = &self.cpu.state.fpu;
        for n in 0..16 {
            s.set_xmm(n, f.xmm[n]);
        }
        s.upper = f.upper;
        s.set_mxcsr(f.mxcsr);
        s.set16(0, f.cw);
        s.set16(2, f.sw.get());
        s.fx[4] = f.tags();
        let top = f.top();
        for n in 0..8 {
            s.set_st(n, f.r[(top + n) & 7].value());
        }
        let r = &self.cpu.state.regs;
        (s.rax, s.rcx, s.rdx) = (r[gpr::RAX], r[gpr::RCX], r[gpr::RDX]);
        s.flags = self.cpu.rflags();
        assert!(self.mmu.read_slice(HostPhys(MEMORY), &mut s.memory));
        s.cleaned()
    }
}

/// A repeatable source of test values.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn pick<T: Copy>(&mut self, v: &[T]) -> T {
        v[self.below(v.len() as u64) as usize]
    }
    /// A binary32 that is likely to be special.
    pub fn single(&mut self) -> u32 {
        let sign = (self.next() as u32) << 31;
        let v = match self.below(8) {
            0 => self.pick(&[0, 1, 0x7fffff, 0x800000, 0x800001, 0x7f7fffff, 0x7f800000]),
            1 => self.pick(&[0x7fc00000, 0x7fc12345, 0x7f800001, 0x7fa00000, 0x3f800000]),
            2 => self.pick(&[0x4f000000, 0x4effffff, 0x5f000000, 0x3f000000, 0x3fc00000]),
            3 => self.next() as u32 & 0x7fffff,
            4 => (120 + self.below(16) as u32) << 23 | self.next() as u32 & 0x7fffff,
            5 => (120 + self.below(40) as u32) << 23 | self.next() as u32 & 0x7f0000,
            6 => (self.pick(&[1u32, 2, 253, 254]) << 23) | self.next() as u32 & 0x7fffff,
            _ => self.next() as u32 & 0x7fff_ffff,
        };
        sign | v
    }
    /// A binary64 that is likely to be special.
    pub fn double(&mut self) -> u64 {
        let sign = self.next() << 63;
        let fraction = self.next() >> 12;
        let v = match self.below(9) {
            0 => self.pick(&[0, 1, (1 << 52) - 1, 1 << 52, 0x7fefffffffffffff, 0x7ff << 52]),
            1 => self.pick(&[0x7ff8 << 48, 0x7ff8000000012345, 0x7ff0000000000001, 0x3ff << 52]),
            2 => self.pick(&[
                0x41e0000000000000,
                0x43e0000000000000,
                0x3fe << 52,
                0x41dfffffffc00000,
            ]),
            3 => fraction,
            4 => (1016 + self.below(16)) << 52 | fraction,
            5 => (1016 + self.below(80)) << 52 | fraction & 0xfff0000000000,
            6 => self.pick(&[1u64, 2, 2045, 2046]) << 52 | fraction,
            7 => (self.pick(&[896, 897, 1150, 1151, 874]) + self.below(3)) << 52 | fraction,
            _ => self.next() >> 1,
        };
        sign | v
    }
    /// An extended number that is likely to be special.
    pub fn extended(&mut self) -> F80 {
        let sign = (self.next() as u16) << 15;
        let m = self.next();
        let se = match self.below(10) {
            0 => {
                return self.pick(&[
                    F80 { se: sign, m: 0 },
                    F80 { se: sign | 0x7fff, m: 1 << 63 },
                    F80 { se: sign | 0x7fff, m: 3 << 62 },
                    F80 { se: sign | 0x7fff, m: 1 << 63 | 5 },
                    F80 { se: sign | 0x3fff, m: 1 << 63 },
                    F80 { se: sign | 0x3ffe, m: 1 << 63 },
                ]);
            }
            1 => return F80 { se: sign, m: m >> self.below(64) },
            2 => return F80 { se: sign | (0x4000 + self.below(70) as u16), m: 1 << 63 | m << 40 },
            3 => return F80 { se: sign | 0x7fff, m: m | 1 << 63 },
            4 => self.pick(&[1, 2, 0x7ffe, 0x7ffd]),
            5 => self.pick(&[0x3c00, 0x3c01, 0x43fe, 0x43ff, 0x3f81, 0x3f80, 0x407e, 0x407f]),
            6 => self.pick(&[0x3bce, 0x3f6a, 0x403e, 0x401e, 0x400e]),
            7 => return F80 { se: sign | self.next() as u16, m },
            _ => 0x3ff0 + self.below(32) as u16,
        };
        F80 { se: sign | se, m: m | 1 << 63 }
    }
    /// A vector whose lanes are likely to be special.
    pub fn vector(&mut self) -> u128 {
        match self.below(5) {
            0 => (0..4).fold(0, |v, _| v << 32 | self.single() as u128),
            1 => (0..2).fold(0, |v, _| v << 64 | self.double() as u128),
            2 => (0..16).fold(0, |v, _| v << 8 | self.pick(&[0u8, 1, 127, 128, 255, 254]) as u128),
            3 => (0..8).fold(0, |v, _| {
                v << 16 | self.pick(&[0u16, 1, 15, 16, 0x7fff, 0x8000, 0xffff, 40]) as u128
            }),
            _ => (self.next() as u128) << 64 | self.next() as u128,
        }
    }
}
