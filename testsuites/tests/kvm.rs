//! Debian's KVM on the machine: Linux boots Linux by Debian's QEMU, to any depth.

use testsuites::guests::kvm;
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: &str = "120000000000";

/// The guest that runs `levels` more, one in the other.
fn run(levels: u32) -> Ended {
    let guest = kvm::kvm().needed("the KVM guest");
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (kernel, initrd) = (text(guest.vmlinuz()), text(guest.initrd()));
    let append = format!("console=ttyS0 panic=-1 levels={levels}");
    let words = ["run", "-m", "1024", "-kernel", &kernel, "-initrd", &initrd, "-append", &append];
    let rest =
        ["-serial", "stdio", "-display", "none", "-no-reboot", "--limit-instructions", LIMIT];
    strata::run(&[&words[..], &rest[..]].concat()).needed("strata")
}

/// All guests came to userspace and powered off, the innermost first, and so did a second run.
#[track_caller]
fn check(levels: u32) {
    let [first, second] = [run(levels), run(levels)];
    assert_eq!(first.status, Some(0), "{}{}", first.stdout, first.stderr);
    for level in 0..=levels {
        let shown = first.console(&"| ".repeat(level as usize));
        let mut own = shown.iter().filter(|line| line.starts_with("MARK") || line.contains(": "));
        let kvm = "kvm: ept:Y vpid:Y unrestricted_guest:Y nested:Y flexpriority:Y ";
        let says = if level == levels { "hypervisor: none" } else { kvm };
        for line in ["MARK userspace", says, "MARK done"] {
            assert!(own.any(|found| found == line), "no '{line}' at {level}: {}", first.stdout);
        }
    }
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}

#[test]
fn linux_boots_linux() {
    check(1);
}

/// KVM in KVM.
#[test]
#[ignore = "takes minutes"]
fn linux_boots_linux_that_boots_linux() {
    check(2);
}
