//! `platform_op`: dom0 sets the wall clock.

use super::super::abi::layout::{Layout, PlatformHead, SetTime64};
use super::super::abi::nr::platform as op;
use super::super::abi::{Errno, OpResult};
use super::{Args, Call};

const NS: u64 = 1_000_000_000;

impl Call<'_> {
    pub(super) fn platform_op(&mut self, [arg, ..]: Args) -> OpResult {
        self.privileged()?;
        let head: PlatformHead = self.load(arg)?;
        if head.interface_version != op::INTERFACE_VERSION {
            return Err(Errno::Acces);
        }
        match head.cmd {
            op::SETTIME64 => self.set_time(arg.wrapping_add(PlatformHead::MAX as u64)),
            _ => Err(Errno::NoSys),
        }
    }

    /// `secs` and `nsecs` are the time at `system_time` ns; what is kept is the time at 0.
    fn set_time(&mut self, at: u64) -> OpResult {
        let SetTime64 { secs, nsecs, mbz, system_time } = self.load(at)?;
        if mbz != 0 || u64::from(nsecs) >= NS {
            return Err(Errno::Inval);
        }
        let now = secs.checked_mul(NS).and_then(|ns| ns.checked_add(nsecs.into()));
        let start = now.and_then(|now| now.checked_sub(system_time)).ok_or(Errno::Inval)?;
        self.xen.wallclock = (start / NS, (start % NS) as u32);
        let all: alloc::vec::Vec<_> = self.xen.domains.keys().copied().collect();
        all.into_iter().for_each(|dom| self.xen.write_wallclock(self.host, dom));
        Ok(0)
    }
}
