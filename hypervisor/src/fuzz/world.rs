//! Dom0, two domUs that do what the input says, and a witness, on one processor.

use super::machine::{self, Pages};
use crate::memory::{Memory, most_frames};
use crate::xen::abi::layout::{AddToPhysmap, EvtchnAllocUnbound, GrantEntry, Layout};
use crate::xen::abi::nr::{domid, evtchn, gnt, hypercall as nr, mem};
use crate::xen::frames::FrameTable;
use crate::xen::guest_memory::{Paging, read_gpa, write_gpa};
use crate::xen::hypercall::{Context, Flow};
use crate::xen::pc::Pc;
use crate::xen::pc::buffered::Buffering;
use crate::xen::vcpu::Activity;
use crate::xen::{Action, DomId, DomainConfig, Width, Xen};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The virtual processors that are asked about: domain and number.
pub(super) type Key = (DomId, u32);

/// The privileged domain.
pub(super) const DOM0: DomId = DomId(0);
/// The domUs that the input drives.
pub(super) const HOSTILE: [DomId; 2] = [DomId(1), DomId(2)];
/// The one of them that has a PC.
pub(super) const HVM: DomId = HOSTILE[1];
/// The domU whose calls succeed whatever others do.
pub(super) const WITNESS: DomId = DomId(3);

/// Pages of RAM from frame 0 on.
pub(super) const LOW: u64 = 16;
/// A 2-MiB page of RAM of domains 1 and 2, from this frame on.
pub(super) const LARGE: u64 = 512;
/// Pages that a domain may have above those.
const ROOM: u64 = 16;

/// The most domains of dom0's tools at a time, and frames for them.
pub(super) const MOST_CREATED: u64 = 2;
const CREATED: u64 = 1024;

/// The frame at which each domain has its grant table.
pub(super) const GRANTS: u64 = 8;
/// The frame at which each domain has `shared_info`.
pub(super) const SHARED: u64 = 9;
/// The frame that each domain grants to each other one, as entry 8 and the number of the other.
pub(super) const GRANTED: u64 = 3;
/// The first entry that is granted.
pub(super) const FIRST_GRANT: u32 = 8;

/// Ticks in a millisecond.
pub(super) const KHZ: u64 = 1_000_000;

/// A hypercall in registers.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    pub(super) gpr: [u64; 16],
    pub(super) width: Width,
}

impl Registers {
    /// The hypercall `number` with `args`.
    pub(super) fn new(width: Width, number: u32, args: [u64; 6]) -> Self {
        let places = match width {
            Width::Long => [7, 6, 2, 10, 8, 9],
            Width::Compat => [3, 1, 2, 6, 7, 5],
        };
        let mut gpr = [0; 16];
        gpr[0] = number.into();
        places.iter().zip(args).for_each(|(&place, arg)| gpr[place] = arg);
        Self { gpr, width }
    }
}

/// What a domain may have.
pub(super) struct Limits {
    /// Pages of RAM.
    pub(super) pages: u64,
    /// All frames, what the hypervisor holds for it included.
    pub(super) frames: u64,
}

/// The whole state.
pub(super) struct World {
    pub(super) memory: Memory<Pages>,
    pub(super) xen: Xen,
    /// The bounds of each domain that was created.
    pub(super) limits: BTreeMap<DomId, Limits>,
    /// The hypercalls that go on when their vCPU runs again.
    pub(super) unfinished: BTreeMap<Key, Registers>,
    /// The vCPU on the processor.
    pub(super) current: Option<Key>,
    /// Lines that the witness has printed.
    pub(super) lines: u64,
    /// Frames that stand for what the freestanding part keeps of domains of dom0's tools.
    pub(super) kept: BTreeMap<DomId, Vec<u64>>,
}

/// Number, pages of RAM and vCPUs of the domains.
const DOMAINS: [(DomId, u64, u32); 4] =
    [(DOM0, LOW, 2), (HOSTILE[0], LOW + LARGE, 3), (HOSTILE[1], LOW + LARGE, 3), (WITNESS, LOW, 1)];

