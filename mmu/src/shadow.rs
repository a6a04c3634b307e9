//! Shadow pages: for a guest's paging structure and a way of reading it, a table of 512 decoded
//! entries. Only data here; `coherence` keeps it in agreement with memory.
//!
//! All modes share one geometry of 9 bits a level. A table of 32-bit paging, with 1024 entries of
//! 4 bytes, is *sliced*: a page table into 2 shadow pages, a page directory into 4, in which each
//! guest entry stands twice (2 MiB each). So 32-bit paging has four top pages, as PAE paging has.

use crate::addr::HostPhys;
use crate::paging::Rights;
use crate::ram::Window;
use crate::regime::{Eptp, Mode, Regime};
use crate::walk::Start;

/// Entries of a shadow page.
pub(crate) const ENTRIES: usize = 512;

/// A decoded guest entry; 0 is an entry that is not cached.
///
/// Bits 0-3: present, and the entry's own rights. Bit 4: leaf.
/// Leaf: bit 5 dirty, bits 6 and 7 executed from by supervisor and user; 51:12 the address.
/// Otherwise bits 27:8 the shadow page, 63:28 its serial number.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot(pub(crate) u64);

const PRESENT: u64 = 1;
const LEAF: u64 = 1 << 4;
const DIRTY: u64 = 1 << 5;
const EXECUTED: u64 = 1 << 6;
const INDEX_BITS: u32 = 20;
/// Shadow pages are at most this many.
pub(crate) const MAX_PAGES: u32 = (1 << INDEX_BITS) - 1;
/// No walk needs more at once: 5 levels; and eviction wants a choice.
pub(crate) const MIN_PAGES: u32 = 8;

impl Slot {
    pub(crate) fn leaf(page: u64, rights: Rights, dirty: bool) -> Slot {
        Slot(page | PRESENT | rights.bits() | LEAF | if dirty { DIRTY } else { 0 })
    }

    pub(crate) fn link(page: u32, serial: u64, rights: Rights) -> Slot {
        Slot(serial << 28 | u64::from(page) << 8 | PRESENT | rights.bits())
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn is_leaf(self) -> bool {
        self.0 & LEAF != 0
    }

    #[inline]
    pub(crate) fn rights(self) -> Rights {
        Rights::from_bits(self.0)
    }

    #[inline]
    pub(crate) fn dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    #[inline]
    pub(crate) fn address(self) -> u64 {
        self.0 & 0x000f_ffff_ffff_f000
    }

    /// Who executed from the leaf: supervisor, user.
    pub(crate) fn executed(self) -> [bool; 2] {
        [self.0 & EXECUTED != 0, self.0 & EXECUTED << 1 != 0]
    }

    #[inline]
    pub(crate) fn set_executed(&mut self, user: bool) {
        self.0 |= EXECUTED << u32::from(user);
    }

    #[inline]
    fn page(self) -> usize {
        (self.0 >> 8) as usize & MAX_PAGES as usize
    }

    #[inline]
    fn serial(self) -> u64 {
        self.0 >> 28
    }

    /// Whether both are the same but for what an entry gathers in use.
    pub(crate) fn same_but_history(self, o: Slot) -> bool {
        let history = if self.is_leaf() { DIRTY | (EXECUTED * 3) } else { 0 };
        (self.0 ^ o.0) & !history == 0
    }

    /// `self`, with what `old` had gathered.
    pub(crate) fn with_history(self, old: Slot) -> Slot {
        Slot(self.0 | if old.is_leaf() && self.is_leaf() { old.0 & (EXECUTED * 3) } else { 0 })
    }
}

/// What changes how an entry is read: regimes with equal roles share shadow pages.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Role {
    mode: Mode,
    nxe: bool,
    gib_pages: bool,
    maxphys: u8,
    ept: Option<Eptp>,
    /// Tables may lie in system-management RAM.
    window: Window,
    /// Out of use since an INVEPT.
    dead: bool,
}

