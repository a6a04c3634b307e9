//! Runs a case on a bare processor of ours, set up as Linux sets up the host's for a process.

use super::base;
use super::case::{self, CODE, Case, DATA, DATA_SIZE, Event, Line, Outcome, St, State};
use super::segments::{GLOBAL, LOCAL};
use cpu::bus::{Bus, Message};
use cpu::descriptors::Descriptor;
use cpu::feature::{self, ModelName};
use cpu::model::Model;
use cpu::state::fpu::{F80, Register};
use cpu::state::{Activity, EventKind, Fpu, Segment, System, TableRegister, ar, seg};
use cpu::{CodeCache, Cpu};
use mmu::{HostPhys, Limits, Mmu, Ram};
use std::rc::Rc;

/// Physical addresses.
const TABLES: u64 = 0x10_0000;
const CODE_FRAME: u64 = 0x20_0000;
const DATA_FRAME: u64 = 0x21_0000;
const SYSTEM_FRAME: u64 = 0x22_0000;
/// Linear address of the descriptor tables: the global one, and after it the local one.
const SYSTEM: u64 = 0xffff_8000_0000_0000;
const LDT: u64 = SYSTEM + 0x800;
/// A task-state segment without I/O bitmap.
const TSS: u64 = SYSTEM + 0xc00;
/// What Linux has: PG, AM, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8005_0033;
/// PSE, PAE, MCE, PGE, OSFXSR, OSXMMEXCPT, UMIP, FSGSBASE, OSXSAVE, SMEP, SMAP.
const CR4: u64 = 0x35_0ef0;
/// SCE, LME, LMA, NXE.
const EFER: u64 = 0xd01;
/// x87, SSE, AVX.
pub(super) const XCR0: u64 = 7;
/// Where user addresses end; above, Linux hides from a process what is present.
const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;
/// Instructions that a case may take before it counts as endless.
const PATIENCE: u64 = 4096;
/// Flags that a case sees: status, TF, DF, NT, AC, ID.
const SHOWN: u64 = 0x24_4dd5;

/// A processor in user mode, with the pages of a case.
pub struct Ours {
    cpu: Box<Cpu>,
    mmu: Mmu,
    code: CodeCache,
    system: System,
    page: u64,
    /// The data of `page`, and memory before the case.
    base: Rc<[u8]>,
    was: Vec<u8>,
    now: Vec<u8>,
    /// The last case branched into its own bytes: it must be stepped.
    pub inward: bool,
}

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

/// The model with all that user mode can see: v3, and the instructions that no model has by itself.
fn model() -> Model {
    let mut model = Model::new(ModelName::V3);
    model.set(feature::MOVDIRI, true);
    model.set(feature::MOVDIR64B, true);
    model
}

impl Default for Ours {
    fn default() -> Self {
        let ram = Ram::new(4 << 20).expect("4 MiB of memory");
        let zeros = vec![0; DATA_SIZE];
        let mut ours = Ours {
            cpu: Cpu::new(model()),
            mmu: Mmu::new(ram, Limits::default()),
            code: CodeCache::new(1 << 16),
            system: system(),
            page: 0,
            base: zeros.clone().into(),
            was: zeros.clone(),
            now: zeros,
            inward: false,
        };
        ours.tables();
        ours.write(CODE_FRAME, &[0xcc; 4096]);
        let local: Vec<u64> = LOCAL.iter().map(|row| row.descriptor()).collect();
        ours.write(SYSTEM_FRAME + (TSS - SYSTEM) + 102, &0x68u16.to_le_bytes());
        for (at, table) in [(0, &GLOBAL[..]), (LDT - SYSTEM, &local)] {
            let bytes: Vec<u8> = table.iter().flat_map(|d| d.to_le_bytes()).collect();
            ours.write(SYSTEM_FRAME + at, &bytes);
        }
        ours
    }
}

