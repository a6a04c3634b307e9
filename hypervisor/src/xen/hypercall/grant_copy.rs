//! `GNTTABOP_copy`: bytes between two pages, each the caller's own or granted to it.

use super::super::abi::layout::GnttabCopy;
use super::super::abi::nr::{GrantStatus, domid, gnt as op};
use super::super::host_services::{DomId, PAGE_SIZE};
use super::Call;

/// One side of a copy.
#[derive(Clone, Copy)]
struct Side {
    /// A reference or a guest frame number.
    page: u64,
    dom: u16,
    offset: usize,
    by_reference: bool,
}

/// A page held for the copy.
struct Held {
    mfn: u64,
    /// The grant to give back.
    grant: Option<(DomId, u32)>,
}

impl Call<'_> {
    pub(super) fn copy_grant(&mut self, copy: &mut GnttabCopy) {
        copy.status = self.try_copy(copy).err().unwrap_or(GrantStatus::Okay) as i16;
    }

    fn try_copy(&mut self, copy: &GnttabCopy) -> Result<(), GrantStatus> {
        let source = Side {
            page: copy.source,
            dom: copy.source_dom,
            offset: copy.source_offset.into(),
            by_reference: copy.flags & op::COPY_SOURCE_GREF != 0,
        };
        let dest = Side {
            page: copy.dest,
            dom: copy.dest_dom,
            offset: copy.dest_offset.into(),
            by_reference: copy.flags & op::COPY_DEST_GREF != 0,
        };
        let len = usize::from(copy.len);
        if source.offset + len > PAGE_SIZE || dest.offset + len > PAGE_SIZE {
            return Err(GrantStatus::BadCopyArg);
        }
        let from = self.hold(source, true)?;
        let to = match self.hold(dest, false) {
            Ok(to) => to,
            Err(status) => {
                self.let_go(&from, true);
                return Err(status);
            }
        };
        let mut bytes = [0; PAGE_SIZE];
        self.host.read(from.mfn, source.offset, &mut bytes[..len]);
        self.host.write(to.mfn, dest.offset, &bytes[..len]);
        self.let_go(&to, false);
        self.let_go(&from, true);
        Ok(())
    }

    fn hold(&mut self, side: Side, readonly: bool) -> Result<Held, GrantStatus> {
        let me = self.c.dom;
        if side.by_reference {
            let (dom, gref) = (DomId(side.dom), side.page as u32);
            let mfn = self.xen.take_grant(self.host, me, dom, gref, readonly)?;
            return Ok(Held { mfn, grant: Some((dom, gref)) });
        }
        if side.dom != domid::SELF && side.dom != me.0 {
            return Err(GrantStatus::PermissionDenied);
        }
        let map = self.host.lookup(me, side.page).filter(|map| map.kind.holds_reference());
        let map = map.filter(|map| readonly || map.kind.writable()).ok_or(GrantStatus::BadPage)?;
        Ok(Held { mfn: map.mfn, grant: None })
    }

    fn let_go(&mut self, held: &Held, readonly: bool) {
        if let Some((dom, gref)) = held.grant {
            self.xen.drop_grant(self.host, (dom, gref), held.mfn, readonly);
        }
    }
}
