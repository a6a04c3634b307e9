//! The guest builder makes what the boot tests rely on.

use std::fs;
use testsuites::guests;

#[test]
fn linux_has_every_file() {
    let guest = guests::linux().unwrap();
    for name in guests::Linux::FILES {
        let size = fs::metadata(guest.dir().join(name)).unwrap().len();
        assert!(size > 0, "{name} is empty");
    }
    for elf in [guest.vmlinux(), guest.dom0_vmlinux()] {
        assert!(fs::read(&elf).unwrap().starts_with(b"\x7FELF"), "{} is no ELF", elf.display());
    }
}

/// Three can be known without running anything: the sum of 8 MiB of zeros, the count of the loop,
/// and the size of the copy. The others only have to repeat.
#[test]
fn sums_repeat() {
    let guest = guests::linux().unwrap();
    let sums = guest.sums().unwrap();
    assert_eq!(sums.len(), 6, "{sums:?}");
    assert_eq!(sums[0], "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74  -");
    assert_eq!(sums[2], "20000");
    assert_eq!(sums[4], (32 << 20).to_string());
    assert_eq!(sums, guest.sums().unwrap());
}