impl World {
    /// The domains as their first instruction finds them; the hostile ones have used up `tables` of
    /// the tables for their memory maps.
    pub(super) fn new(tables: u64) -> Self {
        machine::set_time(KHZ);
        let most = |&(_, pages, vcpus): &(DomId, u64, u32)| most_frames(pages, vcpus);
        // What a domain may ever take is there; frames are skipped for the sake of large pages.
        // Some are left for a domain or two of dom0's tools.
        let frames = DOMAINS.iter().map(most).sum::<u64>() + 2 * LARGE + CREATED;
        let mut table = FrameTable::default();
        table.add(1..frames);
        let memory = Memory::new(Pages::new(frames), table, machine::now);
        let mut world = Self {
            memory,
            xen: Xen::new(KHZ, 1000),
            limits: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            current: None,
            lines: 0,
            kept: BTreeMap::new(),
        };
        for (dom, pages, vcpus) in DOMAINS {
            world.create(dom, pages, vcpus);
        }
        world.give_pc();
        world.xen.most_domains = DOMAINS.len() + MOST_CREATED as usize;
        for dom in HOSTILE {
            for table in 4..4 + tables {
                let result = world.place(dom, mem::SPACE_GRANT_TABLE, 0, table << 9);
                assert!(matches!(result, 0 | -12), "{result}");
            }
        }
        world
    }

    /// Makes [`HVM`] what it is, with a device model in dom0 that answers for everything.
    fn give_pc(&mut self) {
        self.xen.domain_mut(HVM).expect("a domain").pc = Some(Box::new(Pc::new(0)));
        self.xen.create_server(&mut self.memory, HVM, DOM0, Buffering::Atomic).expect("a server");
        let pc = self.xen.pc_mut(HVM).expect("a PC");
        pc.servers[0].ranges = [(); 3].map(|()| alloc::vec![(0, u64::MAX)]);
        pc.servers[0].enabled = true;
    }

    fn create(&mut self, dom: DomId, pages: u64, vcpus: u32) {
        let max_pages = pages + ROOM;
        let free = self.memory.frames.free_pages();
        let config =
            DomainConfig { privileged: dom == DOM0, vcpus, max_pages, ..DomainConfig::default() };
        assert_eq!(self.xen.create_domain(&mut self.memory, config), Ok(dom));
        let limits = Limits { pages: max_pages, frames: most_frames(pages, vcpus) };
        self.limits.insert(dom, limits);
        self.memory.ept_pointer(dom).expect("frames for tables");
        self.memory.allow_tables(dom, pages);
        let populated = self.xen.populate(&mut self.memory, dom, 0, LOW);
        populated
            .and_then(|()| self.xen.populate(&mut self.memory, dom, LARGE, pages - LOW))
            .expect("frames");
        self.xen.vcpu_mut(dom, 0).expect("a vCPU").activity = Activity::Runnable;
        assert_eq!(self.place(dom, mem::SPACE_GRANT_TABLE, 0, GRANTS), 0);
        assert_eq!(self.place(dom, mem::SPACE_SHARED_INFO, 0, SHARED), 0);
        let held = free - self.memory.frames.free_pages();
        self.memory.set_aside(dom, most_frames(pages, vcpus).saturating_sub(held));
        for (other, ..) in DOMAINS.into_iter().filter(|&(other, ..)| other != dom) {
            self.offer(dom, other);
        }
    }

    /// Grants a page to `other`, and offers an event channel; what is the witness's is for reading.
    fn offer(&mut self, dom: DomId, other: DomId) {
        let readonly = if dom == WITNESS { gnt::GTF_READONLY } else { 0 };
        let flags = gnt::GTF_PERMIT_ACCESS | readonly;
        let entry = GrantEntry { flags, domid: other.0, frame: GRANTED as u32 };
        let at = (GRANTS << 12) + u64::from(FIRST_GRANT + u32::from(other.0)) * 8;
        assert!(self.put(dom, at, Width::Long, &entry));
        let port = EvtchnAllocUnbound { dom: domid::SELF, remote_dom: other.0, port: 0 };
        assert_eq!(self.call(dom, nr::EVENT_CHANNEL_OP, evtchn::ALLOC_UNBOUND, &port), 0);
    }

    /// Maps frame `idx` of a space at `gpfn`.
    pub(super) fn place(&mut self, dom: DomId, space: u32, idx: u64, gpfn: u64) -> i64 {
        let arg = AddToPhysmap { domid: domid::SELF, size: 0, space, idx, gpfn };
        self.call(dom, nr::MEMORY_OP, mem::ADD_TO_PHYSMAP, &arg)
    }

    /// A short hypercall of vCPU 0 of `dom` on a structure at the start of its second page.
    fn call<T: Layout>(&mut self, dom: DomId, number: u32, command: u64, arg: &T) -> i64 {
        assert!(self.put(dom, 0x1000, Width::Long, arg));
        let args = [command, 0x1000, 1, 0, 0, 0];
        let mut registers = Registers::new(Width::Long, number, args);
        assert_eq!(self.hypercall((dom, 0), &mut registers), Flow::Next);
        registers.gpr[0] as i64
    }

