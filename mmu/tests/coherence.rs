//! The MMU against the reference, under random edits, accesses and tiny limits: every result, every
//! accessed and dirty flag, every translation that any TLB holds, every execute link.

mod reference;

use mmu::{
    Access, AccessKind, Cached, Eptp, HostPhys, Limits, Linear, Mmu, Mode, PageKind, Ram, Regime,
    View, Window,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reference::Model;

const SIZE: u64 = 1 << 20;
/// Guest tables and data: pages 1 to 8.
const POOL: u64 = 8;
/// EPT tables: root and three more levels, a chain, which guests cannot reach.
const EPT_ROOT: u64 = 0x40000;
/// Entries that tests write and use.
const INDEXES: [u64; 6] = [0, 1, 2, 3, 8, 511];

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A guest's store of 8 (or 4) bytes to entry `index` of page `page`.
    Store {
        page: u64,
        index: usize,
        part: u8,
        entry: Entry,
    },
    /// Overwrites a page at once.
    Zero {
        page: u64,
    },
    /// A change of EPT entry `index` at `level`, without INVEPT.
    Ept {
        level: u64,
        index: usize,
        entry: Entry,
    },
    /// An access, the way given by `how`: translate, fill, or fetch.
    Access {
        regime: usize,
        la: usize,
        access: Access,
        how: u8,
    },
    /// Decoding of code in a page by the interpreter, or dropping of the code.
    Code {
        page: u64,
        on: bool,
    },
    /// A page is watched, or no longer.
    Trap {
        page: u64,
        on: bool,
    },
    Flush {
        regime: usize,
    },
}

/// An entry: the page it names and its bits, biased to useful ones.
#[derive(Clone, Copy, Debug)]
struct Entry {
    page: u64,
    bits: u64,
}

/// A linear address, by index at each level.
#[derive(Clone, Copy, Debug)]
struct La([usize; 5]);

/// The flags P, W, U, A, D, PS, G, NX and one that is reserved, each with its probability.
fn entry() -> impl Strategy<Value = Entry> {
    let rare = |bit: u64| prop_oneof![15 => Just(0), 1 => Just(bit)];
    let usual = |bit: u64| prop_oneof![1 => Just(0), 6 => Just(bit)];
    let even = |bit: u64| prop_oneof![Just(0), Just(bit)];
    let flags = (usual(1), usual(2), usual(4), even(0x20), even(0x40), rare(0x80), even(0x100));
    let high = (rare(1 << 63), rare(1 << 45), rare(1 << 13));
    let page = prop_oneof![20 => 1..=POOL, 1 => Just(0u64), 1 => Just(0xA0u64), 1 => Just(0x1000)];
    (page, flags, high).prop_map(|(page, f, h)| Entry {
        page: page << 12,
        bits: f.0 | f.1 | f.2 | f.3 | f.4 | f.5 | f.6 | h.0 | h.1 | h.2,
    })
}

fn access() -> impl Strategy<Value = Access> {
    let kind =
        prop_oneof![Just(AccessKind::Read), Just(AccessKind::Write), Just(AccessKind::Execute)];
    (kind, any::<bool>(), any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(kind, user, ac, implicit)| Access { kind, user, ac, implicit })
}

fn op() -> impl Strategy<Value = Op> {
    let index = 0..INDEXES.len();
    prop_oneof![
        6 => (1..=POOL, index.clone(), 0..3u8, entry())
            .prop_map(|(page, index, part, entry)| Op::Store { page, index, part, entry }),
        1 => (1..=POOL).prop_map(|page| Op::Zero { page }),
        2 => (prop_oneof![1 => 0..3u64, 3 => Just(3)], index, entry())
            .prop_map(|(level, index, entry)| Op::Ept { level, index, entry }),
        24 => (0..REGIMES, 0..LINEARS, access(), 0..3u8)
            .prop_map(|(regime, la, access, how)| Op::Access { regime, la, access, how }),
        1 => (1..=POOL, any::<bool>()).prop_map(|(page, on)| Op::Code { page, on }),
        1 => (1..=POOL, any::<bool>()).prop_map(|(page, on)| Op::Trap { page, on }),
        1 => (0..REGIMES).prop_map(|regime| Op::Flush { regime }),
    ]
}

/// Of each, this many in a case: few, so that they meet again.
const REGIMES: usize = 5;
const LINEARS: usize = 6;

fn la() -> impl Strategy<Value = La> {
    let index = || prop_oneof![6 => 0..3usize, 1 => 0..INDEXES.len()];
    [index(), index(), index(), index(), index()].prop_map(La)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        1 => Just(Mode::Off),
        2 => any::<bool>().prop_map(|pse| Mode::Bits32 { pse }),
        2 => Just(Mode::Pae),
        4 => Just(Mode::Level4),
        2 => Just(Mode::Level5),
    ]
}

