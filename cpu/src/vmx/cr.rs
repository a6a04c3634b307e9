//! Control registers in VMX operation: fixed bits, guest/host masks, shadows, CR3 targets, CR8.
//! SDM vol. 3, "Guest/Host Masks and Read Shadows for CR0 and CR4", "Restrictions on VMX Operation".

use super::controls::{CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, proc, proc2};
use super::reason;
use crate::Cpu;
use crate::state::control::{CR0_PE, CR0_PG, CR0_TS};
use crate::state::vmx::Exit;
use crate::state::vmx::field::Field;
use crate::trap::Trap;
use iced_x86::{Instruction, OpKind};

/// Access types in the qualification.
const TO: u64 = 0;
const FROM: u64 = 1;
const CLTS: u64 = 2;
const LMSW: u64 = 3;

/// What MOV to a control register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The register is loaded with the value.
    Load(u64),
    /// VMX has carried the access out.
    Done,
}

/// CR0 and CR4 with the bits set that VMX operation fixes; `real`: but PE and PG, for unrestricted guests.
pub(crate) fn fixed_bits(cr0: u64, cr4: u64, real: bool) -> (u64, u64) {
    let free = if real { CR0_PE | CR0_PG } else { 0 };
    (cr0 | CR0_FIXED0 & !free, cr4 | CR4_FIXED0)
}

impl Cpu {
    fn cr_exit(&mut self, i: &Instruction, cr: u64, access: u64, register: u64) -> Trap {
        let qualification = cr | access << 4 | register << 8;
        self.exit_trap(Exit { qualification, ..Exit::of(i, reason::CR_ACCESS) })
    }

    fn masks(&self, cr4: bool) -> (u64, u64, u64) {
        let v = &self.state.vmx.vmcs;
        if cr4 {
            (v[Field::Cr4Mask], v[Field::Cr4Shadow], self.state.sys.cr4)
        } else {
            (v[Field::Cr0Mask], v[Field::Cr0Shadow], self.state.sys.cr0)
        }
    }

    /// `MOV CRn, r`: exits, or says what becomes of `v`. Bits that the host owns stay as they are.
    #[inline]
    pub(crate) fn vmx_write_cr(&mut self, i: &Instruction, n: u8, v: u64) -> Result<Written, Trap> {
        if self.state.vmx.guest { self.write_cr(i, n, v) } else { Ok(Written::Load(v)) }
    }

    pub(super) fn write_cr(&mut self, i: &Instruction, n: u8, v: u64) -> Result<Written, Trap> {
        let (exits, load) = match n {
            0 | 4 => {
                let (mask, shadow, now) = self.masks(n == 4);
                ((v ^ shadow) & mask != 0, now & mask | v & !mask)
            }
            3 => (self.state.vmx.proc(proc::CR3_LOAD) && !self.cr3_target(v), v),
            8 => (self.state.vmx.proc(proc::CR8_LOAD), v),
            _ => (false, v),
        };
        if exits {
            let r = i.op_register(1).full_register().number() as u64;
            return Err(self.cr_exit(i, n as u64, TO, r));
        }
        if n == 8 && self.state.vmx.proc(proc::TPR_SHADOW) {
            if v >> 4 != 0 {
                return Err(Trap::GP0);
            }
            self.set_vtpr((v as u8) << 4);
            return Ok(Written::Done);
        }
        Ok(Written::Load(load))
    }

    fn cr3_target(&self, v: u64) -> bool {
        use Field::{Cr3Target0, Cr3Target1, Cr3Target2, Cr3Target3};
        let f = &self.state.vmx.vmcs;
        let count = f[Field::Cr3TargetCount] as usize;
        [Cr3Target0, Cr3Target1, Cr3Target2, Cr3Target3].iter().take(count).any(|t| f[*t] == v)
    }

    /// `MOV r, CRn`: exits, or gives what the guest sees of the value; None: the register's own.
    #[inline]
    pub(crate) fn vmx_read_cr(&mut self, i: &Instruction, n: u8) -> Result<Option<u64>, Trap> {
        if self.state.vmx.guest { self.read_cr(i, n) } else { Ok(None) }
    }

    pub(super) fn read_cr(&mut self, i: &Instruction, n: u8) -> Result<Option<u64>, Trap> {
        let exits = match n {
            3 => self.state.vmx.proc(proc::CR3_STORE),
            8 => self.state.vmx.proc(proc::CR8_STORE),
            _ => false,
        };
        if exits {
            let r = i.op_register(0).full_register().number() as u64;
            return Err(self.cr_exit(i, n as u64, FROM, r));
        }
        Ok(match n {
            0 | 4 => {
                let (mask, shadow, now) = self.masks(n == 4);
                Some(now & !mask | shadow & mask)
            }
            8 if self.state.vmx.proc(proc::TPR_SHADOW) => Some(self.vtpr() as u64 >> 4),
            _ => None,
        })
    }

    /// CR0 as read by SMSW and MOV.
    pub(crate) fn vmx_seen_cr0(&self) -> u64 {
        if !self.state.vmx.guest {
            return self.state.sys.cr0;
        }
        let (mask, shadow, now) = self.masks(false);
        now & !mask | shadow & mask
    }

    /// Whether CR0 (`n` = 0) or CR4 may get this value in VMX operation; else #GP(0).
    pub(crate) fn vmx_cr_fixed(&self, n: u8, v: u64) -> bool {
        if !self.state.vmx.on {
            return true;
        }
        if n == 4 {
            return v & CR4_FIXED0 == CR4_FIXED0;
        }
        let free = if self.state.vmx.proc2(proc2::UNRESTRICTED) { CR0_PE | CR0_PG } else { 0 };
        let must = CR0_FIXED0 & !free;
        v & must == must && v & !CR0_FIXED1 == 0
    }

    /// `CLTS`: exits, or says whether CR0.TS is really cleared.
    pub(crate) fn vmx_clts(&mut self, i: &Instruction) -> Result<bool, Trap> {
        if !self.state.vmx.guest {
            return Ok(true);
        }
        let (mask, shadow, _) = self.masks(false);
        if mask & CR0_TS == 0 {
            return Ok(true);
        }
        if shadow & CR0_TS != 0 {
            return Err(self.cr_exit(i, 0, CLTS, 0));
        }
        Ok(false)
    }

    /// `LMSW` of `source`: exits, or gives the new CR0.
    pub(crate) fn vmx_lmsw(&mut self, i: &Instruction, source: u16) -> Result<u64, Trap> {
        let (source, cr0) = (source as u64, self.state.sys.cr0);
        // PE can be set and not cleared.
        let load = |keep: u64| cr0 & !(0xe & !keep) | source & 0xf & !keep;
        if !self.state.vmx.guest {
            return Ok(load(0));
        }
        let (mask, shadow, _) = self.masks(false);
        let changes = (source ^ shadow) & mask & 0xe != 0 || source & !shadow & mask & CR0_PE != 0;
        if !changes {
            return Ok(load(mask));
        }
        let memory = i.op0_kind() != OpKind::Register;
        let linear = if memory { self.memory_operand(i, 2, false)?.1 } else { 0 };
        let qualification = LMSW << 4 | (memory as u64) << 6 | source << 16;
        let e = Exit { qualification, linear, ..Exit::of(i, reason::CR_ACCESS) };
        Err(self.exit_trap(e))
    }
}
