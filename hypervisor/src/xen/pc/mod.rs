//! The PC of an HVM domain: what of it the hypervisor emulates, and how the rest is asked for.
//!
//! Interrupt controllers and timers are here; disks, network, PCI configuration and all else are a
//! device model's ([`io_server`]). An access that nobody answers reads ones.

pub mod buffered;
pub mod io_server;
pub mod lines;
pub mod moves;
pub mod operand;
pub mod pic;
pub mod pit;
pub mod pm_timer;
pub mod records;
pub mod rtc;
mod servers;
pub mod strings;

use super::Xen;
use super::host_services::{DomId, HostServices};
use super::time::Clock;
use alloc::vec::Vec;
use io_server::{Access, IoServer, Space};
use lines::{Internal, Lines};
use pic::Pic;
use pit::Pit;
use pm_timer::PmTimer;
use rtc::Rtc;

/// What hvmloader and others say before they have a console.
const DEBUG_PORT: u16 = 0xE9;
const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
/// The address of PCI configuration, and its data.
const CONFIG_ADDRESS: u16 = 0xCF8;
const CONFIG_DATA: u16 = 0xCFC;
const CONFIG_ENABLE: u32 = 1 << 31;
/// The timer's inputs of the two controllers.
const TIMER_IRQ: u8 = 0;
const TIMER_INPUT: u32 = 2;
/// The input by which the second 8259A reaches the first.
const CASCADE: u8 = 2;

/// The emulated part of a PC.
#[derive(Debug, Clone)]
pub struct Pc {
    /// The 8259A pair.
    pub pic: Pic,
    /// The 8254 timer.
    pub pit: Pit,
    /// The real-time clock.
    pub rtc: Rtc,
    /// The power-management timer and events.
    pub pm: PmTimer,
    /// The interrupt lines.
    pub lines: Lines,
    /// The device models, by number.
    pub servers: Vec<IoServer>,
    /// The address register of PCI configuration.
    config: u32,
    /// The levels that the controllers have been told: 8259A pair, I/O APIC.
    driven: (u16, u64),
}

/// `tsc` in periods of a clock of `hz`.
fn periods(clock: &Clock, tsc: u64, hz: u64) -> u64 {
    (u128::from(tsc) * u128::from(hz) / (u128::from(clock.tsc_khz) * 1000)) as u64
}

/// The first tick of the TSC at which [`periods`] is `count`.
fn tsc_at(clock: &Clock, count: u64, hz: u64) -> u64 {
    let ticks = u128::from(count) * u128::from(clock.tsc_khz) * 1000;
    u64::try_from(ticks.div_ceil(u128::from(hz))).unwrap_or(u64::MAX)
}

impl Pc {
    /// A PC after reset, whose clock shows `epoch` seconds since 1970 at system time 0.
    pub fn new(epoch: i64) -> Self {
        Self {
            pic: Pic::default(),
            pit: Pit::default(),
            rtc: Rtc::new(epoch),
            pm: PmTimer::default(),
            lines: Lines::default(),
            servers: Vec::new(),
            config: 0,
            driven: (0, 0),
        }
    }

    /// The TSC at which a timer has something to do next.
    pub fn deadline(&self, clock: &Clock) -> Option<u64> {
        let pit = self.pit.deadline().map(|at| tsc_at(clock, at, pit::HZ));
        let pm = self.pm.deadline().map(|at| tsc_at(clock, at, pm_timer::HZ));
        let rtc = self.rtc.deadline().map(|at| clock.tsc_at(at));
        [pit, pm, rtc].into_iter().flatten().min()
    }

    /// The server that answers for all of an access.
    pub fn server(&self, access: &Access) -> Option<&IoServer> {
        let bytes = u64::from(access.size);
        let bytes = if access.space == Space::Memory {
            bytes.saturating_mul(u64::from(access.count))
        } else {
            bytes
        };
        let last = access.addr.checked_add(bytes.checked_sub(1)?)?;
        let key = |addr: u64| if access.space == Space::Config { addr >> 32 } else { addr };
        let found = |server: &&IoServer| server.answers(access.space, key(access.addr), key(last));
        self.servers.iter().rev().find(found)
    }

