//! The hypervisor's state, and the loop that runs virtual processors in turn.
//!
//! One physical processor runs every vCPU, as the ABI's scheduler chooses them, for a slice at a
//! time. Interrupts stay off here: they arrive as VM exits, or while idle.

use crate::apic::{self, Apic};
use crate::console::{self, say};
use crate::device_access;
use crate::direct_map::Direct;
use crate::ioapic::IoApic;
use crate::stand_in;
use crate::traps;
use crate::vmx_ops::{self, Controls};
use crate::vmx_vcpu::{DomainFrames, VmxVcpu};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeBounds;
use hypervisor::acpi::Platform;
use hypervisor::memory::Memory;
use hypervisor::multiplex::Frames;
use hypervisor::vmx::controls::INTERRUPT_WINDOW;
use hypervisor::vmx::exit::{self, Interruption};
use hypervisor::vmx::field;
use hypervisor::xen::build::acpi_tables;
use hypervisor::xen::console::{Focus, Typed};
use hypervisor::xen::{DomId, Event, HostServices, Xen};
use runtime::cpu::rdtsc;

const RFLAGS_IF: u64 = 1 << 9;
/// Blocking by STI or by MOV SS.
const SHADOW: u64 = 3;
const BLOCKED_BY_NMI: u64 = 8;

/// A vCPU below the ABI.
pub(crate) struct Slot {
    pub(crate) dom: DomId,
    pub(crate) id: u32,
    pub(crate) vcpu: Box<VmxVcpu>,
    /// The interrupt window is open: the vCPU exits as soon as it can take an interrupt.
    window: bool,
    /// An event is already in the entry-interruption field.
    pub(crate) injecting: bool,
    /// What devices have still to answer for the instruction that has exited.
    pub(crate) wait: Option<device_access::Wait>,
    /// What an instruction that is to be executed will read of devices.
    pub(crate) readings: Vec<device_access::Reading>,
}

impl Slot {
    pub(crate) fn new(dom: DomId, id: u32, vcpu: VmxVcpu) -> Self {
        let (wait, readings) = (None, Vec::new());
        Self { dom, id, vcpu: Box::new(vcpu), window: false, injecting: false, wait, readings }
    }

    /// The vCPU's name in the ABI.
    pub(crate) fn key(&self) -> (DomId, u32) {
        (self.dom, self.id)
    }

    /// The vCPU has been set up anew, perhaps with an event to take at its first entry.
    pub(crate) fn started(&mut self, injecting: bool) {
        (self.window, self.injecting) = (false, injecting);
        self.wait = None;
        self.readings.clear();
    }

    /// Sets `bit` of the primary controls that come and go, and no other of them.
    pub(crate) fn set_control(&mut self, controls: &Controls, bit: u32) {
        self.window = bit == INTERRUPT_WINDOW;
        vmx_ops::write(field::PROC_CONTROLS, u64::from(controls.proc | bit));
    }
}

/// The memory and the name of a domain, below the ABI.
pub(crate) struct DomainResources {
    pub(crate) frames: DomainFrames,
    /// Exits of vCPUs that are gone are kept here for the report.
    pub(crate) name: String,
}

/// The hypervisor's whole state.
pub(crate) struct Host {
    pub(crate) xen: Xen,
    pub(crate) memory: Memory<Direct>,
    pub(crate) apic: Apic,
    pub(crate) ioapic: IoApic,
    pub(crate) controls: Controls,
    pub(crate) platform: Platform,
    /// The machine's ACPI tables, until dom0 is built.
    pub(crate) tables: Option<acpi_tables::HostTables>,
    pub(crate) resources: BTreeMap<DomId, DomainResources>,
    pub(crate) slots: Vec<Slot>,
    /// The machine is powered off when the last domU has ended.
    pub(crate) until_domus_end: bool,
    /// A domain has crashed.
    pub(crate) crashed: bool,
    /// COM2 is for consoles of domains' own, and what has come there of a frame.
    pub(crate) own_consoles: bool,
    frames: Frames,
    /// The slot whose state the processor holds.
    pub(crate) current: Option<usize>,
    pub(crate) last_vpid: u16,
    /// The pages that stand in for those that the current instruction may not reach.
    pub(crate) stand_ins: Vec<stand_in::Page>,
    /// The next deadline of the current domain, and whether it must be asked for again.
    next_timer: Option<u64>,
    pub(crate) timers_changed: bool,
    /// A deadline was lost, and this was said.
    lost_deadline: bool,
    /// The deadline that the physical timer is set to.
    programmed: Option<u64>,
}

impl Host {
    /// A host without domains.
    pub(crate) fn new(
        memory: Memory<Direct>,
        apic: Apic,
        ioapic: IoApic,
        controls: Controls,
        platform: Platform,
        wallclock: u64,
    ) -> Self {
        Self {
            xen: Xen::new(apic.tsc_khz, wallclock),
            memory,
            apic,
            ioapic,
            controls,
            platform,
            tables: None,
            resources: BTreeMap::new(),
            slots: Vec::new(),
            until_domus_end: false,
            crashed: false,
            own_consoles: false,
            frames: Frames::default(),
            current: None,
            last_vpid: 0,
            stand_ins: Vec::new(),
            next_timer: None,
            timers_changed: true,
            lost_deadline: false,
            programmed: None,
        }
    }