    /// One step of a hypercall.
    pub(super) fn hypercall(&mut self, (dom, vcpu): Key, registers: &mut Registers) -> Flow {
        let Registers { gpr, width } = registers;
        let context =
            Context { paging: Paging::default(), cpl: 0, width: *width, now: machine::now() };
        self.xen.hypercall(&mut self.memory, (dom, vcpu), gpr, context)
    }

    /// Stores a structure in a domain's memory; false if there is none.
    pub(super) fn put<T: Layout>(&mut self, dom: DomId, gpa: u64, width: Width, value: &T) -> bool {
        let mut raw = alloc::vec![0; T::MAX];
        value.encode(width, &mut raw);
        self.write(dom, gpa, &raw[..T::size(width)])
    }

    /// A structure in a domain's memory.
    pub(super) fn get<T: Layout>(&self, dom: DomId, gpa: u64) -> T {
        let mut raw = alloc::vec![0; T::MAX];
        read_gpa(&self.memory, dom, gpa, &mut raw[..T::size(Width::Long)]).expect("memory");
        T::decode(Width::Long, &raw)
    }

    /// Stores bytes in a domain's memory; false if there is none.
    pub(super) fn write(&mut self, dom: DomId, gpa: u64, bytes: &[u8]) -> bool {
        write_gpa(&mut self.memory, dom, gpa, bytes).is_ok()
    }

    /// Does what the hypercalls have left to do, as the freestanding program does.
    pub(super) fn settle(&mut self) {
        while !self.xen.actions.is_empty() {
            let actions = core::mem::take(&mut self.xen.actions);
            assert!(actions.len() <= 300, "{} actions of one call", actions.len());
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartVcpu { dom, vcpu, .. } | Action::ResetVcpu { dom, vcpu } => {
                // What it was at is over.
                self.unfinished.remove(&(dom, vcpu));
            }
            Action::Destroyed(dom) => {
                self.leave(machine::now());
                self.unfinished.retain(|key, _| key.0 != dom);
                self.memory.remove_domain(dom);
                for frame in self.kept.remove(&dom).unwrap_or_default() {
                    self.memory.give_back(frame);
                }
                self.xen.destroyed(&mut self.memory, dom);
            }
            Action::Output { dom, line } => {
                let plain = |c: char| !c.is_control() || c == '\t';
                assert!(line.chars().all(plain), "{line:?}");
                self.lines += u64::from(dom == WITNESS);
            }
            Action::Shutdown { dom, .. } => {
                assert_ne!(dom, WITNESS, "the witness has ended");
                self.xen.announce_shutdown(&mut self.memory, dom);
            }
            Action::SaveVcpus(dom) => self.save_vcpus(dom),
            Action::LoadVcpu { dom, vcpu } => {
                self.unfinished.remove(&(dom, vcpu));
            }
            Action::Created(dom) => self.created(dom),
            Action::VcpusCreated(_) => {}
            Action::Key(_) | Action::LogDirty(_) => {}
            Action::Raw { .. } | Action::BindGsi { .. } | Action::EoiGsi(_) => {}
        }
    }

    /// Keeps frames for what the vCPUs of a domain of dom0's tools share.
    fn created(&mut self, dom: DomId) {
        let frames = (0..3).map(|_| self.memory.spare_frame(dom).expect("set aside")).collect();
        self.kept.insert(dom, frames);
        self.limits.insert(dom, Limits { pages: CREATED, frames: 2 * CREATED });
    }

    /// The registers of the domain's vCPUs come to their records.
    fn save_vcpus(&mut self, dom: DomId) {
        self.leave(machine::now());
        let vcpus = self.xen.domains.get_mut(&dom).map(|domain| &mut domain.vcpus);
        for vcpu in vcpus.into_iter().flatten() {
            vcpu.registers.get_or_insert_with(Default::default);
        }
    }

    /// Puts a vCPU on the processor.
    pub(super) fn enter(&mut self, key: Key, now: u64) {
        if self.current != Some(key) {
            self.leave(now);
            self.current = Some(key);
            self.xen.run(&mut self.memory, key.0, key.1, now);
        }
    }

    /// Takes the current vCPU off the processor.
    pub(super) fn leave(&mut self, now: u64) {
        if let Some((dom, vcpu)) = self.current.take() {
            self.xen.stop(&mut self.memory, dom, vcpu, now);
        }
    }

    /// The domains that exist.
    pub(super) fn domains(&self) -> Vec<DomId> {
        self.xen.domains.keys().copied().collect()
    }
}
