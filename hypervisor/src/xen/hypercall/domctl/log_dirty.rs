//! `shadow_op`: the memory for tables, and the log of pages that a domain has stored to, which saving it while it runs
//! needs.

use super::super::super::Action;
use super::super::super::abi::Errno;
use super::super::super::abi::layout::ShadowOp;
use super::super::super::abi::nr::ctl as op;
use super::super::super::host_services::{BLOCK, DomId, GFN_LIMIT};
use super::super::Call;

impl Call<'_> {
    /// Tables are made as they are needed, whatever is allowed. False to be called again.
    pub(super) fn shadow_op(&mut self, dom: DomId, at: u64) -> Result<bool, Errno> {
        let mut arg: ShadowOp = self.load(at)?;
        let dom = self.other(dom)?;
        match arg.op {
            op::SHADOW_OFF => self.log(dom, false)?,
            op::SHADOW_ENABLE_LOGDIRTY if self.xen.domain(dom)?.toolstack.log_dirty => {
                return Err(Errno::Inval);
            }
            op::SHADOW_ENABLE_LOGDIRTY => self.log(dom, true)?,
            op::SHADOW_CLEAN | op::SHADOW_PEEK => return self.dirty_pages(dom, at, arg),
            op::SHADOW_GET_ALLOCATION => {
                arg.mb = (self.xen.domain(dom)?.toolstack.paging_pool >> 20) as u32;
                self.store(at, &arg)?;
            }
            op::SHADOW_SET_ALLOCATION => {
                self.xen.domain_mut(dom)?.toolstack.paging_pool = u64::from(arg.mb) << 20;
            }
            _ => return Err(Errno::Inval),
        }
        Ok(true)
    }

    /// Begins or ends the log.
    fn log(&mut self, dom: DomId, on: bool) -> Result<(), Errno> {
        if self.xen.domain(dom)?.toolstack.log_dirty == on {
            return Ok(());
        }
        self.host.log_dirty(dom, on)?;
        let toolstack = &mut self.xen.domain_mut(dom)?.toolstack;
        (toolstack.log_dirty, toolstack.logged) = (on, (0, 0));
        self.xen.actions.push(Action::LogDirty(dom));
        Ok(())
    }

    /// Writes a bit for each page that may have been stored to since it was last clean. With `CLEAN` all are clean now.
    /// False if the slice has ended before; the place where it was is kept.
    fn dirty_pages(&mut self, dom: DomId, at: u64, mut arg: ShadowOp) -> Result<bool, Errno> {
        let toolstack = &self.xen.domain(dom)?.toolstack;
        if !toolstack.log_dirty {
            return Err(Errno::Inval);
        }
        let (mut gfn, mut count) = toolstack.logged;
        let clean = arg.op == op::SHADOW_CLEAN;
        arg.pages = arg.pages.min(GFN_LIMIT);
        while gfn < arg.pages {
            let mut block = self.host.dirty_block(dom, gfn, clean);
            let left = (arg.pages - gfn).min(BLOCK) as usize;
            for (index, byte) in block.iter_mut().enumerate() {
                let bits = left.saturating_sub(8 * index).min(8);
                *byte &= ((1_u16 << bits) - 1) as u8;
                count += byte.count_ones();
            }
            if arg.dirty_bitmap != 0 {
                let place = arg.dirty_bitmap.wrapping_add(gfn / 8);
                self.c.write(self.host, place, &block[..left.div_ceil(8)])?;
            }
            gfn += BLOCK;
            if gfn < arg.pages && self.preempted() {
                self.xen.domain_mut(dom)?.toolstack.logged = (gfn, count);
                return Ok(false);
            }
        }
        self.xen.domain_mut(dom)?.toolstack.logged = (0, 0);
        (arg.fault_count, arg.dirty_count) = (count, count);
        self.store(at, &arg).map(|()| true)
    }
}