/// Which guest table a shadow page is of, and how it is read.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Key {
    /// Frame number; [`Shadow::outside`] for all that is not RAM.
    pub(crate) frame: u32,
    pub(crate) role: u16,
    pub(crate) level: u8,
    pub(crate) slice: u8,
    /// Bytes of a guest entry: 4 or 8.
    pub(crate) entry_bytes: u8,
    /// Whether walks begin here.
    pub(crate) top: bool,
}

impl Key {
    /// The entries here that are made from guest bytes `from..=to` of the table.
    pub(crate) fn covered(&self, from: usize, to: usize) -> core::ops::Range<usize> {
        let bytes = usize::from(self.entry_bytes);
        let (mut i, mut end) = (from / bytes, to / bytes + 1);
        if bytes == 4 && self.level == 2 {
            (i, end) = (i * 2, end * 2);
        }
        let first = usize::from(self.slice) * ENTRIES;
        i.saturating_sub(first).min(ENTRIES)..end.saturating_sub(first).min(ENTRIES)
    }

    /// The lowest linear-address bit that an entry here is selected by.
    pub(crate) fn shift(&self) -> u32 {
        12 + 9 * (u32::from(self.level) - 1)
    }
}

/// Roles known at once. Each INVEPT retires some.
const MAX_ROLES: usize = 1024;

/// A shadow page.
pub(crate) struct Page {
    /// Tells it from others at the same place; 0 while free.
    pub(crate) serial: u64,
    /// The TLB banks whose translations may have come through here.
    pub(crate) banks: u64,
    /// The linear address of entry 0, if it has led to a leaf here.
    pub(crate) base: Option<u64>,
    /// It was so at several addresses.
    pub(crate) many: bool,
    /// Stores to its bytes since it was last walked through, or [`COLD`].
    pub(crate) idle: u32,
    pub(crate) key: Key,
    /// The next page of the same frame.
    pub(crate) next: Option<u32>,
    /// The last installation that used the page.
    pinned: u64,
    /// The table's guest-physical address, unless EPT gives it several.
    table: Option<u64>,
    /// Entries in use.
    pub(crate) live: u32,
    pub(crate) slots: [Slot; ENTRIES],
}

/// Set in [`Page::idle`] by the clock hand.
const COLD: u32 = 1 << 16;

/// All shadow pages.
pub(crate) struct Shadow {
    pub(crate) pages: Vec<Page>,
    free: Vec<u32>,
    /// First shadow page of each frame, plus 1; last the one for what is outside RAM.
    heads: Vec<u32>,
    roles: Vec<Role>,
    limit: usize,
    next_serial: u64,
    hand: usize,
    /// Number of the current installation: its pages are not evicted.
    pin: u64,
}

impl Shadow {
    pub(crate) fn new(frames: usize, limit: u32) -> Shadow {
        let limit = limit.clamp(MIN_PAGES, MAX_PAGES) as usize;
        Shadow {
            pages: Vec::with_capacity(limit),
            free: Vec::new(),
            heads: vec![0; frames + 1],
            roles: Vec::new(),
            limit,
            next_serial: 1,
            hand: 0,
            pin: 0,
        }
    }

    /// The frame number that stands for everything outside RAM: tables there read as all ones.
    pub(crate) fn outside(&self) -> u32 {
        (self.heads.len() - 1) as u32
    }

    pub(crate) fn live(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    /// The role of a regime; None if there are too many, and all must be dropped.
    pub(crate) fn role(&mut self, r: &Regime) -> Option<u16> {
        let Regime {
            mode,
            root: _,
            pdpte: _,
            wp: _,
            nxe,
            smep: _,
            smap: _,
            gib_pages,
            maxphys,
            ept,
            window,
        } = *r;
        let role = Role { mode, nxe, gib_pages, maxphys, ept, window, dead: false };
        if let Some(i) = self.roles.iter().position(|x| *x == role) {
            return Some(i as u16);
        }
        if self.roles.len() == MAX_ROLES {
            return None;
        }
        self.roles.push(role);
        Some((self.roles.len() - 1) as u16)
    }

    /// Takes the roles with EPT root `root`, or with any EPT, out of use.
    pub(crate) fn kill_roles(&mut self, root: Option<u64>) {
        for role in &mut self.roles {
            role.dead |= role.ept.is_some_and(|e| root.is_none_or(|x| x == e.root()));
        }
    }

    /// Forgets all pages and roles.
    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.free.clear();
        self.heads.fill(0);
        self.roles.clear();
        self.hand = 0;
    }