    /// Runs domains until the machine ends.
    pub(crate) fn run(&mut self) -> ! {
        loop {
            self.settle();
            let now = rdtsc();
            match self.xen.schedule(&mut self.memory, now) {
                Some(key) => self.run_vcpu(key, now),
                None => self.idle(now),
            }
        }
    }

    /// The first of `domains`' deadlines after a tick at `now`. One that the tick did not move would
    /// keep the processor from everybody: it is dropped, and this is said once.
    fn next_deadline(&mut self, domains: impl RangeBounds<DomId>, now: u64) -> Option<u64> {
        let mut lost = false;
        let ahead = self.xen.deadlines(domains).filter(|&at| {
            lost |= at <= now;
            at > now
        });
        let next = ahead.min();
        if lost && !core::mem::replace(&mut self.lost_deadline, true) {
            say!("a deadline has passed and nothing was due: dropped");
        }
        next
    }

    /// The time up to which the vCPU of `dom` that runs is left alone; timers that are due at `now`
    /// have fired.
    fn deadline(&mut self, dom: DomId, now: u64) -> u64 {
        if core::mem::take(&mut self.timers_changed) {
            self.next_timer = self.xen.deadlines(dom..=dom).min();
        }
        if self.next_timer.is_some_and(|at| at <= now) {
            self.xen.tick_domain(&mut self.memory, dom, now);
            self.next_timer = self.next_deadline(dom..=dom, now);
        }
        let slice_end = self.xen.scheduler.slice_end();
        self.next_timer.map_or(slice_end, |at| at.min(slice_end))
    }

    fn set_timer(&mut self, deadline: Option<u64>) {
        if self.programmed != deadline {
            self.programmed = deadline;
            self.apic.set_deadline(deadline);
        }
    }

    /// Takes the current vCPU's state off the processor.
    pub(crate) fn leave(&mut self, now: u64) {
        if let Some(index) = self.current.take() {
            let slot = &mut self.slots[index];
            slot.vcpu.switch_out(&self.controls);
            let (dom, id) = slot.key();
            self.xen.stop(&mut self.memory, dom, id, now);
        }
    }

    fn idle(&mut self, now: u64) {
        self.leave(now);
        let timer = self.next_deadline(.., now);
        let next = [timer, self.xen.scheduler.resume()].into_iter().flatten().min();
        if next.is_none() && !self.waits_for_devices() {
            self.end("no domain can run again");
        }
        self.set_timer(next);
        let vector = traps::idle();
        if vector != 0 {
            self.interrupt(vector);
        }
    }

    /// Dom0 may be woken by a device of the machine.
    fn waits_for_devices(&self) -> bool {
        self.xen.domain(DomId(0)).is_ok_and(|dom0| dom0.alive())
    }

    /// Puts the vCPU `key` on the processor; its place in the list. Every vCPU has one.
    fn enter(&mut self, key: (DomId, u32), now: u64) -> Option<usize> {
        if let Some(index) = self.current
            && self.slots[index].key() == key
        {
            return Some(index);
        }
        self.leave(now);
        self.current = self.slot_of(key.0, key.1);
        self.slots[self.current?].vcpu.switch_in(&self.controls);
        self.xen.run(&mut self.memory, key.0, key.1, now);
        self.timers_changed = true;
        self.current
    }

    fn run_vcpu(&mut self, key: (DomId, u32), now: u64) {
        let Some(index) = self.enter(key, now) else { return };
        if !self.go_on(index) {
            return;
        }
        let deadline = self.deadline(key.0, now);
        self.set_timer(Some(deadline));
        // Nothing comes between a device's answer and the instruction that it is for.
        if self.stand_ins.is_empty() {
            self.inject(index);
        }
        self.enter_guest(index);
        // Nobody else sees the pages that stand in, and no event comes between.
        while !self.stand_ins.is_empty() {
            self.enter_guest(index);
        }
    }

    fn enter_guest(&mut self, index: usize) {
        self.memory.take_stale().into_iter().for_each(vmx_ops::invalidate_ept);
        if self.slots[index].vcpu.enter() {
            self.exited(index);
        } else {
            let error = vmx_ops::read(field::INSTRUCTION_ERROR);
            self.kill(index, &format!("VM entry refused with error {error}"));
        }
    }

