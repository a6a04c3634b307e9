//! Debian's own `xl` in dom0 on the bundled hypervisor: Linux as dom0, of the guest of `xen.rs`, creates
//! PVH and HVM domUs, which come to userspace and power off; then dom0 powers off.

use testsuites::guests::xen::{self, Hypervisor};
use testsuites::outcome::Needed;
use testsuites::strata::Ended;

/// Far above what the runs take: a hanging guest ends with a status of its own.
const LIMIT: &str = "300000000000";

/// The domUs `kinds`, parted by commas, and more words for dom0.
fn run(kinds: &str) -> Ended {
    let guest = xen::xen().needed("the Xen guest");
    guest.run(Hypervisor::Strata, &format!("domus={kinds}"), LIMIT).needed("strata")
}

/// The run ended well, and so did each of its domUs.
#[track_caller]
fn check(run: &Ended, kinds: &str) {
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    let dom0 = run.console("(dom0) ");
    let has = |line: &str| dom0.iter().any(|found| found == line);
    for line in ["MARK userspace", "xenfs: control_d", "MARK tools", "MARK done"] {
        assert!(has(line), "no '{line}': {}", run.stdout);
    }
    for kind in kinds.split(',') {
        let domu = run.console(&format!("(dom0) ({kind}) "));
        let at = domu.iter().position(|line| line == "MARK userspace");
        let shown = at.map_or(&[][..], |at| &domu[at..]);
        let expected = ["MARK userspace", "hypervisor: xen", "MARK done"];
        assert_eq!(shown.get(..3), Some(&expected.map(String::from)[..]), "{}", run.stdout);
        assert!(has(&format!("MARK ended-{kind}")), "{kind}: {}", run.stdout);
    }
    let list: Vec<_> = dom0.iter().skip_while(|line| !line.starts_with("Name ")).collect();
    assert!(list.get(1).is_some_and(|line| line.starts_with("Domain-0 ")), "{}", run.stdout);
    assert_eq!(list.get(2).map(|line| &line[..]), Some("MARK done"), "a domU is left");
}

/// One with a vCPU and one with two, twice.
#[test]
fn domus_of_the_tools() {
    let [first, second] = [run("pvh,smp"), run("pvh,smp")];
    check(&first, "pvh,smp");
    assert!(first.stdout.contains("Brought up 1 node, 2 CPUs"), "{}", first.stdout);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}

/// One whose PC is emulated: its platform by the hypervisor, the rest by QEMU in dom0.
#[test]
fn hvm_by_qemu() {
    check(&run("hvm"), "hvm");
}

/// Every kind in one run, HVM from a kernel, with two vCPUs and from a CD; the same once more ends in the same state.
#[test]
#[ignore = "a quarter of an hour: cargo test --release --workspace --test xl -- --ignored"]
fn every_kind_of_domu() {
    let kinds = "pvh,smp,hvm,hvm2,cd";
    let [first, second] = [run(kinds), run(kinds)];
    check(&first, kinds);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
}

/// A domU goes on where it was saved, and is moved while it runs; others come and go, and leave all memory free.
#[test]
fn saved_and_restored() {
    let run = run("saved cycles=5");
    check(&run, "saved");
    let dom0 = run.console("(dom0) ");
    for line in ["MARK restored", "MARK migrated", "MARK cycles-5"] {
        assert!(dom0.iter().any(|found| found == line), "no '{line}': {}", run.stdout);
    }
    let answer = run.stdout.find("sysrq: HELP").expect("no answer");
    let suspended = run.stdout.find("OOM killer disabled").expect("not suspended");
    assert!(suspended < answer, "{}", run.stdout);
}

/// Two domUs at once, whose disks the kernel's backend (raw) and QEMU (qcow2) serve, with network cards on a bridge.
#[test]
fn disks_and_network() {
    let run = run("pair mib=8");
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    for name in ["blkback", "qdisk"] {
        let domu = run.console(&format!("(dom0) ({name}) "));
        for line in ["MARK userspace", "MARK disk", "MARK sent", "MARK peer", "MARK done"] {
            assert!(domu.iter().any(|found| found == line), "{name}: no '{line}': {}", run.stdout);
        }
        let got = format!("MARK got-{name}");
        assert!(run.console("(dom0) ").contains(&got), "no '{got}': {}", run.stdout);
    }
}
