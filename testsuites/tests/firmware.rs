//! Programs of Debian that ask much of firmware and of what it leaves behind: Linux with the 8259s alone, by the MP
//! table instead of ACPI, and reset by way of real mode; memtest86+, whose image is no multiple of 16 bytes; GNU Mach, which knows PCs of long ago.

use testsuites::guests;
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// Far above what a boot takes: a hanging guest ends with a status of its own.
const LIMIT: &str = "20000000000";

fn text(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// Debian's full kernel (the cloud flavour knows no MP tables) with `append`, to userspace and no further.
fn linux(append: &str, words: &[&str]) -> Ended {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (text(guest.dom0_vmlinux()), text(guest.initrd()));
    let append = format!("console=ttyS0 work=none {append}");
    let guest = ["-m", "512", "-kernel", &kernel, "-initrd", &initrd, "-append", &append];
    let rest = ["-serial", "stdio", "-display", "none", "--limit-instructions", LIMIT];
    strata::run(&[&["run"], &guest[..], &rest[..], words].concat()).needed("strata")
}

/// The run ended as it should, with these texts on its console, in this order.
#[track_caller]
fn check(run: &Ended, status: i32, texts: &[&str]) {
    assert_eq!(run.status, Some(status), "{}{}", run.stdout, run.stderr);
    let mut rest = run.stdout.as_str();
    for text in texts {
        let at = rest.find(text);
        rest = at.map(|at| &rest[at..]).unwrap_or_else(|| panic!("no '{text}': {}", run.stdout));
    }
}

/// Interrupts by the 8259s through virtual wire mode.
#[test]
fn without_local_apic() {
    let texts = ["Keep in PIC mode(8259)", "MARK userspace", "Power down"];
    check(&linux("nolapic", &[]), 0, &texts);
}

/// The second processor is found by the MP table; the machine cannot be turned off, and halts.
#[test]
fn without_acpi() {
    let texts = ["found SMP MP-table", "Brought up 1 node, 2 CPUs", "MARK done", "System halted"];
    check(&linux("acpi=off", &["-smp", "2"]), 118, &texts);
}

/// Linux goes back to real mode and jumps to the firmware's entry, which resets the machine.
#[test]
fn reset_by_the_bios() {
    let run = linux("reboot=b panic=1 rdinit=/nothing init=/nothing", &["-no-reboot"]);
    check(&run, 0, &["Kernel panic", "Rebooting in 1 seconds"]);
}

/// Its screen, by serial line: it tests, and has found no error yet.
#[test]
fn memtest() {
    for image in guests::images::memtest().needed("memtest86+").map(text) {
        let words = ["run", "-m", "64", "-kernel", &image, "-append", "console=ttyS0,115200"];
        let rest = ["-serial", "stdio", "-display", "none", "--limit-instructions", "1000000000"];
        let run = strata::run(&[&words[..], &rest[..]].concat()).needed("strata");
        check(&run, 124, &["Memtest86+ v", "Memory  :   64MB", "Errors: 0", "25% ##########"]);
    }
}

/// It looks for SCSI adapters at the ports of ISA cards, by the second for 32 bits, before it misses its first program.
#[test]
fn mach() {
    let images = guests::images::mach().needed("GNU Mach").map(text);
    for (image, limit) in images.iter().zip(["200000000", "6000000000"]) {
        let words = ["run", "-m", "128", "-kernel", image, "-append", "console=com0"];
        let rest = ["-serial", "stdio", "-display", "none", "--limit-instructions", limit];
        let run = strata::run(&[&words[..], &rest[..]].concat()).needed("strata");
        let last = "bootstrap_create: No bootstrap code loaded with the kernel!";
        check(
            &run,
            124,
            &["GNU Mach 1.8", "biosmem: physical memory map", "com 2 out of range", last],
        );
    }
}
