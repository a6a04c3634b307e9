//! RAM: its layout, its edges.

use mmu::ram::{HIGH_BASE, LOW_MAX};
use mmu::{HostPhys, Limits, Mmu, Ram};

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
