//! Debian's Linux on the machine: its work prints what the host's busybox prints, it powers off,
//! and a second run ends in the same state.

#[path = "../../frontend/tests/common/chrome.rs"]
mod chrome;

use testsuites::guests::{self, Linux};
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// Far above what a boot and the work take: a hanging guest ends with a status of its own.
const LIMIT: &str = "40000000000";

/// What the guest's console shows from `MARK userspace` on.
fn expected(guest: &Linux, hypervisor: &str) -> Vec<String> {
    let first = ["MARK userspace".to_owned(), format!("hypervisor: {hypervisor}")];
    let work = guest.work().needed("a folder");
    first.into_iter().chain(work).chain(["MARK done".to_owned()]).collect()
}

/// The console's lines from `MARK userspace` on.
fn userspace(ended: &Ended, prefix: &str) -> Vec<String> {
    let lines = ended.console(prefix);
    let at = lines.iter().position(|line| line == "MARK userspace");
    at.map_or_else(Vec::new, |at| lines[at..].to_vec())
}

fn text(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// Both runs of `words` end well; gives the first, after a look that the second ended the same.
#[track_caller]
fn twice(words: &[&str]) -> Ended {
    let [first, second] =
        [strata::run(words).needed("strata"), strata::run(words).needed("strata")];
    let tail = first.stdout.lines().rev().take(5).collect::<Vec<_>>();
    assert_eq!(first.status, Some(0), "{tail:?}\n{}", first.stderr);
    assert_eq!(first.state().unwrap(), second.state().unwrap());
    first
}

/// Linux alone with `words` beside the usual ones, and `brought_up` in its kernel's messages.
#[track_caller]
fn check_bare(words: &[&str], brought_up: &str) {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (text(guest.vmlinuz()), text(guest.initrd()));
    let mut all = vec!["run", "-m", "512", "-kernel", &kernel, "-initrd", &initrd];
    all.extend(["-append", "console=ttyS0 panic=-1", "-serial", "stdio", "-display", "none"]);
    all.extend(["-no-reboot", "--limit-instructions", LIMIT]);
    all.extend(words);
    let run = twice(&all);
    assert!(run.stdout.contains(brought_up), "{}", run.stdout);
    assert_eq!(userspace(&run, ""), expected(&guest, "none"));
}

/// A kernel for 64-bit processors on one that is none halts, and the run says where.
#[test]
fn without_long_mode() {
    let guest = guests::linux().needed("the Linux guest");
    let kernel = text(guest.vmlinuz());
    let words = ["run", "-cpu", "v3,-lm", "-kernel", &kernel, "-append", "console=ttyS0"];
    let run = strata::run(&words).needed("strata");
    assert_eq!((run.status, run.stdout.as_str()), (Some(118), ""), "{}", run.stderr);
    assert!(run.stderr.contains("what halts: processor 0 at 0x"), "{}", run.stderr);
}

#[test]
fn bare() {
    check_bare(&[], "Linux version 6");
}

#[test]
fn bare_with_two_processors() {
    check_bare(&["-smp", "2"], "smp: Brought up 1 node, 2 CPUs");
}

/// Debian's 32-bit kernel as a domU, from its bzImage: all of its work, in 32-bit layouts.
#[test]
fn domu_of_32_bits() {
    let guest = guests::linux().needed("the Linux guest");
    let guest32 = guests::linux32().needed("the 32-bit Linux guest");
    let (kernel, initrd) = (text(guest32.vmlinuz()), text(guest32.initrd()));
    let domu = format!(
        "name=a,kernel={kernel},initrd={initrd},memory=256M,append=\"console=ttyS0 panic=-1\""
    );
    let words = ["host", "--dom0", "append=watch", "--domu", &domu, "--until-domus-end"];
    let run = twice(&[&words[..], &["--limit-instructions", LIMIT]].concat());
    assert_eq!(userspace(&run, "(a) "), expected(&guest, "xen"));
}

/// The file for trace viewers is as they read it, and each domain has its track.
#[track_caller]
fn check_events(file: &str) {
    let bytes = std::fs::read(file).needed("the events");
    let slices = chrome::slices(&serde_json::from_slice(&bytes).unwrap()).unwrap();
    let track = |name: &str| slices[&(name.to_owned(), "processor 0".to_owned())];
    let exits = ["dom0", "a", "b"].map(track);
    assert!(exits.iter().all(|count| *count > 1000), "{exits:?}");
    assert_eq!(track("hypervisor"), exits.iter().sum::<u64>() - 1);
}

/// Linux as dom0 and in two domUs at the same time. dom0 sleeps when its domUs end the run.
#[test]
fn dom0_and_domus() {
    let guest = guests::linux().needed("the Linux guest");
    let (dom0, domu) = (text(guest.dom0_vmlinux()), text(guest.vmlinuz()));
    let (dom0_initrd, initrd) = (text(guest.dom0_initrd()), text(guest.initrd()));
    let dom0 = format!(
        "kernel={dom0},initrd={dom0_initrd},memory=512M,append=\"console=hvc0 work=none hold\""
    );
    let domu = |name: &str| {
        format!("name={name},kernel={domu},initrd={initrd},memory=256M,append=console=ttyS0")
    };
    let [a, b] = ["a", "b"].map(domu);
    let events = text(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("linux-events.json"));
    let words = ["host", "--dom0", &dom0, "--domu", &a, "--domu", &b, "--until-domus-end"];
    let run = twice(&[&words[..], &["--limit-instructions", LIMIT, "--events", &events]].concat());
    check_events(&events);
    for name in ["(a) ", "(b) "] {
        assert_eq!(userspace(&run, name), expected(&guest, "xen"), "{name}");
    }
    let first = ["MARK userspace", "hypervisor: xen", "xenfs: control_d"];
    assert_eq!(userspace(&run, "(dom0) ")[..3], first, "{}", run.stdout);
}