    /// The access that one to a port is: to PCI configuration at its data port.
    fn translated(&self, access: Access) -> Access {
        let port = access.addr as u16;
        let data = access.space == Space::Port && port & !3 == CONFIG_DATA;
        if !data || self.config & CONFIG_ENABLE == 0 {
            return access;
        }
        let function = u64::from(self.config >> 8 & 0xFFFF);
        let register = u64::from(self.config & 0xFC) | u64::from(port & 3);
        Access { space: Space::Config, addr: function << 32 | register, ..access }
    }
}

/// A byte of a port, as the devices of the hypervisor take them.
struct PortByte {
    port: u16,
    /// The byte that is written, if one is.
    value: Option<u8>,
    /// The value of `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
    location: u64,
    now: u64,
}

impl Pc {
    /// A byte at a port of the hypervisor's; none if the port is not. A write gives 0.
    fn port(&mut self, clock: &Clock, byte: &PortByte) -> Option<u8> {
        let &PortByte { port, value, location, now } = byte;
        if Pic::has(port) {
            return Some(match value {
                Some(value) => {
                    self.pic.write(port, value);
                    0
                }
                None => self.pic.read(port),
            });
        }
        if Pit::has(port) {
            let now = periods(clock, now, pit::HZ);
            return Some(match value {
                Some(value) => {
                    self.pit.write(port, value, now);
                    0
                }
                None => self.pit.read(port, now),
            });
        }
        if let Some(offset) = PmTimer::offset(location, port) {
            let now = periods(clock, now, pm_timer::HZ);
            return Some(match value {
                Some(value) => {
                    self.pm.write(offset, value, now);
                    0
                }
                None => self.pm.read(offset, now),
            });
        }
        self.clock_port(port, value, clock.ns(now))
    }

    /// The clock's two ports. Its memory's index goes to the device model too.
    fn clock_port(&mut self, port: u16, value: Option<u8>, now: u64) -> Option<u8> {
        match (port, value) {
            (RTC_INDEX, Some(value)) => {
                self.rtc.select(value);
                self.rtc.selected().map(|_| 0)
            }
            (RTC_DATA, Some(value)) => {
                self.rtc.selected()?;
                self.rtc.write(value, now);
                Some(0)
            }
            (RTC_DATA, None) => {
                self.rtc.selected()?;
                Some(self.rtc.read(now))
            }
            _ => None,
        }
    }
}

impl Xen {
    /// The emulated PC of `dom`, if it is an HVM domain.
    pub fn pc(&self, dom: DomId) -> Option<&Pc> {
        self.domain(dom).ok()?.pc.as_deref()
    }

    /// The PC, to change.
    pub fn pc_mut(&mut self, dom: DomId) -> Option<&mut Pc> {
        self.domain_mut(dom).ok()?.pc.as_deref_mut()
    }

    /// An access of a vCPU of an HVM domain to a device: what is read, 0 after a write. None if a device
    /// model has been asked, and the vCPU waits: [`Xen::answer`] has it then.
    pub fn access(
        &mut self,
        host: &mut dyn HostServices,
        (dom, vcpu): (DomId, u32),
        access: Access,
        now: u64,
    ) -> Option<u64> {
        let here = match access.space {
            Space::Port => self.port_access(host, dom, &access, now),
            Space::Memory => self.memory_access(host, (dom, vcpu), &access, now),
            Space::Config => None,
        };
        if here.is_some() {
            return here;
        }
        self.ask(host, (dom, vcpu), access)
    }

    /// An access to the registers of the APICs, in pieces that they have.
    fn memory_access(
        &mut self,
        host: &mut dyn HostServices,
        key: (DomId, u32),
        access: &Access,
        now: u64,
    ) -> Option<u64> {
        if access.write {
            return self.mmio_write(host, key, access.addr, access.data, now).map(|()| 0);
        }
        self.mmio_read(key.0, key.1, access.addr, access.size.into(), now)
    }

