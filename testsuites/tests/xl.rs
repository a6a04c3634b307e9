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

/// The words for dom0, with so many MiB of dom0 and of the machine, and more words for `strata`.
fn run_with(memory: [u32; 2], append: &str, more: &[&str]) -> Ended {
    let guest = xen::xen().needed("the Xen guest");
    let more = [more, &["--limit-instructions", LIMIT]].concat();
    guest.run_with(memory, Hypervisor::Strata, append, &more).needed("strata")
}

/// Dom0's console has all these lines, and so has that of each domU its own.
#[track_caller]
fn has(run: &Ended, dom0: &[&str], domus: &[(&str, &[&str])]) {
    assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
    let one = |prefix: String, lines: &[&str]| {
        let console = run.console(&prefix);
        for line in lines {
            assert!(console.iter().any(|found| found == line), "no '{line}': {}", run.stdout);
        }
    };
    one("(dom0) ".into(), dom0);
    domus.iter().for_each(|(name, lines)| one(format!("(dom0) ({name}) "), lines));
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
    alone(run);
}

/// The last list of domains has dom0 alone.
#[track_caller]
fn alone(run: &Ended) {
    let dom0 = run.console("(dom0) ");
    let at = dom0.iter().rposition(|line| line.starts_with("Name ")).expect("no list");
    let [list @ .., done] = &dom0[at + 1..] else { panic!("no end: {}", run.stdout) };
    assert_eq!((list.len(), &done[..]), (1, "MARK done"), "a domU is left: {list:?}");
    assert!(list[0].starts_with("Domain-0 "), "{list:?}");
}

