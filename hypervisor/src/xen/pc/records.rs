//! A PC as records of an HVM context.

use super::super::abi::Errno;
use super::super::abi::hvm_context::{DESCRIPTOR, Record, code, push_record};
use super::super::host_services::DomId;
use super::super::vioapic;
use super::{Pc, Xen, periods, pic, pit, pm_timer, rtc};
use alloc::vec::Vec;

/// The bytes of all records.
pub const SIZE: usize = {
    let pics = 2 * (DESCRIPTOR + pic::RECORD);
    let lines = (DESCRIPTOR + 16) + 2 * (DESCRIPTOR + 8);
    let timers = 3 * DESCRIPTOR + pit::RECORD + rtc::RECORD + pm_timer::RECORD;
    pics + DESCRIPTOR + vioapic::RECORD + lines + timers
};

/// The types of the records.
pub const CODES: [u16; 8] = [
    code::PIC,
    code::IOAPIC,
    code::PCI_IRQ,
    code::ISA_IRQ,
    code::PCI_LINK,
    code::PIT,
    code::RTC,
    code::PMTIMER,
];

/// The bytes of a record of that length.
fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Errno> {
    bytes.try_into().map_err(|_| Errno::Inval)
}

impl Xen {
    /// Adds the records of a domain's PC, if it has one, to `out`.
    pub fn pc_records(&self, dom: DomId, out: &mut Vec<u8>) {
        let Ok(domain) = self.domain(dom) else { return };
        let Some(pc) = &domain.pc else { return };
        let mut push = |code: u16, instance: u16, bytes: &[u8]| {
            push_record(out, Record { code, instance, bytes });
        };
        let [master, slave] = pc.pic.records();
        push(code::PIC, 0, &master);
        push(code::PIC, 1, &slave);
        push(code::IOAPIC, 0, &domain.ioapic.record());
        let (pci, isa, routes) = pc.lines.records();
        push(code::PCI_IRQ, 0, &pci);
        push(code::ISA_IRQ, 0, &isa);
        push(code::PCI_LINK, 0, &routes);
        push(code::PIT, 0, &pc.pit.record());
        push(code::RTC, 0, &pc.rtc.record(self.wallclock.0 as i64));
        push(code::PMTIMER, 0, &pc.pm.record());
    }

    /// Takes a record of a PC over.
    pub fn load_pc_record(
        &mut self,
        dom: DomId,
        record: &Record<'_>,
        now: u64,
    ) -> Result<(), Errno> {
        let (clock, wallclock) = (self.clock, self.wallclock.0 as i64);
        let domain = self.domain_mut(dom)?;
        let pc = domain.pc.as_deref_mut().ok_or(Errno::Inval)?;
        let bytes = record.bytes;
        if record.instance > u16::from(record.code == code::PIC) {
            return Err(Errno::Inval);
        }
        match record.code {
            code::PIC => pc.pic.load(record.instance != 0, sized(bytes)?),
            code::IOAPIC => domain.ioapic.load(&sized(bytes)?),
            code::PCI_IRQ => pc.lines.load_pci(sized(bytes)?),
            code::ISA_IRQ => pc.lines.load_isa(sized(bytes)?),
            code::PCI_LINK if !pc.lines.load_routes(sized(bytes)?) => return Err(Errno::Inval),
            code::PCI_LINK => {}
            code::PIT => pc.pit.load(&sized(bytes)?, periods(&clock, now, pit::HZ)),
            code::RTC => pc.rtc.load(&sized(bytes)?, wallclock, clock.ns(now)),
            code::PMTIMER => pc.pm.load(sized(bytes)?, periods(&clock, now, pm_timer::HZ)),
            _ => return Err(Errno::Inval),
        }
        // What the controllers know of the lines is in their own records.
        let levels = pc.levels();
        pc.pic.set_levels(levels.0);
        domain.ioapic.set_levels(levels.1);
        Ok(())
    }
}

impl Pc {
    /// The levels of the lines, which the controllers have from now on been told.
    fn levels(&mut self) -> (u16, u64) {
        self.driven = (self.lines.isa(), self.lines.inputs());
        self.driven
    }
}
