//! RAM: its layout, its edges.

use mmu::ram::{HIGH_BASE, LOW_MAX};
use mmu::{Access, AccessKind, HostPhys, Limits, Linear, Mmu, Mode, Ram, Regime, View, Window};

const GIB: u64 = 1 << 30;
/// Of 5 GiB.
const HIGH_END: u64 = HIGH_BASE + 5 * GIB - LOW_MAX;

#[track_caller]
fn check(size: u64, inside: &[u64], outside: &[u64]) {
    let ram = Ram::new(size).expect("a valid size");
    assert_eq!(ram.below_4g() + ram.above_4g(), size);
    for p in inside {
        assert!(ram.is_ram(HostPhys(*p)), "{p:#x} is RAM");
    }
    for p in outside {
        assert!(!ram.is_ram(HostPhys(*p)), "{p:#x} is not RAM");
        assert!(ram.page_ptr(HostPhys(*p)).is_none());
    }
}

#[test]
fn layout() {
    check(1 << 20, &[0, 0x9_ffff, 0xc_0000, 0xf_ffff], &[0xa_0000, 0xb_ffff, 1 << 20, u64::MAX]);
    check(LOW_MAX, &[LOW_MAX - 1], &[LOW_MAX, HIGH_BASE, HIGH_BASE - 1]);
    let outside = [LOW_MAX, HIGH_BASE - 1, HIGH_END, 1 << 63];
    check(5 * GIB, &[LOW_MAX - 1, HIGH_BASE, HIGH_END - 1], &outside);
}

#[test]
fn sizes() {
    for size in [0, 4096, (1 << 20) - 4096, (1 << 20) + 1, u64::MAX, u64::MAX - 4095] {
        assert!(Ram::new(size).is_err(), "{size:#x}");
    }
}

#[test]
fn physical_access() {
    let mut mmu = Mmu::new(Ram::new(5 * GIB).expect("a valid size"), Limits::default());
    let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
    for p in [0, 0xffc, 0x9_fff8, LOW_MAX - 8, HIGH_BASE, HIGH_END - 8] {
        assert!(mmu.write_slice(HostPhys(p), &bytes), "{p:#x}");
        assert_eq!(mmu.read_phys(HostPhys(p)), Some(bytes), "{p:#x}");
    }
    for p in [0x9_fffc, 0xb_fffc, LOW_MAX - 4, HIGH_BASE - 4, HIGH_END - 4, u64::MAX - 3] {
        let before = mmu.read_phys::<4>(HostPhys(p));
        assert!(!mmu.write_slice(HostPhys(p), &bytes), "{p:#x}");
        assert_eq!(mmu.read_phys::<8>(HostPhys(p)), None, "{p:#x}");
        assert_eq!(mmu.read_phys::<4>(HostPhys(p)), before, "{p:#x} is as it was");
    }
    assert!(mmu.write_slice(HostPhys(0), &[]));
}

/// System-management RAM: what each window shows, and what the TLBs hold for it. Bytes stay behind a closed one.
#[test]
fn windows() {
    let mut mmu = Mmu::new(Ram::new(1 << 20).expect("a valid size"), Limits::default());
    let at = HostPhys(0xa_1000);
    let access = |kind| Access { kind, user: false, ac: false, implicit: false };
    let mut stored = 0;
    for (window, data, code) in [
        (Window::Open, true, true),
        (Window::Closed, false, false),
        (Window::Code, false, true),
        (Window::Open, true, true),
        (Window::Closed, false, false),
    ] {
        let r = Regime {
            mode: Mode::Off,
            root: 0,
            pdpte: [0; 4],
            wp: false,
            nxe: false,
            smep: false,
            smap: false,
            gib_pages: false,
            maxphys: 40,
            ept: None,
            window,
        };
        let bank = mmu.activate(&r).index;
        for kind in [AccessKind::Read, AccessKind::Write, AccessKind::Execute] {
            let p = mmu.fill(&r, bank, View::Supervisor, Linear(at.0), access(kind));
            assert_eq!(p, Ok(at), "{window:?}");
        }
        let holds = |executes: bool| {
            let mut all = mmu.cached().filter(|c| c.regime == r && c.phys == at.0 && c.ram);
            all.any(|c| c.view.is_none() == executes)
        };
        assert_eq!((holds(false), holds(true)), (data, code), "{window:?}");
        assert_eq!((mmu.ram.is_ram(at), mmu.ram.is_code(at)), (data, code));
        let mut bytes = [0xff; 4];
        assert_eq!(mmu.ram.read_code(at, &mut bytes), code, "{window:?}");
        assert_eq!(bytes, if code { [stored; 4] } else { [0xff; 4] });
        assert_eq!(mmu.write_slice(at, &[stored + 1; 4]), data, "{window:?}");
        stored += u8::from(data);
        assert_eq!(mmu.ram.smram_page(1)[..4], [stored; 4]);
    }
    mmu.ram.clear_smram();
    assert_eq!(mmu.ram.smram_page(1), [0; 4096]);
}

#[test]
fn zeroing_leaves_no_byte() {
    const LEN: usize = 3 * 4096 + 100;
    for value in [0, 0x5a] {
        for dirty in [0, 1, 63, 64, 4095, 4096, 8191, LEN - 101, LEN - 100, LEN - 1] {
            let mut bytes = [0; LEN];
            bytes[dirty] = 1;
            mmu::ram::set_bytes(&mut bytes, value);
            assert_eq!(bytes.iter().position(|b| *b != value), None, "{value:#x} over {dirty}");
        }
    }
}