/// One with a vCPU and one with two, twice.
#[test]
fn domus_of_the_tools() {
    let [first, second] = [run("pvh,smp"), run("pvh,smp")];
    check(&first, "pvh,smp");
    assert!(first.stdout.contains("Brought up 1 node, 2 CPUs"), "{}", first.stdout);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
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

/// Domains of the command line that take what they can get and do what they may not, for ever.
fn hostile() -> Vec<String> {
    let domu = |n| format!("name=d{n},memory=16M,cap=5,append=violate=pest");
    (1..=4).flat_map(|n| ["--domu".to_owned(), domu(n)]).collect()
}

/// Beside hostile domUs a domU goes on where it was saved, and is moved while it runs; others come and go, and leave
/// as many pages, event channels and grants as before.
#[test]
fn saved_and_restored() {
    let hostile = hostile();
    let hostile: Vec<&str> = hostile.iter().map(String::as_str).collect();
    let run = run_with([512, 1024], "domus=saved cycles=3 hostile=1,2,3,4", &hostile);
    let ended = [1, 2, 3, 4].map(|id| format!("MARK ended-{id}"));
    has(&run, &["MARK restored", "MARK migrated", "MARK cycles-3"], &[("saved", &["MARK done"])]);
    has(&run, &ended.each_ref().map(String::as_str), &[]);
    alone(&run);
    let answer = run.stdout.find("sysrq: HELP").expect("no answer");
    let suspended = run.stdout.find("OOM killer disabled").expect("not suspended");
    assert!(suspended < answer, "{}", run.stdout);
}

/// An HVM domU without drivers for Xen goes on where it was saved, and is moved while it runs: with the state of the
/// hypervisor's devices and of QEMU's.
#[test]
fn saved_with_its_devices() {
    let run = run_with([512, 1024], "domus=ticks", &[]);
    has(&run, &["MARK restored", "MARK migrated"], &[]);
    alone(&run);
}

/// The same with Linux, which has drivers for Xen.
#[test]
#[ignore = "a quarter of an hour: cargo test --release --workspace --test xl -- --ignored"]
fn linux_saved_with_its_devices() {
    let run = run_with([512, 1024], "domus=hvmsaved", &[]);
    has(&run, &["MARK restored", "MARK migrated"], &[("hvmsaved", &["MARK done"])]);
    alone(&run);
}

/// A hundred times, alone and beside hostile domUs.
#[test]
#[ignore = "half an hour: cargo test --release --workspace --test xl -- --ignored"]
fn a_hundred_cycles() {
    has(&run_with([512, 1024], "cycles=100", &[]), &["MARK cycles-100"], &[]);
    let hostile = hostile();
    let hostile: Vec<&str> = hostile.iter().map(String::as_str).collect();
    let run = run_with([512, 1024], "cycles=100 hostile=1,2,3,4", &hostile);
    has(&run, &["MARK cycles-100", "MARK ended-4"], &[]);
}

/// Two domUs at once, one of them HVM, whose disks the kernel's backend (raw) and QEMU (qcow2) serve, with network
/// cards on a bridge. The HVM one's PC has the disk that QEMU emulates until the kernel unplugs that disk.
#[track_caller]
fn pair(memory: [u32; 2], names: [&str; 2], mib: u32) {
    let run = run_with(memory, &format!("pair={} mib={mib}", names.join(",")), &[]);
    let hvm = names.into_iter().find(|name| name.starts_with('h')).expect("one is HVM");
    let dom0 = [
        format!("MARK emulated-{hvm}"),
        format!("MARK unplugged-{hvm}"),
        format!("MARK got-{}", names[0]),
        format!("MARK got-{}", names[1]),
    ];
    let own: &[_] =
        &["MARK userspace", "hypervisor: xen", "MARK disk", "MARK sent", "MARK peer", "MARK done"];
    has(&run, &dom0.each_ref().map(String::as_str), &names.map(|name| (name, own)));
}

#[test]
fn disks_and_network() {
    pair([512, 1024], ["blkback", "hqdisk"], 8);
}

#[test]
#[ignore = "half an hour: cargo test --release --workspace --test xl -- --ignored"]
fn disks_of_200_mib() {
    pair([1280, 2048], ["blkback", "hqdisk"], 200);
    pair([1280, 2048], ["hblkback", "qdisk"], 200);
}

/// The backend, or the device model, of one domU after another is killed. That one stands still or has an error, is
/// destroyed, and comes to its end once it is created again; a domU that is there all the time notices nothing.
#[track_caller]
fn kills(victims: [&str; 3]) {
    let run = run_with([512, 1024], &format!("kills={} mib=4", victims.join(",")), &[]);
    for victim in victims {
        let dom0 = ["lost", "destroyed", "again"].map(|what| format!("MARK {what}-{victim}"));
        has(&run, &dom0.each_ref().map(String::as_str), &[]);
    }
    has(&run, &["MARK got-blkback"], &[("blkback", &["MARK disk", "MARK peer", "MARK done"])]);
}

#[test]
fn backends_are_killed() {
    kills(["grub", "unbound", "qdisk"]);
}

#[test]
#[ignore = "a quarter of an hour: cargo test --release --workspace --test xl -- --ignored"]
fn device_models_are_killed() {
    kills(["grub", "qdisk", "hqdisk"]);
}

/// Systems of different kinds, each an HVM domU but pvh, are there at once and come to their marks.
#[track_caller]
fn systems(memory: [u32; 2], names: &[&str]) {
    let run = run_with(memory, &format!("systems={}", names.join(",")), &[]);
    let marks: Vec<String> = names.iter().map(|name| format!("MARK reached-{name}")).collect();
    has(&run, &marks.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

/// Firmware, and what is like firmware: real mode, protected mode without paging, and a screen.
#[test]
fn prompts() {
    systems([512, 1024], &["ipxe", "grub"]);
}

#[test]
#[ignore = "ten minutes: cargo test --release --workspace --test xl -- --ignored"]
fn different_systems() {
    systems([768, 2048], &["pvh", "debian64", "debian32", "memtest", "mach", "ipxe", "grub"]);
}
