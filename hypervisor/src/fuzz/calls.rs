//! Hypercalls with structured arguments.

use super::input::Input;
use super::machine;
use super::world::{Key, LARGE, LOW, Registers, World};
use crate::xen::Width;
use crate::xen::abi::layout::*;
use crate::xen::abi::nr::{console, domid, evtchn, gnt, hvm, hypercall as nr, mem, sched, vcpu};

/// The page in which arguments stand, and the bytes for each.
const ARGUMENTS: u64 = 0x1000;
const ARGUMENT: u64 = 128;
/// Where lists stand: in the large page, 16 KiB each.
const LISTS: u64 = LARGE << 12;
const LIST: u64 = 0x4000;
/// Where the entries of a multicall stand.
const ENTRIES: u64 = 0x4000;
/// The most entries of a list that are written.
const WRITTEN: u64 = 512;

/// A hypercall in the making.
pub(super) struct Maker<'a, 'b> {
    pub(super) world: &'a mut World,
    pub(super) input: &'a mut Input<'b>,
    pub(super) key: Key,
    pub(super) width: Width,
    /// The number of calls made before, in a multicall.
    pub(super) made: u64,
}

/// Number and arguments.
type Made = (u32, [u64; 6]);

impl Maker<'_, '_> {
    /// A hypercall, with its arguments in memory.
    pub(super) fn registers(&mut self) -> Registers {
        let (number, args) =
            if self.input.once_in(6) { self.multicall() } else { self.hypercall() };
        Registers::new(self.width, number, args)
    }

    fn hypercall(&mut self) -> Made {
        match self.input.below(20) {
            0..=4 => self.memory_op(),
            5..=9 => self.grant_table_op(),
            10..=13 => self.event_channel_op(),
            14 | 15 => self.vcpu_op(),
            16 => self.sched_op(),
            17 => self.hvm_op(),
            18 => self.console_io(),
            _ => self.others(),
        }
    }

    /// The place of this call's arguments.
    fn argument(&self) -> u64 {
        ARGUMENTS + self.made % 32 * ARGUMENT
    }

    /// The place of this call's list `n`.
    fn list(&self, n: u64) -> u64 {
        LISTS + (self.made % 32 * 4 + n) * LIST
    }

    /// Stores a structure as the argument of the call in the making; its address for the guest.
    fn with<T: Layout>(&mut self, value: &T) -> u64 {
        let at = self.argument();
        // Memory that the guest has given up takes nothing.
        self.world.put(self.key.0, at, self.width, value);
        self.input.address(at)
    }

    /// Stores words of the caller's width.
    fn words(&mut self, at: u64, words: impl Iterator<Item = u64>) {
        let bytes = if self.width == Width::Long { 8 } else { 4 };
        let raw: alloc::vec::Vec<u8> = words
            .take(WRITTEN as usize)
            .flat_map(|w| w.to_le_bytes().into_iter().take(bytes))
            .collect();
        self.world.write(self.key.0, at, &raw);
    }

    /// A list of page frames, one of some regular ones; its address.
    fn frames(&mut self, n: u64, count: u64) -> u64 {
        let (first, step) =
            (self.input.frame(), self.input.pick(&[1, 0, 1, 2, 512, 512, u64::MAX]));
        let at = self.list(n);
        self.words(at, (0..count).map(|i| first.wrapping_add(i.wrapping_mul(step))));
        self.input.address(at)
    }

    fn memory_op(&mut self) -> Made {
        let domid = if self.input.once_in(8) { self.input.domain() } else { domid::SELF };
        let (cmd, arg) = match self.input.below(16) {
            0..=2 => (mem::POPULATE_PHYSMAP, self.reservation(domid)),
            3..=5 => (mem::DECREASE_RESERVATION, self.reservation(domid)),
            6..=9 => (mem::ADD_TO_PHYSMAP, self.add_to_physmap(domid)),
            10 | 11 => (mem::ADD_TO_PHYSMAP_BATCH, self.add_to_physmap_batch(domid)),
            12 => {
                let gpfn = self.input.frame();
                (mem::REMOVE_FROM_PHYSMAP, self.with(&RemoveFromPhysmap { domid, gpfn }))
            }
            13 => {
                let nr_entries = self.input.word();
                let buffer = self.list(0);
                (mem::MEMORY_MAP, self.with(&MemoryMap { nr_entries, buffer }))
            }
            14 => (self.input.below(32), self.with(&MemoryDomain { domid })),
            _ => (self.input.any(), self.argument()),
        };
        let start = if self.input.once_in(16) { self.input.any() } else { 0 };
        (nr::MEMORY_OP, [cmd | start << 6, arg, 0, 0, 0, 0])
    }

