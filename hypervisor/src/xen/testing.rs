//! A machine in a vector, for the tests: frames, and each domain's map as a tree.

use super::abi::{Errno, layout::Layout};
use super::domain::DomainConfig;
use super::frames::{FrameKind, FrameTable};
use super::guest_memory::{Paging, write_gpa};
use super::host_services::{BLOCK, DomId, HostServices, Mapping, PAGE_SIZE};
use super::hypercall::{Context, Flow};
use super::{Action, Width, Xen};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cell::Cell;

/// The first frame of the test machine's RAM.
const FIRST: u64 = 0x100;

/// RAM, frame table and maps.
pub(super) struct VecMachine {
    ram: Vec<u8>,
    pub(super) frames: FrameTable,
    pub(super) maps: BTreeMap<(DomId, u64), Mapping>,
    /// Frames stored to since they were last clean, by whomever.
    pub(super) written: BTreeSet<u64>,
    /// The time-stamp counter: every service takes some ticks.
    pub(super) tsc: Cell<u64>,
}

/// Ticks that the machine takes for eight bytes of a frame or a table.
const ACCESS: u64 = 10;

impl VecMachine {
    pub(super) fn new(pages: u64) -> Self {
        let mut frames = FrameTable::default();
        frames.add(FIRST..FIRST + pages);
        let ram = alloc::vec![0; pages as usize * PAGE_SIZE];
        let (maps, written) = Default::default();
        Self { ram, frames, maps, written, tsc: Cell::new(0) }
    }

    /// Lets the time pass that an access to `bytes` takes.
    fn spend(&self, bytes: usize) {
        self.tsc.set(self.tsc.get() + (1 + bytes as u64 / 8) * ACCESS);
    }

    fn place(mfn: u64, offset: usize, len: usize) -> usize {
        assert!(offset + len <= PAGE_SIZE, "access crosses a frame");
        (mfn - FIRST) as usize * PAGE_SIZE + offset
    }
}

impl HostServices for VecMachine {
    fn read(&self, mfn: u64, offset: usize, buf: &mut [u8]) {
        assert!(self.frames.owner(mfn).is_some(), "read of the free frame {mfn:#x}");
        self.spend(buf.len());
        let at = Self::place(mfn, offset, buf.len());
        buf.copy_from_slice(&self.ram[at..at + buf.len()]);
    }
    fn write(&mut self, mfn: u64, offset: usize, data: &[u8]) {
        assert!(self.frames.owner(mfn).is_some(), "write to the free frame {mfn:#x}");
        self.spend(data.len());
        let at = Self::place(mfn, offset, data.len());
        self.ram[at..at + data.len()].copy_from_slice(data);
        self.written.insert(mfn);
    }
    fn alloc(&mut self, owner: DomId) -> Option<u64> {
        let mfn = self.frames.alloc(owner, FrameKind::Ram)?;
        self.write(mfn, 0, &[0; PAGE_SIZE]);
        Some(mfn)
    }
    fn alloc_shared(&mut self, owner: DomId) -> Option<u64> {
        let mfn = self.frames.alloc(owner, FrameKind::Xen)?;
        self.write(mfn, 0, &[0; PAGE_SIZE]);
        Some(mfn)
    }
    fn get(&mut self, mfn: u64) {
        assert!(self.frames.owner(mfn).is_some(), "reference to the free frame {mfn:#x}");
        self.frames.get(mfn);
    }
    fn put(&mut self, mfn: u64) {
        assert!(self.frames.owner(mfn).is_some(), "the free frame {mfn:#x} is dropped");
        self.frames.put(mfn);
    }
    fn owner(&self, mfn: u64) -> Option<DomId> {
        self.frames.owner(mfn)
    }
    fn is_ram(&self, mfn: u64) -> bool {
        self.frames.kind(mfn) == Some(FrameKind::Ram)
    }
    fn pages(&self, owner: DomId) -> u64 {
        self.frames.pages(owner)
    }
    fn lookup(&self, dom: DomId, gfn: u64) -> Option<Mapping> {
        self.spend(32);
        self.maps.get(&(dom, gfn)).copied()
    }
    fn set(&mut self, dom: DomId, gfn: u64, mapping: Option<Mapping>) -> Result<(), Errno> {
        self.spend(32);
        match mapping {
            Some(mapping) => self.maps.insert((dom, gfn), mapping),
            None => self.maps.remove(&(dom, gfn)),
        };
        Ok(())
    }
    fn create(&mut self, _dom: DomId, _vcpus: u32) -> Result<(), Errno> {
        Ok(())
    }
    fn remove(&mut self, _dom: DomId) {}
    fn limit_tables(&mut self, _dom: DomId, _pages: u64) {}
    fn unmap_next(&mut self, dom: DomId, from: u64, gone: &mut Vec<Mapping>) -> Option<u64> {
        let first = self.maps.range((dom, from)..(dom, u64::MAX)).next()?.0.1 & !511;
        for gfn in first..first + 512 {
            gone.extend(self.maps.remove(&(dom, gfn)));
        }
        self.spend(4096);
        Some(first + 512)
    }
    fn log_dirty(&mut self, _dom: DomId, _on: bool) -> Result<(), Errno> {
        self.written.clear();
        Ok(())
    }
    fn dirty_block(&mut self, dom: DomId, gfn: u64, clean: bool) -> [u8; BLOCK as usize / 8] {
        let mut block = [0; BLOCK as usize / 8];
        self.spend(4096);
        for index in 0..BLOCK {
            let Some(map) = self.maps.get(&(dom, gfn + index)) else { continue };
            if self.written.contains(&map.mfn) {
                block[index as usize / 8] |= 1_u8 << (index % 8);
            }
            if clean {
                self.written.remove(&map.mfn);
            }
        }
        block
    }
    fn tsc(&self) -> u64 {
        self.tsc.get()
    }
    fn free_pages(&self) -> u64 {
        self.frames.free_pages()
    }
    fn total_pages(&self) -> u64 {
        self.frames.total_pages()
    }
    fn max_mfn(&self) -> u64 {
        self.frames.max_mfn()
    }
}

