//! A host that enters a guest once and halts where it is exited to, and the guest. Every interrupt handler
//! of the guest is a VMCALL at an address that tells its vector.

use super::{Mode, Rig};
use cpu::Stop;
use cpu::state::vmx::field::Field::{self, *};
use cpu::state::vmx::field::SEGMENT_FIELDS;
use cpu::state::vmx::vmcs::{NO_VMCS, Vmcs};
use cpu::state::{Segment, TableRegister, ar, gpr, seg};
use cpu::vmx::controls::bits::{entry, exit, pin, proc, proc2};

pub(crate) use super::{CODE, GDT, HANDLERS, IDT, STACK, TSS};
/// The host's program: VMLAUNCH, then VMRESUME, then it gives up.
pub(crate) const HOST: u64 = 0x1_0000;
/// Where exits go: HLT.
pub(crate) const EXITED: u64 = 0x1_1000;
pub(crate) const EPT: u64 = 0x1_2000;
pub(crate) const IO_BITMAPS: u64 = 0x1_5000;
pub(crate) const MSR_BITMAP: u64 = 0x1_7000;
pub(crate) const VIRTUAL_APIC: u64 = 0x1_8000;
pub(crate) const APIC_ACCESS: u64 = 0x1_9000;
pub(crate) const LIST: u64 = 0x1_a000;
pub(crate) const REGION: u64 = 0x1_b000;

pub(crate) const PIN: u64 = 0x16 | pin::EXTERNAL_INTERRUPT | pin::NMI;
pub(crate) const PROC: u64 = 0x0400_6172 | proc::SECONDARY | proc::HLT;
pub(crate) const PROC2: u64 = proc2::EPT | proc2::UNRESTRICTED;
pub(crate) const EXIT: u64 =
    0x3_6dfb | exit::HOST_64 | exit::LOAD_EFER | exit::SAVE_EFER | exit::SAVE_DEBUG;
pub(crate) const ENTRY: u64 = 0x11fb | entry::IA32E | entry::LOAD_EFER | entry::LOAD_DEBUG;

impl Rig {
    /// A host that enters `guest`, 64-bit code.
    pub(crate) fn host_of(guest: &str) -> Rig {
        let mut r = Rig::bare(Mode::Long, 8 << 20);
        r.memory();
        r.code(CODE, guest);
        r.host();
        r.cpu.state.vmx.on = true;
        r.cpu.state.vmx.vmcs = valid();
        r
    }

    /// Paging and EPT map the first GiB to itself; GDT, IDT and TSS serve host and guest.
    fn memory(&mut self) {
        let words = [
            (0x1000, 0x2007),
            (0x2000, 0x3007),
            (EPT, (EPT + 0x1000) | 7),
            (EPT + 0x1000, (EPT + 0x2000) | 7),
            (GDT + 8, 0x00af_9b00_0000_ffff),
            (GDT + 16, 0x00cf_9300_0000_ffff),
            (TSS + 4, STACK),
        ];
        words.iter().for_each(|(at, v): &(u64, u64)| self.put(*at, &v.to_le_bytes()));
        for n in 0..512u64 {
            self.put(0x3000 + 8 * n, &(n << 21 | 0x87).to_le_bytes());
            self.put(EPT + 0x2000 + 8 * n, &(n << 21 | 0xb7).to_le_bytes());
        }
        for v in 0..256u64 {
            let to = HANDLERS + v * 16;
            self.code(to, "vmcall");
            let gate = to & 0xffff | 8 << 16 | 0x8e << 40 | (to >> 16) << 48;
            self.put(IDT + v * 16, &gate.to_le_bytes());
        }
        self.code(HOST, "vmlaunch; jmp $");
        self.code(EXITED, "hlt");
        self.put(LIST, &[0; 16]);
    }

    fn host(&mut self) {
        let cpu = &mut self.cpu;
        cpu.state.sys.cr0 = 0x8000_0031;
        cpu.state.sys.cr4 = 0x2020;
        cpu.state.sys.cr3 = 0x1000;
        cpu.state.sys.efer = 0x500;
        let flags = ar::P | ar::S | ar::RW | ar::ACCESSED;
        let data = Segment { selector: 16, ar: flags | ar::DB | ar::G, limit: u32::MAX, base: 0 };
        cpu.set_segment(seg::SS, data);
        cpu.set_segment(seg::CS, Segment { ar: flags | ar::CODE | ar::L, selector: 8, ..data });
        cpu.state.sys.gdtr = TableRegister { base: GDT, limit: 0x1f };
        cpu.state.sys.idtr = TableRegister { base: IDT, limit: 0xfff };
        cpu.state.rip = HOST;
        cpu.state.regs[gpr::RSP] = STACK;
    }

    pub(crate) fn set(&mut self, f: Field, v: u64) {
        self.cpu.state.vmx.vmcs.set(f, v);
    }

    pub(crate) fn get(&self, f: Field) -> u64 {
        self.cpu.state.vmx.vmcs[f]
    }

    /// Runs until the host halts.
    #[track_caller]
    pub(crate) fn run_to_exit(&mut self) {
        let stop = self.run();
        let guest = self.cpu.state.vmx.guest;
        assert!(stop == Stop::Idle && !guest, "{stop:?} at {:#x}, guest {guest}", self.rip());
    }
}

/// A guest in 64-bit mode at [`CODE`] under EPT; HLT, interrupts and NMIs exit.
#[rustfmt::skip]
pub(crate) fn valid() -> Vmcs {
    let mut v = Vmcs::default();
    v.address = REGION;
    let mut set = |rows: &[(Field, u64)]| rows.iter().for_each(|(f, x)| v.set(*f, *x));
    for f in &SEGMENT_FIELDS {
        set(&[(f.selector, 16), (f.limit, u32::MAX as u64), (f.rights, 0xc093)]);
    }
    set(&[
        (PinControls, PIN), (ProcControls, PROC), (ProcControls2, PROC2),
        (ExitControls, EXIT), (EntryControls, ENTRY), (EptPointer, EPT | 3 << 3 | 6),
        (IoBitmapA, IO_BITMAPS), (IoBitmapB, IO_BITMAPS + 0x1000), (MsrBitmap, MSR_BITMAP),
        (VirtualApicAddress, VIRTUAL_APIC), (ApicAccessAddress, APIC_ACCESS),
        (VmcsLinkPointer, NO_VMCS),
        (HostCr0, 0x8000_0031), (HostCr3, 0x1000), (HostCr4, 0x2020), (HostEfer, 0x500),
        (HostCsSelector, 8), (HostSsSelector, 16), (HostTrSelector, 24),
        (HostGdtrBase, GDT), (HostIdtrBase, IDT), (HostRip, EXITED), (HostRsp, STACK),
        (GuestCr0, 0x8000_0031), (GuestCr3, 0x1000), (GuestCr4, 0x2020), (GuestEfer, 0x500),
        (GuestDr7, 0x400), (GuestRflags, 2), (GuestRip, CODE), (GuestRsp, STACK),
        (GuestCsSelector, 8), (GuestCsRights, 0xa09b),
        (GuestTrSelector, 24), (GuestTrRights, 0x8b), (GuestTrLimit, 0x67), (GuestTrBase, TSS),
        (GuestLdtrSelector, 0), (GuestLdtrRights, 0x1_0000),
        (GuestGdtrBase, GDT), (GuestGdtrLimit, 0x1f), (GuestIdtrBase, IDT), (GuestIdtrLimit, 0xfff),
    ]);
    v
}