    fn reservation(&mut self, domid: u16) -> u64 {
        let nr_extents = self.input.length();
        let extent_start = self.frames(0, nr_extents);
        let extent_order = self.input.pick(&[0, 0, 0, 0, 1, 3, 9, 10, 64, u32::MAX]);
        self.with(&MemoryReservation {
            extent_start,
            nr_extents,
            extent_order,
            mem_flags: 0,
            domid,
        })
    }

    fn add_to_physmap(&mut self, domid: u16) -> u64 {
        let space = self.input.pick(&[2, 2, 2, 1, 1, 0, 3, 4, 5]);
        let idx = self.index(space);
        let gpfn = self.input.frame();
        self.with(&AddToPhysmap { domid, size: 1, space, idx, gpfn })
    }

    /// What a frame of `space` is called.
    fn index(&mut self, space: u32) -> u64 {
        match space {
            mem::SPACE_GMFN | mem::SPACE_GMFN_FOREIGN => self.input.frame(),
            _ => self.input.pick(&[0, 0, 1, 63, 64, mem::GRANT_TABLE_STATUS, u64::MAX]),
        }
    }

    fn add_to_physmap_batch(&mut self, domid: u16) -> u64 {
        let space = self.input.pick(&[1, 2, 0, 4]);
        let count = self.input.length();
        let idxs = if space == mem::SPACE_GMFN as u16 {
            self.frames(0, count)
        } else {
            let idx = self.index(space.into());
            let at = self.list(0);
            self.words(at, (0..count).map(|_| idx));
            at
        };
        let (gpfns, errs) = (self.frames(1, count), self.list(2));
        let (size, foreign_domid) = (count as u16, self.input.domain());
        self.with(&AddToPhysmapBatch { domid, space, size, foreign_domid, idxs, gpfns, errs })
    }

    fn grant_table_op(&mut self) -> Made {
        let count = self.input.pick(&[1, 1, 1, 2, 4, 16, 300, u64::from(u32::MAX)]);
        let (cmd, arg) = match self.input.below(16) {
            0..=4 => (gnt::MAP_GRANT_REF, self.elements(count, Self::map)),
            5..=8 => (gnt::UNMAP_GRANT_REF, self.elements(count, Self::unmap)),
            9..=11 => (gnt::COPY, self.elements(count, Self::copy)),
            12 => {
                let query = GnttabQuerySize { dom: self.input.domain(), ..Default::default() };
                (gnt::QUERY_SIZE, self.with(&query))
            }
            13 => {
                let nr_frames = self.input.pick(&[1, 2, 64, 65, u32::MAX]);
                let (dom, frame_list) = (self.input.domain(), self.list(0));
                let setup = GnttabSetup { dom, nr_frames, status: 0, frame_list };
                (gnt::SETUP_TABLE, self.with(&setup))
            }
            14 => {
                let version = self.input.below(4) as u32;
                let cmd = self.input.pick(&[gnt::SET_VERSION, gnt::GET_VERSION]);
                (cmd, self.with(&GnttabGetVersion { dom: version as u16, version }))
            }
            _ => (self.input.any(), self.argument()),
        };
        (nr::GRANT_TABLE_OP, [cmd, arg, count, 0, 0, 0])
    }

    /// A list of `count` elements, of which the first four are made one by one; its address.
    fn elements<T: Layout>(&mut self, count: u64, make: fn(&mut Self, u64) -> T) -> u64 {
        let at = self.list(0);
        let size = T::size(self.width) as u64;
        let mut last = T::default();
        for index in 0..count.min(LIST / size) {
            if index < 4 {
                last = make(self, index);
            }
            self.world.put(self.key.0, at + index * size, self.width, &last);
        }
        self.input.address(at)
    }

    fn map(&mut self, _index: u64) -> GnttabMap {
        let flags = self.input.pick(&[2, 2, 2, 6, 6, 3, 18, 0, u32::MAX]);
        let (gref, dom) = (self.input.grant(), self.input.domain());
        let offset = u64::from(self.input.once_in(16));
        let host_addr = (self.input.frame() << 12).wrapping_add(offset);
        GnttabMap { host_addr, flags, gref, dom, ..Default::default() }
    }

    fn unmap(&mut self, _index: u64) -> GnttabUnmap {
        let handle =
            self.input.pick(&[0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7, 169, 170, 4095, 4096, u32::MAX]);
        // The right place is that of the handle, which a guest knows.
        let domain = self.world.xen.domain(self.key.0);
        let track =
            domain.ok().and_then(|d| d.grants.mapped.get(handle as usize).copied().flatten());
        let known = track.filter(|_| !self.input.once_in(8)).map(|track| track.gfn);
        let host_addr = known.unwrap_or_else(|| self.input.frame()) << 12;
        GnttabUnmap { host_addr, dev_bus_addr: 0, handle, status: 0 }
    }

