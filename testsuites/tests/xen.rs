//! Debian's Xen on the machine, entered by multiboot and going back to real mode for the firmware's services:
//! Linux as dom0 creates domUs of each kind, which come to userspace and power off; then dom0 powers off.

use testsuites::guests::xen::{self, Hypervisor};
use testsuites::outcome::Needed;
use testsuites::strata::Ended;

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: &str = "120000000000";

/// The domUs `kinds`, parted by commas.
fn run(kinds: &str) -> Ended {
    let guest = xen::xen().needed("the Xen guest");
    guest.run(Hypervisor::Xen, &format!("domus={kinds}"), LIMIT).needed("strata")
}

/// The run ended well, and so did each of its domUs.
#[track_caller]
fn check(run: &Ended, kinds: &str) {
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    let dom0 = run.console("");
    let has = |line: &str| dom0.iter().any(|found| found == line);
    for line in ["MARK userspace", "xenfs: control_d", "MARK tools", "MARK done"] {
        assert!(has(line), "no '{line}': {}", run.stdout);
    }
    for kind in kinds.split(',') {
        let domu = run.console(&format!("({kind}) "));
        let at = domu.iter().position(|line| line == "MARK userspace");
        let shown = at.map_or(&[][..], |at| &domu[at..]);
        let expected = ["MARK userspace", "hypervisor: xen", "MARK done"];
        assert_eq!(shown.get(..3), Some(&expected.map(String::from)[..]), "{}", run.stdout);
        assert!(has(&format!("MARK ended-{kind}")), "{kind}: {}", run.stdout);
    }
}

/// What every landing looks at: the kinds that cost least, twice.
#[test]
fn paravirtualised_domus() {
    let [first, second] = [run("pv,pvh"), run("pv,pvh")];
    check(&first, "pv,pvh");
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}

/// The same for hardware domUs: QEMU's loader and the firmware's CD bring a kernel of one sector.
#[test]
fn hardware_domus_of_a_sector() {
    let [first, second] = [run("small,smallcd"), run("small,smallcd")];
    assert_eq!(first.status, Some(0), "{}{}", first.stdout, first.stderr);
    for kind in ["small", "smallcd"] {
        let has = |prefix: &str, line: &str| first.console(prefix).iter().any(|l| l == line);
        assert!(has(&format!("({kind}) "), "MARK small"), "{kind}: {}", first.stdout);
        assert!(has("", &format!("MARK ended-{kind}")), "{kind}: {}", first.stdout);
    }
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}

/// Every kind, twice.
#[test]
#[ignore = "takes minutes: hardware domUs load their kernels by programmed I/O"]
fn every_kind_of_domu() {
    let [first, second] = [run("pv,pvh,hvm,cd"), run("pv,pvh,hvm,cd")];
    check(&first, "pv,pvh,hvm,cd");
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}
