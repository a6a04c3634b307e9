//! Power-up and INIT state. SDM vol. 3, "Processor State After Reset".

use crate::control::{CR0_CD, CR0_ET, CR0_NW};
use crate::flags;
use crate::model::Model;
use crate::state::{
    Activity, CodeMode, Cpu, DEADLINE_ENTRIES, DeadlineEntry, Env, JUMP_ENTRIES, JumpEntry,
    Segment, Stats, System, TableRegister, ar, gpr, seg,
};
use mmu::{Mode, Regime, View, Window};

const DATA: u32 = ar::P | ar::S | ar::RW | ar::ACCESSED;

impl Cpu {
    /// A processor in its power-up state.
    pub fn new(model: Model) -> Box<Cpu> {
        let mut cpu = Box::new(Cpu {
            regs: [0; 16],
            zero: 0,
            vbase: 0,
            seg_base: [0; 6],
            cc_res: 0,
            cc_src: 0,
            cc_op: flags::class::BITS * 4,
            leave: false,
            mode: CodeMode::Bits16,
            link_tag: 0,
            space_tag: 0,
            io: false,
            two_pages: 8192,
            budget: 0,
            seen_drops: 0,
            rflags_system: 0,
            rip: 0,
            budget_at_op: 0,
            budget_zero_at: 0,
            op: std::ptr::null(),
            trap: None,
            tlb: std::ptr::null_mut(),
            sys: System::default(),
            fpu: Default::default(),
            apic: Default::default(),
            vmx: Default::default(),
            model,
            regime: NO_PAGING,
            bank: 0,
            view: View::Supervisor,
            env: Env::NONE,
            deadline_cache: Box::new([DeadlineEntry::NONE; DEADLINE_ENTRIES]),
            jump_cache: vec![JumpEntry::NONE; JUMP_ENTRIES]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!("the length is JUMP_ENTRIES")),
            stats: Stats::default(),
            trace: crate::trace::Trace::default(),
        });
        cpu.reset();
        cpu
    }

    /// INIT: as a reset, but CR0.CD and NW, MSRs, the TSC, the FPU and SMBASE stay. A processor that is not the
    /// bootstrap processor waits for a start-up IPI. SDM vol. 3, "MP Initialization Protocol Algorithm".
    pub(crate) fn init(&mut self) {
        let old = self.sys.clone();
        let fpu = self.fpu.clone();
        self.reset();
        self.sys.cr0 = CR0_ET | old.cr0 & (CR0_CD | CR0_NW);
        self.sys.msr = old.msr;
        self.sys.xcr0 = old.xcr0;
        self.sys.tsc_offset = old.tsc_offset;
        self.sys.intr = old.intr;
        self.sys.random = old.random;
        self.sys.sipi_pending = old.sipi_pending;
        self.sys.smm = old.smm.init();
        self.fpu = fpu;
        self.apic_reset(true);
        if !self.apic_is_bsp() {
            self.sys.activity = Activity::WaitSipi;
        }
        self.update_paging();
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.regs = [0; 16];
        self.regs[gpr::RDX] = crate::cpuid::SIGNATURE as u64;
        self.rip = 0xfff0;
        self.set_rflags(flags::FIXED);
        self.sys = System {
            cr0: CR0_CD | CR0_NW | CR0_ET,
            dr6: 0xffff_0ff0,
            dr7: 0x400,
            xcr0: 1,
            gdtr: TableRegister { base: 0, limit: 0xffff },
            idtr: TableRegister { base: 0, limit: 0xffff },
            ldtr: Segment { selector: 0, ar: ar::P | 2, limit: 0xffff, base: 0 },
            tr: Segment { selector: 0, ar: ar::P | 11, limit: 0xffff, base: 0 },
            activity: Activity::Active,
            ..System::default()
        };
        self.sys.msr.pat = 0x0007_0406_0007_0406;
        for s in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
            self.set_segment(s, Segment { selector: 0, ar: DATA, limit: 0xffff, base: 0 });
        }
        let ar = DATA | ar::CODE;
        self.set_segment(
            seg::CS,
            Segment { selector: 0xf000, ar, limit: 0xffff, base: 0xffff_0000 },
        );
        self.update_paging();
    }
}

const NO_PAGING: Regime = Regime {
    mode: Mode::Off,
    root: 0,
    pdpte: [0; 4],
    wp: false,
    nxe: false,
    smep: false,
    smap: false,
    gib_pages: false,
    maxphys: 40,
    ept: None,
    window: Window::Closed,
};
