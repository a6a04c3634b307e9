//! Runs that are recorded are replayed with the same console and the same states, whatever `-accel` says and in debug
//! builds too; and from snapshots at random times they go on to the same end.
//!
//! What takes minutes runs with `-- --ignored`.

use platform::machine::{Config, Level, Machine};
use platform::recording::{FILE, Frame, Recording};
use platform::snapshot::{self, Snapshot};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use testsuites::guests::{self, xen};
use testsuites::outcome::Needed;
use testsuites::strata::{self, Ended};

/// A file or directory of this name, which is not there yet.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("recorded-{name}"));
    _ = fs::remove_dir_all(&path);
    _ = fs::remove_file(&path);
    path
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// Runs `strata words`, which must end with `status`.
#[track_caller]
fn run(words: &[&str], status: i32) -> Ended {
    run_by(&strata::command().needed("strata"), words, status)
}

/// As [`run`], by `program`.
#[track_caller]
fn run_by(program: &Path, words: &[&str], status: i32) -> Ended {
    let ended = strata::run_by(program, words).needed("strata");
    assert_eq!(ended.status, Some(status), "{words:?}: {}", ended.stderr);
    ended
}

/// Number `n` of a sequence, from 1 to `most`.
fn chance(n: u64, most: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) % most + 1
}

/// What is recorded, and how.
struct Case<'a> {
    name: &'a str,
    words: &'a [&'a str],
    /// What is typed, in the form of `--input`.
    typed: &'a str,
    /// The exit status.
    status: i32,
    /// Instructions between two snapshots.
    every: &'a str,
}

/// A recording, and how its run has ended.
struct Recorded<'a> {
    case: Case<'a>,
    directory: String,
    ended: Ended,
    /// What was typed, and when.
    log: String,
}

impl<'a> Case<'a> {
    #[track_caller]
    fn record(self) -> Recorded<'a> {
        let [directory, typed, log] =
            ["", "-typed", "-log"].map(|kind| text(place(&format!("{}{kind}", self.name))));
        fs::write(&typed, self.typed).unwrap();
        let begin = ["record", "-o", &directory, "--hash-every", self.every, "--snapshot-every"];
        let words = [&begin[..], &[self.every, "--"], self.words].concat();
        let input = ["--input", &typed, "--input-log", &log];
        let ended = run(&[&words[..], &input].concat(), self.status);
        // The end is nothing that is typed.
        let end = self.typed.lines().filter(|line| line.ends_with(" end"));
        let typed = fs::read_to_string(&log).unwrap() + &end.collect::<String>();
        fs::write(&log, typed).unwrap();
        Recorded { case: self, directory, ended, log }
    }
}

impl Recorded<'_> {
    fn file(&self, name: &str) -> String {
        text(Path::new(&self.directory).join(name))
    }

    /// The same output and the same end; not all of the output, if it is of a run from a snapshot.
    #[track_caller]
    fn same(&self, other: &Ended) {
        assert!(self.ended.stdout.ends_with(&other.stdout), "another console: {}", other.stdout);
        assert_eq!(other.state().unwrap(), self.ended.state().unwrap());
    }

    /// Replays and verifies, with at least `least` snapshots.
    #[track_caller]
    fn replays(&self, least: usize) {
        let replayed = run(&["replay", &self.directory, "--accel", "interpreter,block=7"], 0);
        assert_eq!(replayed.stdout, self.ended.stdout);
        self.same(&replayed);
        let verified = run(&["replay", &self.directory, "--verify", "--jobs", "2"], 0);
        let parts = verified.stdout.strip_suffix(" parts are as recorded\n").unwrap();
        assert!(parts.parse::<usize>().unwrap() >= least, "{parts} parts");
    }

    /// The time of the end.
    fn end(&self) -> u64 {
        states(&self.directory).last().unwrap().at().0
    }

    /// Runs without recording, and from `count` snapshots at random times, each made by the run from the one before.
    /// The snapshots.
    #[track_caller]
    fn goes_on_from_anywhere(&self, count: u64) -> Vec<String> {
        let end = self.end();
        let times: BTreeSet<u64> = (0..count).map(|n| chance(n, end - 1)).collect();
        let mut files: Vec<String> = Vec::new();
        for time in times {
            let file = self.file(&format!("at-{time}"));
            let at = time.to_string();
            self.goes_on(files.last(), &["--snapshot", &file, "--snapshot-at", &at]);
            files.push(file);
        }
        self.goes_on(files.last(), &[]);
        files
    }

    /// Goes on from `snapshot`, or begins anew without one.
    #[track_caller]
    fn goes_on(&self, snapshot: Option<&String>, more: &[&str]) {
        let from = snapshot.map(|file| ["restore", file]);
        let words = from.as_ref().map_or(self.case.words, |words| &words[..]);
        self.same(&run(&[words, &["--input", &self.log], more].concat(), self.case.status));
    }
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The hashes in a recording, and its end.
fn states(directory: &str) -> Vec<Frame> {
    let file = File::open(Path::new(directory).join(FILE)).unwrap();
    let frames = Recording::read(file).unwrap().frames.into_iter();
    frames.filter(|frame| matches!(frame, Frame::Hash { .. } | Frame::End { .. })).collect()
}

