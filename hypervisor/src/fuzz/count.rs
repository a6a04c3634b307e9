//! What holds between two steps, counted from scratch: references, pages, grants, ports.

use super::machine::Pages;
use super::witness::SECRET;
use super::world::{DOM0, HOSTILE, World};
use crate::xen::DomId;
use crate::xen::domain::{Domain, PortState};
use crate::xen::frames::FrameKind;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A leaf of a domain's tables, as the processor reads it. SDM vol. 3, "The Extended Page Table
/// Mechanism (EPT)".
struct Leaf {
    gfn: u64,
    mfn: u64,
    /// Frames that it is for.
    span: u64,
    writable: bool,
    kind: u64,
}

/// The kinds of leaves, as `memory.rs` numbers them.
const RAM: u64 = 0;
const RAM_RO: u64 = 1;
const GRANT_RW: u64 = 3;
const GRANT_RO: u64 = 4;
const FOREIGN: u64 = 5;

/// A domain's tables.
#[derive(Default)]
struct Map {
    leaves: Vec<Leaf>,
    tables: Vec<u64>,
}

impl Map {
    fn read(pages: &Pages, root: u64) -> Self {
        let mut map = Self::default();
        map.table(pages, root, 3, 0);
        map
    }

    fn table(&mut self, pages: &Pages, table: u64, level: u32, first: u64) {
        self.tables.push(table);
        let span = 1 << (9 * level);
        for (index, entry) in pages.words(table).filter(|(_, entry)| entry & 7 != 0) {
            let (gfn, mfn) = (first + index * span, (entry & 0x000F_FFFF_FFFF_F000) >> 12);
            if level == 0 || entry & 0x80 != 0 {
                let (writable, kind) = (entry & 2 != 0, entry >> 52 & 0x3F);
                self.leaves.push(Leaf { gfn, mfn, span, writable, kind });
            } else {
                self.table(pages, mfn, level - 1, gfn);
            }
        }
    }
}

type Uses = BTreeMap<(DomId, u32), ([u16; 2], DomId)>;

/// Counts of references and of uses.
struct Counts {
    /// References by machine frame.
    refs: Vec<u32>,
    /// Readers, writers and their domain, by granting domain and reference.
    uses: Uses,
}

impl Counts {
    fn refer(&mut self, mfn: u64) {
        self.refs[mfn as usize] += 1;
    }

    /// Counts what a domain holds, and what it has mapped.
    fn add(&mut self, domain: &Domain, map: &Map) {
        map.tables.iter().for_each(|&table| self.refer(table));
        for leaf in &map.leaves {
            (leaf.mfn..leaf.mfn + leaf.span).for_each(|mfn| self.refer(mfn));
        }
        self.refer(domain.shared_info);
        domain.grants.frames.iter().for_each(|&mfn| self.refer(mfn));
        for server in domain.pc.iter().flat_map(|pc| &pc.servers) {
            let buffered = server.buffered.map(|ring| ring.page);
            [Some(server.page), buffered].into_iter().flatten().for_each(|mfn| self.refer(mfn));
        }
        let moved = domain.vcpus.iter().filter(|vcpu| vcpu.info_registered);
        moved.for_each(|vcpu| self.refer(vcpu.info.mfn));
        for handle in 0..domain.grants.mapped.len() {
            let Some(Some(track)) = domain.grants.mapped.get(handle) else { continue };
            self.refer(track.mfn);
            let entry = (track.dom, track.gref);
            let (uses, user) = self.uses.entry(entry).or_insert(([0; 2], domain.id));
            assert_eq!(*user, domain.id, "two domains use {entry:?}");
            uses[usize::from(!track.readonly)] += 1;
            let mut leaves = map.leaves.iter();
            let found = leaves.find(|leaf| leaf.gfn == track.gfn && leaf.mfn == track.mfn);
            let writable = found.map(|leaf| leaf.writable);
            assert_eq!(writable, Some(!track.readonly), "handle {handle} of {:?}", domain.id);
        }
    }
}

/// Compares what the hypervisor keeps with what is there.
pub(super) fn check(world: &mut World) {
    let frames = world.memory.frames.max_mfn() as usize + 1;
    let mut counts = Counts { refs: alloc::vec![0; frames], uses: BTreeMap::new() };
    for dom in world.domains() {
        let root = world.memory.ept_pointer(dom).expect("tables") >> 12;
        let map = Map::read(&world.memory.physical, root);
        let domain = world.xen.domain(dom).expect("a domain");
        owners(world, domain, &map);
        bounds(world, domain, &map);
        ports(world, domain);
        counts.add(domain, &map);
    }
    for frame in world.kept.values().flatten() {
        counts.refer(frame >> 12);
    }
    for dom in world.kept.keys() {
        world.memory.spare_frames(*dom).iter().for_each(|frame| counts.refer(frame >> 12));
    }
    table(world, &counts.refs);
    grants(world, &counts.uses);
}

