//! Power-up and INIT state. SDM vol. 3, "Processor State After Reset".

use crate::Cpu;
use crate::model::Model;
use crate::processor::{Caches, Env};
use crate::state::control::{CR0_CD, CR0_ET, CR0_NW};
use crate::state::flags::{self, Flags};
use crate::state::{Activity, Bases, Segment, State, Stats, System, TableRegister, ar, gpr, seg};

const DATA: u32 = ar::P | ar::S | ar::RW | ar::ACCESSED;

impl Cpu {
    /// A processor in its power-up state.
    pub fn new(model: Model) -> Box<Cpu> {
        let mut cpu = Box::new(Cpu {
            state: State {
                regs: [0; 16],
                bases: Bases::default(),
                rip: 0,
                flags: Flags::default(),
                sys: System::default(),
                fpu: Default::default(),
                apic: Default::default(),
                vmx: Default::default(),
                model,
            },
            caches: Caches::new(),
            env: Env::new(),
            stats: Stats::default(),
            trace: crate::state::trace::Trace::default(),
            halts: Default::default(),
            pause: Default::default(),
        });
        cpu.reset();
        cpu
    }

    /// INIT: as a reset, but CR0.CD and NW, MSRs, the TSC, the FPU and SMBASE stay. A processor that is not the
    /// bootstrap processor waits for a start-up IPI. SDM vol. 3, "MP Initialization Protocol Algorithm".
    pub(crate) fn init(&mut self) {
        let old = self.state.sys.clone();
        let fpu = self.state.fpu.clone();
        self.reset();
        self.state.sys.cr0 = CR0_ET | old.cr0 & (CR0_CD | CR0_NW);
        self.state.sys.msr = old.msr;
        self.state.sys.xcr0 = old.xcr0;
        self.state.sys.tsc_offset = old.tsc_offset;
        self.state.sys.intr = old.intr;
        self.state.sys.random = old.random;
        self.state.sys.sipi_pending = old.sipi_pending;
        self.state.sys.smm = old.smm.init();
        self.state.fpu = fpu;
        self.apic_reset(true);
        if !self.apic_is_bsp() {
            self.state.sys.activity = Activity::WaitSipi;
        }
        self.update_paging();
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.state.regs = [0; 16];
        self.state.regs[gpr::RDX] = crate::cpuid::SIGNATURE as u64;
        self.state.rip = 0xfff0;
        self.set_rflags(flags::FIXED);
        self.state.sys = System {
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
        self.state.sys.msr.pat = 0x0007_0406_0007_0406;
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
