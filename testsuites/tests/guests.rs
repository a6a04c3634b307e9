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

/// Some lines can be known without running anything: the sum of 8 MiB of zeros, the count of the
/// loop, the size of the copy. The others only have to repeat.
#[test]
fn work_repeats() {
    let guest = guests::linux().unwrap();
    let work = guest.work().unwrap();
    let zeros = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74  -";
    assert_eq!(work[..2], [zeros, "MARK sha256"]);
    assert_eq!(work[4..7], ["MARK fork", "20000", "MARK shell"]);
    assert_eq!(work[9..11], [&(32 << 20).to_string(), "MARK copy"]);
    assert_eq!(work[12..], ["MARK float"]);
    assert_eq!(work, guest.work().unwrap());
}