    fn copy(&mut self, _index: u64) -> GnttabCopy {
        let flags = self.input.pick(&[1, 2, 3, 0, 1, 2, 3, u16::MAX]);
        let [source, dest] = [1, 2].map(|by_reference| {
            if flags & by_reference != 0 { self.input.grant().into() } else { self.input.frame() }
        });
        let [source_dom, dest_dom] =
            [1, 2].map(
                |by_reference| {
                    if flags & by_reference != 0 { self.input.domain() } else { domid::SELF }
                },
            );
        let edges = [0, 0, 8, 4095, 4096, u16::MAX];
        let [source_offset, dest_offset] = [(); 2].map(|()| self.input.pick(&edges));
        let len = self.input.pick(&[8, 64, 4096, 4088, 1, 0, u16::MAX]);
        GnttabCopy {
            source,
            source_dom,
            source_offset,
            dest,
            dest_dom,
            dest_offset,
            len,
            flags,
            status: 0,
        }
    }

    fn event_channel_op(&mut self) -> Made {
        let (dom, other) =
            (self.input.pick(&[domid::SELF, domid::SELF, 1, 2, 0]), self.input.domain());
        let (port, vcpu) = (self.input.port(), self.input.vcpu());
        let cmd = self.input.below(14);
        let arg = match cmd {
            evtchn::BIND_INTERDOMAIN => self.with(&EvtchnBindInterdomain {
                remote_dom: other,
                remote_port: port,
                local_port: 0,
            }),
            evtchn::BIND_VIRQ => self.with(&EvtchnBindVirq { virq: port, vcpu, port: 0 }),
            evtchn::CLOSE | evtchn::SEND | evtchn::UNMASK => self.with(&EvtchnPort { port }),
            evtchn::STATUS => self.with(&EvtchnStatus { dom, port, ..Default::default() }),
            evtchn::ALLOC_UNBOUND => {
                self.with(&EvtchnAllocUnbound { dom, remote_dom: other, port: 0 })
            }
            evtchn::BIND_IPI => self.with(&EvtchnBindIpi { vcpu, port: 0 }),
            evtchn::BIND_VCPU => self.with(&EvtchnBindVcpu { port, vcpu }),
            evtchn::RESET => self.with(&EvtchnReset { dom }),
            _ => self.argument(),
        };
        (nr::EVENT_CHANNEL_OP, [cmd, arg, 0, 0, 0, 0])
    }

    fn vcpu_op(&mut self) -> Made {
        let (cmd, id, now) = (self.input.below(15), self.input.vcpu(), self.ns());
        let arg = match cmd {
            vcpu::REGISTER_RUNSTATE_MEMORY_AREA | vcpu::REGISTER_VCPU_TIME_MEMORY_AREA => {
                let addr = self.input.frame() << 12 | self.input.pick(&[0, 64, 4095, 4090, 4056]);
                self.with(&RegisterArea { addr })
            }
            vcpu::SET_PERIODIC_TIMER => {
                let period_ns =
                    self.input.pick(&[1_000_000, 999_999, 0, 5_000_000, i64::MAX as u64, u64::MAX]);
                self.with(&SetPeriodicTimer { period_ns })
            }
            vcpu::SET_SINGLESHOT_TIMER => {
                let (timeout_abs_ns, flags) = (self.input.time(now), self.input.below(2) as u32);
                self.with(&SetSingleshotTimer { timeout_abs_ns, flags })
            }
            vcpu::REGISTER_VCPU_INFO => {
                let offset = self.input.pick(&[0, 64, 4032, 4033, 4095, 4096, u32::MAX]);
                let mfn = self.input.frame();
                self.with(&RegisterVcpuInfo { mfn, offset })
            }
            _ => self.input.address(self.argument()),
        };
        (nr::VCPU_OP, [cmd, id.into(), arg, 0, 0, 0])
    }

    fn sched_op(&mut self) -> Made {
        let reason = self.input.below(8) as u32;
        let (cmd, arg) = match self.input.below(16) {
            0..=2 => (sched::YIELD, 0),
            3..=5 => (sched::BLOCK, 0),
            6..=12 => (sched::POLL, self.poll()),
            13 => (sched::REMOTE_SHUTDOWN, {
                let domid = self.input.domain();
                self.with(&SchedRemoteShutdown { domid, reason })
            }),
            14 if self.input.once_in(4) => (sched::SHUTDOWN, self.with(&SchedShutdown { reason })),
            _ => (self.input.below(16), 0),
        };
        (nr::SCHED_OP, [cmd, arg, 0, 0, 0, 0])
    }

