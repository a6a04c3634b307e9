//! Domains from the boot modules to their end, and what the ABI logic asks to be done.

use crate::console::{self, die, say};
use crate::host::{DomainResources, Host, Slot};
use crate::vmx_vcpu::{DomainFrames, Start, VmxVcpu};
use crate::{power, vmx_ops};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use hypervisor::boot::BootInfo;
use hypervisor::cmdline::{self, DomainOptions, ModuleKind};
use hypervisor::memory::{SPECIAL_PAGES, most_frames};
use hypervisor::phys::Physical;
use hypervisor::vmx::bitmaps;
use hypervisor::vmx::controls::RDTSCP;
use hypervisor::xen::build::Image;
use hypervisor::xen::vcpu::Activity;
use hypervisor::xen::{Action, DomId, DomainConfig, ShutdownReason};
use runtime::cpu::rdtsc;

/// Ports that dom0 does not reach: the interrupt controllers and timers whose place the virtual
/// APICs take, the hypervisor's consoles.
const DOM0_TRAPPED: [(u16, u16); 6] =
    [(0x20, 2), (0x40, 4), (0x61, 1), (0xA0, 2), (0xE9, 1), (0x3F8, 8)];

/// MSRs that guests use without exits: SYSENTER, PAT, EFER, SYSCALL, segment bases.
const FREE_MSRS: [u32; 12] = [
    0x174,
    0x175,
    0x176,
    0x277,
    0xC000_0080,
    0xC000_0081,
    0xC000_0082,
    0xC000_0083,
    0xC000_0084,
    0xC000_0100,
    0xC000_0101,
    0xC000_0102,
];
const IA32_TSC: u32 = 0x10;
const IA32_TSC_AUX: u32 = 0xC000_0103;

/// A kernel, its initial RAM disk and its description, as the loader brought them.
struct Described {
    options: DomainOptions,
    kernel: &'static [u8],
    initrd: Option<&'static [u8]>,
}

/// Sorts the modules into domains.
fn describe(boot: &BootInfo) -> Result<Vec<Described>, String> {
    let mut list: Vec<Described> = Vec::new();
    for (number, module) in boot.modules.iter().enumerate() {
        let named = |error| format!("module {number}: {error}");
        let bytes = crate::direct_map::bytes(module.range);
        match cmdline::parse(&module.cmdline).map_err(named)? {
            ModuleKind::Kernel(options) => {
                list.push(Described { options, kernel: bytes, initrd: None })
            }
            ModuleKind::Initrd => match list.last_mut() {
                Some(last) => last.initrd = Some(bytes),
                None => return Err(format!("module {number}: an initrd before any kernel")),
            },
        }
    }
    if list.is_empty() { Err("no kernel module: there is nothing to run".into()) } else { Ok(list) }
}

impl Host {
    /// Creates and starts every domain that the modules describe; the first is dom0.
    pub(crate) fn create_all(&mut self, boot: &BootInfo) {
        let list = describe(boot).unwrap_or_else(|error| die!("{error}"));
        if list.iter().any(|described| described.options.own_console) {
            self.own_consoles = true;
            console::init_own();
            self.ioapic.bind(console::OWN_PIN, false, false, false);
        }
        // What a domain may ever ask for is set aside now: none lives at another's cost.
        let mut left = self.memory.frames.free_pages();
        for (number, described) in list.into_iter().enumerate() {
            let DomainOptions { name, memory, vcpus, .. } = &described.options;
            let name = if name.is_empty() { format!("dom{number}") } else { name.clone() };
            let most = most_frames(memory >> 12, *vcpus);
            let Some(rest) = left.checked_sub(most) else {
                let [most, left] = [most.div_ceil(256), left >> 8];
                die!(
                    "domain {number} ({name}): {most} MiB do not fit the {left} MiB that are left"
                );
            };
            left = rest;
            if let Err(error) = self.create(&name, number == 0, &described, boot) {
                die!("domain {number} ({name}): {error}");
            }
        }
    }

    fn create(
        &mut self,
        name: &str,
        privileged: bool,
        described: &Described,
        boot: &BootInfo,
    ) -> Result<(), String> {
        let options = &described.options;
        let free = self.memory.frames.free_pages();
        let config = DomainConfig {
            name: name.into(),
            privileged,
            vcpus: options.vcpus,
            max_pages: (options.memory >> 12) + SPECIAL_PAGES,
            share: options.share,
            ..DomainConfig::default()
        };
        let dom = self
            .xen
            .create_domain(&mut self.memory, config)
            .map_err(|error| format!("not created: {error:?}"))?;
        if let Ok(domain) = self.xen.domain_mut(dom) {
            domain.own_console = options.own_console;
        }
        let frames = self.allocate_frames(dom).ok_or("no memory for its tables")?;
        self.resources.insert(dom, DomainResources { frames, name: name.into() });
        let image = Image {
            kernel: described.kernel,
            initrd: described.initrd.unwrap_or_default(),
            cmdline: options.cmdline.as_bytes(),
        };
        let built = if privileged {
            self.build_dom0(dom, &image, options.memory, boot)
        } else {
            self.build_domu(dom, &image, options.memory)
        }?;
        let start = Start::Pvh { entry: built.rip, start_info: built.rbx };
        self.make_slots(dom).ok_or("no memory for a VMCS")?;
        self.start(dom, 0, start);
        let held = free.saturating_sub(self.memory.frames.free_pages());
        let most = most_frames(options.memory >> 12, options.vcpus);
        self.memory.set_aside(dom, most.saturating_sub(held));
        let [mib, vcpus] = [options.memory >> 20, options.vcpus.into()];
        self.note(&format!("domain {} ({name}): {mib} MiB, {vcpus} vCPUs", dom.0));
        Ok(())
    }