/// System registers as Linux has them while a process runs. There is no interrupt table: a case
/// ends with its first event.
fn system() -> System {
    let table = |base, limit: usize| TableRegister { base, limit: limit as u16 - 1 };
    let system = |selector, ar, base, limit| Segment { selector, ar: ar | ar::P, limit, base };
    System {
        cr0: CR0,
        cr3: TABLES,
        cr4: CR4,
        efer: EFER,
        xcr0: XCR0,
        dr6: 0xffff_0ff0,
        dr7: 0x400,
        cpl: 3,
        gdtr: table(SYSTEM, size_of_val(&GLOBAL)),
        idtr: TableRegister { base: 0, limit: 0 },
        ldtr: system(0x50, 2, LDT, LOCAL.len() as u32 * 8 - 1),
        tr: system(0x40, 11, TSS, 0x67),
        activity: Activity::Active,
        ..System::default()
    }
}

/// The segment register that `selector` makes.
fn segment(selector: u16) -> Segment {
    if selector & 0xfffc == 0 {
        return Segment { selector, ar: ar::UNUSABLE, limit: 0, base: 0 };
    }
    let index = (selector >> 3) as usize;
    let d = if selector & 4 != 0 { LOCAL[index].descriptor() } else { GLOBAL[index] };
    Descriptor(d).segment(selector)
}

impl Ours {
    /// Maps the pages of a case for user mode, the tables for the processor.
    fn tables(&mut self) {
        const NX: u64 = 1 << 63;
        let mut next = TABLES + 0x1000;
        let pages = [
            (CODE, CODE_FRAME | 5),
            (DATA, DATA_FRAME | 7 | NX),
            (DATA + 4096, (DATA_FRAME + 4096) | 7 | NX),
            (SYSTEM, SYSTEM_FRAME | 3 | NX),
        ];
        for (la, entry) in pages {
            let mut table = TABLES;
            for level in (1..4).rev() {
                let at = table + (la >> (12 + 9 * level) & 511) * 8;
                let mut e = self.read(at);
                if e == 0 {
                    e = next | 7;
                    next += 0x1000;
                    self.write(at, &e.to_le_bytes());
                }
                table = e & !0xfff;
            }
            self.write(table + (la >> 12 & 511) * 8, &entry.to_le_bytes());
        }
    }