/// Regimes of two kinds, over tables in the same pages. Those of one kind read entries alike, and
/// so share shadow pages.
fn regimes() -> impl Strategy<Value = Vec<Regime>> {
    (mode(), mode()).prop_flat_map(|(a, b)| (regime(a), regime(b))).prop_flat_map(|(a, b)| {
        prop::collection::vec(prop_oneof![2 => variant(a), 1 => variant(b)], REGIMES)
    })
}

fn variant(base: Regime) -> impl Strategy<Value = Regime> {
    (1..=3u64, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(move |(root, wp, smep, smap)| Regime { root: root << 12, wp, smep, smap, ..base })
}

fn regime(mode: Mode) -> impl Strategy<Value = Regime> {
    let ept = prop_oneof![2 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let pages = [1..=3u64, 1..=POOL, 1..=POOL, 1..=POOL];
    (pages, flags, ept, prop_oneof![1 => Just(36u8), 4 => Just(40), 1 => Just(52)]).prop_map(
        move |(pages, (wp, nxe, smep, smap, gib_pages), ept, maxphys)| Regime {
            mode,
            root: pages[0] << 12,
            pdpte: if mode == Mode::Pae {
                pages.map(|p| p << 12 | u64::from(p != 3))
            } else {
                [0; 4]
            },
            wp,
            nxe,
            smep,
            smap,
            gib_pages,
            maxphys,
            ept: ept.map(|ad| Eptp(EPT_ROOT | 0x1e | u64::from(ad) << 6)),
            window: Window::Closed,
        },
    )
}

/// A link between blocks, as the interpreter makes it after a fetch.
struct Link {
    regime: Regime,
    bank: u32,
    user: bool,
    la: u64,
    phys: u64,
    generation: u64,
}

/// The shadowing machine and the reference.
struct Pair {
    mmu: Mmu,
    model: Model,
    regimes: Vec<Regime>,
    linears: Vec<La>,
    links: Vec<Link>,
}

impl Pair {
    fn new(regimes: Vec<Regime>, linears: Vec<La>, fill: &[Entry], limits: Limits) -> Pair {
        let ram = Ram::new(SIZE).expect("1 MiB is a valid size");
        let mut pair = Pair {
            mmu: Mmu::new(ram, limits),
            model: Model { mem: vec![0; SIZE as usize], changes: 0 },
            regimes,
            linears,
            links: vec![],
        };
        let mut entries = fill.iter().cycle();
        for page in 1..=POOL {
            for index in INDEXES {
                let Entry { page: p, bits } = *entries.next().expect("a cycle does not end");
                pair.store(page << 12 | index << 3, 8, p | bits);
            }
        }
        for level in 0..4 {
            for index in INDEXES {
                pair.ept_entry(level, index, 7, index);
            }
        }
        pair
    }

    /// Entry `index` of the EPT table at `level` from the root; leaves map page `page`.
    fn ept_entry(&mut self, level: u64, index: u64, bits: u64, page: u64) {
        let table = EPT_ROOT + (level << 12);
        let next = if level == 3 { page << 12 } else { table + 0x1000 };
        self.store(table | index << 3, 8, next | bits);
    }

    fn store(&mut self, p: u64, bytes: u64, value: u64) {
        self.model.write(p, bytes, value);
        let bytes = &value.to_le_bytes()[..bytes as usize];
        assert!(self.mmu.write_slice(HostPhys(p), bytes));
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Store { page, index, part, entry } => {
                let at = page << 12 | INDEXES[index] << 3;
                let value = entry.page | entry.bits;
                match part {
                    0 => self.store(at, 8, value),
                    1 => self.store(at, 4, value),
                    _ => self.store(at + 4, 4, value),
                }
            }
            Op::Zero { page } => {
                (0..4096).for_each(|i| self.model.write(page << 12 | i, 1, 0));
                assert!(self.mmu.write_slice(HostPhys(page << 12), &[0; 4096]));
            }
            Op::Ept { level, index, entry } => {
                // U is X here, A to G are memory type and flags.
                let large = if level == 3 { 0 } else { entry.bits & 0x80 };
                let kind = if large != 0 || level == 3 { entry.bits & 0x60 } else { 0 };
                let bits = entry.bits & 0x107 | large | kind & 0x40;
                self.ept_entry(level, INDEXES[index], bits, entry.page >> 12 & 15);
            }
            Op::Access { regime, la, access, how } => self.access(regime, la, access, how),
            Op::Code { page, on } => self.mmu.set_kind(HostPhys(page << 12), PageKind::Code, on),
            Op::Trap { page, on } => {
                self.mmu.set_kind(HostPhys(page << 12), PageKind::SlowPath, on)
            }
            Op::Flush { regime } => self.mmu.flush_regime(&self.regimes[regime]),
        }
    }

    fn access(&mut self, regime: usize, la: usize, a: Access, how: u8) {
        let r = self.regimes[regime];
        let la = linear(r.mode, self.linears[la]);
        let bank = self.mmu.activate(&r);
        let view = match (a.user && !a.implicit, r.smap && (a.implicit || !a.ac)) {
            (true, _) => View::User,
            (_, true) => View::SupervisorSmap,
            _ => View::Supervisor,
        };
        let fetch = Access { kind: AccessKind::Execute, ac: false, implicit: false, ..a };
        let (got, a) = match how {
            0 => (self.mmu.translate(&r, Linear(la), a), a),
            1 if a.kind != AccessKind::Execute => {
                (self.mmu.fill(&r, bank.index, view, Linear(la), a), a)
            }
            _ => (self.mmu.fetch(&r, bank.index, a.user, Linear(la)), fetch),
        };
        let want = self.model.translate(&r, la, a).map(HostPhys);
        assert_eq!(got, want, "{r:x?} la {la:#x} {a:?} how {how}");
        if let (Ok(phys), AccessKind::Execute, true) = (got, a.kind, how != 0) {
            let generation = self.mmu.generation(bank.index)[usize::from(a.user)];
            let (la, phys) = (la & !0xfff, phys.page().0);
            let link = Link { regime: r, bank: bank.index, user: a.user, la, phys, generation };
            self.links.push(link);
        }
    }

    fn check(&mut self) {
        for page in (1..=POOL).map(|p| p << 12).chain((0..4).map(|l| EPT_ROOT + (l << 12))) {
            let mem = self.mmu.read_phys::<4096>(HostPhys(page)).expect("the pool is RAM");
            let model = &self.model.mem[page as usize..][..4096];
            assert!(mem == model, "accessed or dirty flags differ in page {page:#x}");
        }
        let all: Vec<Cached> = self.mmu.cached().collect();
        for c in all {
            self.check_cached(&c);
        }
        self.links.retain(|l| self.mmu.generation(l.bank)[usize::from(l.user)] == l.generation);
        let links = core::mem::take(&mut self.links);
        for l in &links {
            let a = access_of(AccessKind::Execute, l.user, true);
            self.check_unchanged(&l.regime, l.la, l.phys, a);
        }
        self.links = links;
    }

    /// A cached translation is what the reference finds, with no flag left to set.
    fn check_cached(&mut self, c: &Cached) {
        let kinds = self.mmu.kinds(HostPhys(c.phys));
        assert!(!kinds.slow_path, "{c:x?}");
        assert!(!(c.writable && (kinds.code || kinds.table)), "{c:x?} {kinds:?}");
        let mut r = c.regime;
        let (first, ac) = match c.view {
            None => (AccessKind::Execute, true),
            Some(v) => (AccessKind::Read, v != View::SupervisorSmap),
        };
        r.smap |= !ac;
        self.check_unchanged(&r, c.la, c.phys, access_of(first, c.user, ac));
        assert!(c.permitted || !c.writable, "{c:x?}");
        if c.permitted {
            self.check_unchanged(&r, c.la, c.phys, access_of(AccessKind::Write, c.user, ac));
        }
    }

    fn check_unchanged(&mut self, r: &Regime, la: u64, phys: u64, a: Access) {
        let before = self.model.changes;
        assert_eq!(self.model.translate(r, la, a), Ok(phys), "{r:x?} {la:#x} {a:?}");
        assert_eq!(self.model.changes, before, "{r:x?} {la:#x} {a:?} leaves flags unset");
    }
}

fn access_of(kind: AccessKind, user: bool, ac: bool) -> Access {
    Access { kind, user, ac, implicit: false }
}

fn linear(mode: Mode, la: La) -> u64 {
    let i = la.0.map(|i| INDEXES[i]);
    let long = i[1] << 30 | i[2] << 21 | i[3] << 12 | 0x123;
    match mode {
        Mode::Off => i[3] << 12 | 0x123,
        // Indexes of 10 bits: twice as many entries, so that both halves of 8 bytes are used.
        Mode::Bits32 { .. } => (i[2] * 2 + i[0] % 2) << 22 | (i[3] * 2 + i[1] % 2) << 12 | 0x123,
        Mode::Pae => (i[1] & 3) << 30 | i[2] << 21 | i[3] << 12 | 0x123,
        Mode::Level4 => sign(i[0] << 39 | long, 47),
        Mode::Level5 => sign(i[4] << 48 | i[0] << 39 | long, 56),
    }
}

fn sign(la: u64, bit: u32) -> u64 {
    ((la << (63 - bit)) as i64 >> (63 - bit)) as u64
}

#[track_caller]
fn check(cases: u32, limits: Limits) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let linears = prop::collection::vec(la(), LINEARS);
    let fill = prop::collection::vec(entry(), 48);
    let ops = prop::collection::vec(op(), 1..200);
    let result = runner.run(&(regimes(), linears, fill, ops), |(regimes, linears, fill, ops)| {
        let mut pair = Pair::new(regimes, linears, &fill, limits);
        // What is wrong in a cache stays so for a while: no need to look after each step.
        for ops in ops.chunks(4) {
            ops.iter().for_each(|op| pair.run(*op));
            pair.check();
        }
        Ok(())
    });
    if let Err(e) = result {
        panic!("{e}");
    }
}