    fn poll(&mut self) -> u64 {
        let nr_ports = self.input.pick(&[0, 1, 2, 1, 2, 128, 129, u32::MAX]);
        let list = self.list(0);
        let ports = [(); 3].map(|()| self.input.port());
        let raw: alloc::vec::Vec<u8> =
            (0..nr_ports.min(128) as usize).flat_map(|i| ports[i % 3].to_le_bytes()).collect();
        self.world.write(self.key.0, list, &raw);
        let now = self.ns();
        let (ports, timeout) = (self.input.address(list), self.input.time(now));
        self.with(&SchedPoll { ports, nr_ports, timeout })
    }

    fn hvm_op(&mut self) -> Made {
        let cmd = self.input.pick(&[
            hvm::SET_PARAM,
            hvm::GET_PARAM,
            hvm::SET_EVTCHN_UPCALL_VECTOR,
            hvm::FLUSH_TLBS,
            hvm::GET_TIME,
            9,
            15,
        ]);
        let arg = match cmd {
            hvm::SET_EVTCHN_UPCALL_VECTOR => {
                let (vcpu, vector) = (self.input.vcpu(), self.input.byte());
                self.with(&UpcallVector { vcpu, vector })
            }
            _ => {
                let domid = if self.input.once_in(4) { self.input.domain() } else { domid::SELF };
                let index = self.input.pick(&[0, 0, 0, 1, 12, 17, 38, 39, u32::MAX]);
                let value =
                    self.input.pick(&[2 << 56 | 0xF3, 2 << 56 | 0x30, 1 << 56, 0, u64::MAX]);
                self.with(&HvmParam { domid, index, value })
            }
        };
        (nr::HVM_OP, [cmd, arg, 0, 0, 0, 0])
    }

    fn console_io(&mut self) -> Made {
        let at = self.list(0);
        let text = self.input.pick(&[&b"line\n"[..], b"\n", b"\x1b[2J\xff", b"no end "]);
        let raw = text.repeat(64);
        self.world.write(self.key.0, at, &raw);
        let len = self.input.pick(&[1, 5, 256, 257, 320, 4096, 0, 1 << 31, u64::MAX]);
        let cmd =
            self.input.pick(&[console::WRITE, console::WRITE, console::WRITE, console::READ, 2]);
        (nr::CONSOLE_IO, [cmd, len, self.input.address(at), 0, 0, 0])
    }

    /// Calls that take no structure, that only dom0 may make, and that do not exist.
    fn others(&mut self) -> Made {
        let now = self.ns();
        match self.input.below(4) {
            0 => (nr::SET_TIMER_OP, [self.input.time(now), self.input.below(2), 0, 0, 0, 0]),
            1 => {
                let cmd = self.input.below(12);
                (nr::XEN_VERSION, [cmd, self.input.address(self.list(0)), 0, 0, 0, 0])
            }
            2 => {
                let number = self.input.pick(&[nr::DOMCTL, nr::SYSCTL, nr::PLATFORM_OP]);
                let (cmd, domain) = (self.input.below(20) as u32, self.input.domain());
                let interface_version = self.input.pick(&[0x15, 0x0300_0001]);
                (number, [self.with(&DomctlHead { cmd, interface_version, domain }), 0, 0, 0, 0, 0])
            }
            _ => (self.input.word(), [self.input.any(), self.input.any(), 0, 0, 0, 0]),
        }
    }

    /// Several calls, one of which may be another multicall.
    fn multicall(&mut self) -> Made {
        let count = self.input.pick(&[2, 3, 4, 8, 1]);
        let (long, head) = (self.width == Width::Long, MulticallHead::size(self.width) as u64);
        let bytes = if long { 8 } else { 4 };
        for index in 0..count {
            let (op, args) = if self.input.once_in(32) {
                (nr::MULTICALL, [ENTRIES, count, 0, 0, 0, 0])
            } else {
                self.hypercall()
            };
            self.made += 1;
            let at = ENTRIES + index * (head + 6 * bytes);
            let entry = MulticallHead { op: op.into(), result: u64::MAX };
            self.world.put(self.key.0, at, self.width, &entry);
            self.words(at + head, args.into_iter());
        }
        let said = self.input.pick(&[count, count, count, count + 1, 256, u64::MAX]);
        (nr::MULTICALL, [self.input.address(ENTRIES), said, 0, 0, 0, 0])
    }

    /// System time.
    fn ns(&self) -> u64 {
        self.world.xen.clock.ns(machine::now())
    }
}

const _: () = assert!(ENTRIES + 8 * 64 <= LOW << 12, "the entries of a multicall are in memory");