/// The machine of a full snapshot.
fn machine(file: &str) -> Machine {
    let snapshot = Snapshot::read(File::open(file).unwrap()).unwrap();
    snapshot::restore(&[snapshot], &Config::default()).unwrap()
}

/// How many of the snapshots `files` were made while a domU ran. The first guest that runs is dom0.
fn in_domus(start: &str, files: &[String]) -> usize {
    let mut first = machine(start);
    while first.level(0) == Level::Root {
        first.run(500);
    }
    let others = [Level::Root, first.level(0)];
    files.iter().filter(|file| !others.contains(&machine(file).level(0))).count()
}

/// The hypervisor and its guests.
#[test]
fn main_job() {
    let words = ["host", "--domu", "name=a", "--domu", "name=b"];
    let case = Case { name: "main-job", words: &words, typed: "", status: 0, every: "3000000" };
    let recorded = case.record();
    recorded.replays(10);
    recorded.goes_on_from_anywhere(10);
}

/// Records Linux on `processors`, at which somebody types.
#[track_caller]
fn linux(name: &str, processors: &str, append: &str, typed: &str, status: i32, count: u64) {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (text(guest.vmlinuz()), text(guest.initrd()));
    let words = ["run", "-m", "512", "-smp", processors, "-no-reboot", "-kernel", &kernel];
    let more = ["-initrd", &initrd, "-append", append];
    let words = [&words[..], &more].concat();
    let recorded = Case { name, words: &words, typed, status, every: "200000000" }.record();
    recorded.replays(3);
    recorded.goes_on_from_anywhere(count);
}

/// Linux on two processors, at which somebody types early, up to userspace.
#[test]
fn linux_of_two_processors() {
    let typed = "100000000 com1 \"early\\r\"\n150000000 com1 break\n190000000 com1 \"again\"\n\
                 700000000 end\n";
    linux("smp", "2", "console=ttyS0 panic=-1", typed, 130, 3);
}

/// What is typed at the shell of a Linux, which powers off then.
const SHELL: &str = "after \"/ # \" com1 \"seq 1 3000 | md5sum\\r\"\n\
                     after \"/ # \" com1 \"dd if=/dev/zero bs=1M count=4 | sha256sum\\r\"\n\
                     after \"/ # \" com1 \"poweroff -f\\r\"\n";

#[test]
#[ignore = "takes a minute"]
fn linux_at_work() {
    for processors in ["1", "2"] {
        let name = format!("shell-{processors}");
        linux(&name, processors, "console=ttyS0 panic=-1 shell", SHELL, 0, 10);
    }
}