    /// Whether nothing will look for this page again.
    pub(crate) fn is_dead(&self, page: u32) -> bool {
        self.roles[usize::from(self.pages[page as usize].key.role)].dead
    }

    /// The page that a link leads to, if it still exists.
    #[inline]
    pub(crate) fn target(&self, link: Slot) -> Option<u32> {
        let page = self.pages.get(link.page())?;
        (page.serial == link.serial() && !link.is_empty()).then_some(link.page() as u32)
    }

    pub(crate) fn link_to(&self, page: u32, rights: Rights) -> Slot {
        Slot::link(page, self.pages[page as usize].serial, rights)
    }

    /// The first shadow page of a frame; [`Page::next`] leads on.
    #[inline]
    pub(crate) fn first(&self, frame: u32) -> Option<u32> {
        self.heads[frame as usize].checked_sub(1)
    }

    fn of_frame(&self, frame: u32) -> impl Iterator<Item = u32> {
        let mut next = self.first(frame);
        core::iter::from_fn(move || {
            let page = next?;
            next = self.pages[page as usize].next;
            Some(page)
        })
    }

    /// The shadow page of the table at guest-physical `table`.
    pub(crate) fn find(&mut self, key: Key, table: u64) -> Option<u32> {
        let page = self.of_frame(key.frame).find(|p| self.pages[*p as usize].key == key)?;
        let p = &mut self.pages[page as usize];
        p.table = p.table.filter(|t| *t == table);
        p.pinned = self.pin;
        Some(page)
    }

    /// Where a walk of memory may go on that got to `page` with `rights`.
    pub(crate) fn start(&self, page: u32, rights: Rights) -> Option<(u32, Start)> {
        let p = &self.pages[page as usize];
        Some((page, Start { level: p.key.level, table: p.table?, rights }))
    }

    /// The page that the shadow walk for `la` gets to, and where a walk of memory may go on.
    pub(crate) fn deepest(&self, root: Slot, la: u64) -> Option<(u32, Start)> {
        let (mut link, mut rights) = (root, Rights::ALL);
        let mut deepest = None;
        while let Some(page) = self.target(link) {
            let p = &self.pages[page as usize];
            let Some(table) = p.table else { break };
            deepest = Some((page, Start { level: p.key.level, table, rights }));
            link = p.slots[(la >> p.key.shift()) as usize % ENTRIES];
            if link.is_leaf() {
                break;
            }
            rights = rights.and(link.rights());
        }
        deepest
    }

    /// Protects a page from eviction during the current installation.
    pub(crate) fn pin(&mut self, page: u32) {
        self.pages[page as usize].pinned = self.pin;
    }

    /// Begins an installation.
    pub(crate) fn begin(&mut self) {
        self.pin += 1;
    }