    fn port_access(
        &mut self,
        host: &mut dyn HostServices,
        dom: DomId,
        access: &Access,
        now: u64,
    ) -> Option<u64> {
        let first = access.addr as u16;
        if first == DEBUG_PORT && access.write {
            self.output(dom, &[access.data as u8]);
            return Some(0);
        }
        let clock = self.clock;
        let domain = self.domain_mut(dom).ok()?;
        let location = domain.params[super::abi::nr::hvm::PARAM_ACPI_IOPORTS_LOCATION];
        let pc = domain.pc.as_deref_mut()?;
        if first == CONFIG_ADDRESS && access.size == 4 && access.write {
            pc.config = access.data as u32;
        }
        let mut read = 0;
        for index in 0..access.size {
            let port = first.wrapping_add(index.into());
            let value = access.write.then_some((access.data >> (8 * index)) as u8);
            let byte = pc.port(&clock, &PortByte { port, value, location, now });
            // What begins at a device of the hypervisor's is nobody else's.
            let byte = if index == 0 { byte? } else { byte.unwrap_or(0xFF) };
            read |= u64::from(byte) << (8 * index);
        }
        self.drive_lines(host, dom);
        Some(read)
    }

    /// Fires the timers of a domain's PC that are due at `now`.
    pub(super) fn tick_pc(&mut self, host: &mut dyn HostServices, dom: DomId, now: u64) {
        let clock = self.clock;
        let Some(pc) = self.pc_mut(dom) else { return };
        pc.pm.tick(periods(&clock, now, pm_timer::HZ));
        pc.rtc.tick(clock.ns(now));
        let timer = pc.pit.tick(periods(&clock, now, pit::HZ));
        if timer {
            pc.pic.set_line(TIMER_IRQ, true);
            pc.pic.set_line(TIMER_IRQ, false);
            self.set_gsi(host, dom, TIMER_INPUT, true);
            self.set_gsi(host, dom, TIMER_INPUT, false);
        }
        self.drive_lines(host, dom);
    }

    /// The power button of a domain's PC, or its sleep button, is pressed.
    pub(super) fn press_button(&mut self, host: &mut dyn HostServices, dom: DomId, sleep: bool) {
        if let Some(pc) = self.pc_mut(dom) {
            pc.pm.press(sleep);
            self.drive_lines(host, dom);
        }
    }

    /// Tells both interrupt controllers how the lines are, and wakes the first vCPU if that interrupts.
    pub(super) fn drive_lines(&mut self, host: &mut dyn HostServices, dom: DomId) {
        let Some(pc) = self.pc_mut(dom) else { return };
        pc.lines.set_internal(Internal::Rtc, pc.rtc.line());
        pc.lines.set_internal(Internal::Sci, pc.pm.line());
        let (isa, inputs) = (pc.lines.isa(), pc.lines.inputs());
        let (old_isa, old_inputs) = core::mem::replace(&mut pc.driven, (isa, inputs));
        for irq in lines::ones(u64::from((isa ^ old_isa) & !(1 << CASCADE))) {
            pc.pic.set_line(irq as u8, isa >> irq & 1 != 0);
        }
        for input in lines::ones(inputs ^ old_inputs) {
            self.set_gsi(host, dom, input, inputs >> input & 1 != 0);
        }
        self.wake(host, dom, 0);
    }

    /// The vector that the 8259A pair offers a vCPU: the first, if its local APIC lets it through.
    pub(super) fn legacy_vector(&self, dom: DomId, vcpu: u32) -> Option<u8> {
        let domain = self.domain(dom).ok().filter(|_| vcpu == 0)?;
        let (pc, lapic) = (domain.pc.as_ref()?, &domain.vcpu(vcpu)?.lapic);
        let wired = lapic.xapic() || lapic.x2apic();
        let takes = lapic.takes_legacy() || wired && domain.ioapic.virtual_wire(lapic.id());
        pc.pic.vector().filter(|_| takes)
    }
}
