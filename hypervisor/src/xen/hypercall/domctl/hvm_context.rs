//! The state of a domain's processors as a list of records: `gethvmcontext` and its kin.

use super::super::super::Action;
use super::super::super::abi::Errno;
use super::super::super::abi::hvm_context::{
    CPU_SIZE, CpuState, DESCRIPTOR, HEADER_SIZE, LAPIC_REGS_SIZE, LAPIC_SIZE, MAGIC, MTRR_SIZE,
    Record, code, next_record, push_record,
};
use super::super::super::abi::layout::{Field, HvmContext, HvmContextPartial};
use super::super::super::host_services::DomId;
use super::super::super::pc::records;
use super::super::super::vcpu::{Activity, Vcpu};
use super::super::Call;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most bytes that are read of a context: far more than a domain's.
const MOST: u32 = 1 << 20;
/// The bits of CR0 and CR4 that a guest can have, and those of EFER.
const CR0_BITS: u64 = 0xE005_003F;
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_BITS: u64 = 0x7FF | 1 << 11 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21;
const EFER_BITS: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;

/// The bytes that the context of a domain with `vcpus`, and perhaps a `pc`, takes at most.
fn size(vcpus: u32, pc: bool) -> u32 {
    let records = [CPU_SIZE, LAPIC_SIZE, LAPIC_REGS_SIZE, MTRR_SIZE];
    let each: usize = records.iter().map(|size| DESCRIPTOR + size).sum();
    let pc = if pc { records::SIZE } else { 0 };
    (2 * DESCRIPTOR + HEADER_SIZE + pc) as u32 + vcpus * each as u32
}