    /// The tables and bitmaps that the domain's vCPUs share.
    fn allocate_frames(&mut self, dom: DomId) -> Option<DomainFrames> {
        let ept = self.memory.ept_pointer(dom)?;
        let io_bitmaps = [self.memory.spare_frame(dom)?, self.memory.spare_frame(dom)?];
        let msr_bitmap = self.memory.spare_frame(dom)?;
        let io = if dom == DomId(0) {
            let power = self.platform.power_off.map(|(port, _)| (port, 2));
            let own = self.own_consoles.then_some(console::OWN_PORTS);
            bitmaps::ports_that_exit(DOM0_TRAPPED.into_iter().chain(power).chain(own))
        } else {
            [0xFF; 8192]
        };
        for (frame, half) in io_bitmaps.into_iter().zip(io.chunks_exact(4096)) {
            self.memory.physical.write(frame, half);
        }
        let tsc_aux = self.controls.secondary(RDTSCP).then_some((IA32_TSC_AUX, true));
        let free = FREE_MSRS.into_iter().map(|msr| (msr, true));
        let free = free.chain([(IA32_TSC, false)]).chain(tsc_aux);
        self.memory.physical.write(msr_bitmap, &bitmaps::msrs_that_do_not_exit(free));
        Some(DomainFrames { ept, io_bitmaps, msr_bitmap })
    }

