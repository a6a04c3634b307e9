//! `domctl`: what dom0 does to other domains. Interface version 15h.

mod create;
mod hvm_context;
mod info;
mod log_dirty;
mod policy;
mod processors;
mod vcpu_context;

use super::super::abi::layout::{
    DomainHandle, DomctlHead, DomctlScheduler, Layout, MaxMem, PageFrameInfo, PagingMempool,
    SendTrigger, TscInfo,
};
use super::super::abi::nr::ctl as op;
use super::super::abi::{Errno, nr::domid};
use super::super::host_services::DomId;
use super::{Args, Call, Step};

/// The offset of the union of `xen_domctl`.
const UNION: u64 = DomctlHead::MAX as u64;
/// The frames of `getpageframeinfo3` between two looks at the clock.
const FRAMES_AT_ONCE: u64 = 64;
/// The most frames of `getpageframeinfo3`.
const MOST_FRAMES: u64 = 1024;

impl Call<'_> {
    pub(super) fn domctl(&mut self, args: Args) -> Result<Step, Errno> {
        let arg = args[0];
        self.privileged()?;
        let head: DomctlHead = self.load(arg)?;
        if head.interface_version != op::INTERFACE_VERSION {
            return Err(Errno::Acces);
        }
        let own = head.domain == domid::SELF;
        let dom = if own { self.c.dom } else { DomId(head.domain) };
        let at = arg.wrapping_add(UNION);
        let done = match head.cmd {
            op::DOM_CREATE => return self.create(arg, head).map(Step::Done),
            op::DOM_GETINFO => return self.get_info(arg, head, dom).map(Step::Done),
            _ => {
                self.xen.domain(dom)?;
                match head.cmd {
                    op::DOM_DESTROY => self.destroy(dom)?,
                    op::DOM_GET_HVM_CONTEXT => self.get_hvm_context(dom, at)?,
                    op::DOM_GET_VCPU_CONTEXT => self.get_vcpu_context(dom, at)?,
                    op::DOM_SET_VCPU_CONTEXT => self.set_vcpu_context(dom, at)?,
                    op::DOM_SHADOW_OP => self.shadow_op(dom, at)?,
                    op::DOM_GET_PAGE_FRAME_INFO => self.page_frame_info(dom, at)?,
                    op::DOM_GET_HVM_CONTEXT_PARTIAL => self.get_hvm_record(dom, at)?,
                    _ => self.domctl_at(head.cmd, dom, at).map(|()| true)?,
                }
            }
        };
        Ok(if done { Step::Done(0) } else { Step::Again(args) })
    }

    /// The operations that finish at once, on an existing domain.
    fn domctl_at(&mut self, cmd: u32, dom: DomId, at: u64) -> Result<(), Errno> {
        match cmd {
            op::DOM_PAUSE => self.pause(dom),
            op::DOM_UNPAUSE => self.unpause(dom),
            op::DOM_RESUME => self.resume(dom),
            op::DOM_MAX_MEM => self.max_mem(dom, at),
            op::DOM_MAX_VCPUS => self.max_vcpus(dom, at),
            op::DOM_SET_HANDLE => {
                let DomainHandle { handle } = self.load(at)?;
                self.xen.domain_mut(dom)?.handle = handle;
                Ok(())
            }
            op::DOM_SET_TIME_OFFSET => {
                let MaxMem { max_memkb: offset } = self.load(at)?;
                self.set_time_offset(dom, offset as i32)
            }
            op::DOM_SUBSCRIBE => {
                let super::super::abi::layout::EvtchnPort { port } = self.load(at)?;
                self.xen.domain_mut(dom)?.toolstack.suspend_port = port;
                Ok(())
            }
            op::DOM_SCHEDULER_OP => {
                let mut operation: DomctlScheduler = self.load(at)?;
                self.share_op(dom, &mut operation)?;
                self.store(at, &operation)
            }
            op::DOM_SET_VCPU_AFFINITY => self.set_vcpu_affinity(dom, at),
            op::DOM_GET_VCPU_AFFINITY => self.get_vcpu_affinity(dom, at),
            op::DOM_SET_NODE_AFFINITY => self.set_node_affinity(at),
            op::DOM_GET_NODE_AFFINITY => self.store_bitmap(at, 1, 1),
            op::DOM_GET_VCPU_INFO => self.vcpu_info(dom, at),
            op::DOM_SEND_TRIGGER => self.trigger(dom, at),
            op::DOM_GET_TSC_INFO | op::DOM_SET_TSC_INFO => self.tsc_info(cmd, dom, at),
            op::DOM_GET_PAGING_MEMPOOL_SIZE | op::DOM_SET_PAGING_MEMPOOL_SIZE => {
                self.paging_pool(cmd, dom, at)
            }
            op::DOM_SET_HVM_CONTEXT => self.set_hvm_context(dom, at),
            op::DOM_GET_CPU_POLICY => self.get_cpu_policy(dom, at),
            op::DOM_SET_CPU_POLICY => self.set_cpu_policy(dom, at),
            _ => Err(Errno::NoSys),
        }
    }

    /// The seconds by which a domain's clocks differ; that of an HVM domain is set anew.
    fn set_time_offset(&mut self, dom: DomId, offset: i32) -> Result<(), Errno> {
        let epoch = self.xen.wallclock.0 as i64 + i64::from(offset);
        let domain = self.xen.domain_mut(dom)?;
        domain.toolstack.time_offset = offset;
        if let Some(pc) = &mut domain.pc {
            pc.rtc = super::super::pc::rtc::Rtc::new(epoch);
        }
        Ok(())
    }

    /// `-EINVAL` for the caller itself: it cannot do this to itself.
    fn other(&self, dom: DomId) -> Result<DomId, Errno> {
        if dom == self.c.dom {
            return Err(Errno::Inval);
        }
        self.xen.domain(dom).map(|domain| domain.id)
    }

    /// True once nothing of the domain is left; false if the slice has ended before.
    fn destroy(&mut self, dom: DomId) -> Result<bool, Errno> {
        let dom = self.other(dom)?;
        self.xen.destroy(self.host, dom)
    }

    fn pause(&mut self, dom: DomId) -> Result<(), Errno> {
        let domain = self.xen.domain_mut(self.other(dom)?)?;
        domain.pause_count = domain.pause_count.checked_add(1).ok_or(Errno::Overflow)?;
        Ok(())
    }

    fn unpause(&mut self, dom: DomId) -> Result<(), Errno> {
        let domain = self.xen.domain_mut(self.other(dom)?)?;
        domain.pause_count = domain.pause_count.checked_sub(1).ok_or(Errno::Inval)?;
        Ok(())
    }

    /// Lets a domain that has shut down, above all by suspending, go on.
    fn resume(&mut self, dom: DomId) -> Result<(), Errno> {
        self.xen.domain_mut(self.other(dom)?)?.shutdown = None;
        Ok(())
    }

    fn max_mem(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let MaxMem { max_memkb } = self.load(at)?;
        // The count is a word in Xen.
        let pages = (max_memkb >> 2).min(u64::from(u32::MAX) - 1);
        self.xen.domain_mut(dom)?.max_pages = pages;
        // A table for each 2 MiB of what it may have, wherever it stands.
        self.host.limit_tables(dom, pages.min(self.host.total_pages()));
        Ok(())
    }

    /// Tells a domain's weight and cap, or sets them: a weight of 0 and a cap of all-ones stand for
    /// what there is.
    fn share_op(&mut self, dom: DomId, arg: &mut DomctlScheduler) -> Result<(), Errno> {
        let share = &mut self.xen.domain_mut(dom)?.account.share;
        if arg.sched_id != op::SCHED_CREDIT2 {
            return Err(Errno::Inval);
        }
        match arg.cmd {
            op::SCHED_GETINFO => (arg.weight, arg.cap) = (share.weight, share.cap),
            op::SCHED_PUTINFO => {
                if arg.weight != 0 {
                    share.weight = arg.weight;
                }
                if arg.cap != u16::MAX {
                    share.cap = arg.cap;
                }
            }
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }

    /// Replaces each frame of a list by its type; false if the slice has ended before, with the rest
    /// of the list in the argument.
    fn page_frame_info(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let PageFrameInfo { num, array } = self.load(at)?;
        if num > MOST_FRAMES {
            return Err(Errno::TooBig);
        }
        let long = self.c.long_size();
        // Saving asks for every frame below the highest, a million of them: many at once, for each walk is long.
        let (mut raw, mut done) = ([0; 8 * FRAMES_AT_ONCE as usize], 0);
        while done < num {
            let count = FRAMES_AT_ONCE.min(num - done);
            let place = array.wrapping_add(done * long as u64);
            let raw = &mut raw[..count as usize * long];
            self.c.read(self.host, place, raw)?;
            for entry in raw.chunks_exact_mut(long) {
                let mut gfn = [0; 8];
                gfn[..long].copy_from_slice(entry);
                let map = self.host.lookup(dom, u64::from_le_bytes(gfn));
                let map = map.filter(|map| map.kind.holds_reference());
                let ram = map.is_some_and(|map| self.host.is_ram(map.mfn));
                let kind: u64 = if ram { op::PFINFO_NOTAB } else { op::PFINFO_XTAB };
                entry.copy_from_slice(&kind.to_le_bytes()[..long]);
            }
            self.c.write(self.host, place, raw)?;
            done += count;
            if done < num && self.preempted() {
                let array = array.wrapping_add(done * long as u64);
                return self.store(at, &PageFrameInfo { num: num - done, array }).map(|()| false);
            }
        }
        Ok(true)
    }

    /// An NMI, or the power or sleep button, which only a domain with a PC's power management has.
    fn trigger(&mut self, dom: DomId, at: u64) -> Result<(), Errno> {
        let SendTrigger { trigger, vcpu } = self.load(at)?;
        let state = self.xen.domain_mut(dom)?.vcpu_mut(vcpu).ok_or(Errno::Srch)?;
        match trigger {
            op::TRIGGER_NMI => {
                state.nmi = true;
                self.xen.wake(self.host, dom, vcpu);
                Ok(())
            }
            op::TRIGGER_POWER | op::TRIGGER_SLEEP => {
                self.xen.press_button(self.host, dom, trigger == op::TRIGGER_SLEEP);
                Ok(())
            }
            _ => Err(Errno::NoSys),
        }
    }

    /// A guest's counter is the machine's whatever the mode.
    fn tsc_info(&mut self, cmd: u32, dom: DomId, at: u64) -> Result<(), Errno> {
        if cmd == op::DOM_SET_TSC_INFO {
            let info: TscInfo = self.load(at)?;
            let dom = self.other(dom)?;
            self.xen.domain_mut(dom)?.toolstack.tsc = info;
            return Ok(());
        }
        let TscInfo { tsc_mode, incarnation, .. } =
            self.xen.domain(self.other(dom)?)?.toolstack.tsc;
        let gtsc_khz = u32::try_from(self.xen.clock.tsc_khz).unwrap_or(u32::MAX);
        self.store(at, &TscInfo { tsc_mode, gtsc_khz, incarnation, elapsed_nsec: self.now_ns() })
    }

    /// The memory for tables is set aside when a domain is created, whatever this says.
    fn paging_pool(&mut self, cmd: u32, dom: DomId, at: u64) -> Result<(), Errno> {
        if cmd == op::DOM_GET_PAGING_MEMPOOL_SIZE {
            let size = self.xen.domain(dom)?.toolstack.paging_pool;
            return self.store(at, &PagingMempool { size });
        }
        let PagingMempool { size } = self.load(at)?;
        if size & 0xFFF != 0 {
            return Err(Errno::Inval);
        }
        self.xen.domain_mut(dom)?.toolstack.paging_pool = size;
        Ok(())
    }
}