impl Call<'_> {
    /// True once the registers of all vCPUs that are up are in their records; false if they have to
    /// be fetched first.
    pub(super) fn have_registers(&mut self, dom: DomId) -> Result<bool, Errno> {
        let known = |v: &Vcpu| v.activity == Activity::Down || v.registers.is_some();
        let all = self.xen.domain(dom)?.vcpus.iter().all(known);
        if !all {
            self.xen.actions.push(Action::SaveVcpus(dom));
        }
        Ok(all)
    }

    /// The length with a null buffer, else the records; false to be called again.
    pub(super) fn get_hvm_context(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let mut arg: HvmContext = self.load(at)?;
        let dom = self.other(dom)?;
        let size = size(self.xen.domain(dom)?.max_vcpus, self.xen.pc(dom).is_some());
        if arg.buffer == 0 {
            arg.size = size;
            return self.store(at, &arg).map(|()| true);
        }
        if arg.size < size {
            return Err(Errno::NoSpc);
        }
        if self.xen.domain(dom)?.dying {
            return Err(Errno::Inval);
        }
        if !self.have_registers(dom)? {
            return Ok(false);
        }
        let mut out = Vec::new();
        out.try_reserve_exact(size as usize).map_err(|_| Errno::NoMem)?;
        self.records(dom, &mut out)?;
        self.c.write(self.host, arg.buffer, &out)?;
        arg.size = out.len() as u32;
        self.store(at, &arg).map(|()| true)
    }

    /// One record without its head; false to be called again.
    pub(super) fn get_hvm_record(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let mut arg: HvmContextPartial = self.load(at)?;
        let dom = self.other(dom)?;
        let known = [code::CPU, code::LAPIC, code::LAPIC_REGS, code::MTRR];
        let domain = self.xen.domain(dom)?;
        let is = |code: &u16| u32::from(*code) == arg.kind;
        let of_pc = domain.pc.is_some() && records::CODES.iter().any(is);
        if domain.dying || !(of_pc || known.iter().any(is)) {
            return Err(Errno::Inval);
        }
        if !of_pc && domain.vcpu(arg.instance).is_none() {
            return Err(Errno::NoEnt);
        }
        if !self.have_registers(dom)? {
            return Ok(false);
        }
        let mut all = Vec::new();
        self.records(dom, &mut all)?;
        let mut rest = &all[..];
        let wanted =
            |r: &Record<'_>| (u32::from(r.code), u32::from(r.instance)) == (arg.kind, arg.instance);
        let found = core::iter::from_fn(|| next_record(&mut rest)).find(wanted);
        let bytes = found.ok_or(Errno::NoData)?.bytes;
        if arg.buffer != 0 {
            if arg.bufsz < bytes.len() as u64 {
                return Err(Errno::NoBufs);
            }
            self.c.write(self.host, arg.buffer, bytes)?;
        }
        arg.bufsz = bytes.len() as u64;
        self.store(at, &arg).map(|()| true)
    }

    /// Adds all records of a domain to `out`, by type, then by vCPU.
    fn records(&self, dom: DomId, out: &mut Vec<u8>) -> Result<(), Errno> {
        let domain = self.xen.domain(dom)?;
        push_record(out, Record { code: code::HEADER, instance: 0, bytes: &self.header() });
        let mut push = |code: u16, id: u32, bytes: &[u8]| {
            push_record(out, Record { code, instance: id as u16, bytes });
        };
        for vcpu in domain.vcpus.iter().filter(|vcpu| vcpu.activity != Activity::Down) {
            let state = vcpu.registers.as_deref().ok_or(Errno::NoData)?;
            push(code::CPU, vcpu.id, &state.encode()[..]);
        }
        let now = self.c.now;
        self.xen.pc_records(dom, out);
        let mut push = |code: u16, id: u32, bytes: &[u8]| {
            push_record(out, Record { code, instance: id as u16, bytes });
        };
        for vcpu in &domain.vcpus {
            push(code::LAPIC, vcpu.id, &vcpu.lapic.hidden_record(now));
        }
        for vcpu in &domain.vcpus {
            push(code::LAPIC_REGS, vcpu.id, &vcpu.lapic.registers_record(now)[..]);
        }
        for vcpu in &domain.vcpus {
            push(code::MTRR, vcpu.id, &mtrr(vcpu.registers.as_deref()));
        }
        push(code::END, 0, &[]);
        Ok(())
    }

    fn header(&self) -> [u8; HEADER_SIZE] {
        let mut raw = [0; HEADER_SIZE];
        let [magic, version] = MAGIC.map(u32::to_le_bytes);
        let signature = self.xen.processor.answer(1, 0)[0].to_le_bytes();
        let khz = u32::try_from(self.xen.clock.tsc_khz).unwrap_or(u32::MAX).to_le_bytes();
        // The changeset is not known.
        let fields = [(0, magic), (4, version), (8, [0xFF; 4]), (12, [0xFF; 4])];
        for (at, field) in fields.into_iter().chain([(16, signature), (20, khz)]) {
            raw[at..at + 4].copy_from_slice(&field);
        }
        raw
    }

    /// Takes records over: all vCPUs go down, those whose registers are given come up.
    pub(super) fn set_hvm_context(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let arg: HvmContext = self.load(at)?;
        let dom = self.other(dom)?;
        if self.xen.domain(dom)?.dying || arg.size > MOST {
            return Err(Errno::Inval);
        }
        let mut all = Vec::new();
        all.try_reserve_exact(arg.size as usize).map_err(|_| Errno::NoMem)?;
        all.resize(arg.size as usize, 0);
        self.c.read(self.host, arg.buffer, &mut all)?;
        let mut rest = &all[..];
        let head = next_record(&mut rest).filter(|record| record.code == code::HEADER);
        let head = head.filter(|record| record.bytes.len() == HEADER_SIZE).ok_or(Errno::NoData)?;
        if head.bytes[..8] != MAGIC.map(u32::to_le_bytes).as_flattened()[..] {
            return Err(Errno::Inval);
        }
        for vcpu in &mut self.xen.domain_mut(dom)?.vcpus {
            vcpu.activity = Activity::Down;
        }
        loop {
            let record = next_record(&mut rest).ok_or(Errno::NoData)?;
            if record.code == code::END {
                return Ok(());
            }
            self.load_record(dom, record)?;
        }
    }

    fn load_record(&mut self, dom: DomId, record: Record<'_>) -> Result<(), Errno> {
        let id = u32::from(record.instance);
        if records::CODES.contains(&record.code) {
            return self.xen.load_pc_record(dom, &record, self.c.now);
        }
        let vcpu = self.xen.domain_mut(dom)?.vcpu_mut(id).ok_or(Errno::Inval)?;
        match record.code {
            code::CPU => {
                let raw = record.bytes.try_into().map_err(|_| Errno::Inval)?;
                let state = checked(CpuState::decode(raw))?;
                vcpu.registers = Some(Box::new(state));
                vcpu.activity = Activity::Runnable;
                self.xen.actions.push(Action::LoadVcpu { dom, vcpu: id });
                Ok(())
            }
            code::LAPIC => vcpu.lapic.load_hidden(record.bytes).ok_or(Errno::Inval),
            code::LAPIC_REGS => {
                let now = self.c.now;
                vcpu.lapic.load_registers(record.bytes, now).ok_or(Errno::Inval)
            }
            // Guests see no MTRRs: what counts is the page-attribute table.
            code::MTRR if record.bytes.len() == MTRR_SIZE => {
                let Some(state) = &mut vcpu.registers else { return Ok(()) };
                state.set_pat(u64::load(record.bytes)).ok_or(Errno::Inval)
            }
            code::TSC_ADJUST | code::CPU_MSR => Ok(()),
            _ => Err(Errno::Inval),
        }
    }
}

fn canonical(address: u64) -> bool {
    let high = address as i64 >> 47;
    high == 0 || high == -1
}

/// Registers that a processor can have, as far as the hypervisor loads them itself: the rest is
/// checked by the VM entry.
pub(super) fn checked(mut state: CpuState) -> Result<CpuState, Errno> {
    let [cr0, _, _, cr4] = state.cr;
    let bad = cr0 & !CR0_BITS != 0
        || cr0 & (CR0_PG | CR0_PE) == CR0_PG
        || cr4 & !CR4_BITS != 0
        || state.efer & !EFER_BITS != 0
        || state.dr[4] >> 32 != 0
        || state.dr[5] >> 32 != 0
        || state.tsc_aux >> 32 != 0
        || state.syscall_mask >> 32 != 0
        || ![state.lstar, state.cstar, state.shadow_gs].into_iter().all(canonical)
        // MXCSR.
        || u32::load(&state.fpu[24..]) >> 16 != 0;
    if bad {
        return Err(Errno::Inval);
    }
    // Bit 1 is always set.
    state.rflags |= 2;
    Ok(state)
}

/// The record of memory types: the page-attribute table, and MTRRs that are off.
fn mtrr(state: Option<&CpuState>) -> [u8; MTRR_SIZE] {
    let mut raw = [0; MTRR_SIZE];
    let pat = state.map_or_else(|| CpuState::default().pat, |state| state.pat);
    raw[..8].copy_from_slice(&pat.to_le_bytes());
    raw
}
