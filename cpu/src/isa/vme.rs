//! Virtual-8086 mode extensions (CR4.VME): interrupts that go to the virtual-8086 program itself, and an
//! interrupt flag of its own, VIF; with CR4.PVI that flag exists at level 3 of protected mode too.
//! SDM vol. 3, "Interrupt and Exception Handling in Virtual-8086 Mode", "Protected-Mode Virtual Interrupts".

use crate::Cpu;
use crate::descriptors::NewStack;
use crate::state::control::{CR4_PVI, CR4_VME};
use crate::state::{flags, gpr, seg};
use crate::trap::Trap;

impl Cpu {
    /// Whether a virtual-8086 program runs below IOPL 3.
    fn v86_without_iopl(&self) -> bool {
        self.v86() && self.state.flags.system & flags::IOPL != flags::IOPL
    }

    /// Whether a program that has VIF in the place of IF has it set while an interrupt is pending: #GP(0)
    /// before its next instruction. SDM vol. 3, "Maskable Hardware Interrupt Handling in Virtual-8086 Mode
    /// Using the Virtual Interrupt Mechanism".
    pub(crate) fn virtual_interrupt_due(&self) -> bool {
        let both = flags::VIF | flags::VIP;
        if self.state.flags.system & both != both || self.state.sys.cpl != 3 || !self.protected() {
            return false;
        }
        let enabling = if self.v86() { CR4_VME } else { CR4_PVI };
        self.state.sys.cr4 & enabling != 0 && self.state.flags.system & flags::IOPL != flags::IOPL
    }

    /// The flag that CLI and STI act on: IF or VIF. #GP(0) where there is neither for the program.
    pub(super) fn interrupt_flag(&self) -> Result<u64, Trap> {
        let iopl = (self.state.flags.system >> 12 & 3) as u8;
        if !self.protected() || self.state.sys.cpl <= iopl {
            return Ok(flags::IF);
        }
        let enabling = if self.v86() { CR4_VME } else { CR4_PVI };
        if self.state.sys.cpl == 3 && self.state.sys.cr4 & enabling != 0 {
            return Ok(flags::VIF);
        }
        Err(Trap::GP0)
    }

    /// Whether PUSHF, POPF and IRET of `size` bytes have VIF in the place of IF. #GP(0) where a
    /// virtual-8086 program may not execute them.
    pub(super) fn shows_vif(&self, size: usize) -> Result<bool, Trap> {
        if !self.v86_without_iopl() {
            return Ok(false);
        }
        if self.state.sys.cr4 & CR4_VME != 0 && size == 2 { Ok(true) } else { Err(Trap::GP0) }
    }

    /// The flags as PUSHF and INT n store them where VIF has the place of IF: IOPL reads as 3.
    pub(super) fn flags_with_vif(&self) -> u64 {
        let v = self.rflags() & !(flags::VM | flags::RF | flags::IF) | flags::IOPL;
        if v & flags::VIF != 0 { v | flags::IF } else { v }
    }

    /// Whether POPF and IRET may load `image` where VIF has the place of IF. #GP(0): the program would
    /// open interrupts while one is pending, or single-step.
    pub(super) fn check_vif_image(&self, image: u64) -> Result<(), Trap> {
        let pending = image & flags::IF != 0 && self.state.flags.system & flags::VIP != 0;
        if pending || image & flags::TF != 0 { Err(Trap::GP0) } else { Ok(()) }
    }

    /// Loads VIF from the place of IF in `image`.
    pub(super) fn load_vif(&mut self, image: u64) {
        let vif = if image & flags::IF != 0 { flags::VIF } else { 0 };
        self.state.flags.system = self.state.flags.system & !flags::VIF | vif;
    }

    /// `INT n` in virtual-8086 mode: true if the program's own handler has been entered, false if the
    /// IDT's is to be. #GP(0) where that takes IOPL 3.
    pub(super) fn v86_interrupt(&mut self, vector: u8) -> Result<bool, Trap> {
        let redirected = self.state.sys.cr4 & CR4_VME != 0 && !self.in_redirection_map(vector)?;
        if !redirected {
            return if self.v86_without_iopl() { Err(Trap::GP0) } else { Ok(false) };
        }
        let target = self.load_table(u64::from(vector) * 4, 4)?;
        let (image, clear) = if self.v86_without_iopl() {
            (self.flags_with_vif(), flags::VIF)
        } else {
            (self.rflags() & !(flags::VM | flags::RF), flags::IF)
        };
        let mut stack = NewStack::current(self, 0);
        for v in [image, u64::from(self.state.sys.seg[seg::CS].selector), self.state.rip] {
            stack.push(self, 2, v)?;
        }
        self.state.regs[gpr::RSP] = stack.sp;
        self.state.flags.system &= !(clear | flags::TF);
        let cs = self.real_segment(seg::CS, (target >> 16) as u16);
        self.set_segment(seg::CS, cs);
        self.state.rip = target & 0xffff;
        Ok(true)
    }

    /// The bit of `vector` in the interrupt redirection bit map, which ends where the I/O permission bit
    /// map of the TSS begins: 1 leads to the IDT. #GP(0) if it lies outside the TSS.
    fn in_redirection_map(&mut self, vector: u8) -> Result<bool, Trap> {
        let tr = self.state.sys.tr;
        if tr.ar & 8 == 0 || tr.limit < 0x67 {
            return Err(Trap::GP0);
        }
        let io_map = self.load_table(tr.base.wrapping_add(0x66), 2)?;
        let at = (io_map + u64::from(vector >> 3)).wrapping_sub(32);
        if at > u64::from(tr.limit) {
            return Err(Trap::GP0);
        }
        let bits = self.load_table(tr.base.wrapping_add(at), 1)?;
        Ok(bits >> (vector & 7) & 1 != 0)
    }
}