#[test]
fn tiny_limits() {
    check(300, Limits { banks: 2, shadow_pages: 8 });
}

#[test]
fn ample_limits() {
    check(300, Limits { banks: 8, shadow_pages: 1000 });
}

/// 4-level paging from 1000h on.
fn long_mode() -> Regime {
    Regime {
        mode: Mode::Level4,
        root: 0x1000,
        pdpte: [0; 4],
        wp: true,
        nxe: false,
        smep: false,
        smap: false,
        gib_pages: false,
        maxphys: 40,
        ept: None,
        window: Window::Closed,
    }
}

/// A page directory whose entries all name one table of 512 pages: a store above it takes all those translations
/// back at once, not one by one.
#[test]
fn a_store_above_many_leaves_empties_the_bank() {
    let mut mmu = Mmu::new(Ram::new(SIZE).unwrap(), Limits { banks: 1, shadow_pages: 16 });
    let tables = [(0x1000, 0x2007u64), (0x2000, 0x3007)];
    let directory = (0..512).map(|n| (0x3000 + 8 * n, 0x4067));
    let leaves = (0..512).map(|n| (0x4000 + 8 * n, 0x5067));
    for (at, entry) in tables.into_iter().chain(directory).chain(leaves) {
        assert!(mmu.write_slice(HostPhys(at), &u64::to_le_bytes(entry)));
    }
    let regime = long_mode();
    let bank = mmu.activate(&regime).index;
    let read = access_of(AccessKind::Read, false, false);
    let las = || (0..20u64).flat_map(|d| (0..512u64).map(move |p| Linear(d << 21 | p << 12)));
    for la in las() {
        assert_eq!(mmu.fill(&regime, bank, View::Supervisor, la, read), Ok(HostPhys(0x5000)));
    }
    let before = mmu.stats();
    assert!(mmu.write_slice(HostPhys(0x2000), &[0; 8]));
    assert_eq!(mmu.stats().flushes, before.flushes + 1);
    assert_eq!(mmu.cached().count(), 0);
    for la in las() {
        assert!(mmu.fill(&regime, bank, View::Supervisor, la, read).is_err());
    }
}