/// Records Linux as dom0, at whose shell somebody types, and in two domUs, whose work this is.
#[track_caller]
fn domains(name: &str, work: &str, typed: &str, status: i32, count: u64, least: usize) {
    let guest = guests::linux().needed("the Linux guest");
    let (kernel, initrd) = (text(guest.vmlinuz()), text(guest.initrd()));
    let (dom0, dom0_initrd) = (text(guest.dom0_vmlinux()), text(guest.dom0_initrd()));
    let dom0 = format!(
        "kernel={dom0},initrd={dom0_initrd},memory=512M,append=\"console=hvc0 shell hold\""
    );
    let [a, b] = ["a", "b"].map(|name| {
        let files = format!("name={name},kernel={kernel},initrd={initrd},memory=256M");
        format!("{files},append=\"console=ttyS0 {work}\"")
    });
    let words = ["host", "--dom0", &dom0, "--domu", &a, "--domu", &b, "--until-domus-end"];
    let recorded = Case { name, words: &words, typed, status, every: "500000000" }.record();
    recorded.replays(3);
    let files = recorded.goes_on_from_anywhere(count);
    let found = in_domus(&recorded.file("000000.snapshot"), &files);
    assert!(found >= least, "{found} while a domU ran");
}

#[test]
fn linux_as_dom0_and_domus() {
    let typed = "300000000 com1 \"early\\r\"\n1600000000 end\n";
    domains("domains", "work=none", typed, 130, 3, 1);
}

#[test]
#[ignore = "takes minutes"]
fn linux_as_dom0_and_domus_at_work() {
    let typed = "after \"(dom0) xenfs: control_d\" com1 \"seq 1 3000 | md5sum\\r\"\n\
                 after \"  -\" com1 \"dd if=/dev/zero bs=1M count=4 | sha256sum\\r\"\n";
    domains("domains-work", "", typed, 0, 10, 3);
}

/// Debian's Xen, which creates a paravirtualised domU and one by VMX.
#[test]
#[ignore = "takes minutes"]
fn xen() {
    let guest = xen::xen().needed("the Xen guest");
    let (kernel, initrd) = (text(guest.kernel()), text(guest.initrd()));
    let modules = format!("{kernel} console=hvc0 domus=pv,,pvh,{initrd}");
    let append = "console=com1 com1=115200,8n1 dom0_mem=512M,max:512M";
    let xen = text(guest.xen());
    let words = ["run", "-m", "1024", "-kernel", &xen, "-initrd", &modules, "-append", append];
    let words = [&words[..], &["-no-reboot"]].concat();
    let case = Case { name: "xen", words: &words, typed: "", status: 0, every: "4000000000" };
    case.record().replays(3);
}

/// Ways to cut and keep code.
const ACCEL: [&str; 5] = [
    "interpreter",
    "interpreter,fuse=off",
    "interpreter,block=1",
    "interpreter,cache=200",
    "interpreter,block=3,fuse=off,cache=5000",
];

/// A recording is the same to the byte, and with it the identities of its snapshots, whatever `-accel` said, and replays
/// under each.
#[track_caller]
fn any_accel(name: &str, words: &[&str], typed: &str, status: i32, accel: &[&str]) {
    let mut first = None;
    for &made in accel {
        let words = [words, &["-accel", made]].concat();
        let recorded = Case { name, words: &words, typed, status, every: "10000000" }.record();
        let log = fs::read(recorded.file(FILE)).unwrap();
        assert!(*first.get_or_insert_with(|| log.clone()) == log, "{made}: another recording");
        for &replayed in accel {
            recorded.same(&run(&["replay", &recorded.directory, "--accel", replayed], 0));
        }
    }
}

#[test]
fn any_accel_of_the_main_job() {
    any_accel("accel", &["host", "--domu", "name=a", "--domu", "name=b"], "", 0, &ACCEL);
}

/// What a release build has recorded replays in a debug build, and the other way round.
#[test]
#[ignore = "makes a debug build"]
fn debug_builds_agree() {
    let debug = strata::debug_command().needed("a debug build");
    let words = ["host", "--domu", "name=a", "--domu", "name=b"];
    let case = Case { name: "debug", words: &words, typed: "", status: 0, every: "10000000" };
    let recorded = case.record();
    recorded.same(&run_by(&debug, &["replay", &recorded.directory], 0));
    let again = text(place("debug-again"));
    let begin = ["record", "-o", &again, "--hash-every", "10000000", "--snapshot-every"];
    run_by(&debug, &[&begin[..], &["10000000", "--"], &words].concat(), 0);
    recorded.same(&run(&["replay", &again], 0));
    assert_eq!(states(&again), states(&recorded.directory));
    fs::remove_dir_all(again).unwrap();
}