    /// Whether a page can be added without evicting one.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.pages.len() < self.limit
    }

    /// Adds an empty page; there is room.
    pub(crate) fn add(&mut self, key: Key, table: u64) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let head = &mut self.heads[key.frame as usize];
        let page = Page {
            serial,
            banks: 0,
            base: None,
            many: false,
            idle: 0,
            key,
            next: head.checked_sub(1),
            pinned: self.pin,
            table: Some(table),
            live: 0,
            slots: [Slot(0); ENTRIES],
        };
        let at = if let Some(at) = self.free.pop() {
            self.pages[at as usize] = page;
            at
        } else {
            self.pages.push(page);
            (self.pages.len() - 1) as u32
        };
        *head = at + 1;
        at
    }

    /// Removes a page. Returns whether it was its frame's last.
    pub(crate) fn remove(&mut self, page: u32) -> bool {
        let (frame, next) = {
            let p = &mut self.pages[page as usize];
            p.serial = 0;
            (p.key.frame, p.next)
        };
        let before = self.of_frame(frame).find(|p| self.pages[*p as usize].next == Some(page));
        match before {
            Some(before) => self.pages[before as usize].next = next,
            None => self.heads[frame as usize] = next.map_or(0, |n| n + 1),
        }
        self.free.push(page);
        self.heads[frame as usize] == 0
    }

    /// The page to evict: one not walked through since the hand last passed.
    pub(crate) fn victim(&mut self) -> u32 {
        loop {
            self.hand = (self.hand + 1) % self.pages.len();
            let p = &mut self.pages[self.hand];
            if p.serial == 0 || p.pinned == self.pin {
                continue;
            }
            if p.idle & COLD != 0 {
                return self.hand as u32;
            }
            p.idle |= COLD;
        }
    }

    /// Counts a store; returns how many there were since the page was last walked through.
    pub(crate) fn count_store(&mut self, page: u32) -> u32 {
        let idle = &mut self.pages[page as usize].idle;
        if *idle & (COLD - 1) < COLD - 1 {
            *idle += 1;
        }
        *idle & (COLD - 1)
    }

    /// Follows the links from `root` for `la`, whose top index begins at bit `shift`, on behalf of
    /// a TLB bank (a bit): the leaf's page, its slot, and the rights over all levels. An error is the
    /// page that lacks the entry, if that is what is missing, and the rights over the levels above.
    #[inline]
    pub(crate) fn walk(
        &mut self,
        root: Slot,
        la: u64,
        shift: u32,
        bank: u64,
    ) -> Result<Found, Option<(u32, Rights)>> {
        let (mut link, mut shift, mut rights) = (root, shift, Rights::ALL);
        if root.is_empty() {
            return Err(None);
        }
        loop {
            let at = link.page();
            let page = self.pages.get_mut(at).ok_or(None)?;
            if page.serial != link.serial() {
                return Err(None);
            }
            if page.idle != 0 {
                page.idle = 0;
            }
            page.banks |= bank;
            let index = (la >> shift) as usize % ENTRIES;
            let slot = page.slots[index];
            if slot.is_empty() {
                return Err(Some((at as u32, rights)));
            }
            rights = rights.and(slot.rights());
            if slot.is_leaf() {
                page.reached(la);
                let gpa = slot.address() | la & !(u64::MAX << shift);
                return Ok(Found { page: at as u32, index: index as u32, slot, gpa, rights });
            }
            link = slot;
            shift -= 9;
        }
    }

    /// What was found, with its page and slot as they are now; None if they are gone.
    #[inline]
    pub(crate) fn slot_of(&mut self, f: &Found) -> Option<&mut Slot> {
        let p = self.pages.get_mut(f.page as usize).filter(|p| p.serial != 0)?;
        Some(&mut p.slots[f.index as usize]).filter(|s| !s.is_empty())
    }

    /// The frame number of a table at `at`.
    pub(crate) fn frame_of(&self, ram: &crate::Ram, at: HostPhys) -> u32 {
        ram.frame(at).map_or(self.outside(), |f| f as u32)
    }
}

impl Page {
    /// Remembers that `la` has led to a leaf here.
    #[inline]
    pub(crate) fn reached(&mut self, la: u64) {
        let base = la & (u64::MAX << (self.key.shift() + 9));
        if self.base != Some(base) {
            self.many |= self.base.is_some();
            self.base = Some(base);
        }
    }
}

/// Where a shadow walk ended, and the translation.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) page: u32,
    pub(crate) index: u32,
    pub(crate) slot: Slot,
    pub(crate) gpa: u64,
    /// Over all levels.
    pub(crate) rights: Rights,
}