/// A domain sees its own pages and granted ones.
fn owners(world: &World, domain: &Domain, map: &Map) {
    for leaf in &map.leaves {
        let Leaf { gfn, mfn, span, kind, writable } = *leaf;
        let owned = |dom| (mfn..mfn + span).all(|mfn| world.memory.frames.owner(mfn) == Some(dom));
        match kind {
            RAM | RAM_RO => assert!(owned(domain.id), "{:?} sees {mfn:#x} at {gfn:#x}", domain.id),
            GRANT_RW | GRANT_RO => {
                let tracks = (0..domain.grants.mapped.len())
                    .filter_map(|handle| domain.grants.mapped.get(handle).copied().flatten());
                let mut tracks = tracks.filter(|track| track.gfn == gfn);
                let track = tracks.next().expect("a handle for a granted page");
                assert!(tracks.next().is_none(), "two handles for {gfn:#x} of {:?}", domain.id);
                assert!(owned(track.dom), "{mfn:#x} is not {:?}'s", track.dom);
                assert_eq!(
                    (track.mfn, track.readonly, writable),
                    (mfn, kind == GRANT_RO, kind == GRANT_RW)
                );
            }
            FOREIGN => assert_eq!(domain.id, DOM0, "a foreign page at {gfn:#x}"),
            _ => panic!("a leaf of kind {kind} at {gfn:#x} of {:?}", domain.id),
        }
    }
}

/// A domain's memory, and frames that the hypervisor holds for the domain.
fn bounds(world: &World, domain: &Domain, map: &Map) {
    let (dom, limits) = (domain.id, &world.limits[&domain.id]);
    let pages = world.memory.frames.pages(dom);
    assert!(pages <= limits.pages, "{pages} pages of {dom:?}, {} at most", limits.pages);
    // One more is `shared_info`.
    let held = pages + (map.tables.len() + domain.grants.frames.len()) as u64 + 1;
    assert!(held <= limits.frames, "{held} frames for {dom:?}, {} at most", limits.frames);
    assert!(domain.grants.frames.len() <= 64 && domain.grants.mapped.len() <= 4096 + 170);
    assert!(domain.channels.len() <= 4096 + 341, "{} ports", domain.channels.len());
    assert!(world.xen.refused.counts.len() <= 32);
}

/// Both ends of a connection know each other, and an interrupt the one port that it is bound to.
fn ports(world: &World, domain: &Domain) {
    for port in 0..domain.channels.len() as u32 {
        let Some(channel) = domain.channels.get(port as usize) else { continue };
        match channel.state {
            PortState::Interdomain { dom, port: peer } => {
                let other = world.xen.domain(dom).and_then(|other| other.channel(peer).copied());
                let expected = PortState::Interdomain { dom: domain.id, port };
                assert_eq!(
                    other.map(|other| other.state),
                    Ok(expected),
                    "port {port} of {:?}",
                    domain.id
                );
            }
            PortState::Virq(virq) => {
                let bound = domain.vcpus.iter().filter(|v| v.virq_ports[virq as usize] == port);
                assert_eq!(bound.count(), 1, "interrupt {virq} at port {port} of {:?}", domain.id);
            }
            PortState::Closed | PortState::Unbound { .. } | PortState::Ipi => {}
        }
        assert!(domain.vcpu(channel.vcpu).is_some(), "port {port} notifies nobody");
    }
    for vcpu in &domain.vcpus {
        for (virq, &port) in (0..).zip(&vcpu.virq_ports).filter(|(_, port)| **port != 0) {
            assert_eq!(domain.channel(port).map(|c| c.state), Ok(PortState::Virq(virq)));
        }
    }
}

/// The frame table agrees, and no page has gone to another domain with what was in that page.
fn table(world: &World, refs: &[u32]) {
    let table = &world.memory.frames;
    let (mut used, mut pages) = (0, BTreeMap::<DomId, u64>::new());
    for (mfn, &counted) in (0..).zip(refs) {
        assert_eq!(table.refs(mfn), counted, "references to frame {mfn:#x}");
        used += u64::from(counted != 0);
        if table.kind(mfn) == Some(FrameKind::Ram) {
            let owner = table.owner(mfn).expect("an owner");
            *pages.entry(owner).or_insert(0) += 1;
            let hostile = HOSTILE.contains(&owner);
            assert!(
                !hostile || !world.memory.physical.begins(mfn, &SECRET),
                "{owner:?} has the secret"
            );
        }
    }
    assert_eq!(table.total_pages() - table.free_pages(), used, "frames in use");
    for dom in world.limits.keys() {
        assert_eq!(table.pages(*dom), pages.get(dom).copied().unwrap_or(0), "pages of {dom:?}");
    }
}

/// The entries of grant tables that are in use are those that somebody has mapped.
fn grants(world: &World, uses: &Uses) {
    for domain in world.xen.domains.values() {
        for gref in 0..domain.grants.active.len() as u32 {
            let Some(active) = domain.grants.active.get(gref as usize) else { continue };
            let (counted, user) =
                uses.get(&(domain.id, gref)).copied().unwrap_or(([0; 2], active.dom));
            let kept = ([active.readers, active.writers], active.dom);
            assert_eq!(kept, (counted, user), "uses of grant {gref} of {:?}", domain.id);
        }
    }
}