    /// The place of a vCPU in the list.
    pub(crate) fn slot_of(&self, dom: DomId, id: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.key() == (dom, id))
    }

    /// The vCPUs of a domain below the ABI, none of which is started yet.
    fn make_slots(&mut self, dom: DomId) -> Option<()> {
        let count = self.xen.domain(dom).map_or(0, |domain| domain.vcpus.len() as u32);
        for id in 0..count {
            let frame = self.memory.spare_frame(dom)?;
            let revision = self.controls.revision.to_le_bytes();
            self.memory.physical.write(frame, &revision);
            // Never 0, which is the hypervisor's own.
            self.last_vpid = self.last_vpid.checked_add(1).unwrap_or(1);
            self.slots.push(Slot::new(dom, id, VmxVcpu::new(frame, self.last_vpid)));
        }
        Some(())
    }

    /// Makes what vCPUs of a domain of dom0's tools share. The frames were set aside.
    fn created(&mut self, dom: DomId) {
        let name = self.xen.domain(dom).map_or_else(|_| String::new(), |d| d.name.clone());
        if let Some(frames) = self.allocate_frames(dom) {
            self.resources.insert(dom, DomainResources { frames, name });
        }
    }

    /// Copies the registers of the domain's vCPUs that are up to where dom0's tools find them.
    fn save_vcpus(&mut self, dom: DomId) {
        self.leave(rdtsc());
        for slot in self.slots.iter().filter(|slot| slot.dom == dom) {
            if let Ok(vcpu) = self.xen.vcpu_mut(dom, slot.id)
                && vcpu.activity != Activity::Down
            {
                vcpu.registers = Some(Box::new(slot.vcpu.save()));
            }
        }
    }

    /// Starts a vCPU with the registers that dom0's tools have set.
    fn load_vcpu(&mut self, dom: DomId, id: u32) {
        let registers = self.xen.vcpu(dom, id).ok().and_then(|vcpu| vcpu.registers.clone());
        if let Some(registers) = registers {
            self.start(dom, id, Start::State(&registers));
        }
    }

    /// The domain's processors take up tables that note what is stored to, or others.
    fn log_dirty(&mut self, dom: DomId) {
        self.leave(rdtsc());
        let (Some(ept), Some(resources)) =
            (self.memory.ept_pointer(dom), self.resources.get_mut(&dom))
        else {
            return;
        };
        resources.frames.ept = ept;
        self.slots.iter().filter(|slot| slot.dom == dom).for_each(|slot| slot.vcpu.set_ept(ept));
    }

    fn start(&mut self, dom: DomId, id: u32, start: Start<'_>) {
        self.leave(rdtsc());
        if let Some(index) = self.slot_of(dom, id) {
            let Some(frames) = self.resources.get(&dom).map(|resources| resources.frames) else {
                return;
            };
            let slot = &mut self.slots[index];
            slot.vcpu.start(&self.controls, &frames, start);
            slot.started(matches!(start, Start::State(state) if state.pending_event >> 31 != 0));
        }
    }

    /// Does what the ABI logic has asked for.
    pub(crate) fn settle(&mut self) {
        while !self.xen.actions.is_empty() {
            for action in core::mem::take(&mut self.xen.actions) {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartVcpu { dom, vcpu, vector } => {
                self.start(dom, vcpu, Start::Sipi { vector });
            }
            // Its registers are set when it starts.
            Action::ResetVcpu { .. } => {}
            Action::Key(key) => self.key(key),
            Action::LogDirty(dom) => self.log_dirty(dom),
            Action::Created(dom) => self.created(dom),
            Action::VcpusCreated(dom) => {
                // The frames were set aside when the domain was created.
                let _ = self.make_slots(dom);
            }
            Action::SaveVcpus(dom) => self.save_vcpus(dom),
            Action::LoadVcpu { dom, vcpu } => self.load_vcpu(dom, vcpu),
            Action::Shutdown { dom, reason } => self.ended(dom, reason),
            Action::Destroyed(dom) => self.bury(dom),
            Action::Output { dom, line } => {
                let name = self.resources.get(&dom).map_or("?", |resources| &resources.name);
                console::domain(dom.0, name, &line);
                self.xen.log.push(&format!("({name}) {line}"));
            }
            Action::Raw { dom, bytes } => self.raw(dom, &bytes),
            Action::BindGsi { gsi, masked, level, active_low } if !self.is_console(gsi) => {
                self.ioapic.bind(gsi, masked, level, active_low);
            }
            // The consoles' pins stay the hypervisor's.
            Action::BindGsi { .. } => {}
            Action::EoiGsi(gsi) => self.ioapic.release(gsi),
        }
    }

    /// Prints what a domain has written: on its own console, or as it is on the common one.
    fn raw(&self, dom: DomId, bytes: &[u8]) {
        let own = self.xen.domain(dom).is_ok_and(|domain| domain.own_console);
        match u8::try_from(dom.0) {
            Ok(dom) if own => console::own(dom, bytes),
            _ => console::raw(dom.0, bytes),
        }
    }

    /// Whether a pin of the I/O APIC is a console's.
    pub(crate) fn is_console(&self, pin: u32) -> bool {
        pin == console::PIN || pin == console::OWN_PIN && self.own_consoles
    }

    fn ended(&mut self, dom: DomId, reason: ShutdownReason) {
        let name = self.resources.get(&dom).map_or("?", |resources| &resources.name);
        self.note(&format!("domain {} ({name}) ended: {reason:?}", dom.0));
        self.xen.announce_shutdown(&mut self.memory, dom);
        self.crashed |= matches!(reason, ShutdownReason::Crash | ShutdownReason::Watchdog);
        let mut domus = self.xen.domains.values().filter(|d| !d.privileged);
        if self.until_domus_end && domus.all(|d| !d.alive()) {
            self.end("the last domU has ended");
        }
        if dom == DomId(0) && !self.until_domus_end {
            self.end("dom0 has ended");
        }
    }

    /// Says a line, which dom0's tools can read too.
    pub(crate) fn note(&mut self, line: &str) {
        say!("{line}");
        self.xen.log.push(&format!("(hv) {line}"));
    }

    /// Frees what a destroyed domain had.
    fn bury(&mut self, dom: DomId) {
        self.leave(rdtsc());
        let (gone, kept): (Vec<Slot>, Vec<Slot>) =
            core::mem::take(&mut self.slots).into_iter().partition(|slot| slot.dom == dom);
        self.slots = kept;
        self.memory.remove_domain(dom);
        for slot in &gone {
            vmx_ops::clear(slot.vcpu.vmcs());
            self.memory.give_back(slot.vcpu.vmcs());
        }
        if let Some(resources) = self.resources.remove(&dom) {
            crate::report::domain(dom, &resources.name, &gone);
            let DomainFrames { io_bitmaps, msr_bitmap, .. } = resources.frames;
            for frame in io_bitmaps.into_iter().chain([msr_bitmap]) {
                self.memory.give_back(frame);
            }
        }
        self.xen.destroyed(&mut self.memory, dom);
    }

    /// Dom0 writes the power-management control register: SLP_EN with S5 ends the machine.
    pub(crate) fn dom0_power(&mut self, port: u16, size: u8, value: u32) {
        let Some((pm1a, s5)) = self.platform.power_off else { return };
        if port != pm1a || size == 1 {
            return;
        }
        if value & 1 << 13 != 0 && (value >> 10 & 7) as u8 == s5 {
            self.xen.shutdown(DomId(0), ShutdownReason::Poweroff);
            return;
        }
        runtime::cpu::outw(port, value as u16);
    }

    /// Prints the statistics, tells of a crash, and powers the machine off.
    pub(crate) fn end(&mut self, why: &str) -> ! {
        let left: Vec<DomId> = self.xen.domains.keys().copied().collect();
        for dom in left {
            self.xen.flush_console(dom);
        }
        for action in core::mem::take(&mut self.xen.actions) {
            if let Action::Output { .. } | Action::Raw { .. } = action {
                self.act(action);
            }
        }
        say!("{why}");
        crate::report::all(self);
        if self.crashed {
            power::panicked();
        }
        power::off(self.platform.power_off)
    }
}