    /// Puts the next event into the entry fields, or asks to exit when the guest can take one.
    fn inject(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if core::mem::take(&mut slot.injecting) {
            return;
        }
        let (dom, id) = slot.key();
        let event = self.xen.pending(&self.memory, dom, id);
        let mut window = false;
        if let Some(event) = event {
            let interruptibility = vmx_ops::read(field::GUEST_INTERRUPTIBILITY);
            let (info, ready) = match event {
                Event::Nmi => {
                    (Interruption::nmi(), interruptibility & (SHADOW | BLOCKED_BY_NMI) == 0)
                }
                Event::Upcall(vector) | Event::Legacy(vector) | Event::Interrupt(vector) => (
                    Interruption::external(vector),
                    interruptibility & SHADOW == 0
                        && vmx_ops::read(field::GUEST_RFLAGS) & RFLAGS_IF != 0,
                ),
            };
            if ready {
                vmx_ops::write(field::ENTRY_INTERRUPTION_INFO, info.0.into());
                self.xen.accept(dom, id, event);
            }
            let another = ready && self.xen.pending(&self.memory, dom, id).is_some();
            // DEPARTURE: an NMI that is blocked waits for the next interrupt window or exit, not
            // for an NMI window, which needs virtual NMIs.
            window = !ready || another;
        }
        if window != slot.window {
            slot.set_control(&self.controls, if window { INTERRUPT_WINDOW } else { 0 });
        }
    }

    /// Counts an exit and handles it; a domain that went too far ends here.
    fn exited(&mut self, index: usize) {
        let full = vmx_ops::read(field::EXIT_REASON) as u32;
        let reason = full as u16;
        let slot = &mut self.slots[index];
        if let Some(count) = slot.vcpu.exits.get_mut(usize::from(reason)) {
            *count += 1;
        }
        let steps = matches!(reason, exit::EPT_VIOLATION | exit::MONITOR_TRAP);
        if !self.stand_ins.is_empty() && !steps {
            self.give_up_step(index);
            if reason != exit::EXTERNAL_INTERRUPT {
                self.slots[index].readings.clear();
            }
        }
        let result = if full >> 31 != 0 {
            Err(format!(
                "{} (qualification {:#x})",
                exit::name(reason),
                vmx_ops::read(field::EXIT_QUALIFICATION)
            ))
        } else {
            self.handle(index, reason)
        };
        if let Err(reason) = result {
            let rip = vmx_ops::read(field::GUEST_RIP);
            self.kill(index, &format!("{reason}, RIP {rip:#x}"));
        }
    }

    /// Takes an interrupt of the machine.
    pub(crate) fn interrupt(&mut self, vector: u8) {
        if vector == apic::SPURIOUS {
            return;
        }
        if let Some(pin) = self.ioapic.pin_of(vector) {
            if self.is_console(pin) {
                return self.console_input();
            }
            self.ioapic.hold(pin);
            self.xen.set_gsi(&mut self.memory, DomId(0), pin, true);
        }
        if vector == apic::TIMER {
            // A count or deadline fires once.
            self.programmed = None;
        }
        self.apic.eoi();
    }

    /// Hands on the bytes typed on the consoles.
    fn console_input(&mut self) {
        while self.own_consoles
            && let Some(byte) = console::received_own()
        {
            if let Some((dom, byte)) = self.frames.take(byte) {
                self.xen.typed_to(&mut self.memory, dom, byte);
            }
        }
        while let Some(byte) = console::received() {
            match self.xen.typed(&mut self.memory, byte) {
                Typed::Taken => {}
                Typed::Switched(focus) => self.switched(focus),
                Typed::Key(key) => self.key(key),
            }
        }
        self.apic.eoi();
    }

    /// Says whom a person types to from now on.
    fn switched(&self, focus: Focus) {
        let name = match focus {
            Focus::Domain(dom) => self.resources.get(&dom).map_or("?", |r| r.name.as_str()),
            Focus::Hypervisor => "the hypervisor (h lists its keys)",
        };
        say!("*** input to {name}; Ctrl-A three times switches");
    }

    /// A key for the hypervisor itself.
    pub(crate) fn key(&mut self, key: u8) {
        match key {
            b'h' | b'?' => {
                self.note("'h' pressed -> keys: d the domains, g what they hold, h this list")
            }
            b'd' => {
                self.note("'d' pressed -> the domains");
                let lines = self.xen.domains.iter().map(|(dom, domain)| {
                    let name = self.resources.get(dom).map_or("?", |r| r.name.as_str());
                    let state = if domain.alive() { "alive" } else { "ended" };
                    format!("domain {} ({name}): {} vCPUs, {state}", dom.0, domain.vcpus.len())
                });
                lines.collect::<Vec<_>>().iter().for_each(|line| self.note(line));
            }
            b'g' => {
                self.note("'g' pressed -> what the domains hold");
                let lines = self.xen.domains.iter().map(|(dom, domain)| {
                    let pages = self.memory.pages(*dom);
                    format!("domain {}: {pages} pages, {}", dom.0, domain.holds())
                });
                lines.collect::<Vec<_>>().iter().for_each(|line| self.note(line));
                self.note(&format!("free: {} pages", self.memory.free_pages()));
            }
            _ => {}
        }
    }

    /// Ends a domain that cannot go on.
    fn kill(&mut self, index: usize, reason: &str) {
        self.give_up_step(index);
        let (dom, id) = self.slots[index].key();
        let name = self.resources.get(&dom).map_or("?", |resources| &resources.name);
        self.note(&format!("domain {} ({name}) killed: vCPU {id}: {reason}", dom.0));
        self.xen.shutdown(dom, hypervisor::xen::ShutdownReason::Crash);
    }
}