/// The address of a hypercall's argument, in every domain.
pub(super) const ARG: u64 = 0x1000;
/// Pages of RAM each test domain has, from frame 0.
pub(super) const PAGES: u64 = 32;

/// Dom0 and two domUs with RAM, unpaged.
pub(super) struct World {
    pub(super) host: VecMachine,
    pub(super) xen: Xen,
    pub(super) now: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_clock(1_000_000)
    }

    /// The same with a counter of `tsc_khz` ticks in a millisecond.
    pub(super) fn with_clock(tsc_khz: u64) -> Self {
        let mut world =
            Self { host: VecMachine::new(512), xen: Xen::new(tsc_khz, 1000), now: 1_000 };
        for privileged in [true, false, false] {
            let config = DomainConfig { privileged, vcpus: 2, max_pages: 64, ..Default::default() };
            let dom = world.xen.create_domain(&mut world.host, config).unwrap();
            world.xen.populate(&mut world.host, dom, 0, PAGES).unwrap();
            for vcpu in 0..2 {
                let vcpu = world.xen.vcpu_mut(dom, vcpu).unwrap();
                vcpu.activity = super::vcpu::Activity::Runnable;
            }
        }
        world
    }

    pub(super) fn raw(&mut self, dom: u16, width: Width, gpr: &mut [u64; 16]) -> Flow {
        self.raw_on((dom, 0), width, gpr)
    }

    /// One step of the hypercall in `gpr`, by a vCPU of a domain.
    pub(super) fn raw_on(
        &mut self,
        (dom, vcpu): (u16, u32),
        width: Width,
        gpr: &mut [u64; 16],
    ) -> Flow {
        let context = Context { paging: Paging::default(), cpl: 0, width, now: self.now };
        self.xen.hypercall(&mut self.host, (DomId(dom), vcpu), gpr, context)
    }

    /// A hypercall of vCPU 0 of `dom`, until it has finished.
    pub(super) fn call(&mut self, dom: u16, nr: u32, args: &[u64]) -> i64 {
        let mut gpr = [0; 16];
        gpr[0] = nr.into();
        for (place, &arg) in [7, 6, 2, 10, 8, 9].into_iter().zip(args) {
            gpr[place] = arg;
        }
        while self.raw(dom, Width::Long, &mut gpr) == Flow::Again {
            self.save_vcpus();
        }
        gpr[0] as i64
    }

    /// Does what a call waits for: the registers of vCPUs come to their records.
    pub(super) fn save_vcpus(&mut self) {
        for action in self.xen.actions.clone() {
            if let Action::SaveVcpus(dom) = action {
                let vcpus = self.xen.domains.get_mut(&dom).map(|domain| &mut domain.vcpus);
                for vcpu in vcpus.into_iter().flatten() {
                    vcpu.registers.get_or_insert_with(Box::default);
                }
            }
        }
        self.xen.actions.retain(|action| !matches!(action, Action::SaveVcpus(_)));
    }

    pub(super) fn put<T: Layout>(&mut self, dom: u16, gpa: u64, value: &T) {
        let mut raw = alloc::vec![0; T::size(Width::Long)];
        value.encode(Width::Long, &mut raw);
        write_gpa(&mut self.host, DomId(dom), gpa, &raw).unwrap();
    }

    pub(super) fn get<T: Layout>(&self, dom: u16, gpa: u64) -> T {
        let mut raw = alloc::vec![0; T::size(Width::Long)];
        super::guest_memory::read_gpa(&self.host, DomId(dom), gpa, &mut raw).unwrap();
        T::decode(Width::Long, &raw)
    }

    /// A hypercall `nr(cmd, ARG, 1)` on a structure; its result and the structure afterwards.
    pub(super) fn op<T: Layout>(&mut self, dom: u16, nr: u32, cmd: u64, arg: T) -> (i64, T) {
        self.put(dom, ARG, &arg);
        let result = self.call(dom, nr, &[cmd, ARG, 1]);
        (result, self.get(dom, ARG))
    }
}
