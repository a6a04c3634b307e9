//! A domain's vCPUs, and the processors on which they may run: there is one.

use super::super::super::abi::Errno;
use super::super::super::abi::layout::{Bitmap, Layout, VcpuAffinity, VcpuInfo};
use super::super::super::abi::nr::ctl as op;
use super::super::super::host_services::DomId;
use super::super::super::vcpu::{Activity, RunState};
use super::super::Call;

/// The places of `xen_domctl_vcpuaffinity`'s bitmaps.
const HARD: u64 = 8;
const SOFT: u64 = 24;
/// The bit of the one processor.
const ONLINE: u64 = 1;
/// Bytes of a bitmap that are looked at.
const BITMAP: usize = 8;

impl Call<'_> {
    pub(super) fn vcpu_info(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let mut info: VcpuInfo = self.load(at)?;
        let domain = self.xen.domain(dom)?;
        if info.vcpu >= domain.max_vcpus {
            return Err(Errno::Inval);
        }
        let vcpu = domain.vcpu(info.vcpu).ok_or(Errno::Srch)?;
        info.online = (vcpu.activity != Activity::Down).into();
        let waits = !matches!(vcpu.activity, Activity::Down | Activity::Runnable);
        info.blocked = waits.into();
        info.running = (vcpu.runstate.state == RunState::Running).into();
        info.cpu_time = self.running_time(vcpu);
        info.cpu = 0;
        self.store(at, &info)
    }

    /// Reads a bitmap's first 64 bits; bits beyond those that it has are clear.
    fn load_bitmap(&self, at: u64) -> Result<u64, Errno> {
        let Bitmap { bitmap, nr_bits } = self.load(at)?;
        let mut raw = [0; BITMAP];
        let len = (nr_bits.div_ceil(8) as usize).min(BITMAP);
        self.c.read(self.host, bitmap, &mut raw[..len])?;
        let bits = u64::from_le_bytes(raw);
        Ok(if nr_bits < 64 { bits & ((1 << nr_bits) - 1) } else { bits })
    }

    /// Writes `bits`, of which `known` exist, to a bitmap, whose other bits are cleared.
    pub(in super::super) fn store_bitmap(
        &mut self,
        at: u64,
        bits: u64,
        known: u32,
    ) -> Result<(), Errno> {
        let Bitmap { bitmap, nr_bits } = self.load(at)?;
        let len = (nr_bits.div_ceil(8) as usize).min(BITMAP);
        let bits = if nr_bits < 64 { bits & ((1 << nr_bits) - 1) } else { bits };
        let written = len.min(known.div_ceil(8) as usize);
        self.c.write(self.host, bitmap, &bits.to_le_bytes()[..written])?;
        // The rest of what the caller has, at most a page of it.
        let rest = (nr_bits.div_ceil(8) as usize).saturating_sub(written).min(4096 - BITMAP);
        let zero = alloc::vec![0; rest];
        Ok(self.c.write(self.host, bitmap.wrapping_add(written as u64), &zero)?)
    }

    /// The vCPU of an affinity operation, and which of the two it is about.
    fn affinity(&self, dom: DomId, at: u64) -> Result<(VcpuAffinity, [bool; 2]), Errno> {
        let arg: VcpuAffinity = self.load(at)?;
        let domain = self.xen.domain(dom)?;
        if arg.vcpu >= domain.max_vcpus {
            return Err(Errno::Inval);
        }
        domain.vcpu(arg.vcpu).ok_or(Errno::Srch)?;
        let asked = [op::AFFINITY_HARD, op::AFFINITY_SOFT].map(|flag| arg.flags & flag != 0);
        if asked == [false; 2] {
            return Err(Errno::Inval);
        }
        Ok((arg, asked))
    }

    /// Remembers where a vCPU is to run, and tells where it will: on the one processor.
    pub(super) fn set_vcpu_affinity(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let (VcpuAffinity { vcpu, .. }, asked) = self.affinity(dom, at)?;
        for (index, place) in [HARD, SOFT].into_iter().enumerate() {
            if !asked[index] {
                continue;
            }
            let place = at.wrapping_add(place);
            let bits = self.load_bitmap(place)?;
            // Nowhere to run is an error, nothing preferred is not.
            if index == 0 && bits & ONLINE == 0 {
                return Err(Errno::Inval);
            }
            self.xen.vcpu_mut(dom, vcpu)?.affinity[index] = bits;
            self.store_bitmap(place, bits & ONLINE, 1)?;
        }
        Ok(())
    }

    pub(super) fn get_vcpu_affinity(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let (VcpuAffinity { vcpu, .. }, asked) = self.affinity(dom, at)?;
        let affinity = self.xen.vcpu(dom, vcpu)?.affinity;
        for (index, place) in [HARD, SOFT].into_iter().enumerate() {
            if asked[index] {
                self.store_bitmap(at.wrapping_add(place), affinity[index], 64)?;
            }
        }
        Ok(())
    }

    /// There is one node of memory, which has to be among those that a domain may use.
    pub(super) fn set_node_affinity(&mut self, at: u64) -> Result<(), Errno> {
        if self.load_bitmap(at)? & ONLINE == 0 { Err(Errno::Inval) } else { Ok(()) }
    }
}

const _: () = assert!(HARD == VcpuAffinity::MAX as u64, "the bitmaps follow");