/// Pages that share a slot of the TLB change places; what drops an entry drops it where it has been displaced to.
#[test]
fn displaced_entries_come_back_and_are_dropped() {
    let mut mmu = Mmu::new(Ram::new(SIZE).unwrap(), Limits { banks: 1, shadow_pages: 16 });
    // Large pages at 0 and 4 MiB, both at 0.
    let entries = [(0x1000, 0x2007u64), (0x2000, 0x3007), (0x3000, 0xe7), (0x3010, 0xe7)];
    for (at, entry) in entries {
        assert!(mmu.write_slice(HostPhys(at), &u64::to_le_bytes(entry)));
    }
    let regime = long_mode();
    let bank = mmu.activate(&regime).index;
    let write = access_of(AccessKind::Write, false, false);
    let fill = |mmu: &mut Mmu, la| {
        let found = mmu.fill(&regime, bank, View::Supervisor, Linear(la), write).is_ok();
        (found, mmu.stats().fills)
    };
    let [low, high] = [0x5000, 0x40_5000];
    let fills = [low, high, low, high, low].map(|la| fill(&mut mmu, la).1);
    assert_eq!(fills, [1, 2, 2, 2, 2]);
    assert!(mmu.write_slice(HostPhys(0x3010), &[0; 8]));
    assert!(!fill(&mut mmu, high).0, "its entry was among the displaced ones");
}