    fn read(&self, at: u64) -> u64 {
        let mut b = [0; 8];
        assert!(self.mmu.read_slice(HostPhys(at), &mut b), "in memory");
        u64::from_le_bytes(b)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.mmu.write_slice(HostPhys(at), bytes), "in memory");
    }

    /// Runs `case`.
    pub fn run(&mut self, case: &Case) -> Outcome {
        self.put_memory(case);
        self.put_code(case);
        self.put_state(&case.state, case.step);
        let (event, rip) = self.until_event(case);
        let state = self.take_state(rip);
        Outcome { event, state, lines: self.take_memory(case) }
    }

    fn put_code(&mut self, case: &Case) {
        let mut code = [0xcc; 16];
        code[..15].copy_from_slice(&case.code);
        self.write(CODE_FRAME, &code);
        self.code.note_store(HostPhys(CODE_FRAME), 16);
    }

    fn put_memory(&mut self, case: &Case) {
        if case.page != self.page {
            self.page = case.page;
            self.base = base::data(case.page);
            self.was.copy_from_slice(&self.base);
            let base = self.base.clone();
            self.write(DATA_FRAME, &base);
        }
        for p in &case.patches {
            self.was[p.at as usize..][..8].copy_from_slice(&p.bytes);
            self.write(DATA_FRAME + p.at as u64, &p.bytes);
        }
    }

    /// The changed lines; memory is the base again.
    fn take_memory(&mut self, case: &Case) -> Vec<Line> {
        let mut now = std::mem::take(&mut self.now);
        assert!(self.mmu.read_slice(HostPhys(DATA_FRAME), &mut now), "in memory");
        let lines = case::changes(&self.was, &now);
        self.now = now;
        let patched = case.patches.iter().map(|p| (p.at as usize, 8));
        let dirty = lines.iter().map(|l| (l.at as usize, l.bytes.len())).chain(patched);
        for (at, len) in dirty {
            let base = &self.base[at..at + len];
            self.was[at..at + len].copy_from_slice(base);
            assert!(self.mmu.write_slice(HostPhys(DATA_FRAME + at as u64), base), "in memory");
        }
        lines
    }

    fn put_state(&mut self, s: &State, step: bool) {
        let cpu = &mut self.cpu;
        cpu.stats = Default::default();
        cpu.state.sys = self.system.clone();
        for (n, &selector) in s.segs.iter().enumerate() {
            cpu.set_segment(n, segment(selector));
        }
        for (n, &base) in [seg::FS, seg::GS].iter().zip(&s.bases) {
            if s.segs[*n] & 0xfffc == 0 {
                let null = cpu.state.sys.seg[*n];
                cpu.set_segment(*n, Segment { base, ..null });
            }
        }
        cpu.set_cpl(3);
        cpu.state.regs = s.regs;
        cpu.set_rflags(s.flags | 0x202 | (step as u64) << 8);
        cpu.state.rip = s.rip;
        cpu.state.fpu = fpu(s);
    }

    /// Runs to the first event; its RIP.
    fn until_event(&mut self, case: &Case) -> (Event, u64) {
        self.inward = false;
        for n in 0..PATIENCE {
            self.cpu.run(&mut self.mmu, &mut self.code, &mut NoBus, n, n + 1);
            if let Some(end) = self.first_event() {
                return end;
            }
            if case.step {
                continue;
            }
            let at = self.code_offset();
            if at < 4096 && case.code[..case.len as usize].get(at).is_none_or(|b| *b == 0xcc) {
                return (
                    Event { vector: 3, ..Event::default() },
                    self.cpu.state.rip.wrapping_add(1),
                );
            }
            self.inward |= at < case.len as usize && !repeats(case);
        }
        (Event { vector: ENDLESS, ..Event::default() }, self.cpu.state.rip)
    }

    /// The first event, except that of INT n: the fault that follows it is what counts.
    fn first_event(&self) -> Option<(Event, u64)> {
        let mut events = self.cpu.stats.recent.iter();
        let (e, rip) = events.find(|(e, _)| e.kind != EventKind::Software)?;
        let mut event = Event { vector: e.vector, error: e.error.unwrap_or(0), address: 0 };
        if e.vector == 14 {
            event.address = e.address;
            event.error |= (e.address >= TASK_SIZE_MAX) as u32;
        }
        Some((event, rip))
    }

    /// Where in the code page the next instruction is, if it is there.
    fn code_offset(&self) -> usize {
        let cs = &self.cpu.state.sys.seg[seg::CS];
        let la = match cs.has(ar::L) {
            true => self.cpu.state.rip,
            false if self.cpu.state.rip > cs.limit as u64 => return usize::MAX,
            false => self.cpu.state.rip.wrapping_add(cs.base) as u32 as u64,
        };
        la.wrapping_sub(CODE) as usize
    }

    fn take_state(&self, rip: u64) -> State {
        let (cpu, f) = (&self.cpu, &self.cpu.state.fpu);
        let top = f.top();
        State {
            regs: cpu.state.regs,
            rip,
            flags: cpu.rflags() & SHOWN,
            segs: std::array::from_fn(|n| cpu.state.sys.seg[n].selector),
            bases: [cpu.state.sys.seg[seg::FS].base, cpu.state.sys.seg[seg::GS].base],
            mxcsr: f.mxcsr,
            cw: f.cw,
            sw: f.sw.get(),
            tags: f.tags() as u16,
            st: std::array::from_fn(|n| {
                let F80 { m, se } = f.r[(n + top) & 7].value();
                St { m, se }
            }),
            xmm: f.xmm,
            upper: f.upper,
        }
    }
}

/// Whether the instruction may take many steps at one address.
fn repeats(case: &Case) -> bool {
    let i = case.instruction();
    i.is_string_instruction() && (i.has_rep_prefix() || i.has_repne_prefix())
}

/// Stands for the vector where a case does not end.
const ENDLESS: u8 = 0xfe;

fn fpu(s: &State) -> Fpu {
    let top = (s.sw >> 11 & 7) as usize;
    let st = |n: usize| {
        let St { m, se } = s.st[n.wrapping_sub(top) & 7];
        Register::full(F80 { m, se })
    };
    let mut f = Fpu {
        xmm: s.xmm,
        upper: s.upper,
        mxcsr: s.mxcsr,
        r: std::array::from_fn(st),
        cw: s.cw,
        sw: s.sw.into(),
        ..Fpu::default()
    };
    f.set_tags(s.tags as u8);
    f
}
