//! Debian's gdb on a recording of the main job, forwards and backwards, and on a run. What gdb is told to do is in
//! Python, which gdb brings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use testsuites::guests::xen::{self, Hypervisor};
use testsuites::guests::{self, symbols};
use testsuites::outcome::{self, Needed};
use testsuites::strata::{self, Ended};

/// What every script begins with: `say` prints what the test reads, `number` is a register's value.
const BEGIN: &str = r#"
import gdb
for line in ("pagination off", "confirm off", "can-use-hw-watchpoints 8"):
    gdb.execute("set " + line)
def run(command):
    return gdb.execute(command, to_string=True)
def say(*words):
    gdb.write("SAY " + " ".join(str(word) for word in words) + "\n")
def number(register):
    return int(gdb.parse_and_eval("$" + register)) & (2**64 - 1)
def monitor(command):
    text = run("monitor " + command)
    run("maintenance flush register-cache")
    run("maintenance flush dcache")
    return text
def registers():
    return run("info all-registers")
stops, ends = [], []
gdb.events.stop.connect(stops.append)
gdb.events.exited.connect(lambda event: ends.append(event.exit_code))
def at_breakpoint():
    return isinstance(stops[-1], gdb.BreakpointEvent)
"#;

/// Whether gdb is there; if not, the test is skipped.
fn has_gdb() -> bool {
    let found = Command::new("gdb").arg("--version").stdout(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        outcome::skip("gdb", "it is not installed");
    }
    there
}

/// A file or directory of this name, which is not there yet.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("gdb-{name}"));
    _ = fs::remove_dir_all(&path);
    _ = fs::remove_file(&path);
    path
}

/// Records the main job, whose snapshots are so far apart, in a directory of this name.
fn recorded(name: &str, every: &str) -> PathBuf {
    record(name, every, &["--limit-instructions", "2000000000"]).0
}

/// Records the run of `words` in a directory of this name.
fn record(name: &str, every: &str, words: &[&str]) -> (PathBuf, Ended) {
    let path = place(name);
    let record = ["record", "-o", path.to_str().unwrap(), "--snapshot-every", every, "--"];
    let ended = strata::run(&[&record[..], words].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    (path, ended)
}

/// Runs gdb with `script` on `target`; what the script says.
#[track_caller]
fn gdb(name: &str, target: &str, script: &str) -> Vec<String> {
    let path = place(name);
    fs::write(&path, format!("{BEGIN}\nrun({target:?})\n{script}\nsay('done')\n")).unwrap();
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-x"]).arg(path.with_extension("py")).stdin(Stdio::null());
    fs::rename(&path, path.with_extension("py")).unwrap();
    let out = command.output().needed("gdb");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = text.lines().filter_map(|line| line.strip_prefix("SAY ")).map(str::to_owned);
    let said: Vec<_> = said.collect();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(said.last().map(String::as_str), Some("done"), "{text}\n{errors}");
    said
}

/// What gdb connects to for a recording.
fn on(recording: &Path) -> String {
    let strata = strata::command().needed("strata");
    format!("target remote | {} debug {} -gdb stdio", strata.display(), recording.display())
}

/// From the hypervisor, where an exit of a domU has just been made, back into the domU, and there again; a breakpoint
/// in the domU, for it alone; and the last write to a word of its stack.
const ACROSS: &str = r#"
for n in range(40):
    monitor("next-exit VMCALL")
host, guest = registers(), number("vmx_guest")
run("reverse-stepi")
say("back", guest, number("vmx_guest"), "vmcall" in run("x/i $rip"), number("eptp") != 0)
threads = run("info threads")
say("thread", "processor 0, domain " in threads and ", vCPU 0, guest 0x" in threads)
rip, stack, pointer, time = number("rip"), number("rsp") - 8, number("eptp"), number("icount")
run("stepi")
say("again", registers() == host)

run("reverse-stepi")
monitor("level here")
run("hbreak *%d" % rip)
monitor("goto begin")
run("continue")
say("break", at_breakpoint(), number("rip") == rip, number("eptp") == pointer, number("icount") <= time)
run("reverse-continue")
say("first", at_breakpoint(), number("icount"))
run("delete")

monitor("goto %d" % time)
run("watch *(unsigned long long *)%d" % stack)
run("reverse-continue")
say("watch", at_breakpoint(), number("eptp") == pointer)
word = lambda: int(gdb.parse_and_eval("*(unsigned long long *)%d" % stack))
before, here = word(), number("rip")
run("delete")
run("stepi")
say("write", word() != before)
monitor("goto %d" % time)
monitor("last-write %d,8" % stack)
say("last", number("rip") == here, word() == before)
monitor("goto %d" % time)
physical = monitor("ept %d" % stack).split()[-1]
monitor("last-write phys:%s,8" % physical)
say("physical", number("rip") == here, word() == before)
"#;

#[test]
fn across_vm_exits() {
    if !has_gdb() {
        return;
    }
    let recording = recorded("across", "1000000000");
    let said = gdb("across-script", &on(&recording), ACROSS);
    let expect = [
        "back 0 1 True True",
        "thread True",
        "again True",
        "break True True True True",
        "first False 0",
        "watch True True",
        "write True",
        "last True True",
        "physical True True",
        "done",
    ];
    assert_eq!(said, expect);
    fs::remove_dir_all(recording).unwrap();
}

/// The last byte that an HVM domU writes to its serial port; from there to the event by which QEMU, in dom0, answers;
/// and from the answer back.
const ANSWER: &str = r#"
run("monitor goto end")
run("maintenance flush register-cache")
def asked():
    monitor("last-exit 30")
    run("reverse-stepi")
asked()
while number("vmx_guest") == 0 or number("rdx") & 0xffff != 0x3f8:
    asked()
time, domu = number("icount"), number("eptp")
code = int(gdb.parse_and_eval("*(unsigned char *)($cs_base + $rip)"))
say("asked", hex(code), number("rax") & 0xff)
monitor("next-exit 18")
while number("rax") != 32 or number("rdi") != 4:
    monitor("next-exit 18")
run("reverse-stepi")
say("answer", "vmcall" in run("x/i $rip"), number("eptp") not in (0, domu), number("icount") > time)
asked()
say("back", number("icount") == time, number("eptp") == domu)
"#;

/// Debian's `xl` in dom0 creates an HVM domU; the run is recorded and replayed.
#[test]
fn a_device_models_answer() {
    if !has_gdb() {
        return;
    }
    let guest = xen::xen().needed("the Xen guest");
    let words = guest.words([512, 1024], Hypervisor::Strata, "domus=small");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (recording, ended) = record("answer", "500000000", &words);
    assert!(ended.stdout.contains("MARK small"), "{}", ended.stdout);
    let replayed = strata::run(&["replay", recording.to_str().unwrap()]).needed("strata");
    assert_eq!(replayed.state().unwrap(), ended.state().unwrap());
    let said = gdb("answer-script", &on(&recording), ANSWER);
    assert_eq!(said, ["asked 0xee 10", "answer True True True", "back True True", "done"]);
    fs::remove_dir_all(recording).unwrap();
}

/// Registers at times in any order, and at each step of some, going forward and back.
const BOTH_WAYS: &str = r#"
import random
random.seed(7)
run("monitor goto end")
run("maintenance flush register-cache")
end = number("icount")
times = sorted(random.randrange(end) for n in range(POINTS))
def at(time):
    monitor("goto %d" % time)
    return registers()
forward = {time: at(time) for time in times}
random.shuffle(times)
say("times", sum(forward[time] == at(time) for time in times))

monitor("goto begin")
monitor("next-exit")
monitor("goto %d" % (number("icount") - 20))
seen = [registers()]
for n in range(40):
    run("stepi")
    seen.append(registers())
guests = [n for n in range(40) if ("vmx_guest      0x1" in seen[n]) != ("vmx_guest      0x1" in seen[n + 1])]
same = 0
for n in reversed(range(40)):
    run("reverse-stepi")
    same += registers() == seen[n]
say("steps", same, len(guests) > 0)
"#;

/// How many times there are: `STRATA_GDB_POINTS`, or 30.
#[expect(clippy::disallowed_methods, reason = "how long the test runs is the user's choice")]
fn points() -> u32 {
    std::env::var("STRATA_GDB_POINTS").map_or(30, |points| points.parse().unwrap())
}

#[test]
fn the_same_both_ways() {
    if !has_gdb() {
        return;
    }
    let points = points().to_string();
    let recording = recorded("both-ways", "7000000");
    let script = BOTH_WAYS.replace("POINTS", &points);
    let said = gdb("both-ways-script", &on(&recording), &script);
    assert_eq!(said, [&format!("times {points}"), "steps 40 True", "done"]);
    fs::remove_dir_all(recording).unwrap();
}

/// From where a domU is interrupted back to who asked for it; and from dom0, whom an interrupt of the hypervisor has
/// woken.
const INTERRUPTED: &str = r#"
monitor("goto end")
monitor("last-exit 1")
why = monitor("why-interrupt").splitlines()
say("why", why[0])
say("guest", number("vmx_guest"), "reason 1," in monitor("next-exit"))
monitor("goto end")
while number("vmx_guest") == 0:
    monitor("goto %d" % (number("icount") - 1000))
why = monitor("why-interrupt").splitlines()
say("before", number("vmx_guest"), why[0])
monitor("goto begin")
say("none", monitor("why-interrupt"))
"#;

#[test]
fn why_interrupted() {
    if !has_gdb() {
        return;
    }
    let recording = recorded("why", "1000000000");
    let said = gdb("why-script", &on(&recording), INTERRUPTED);
    let expect = [
        "why VM exit for an external interrupt, vector 0xf0: local APIC timer",
        "guest 1 True",
        "before 0 interrupt, vector 0xf0: local APIC timer",
        "none why-interrupt: no interrupt before here",
        "done",
    ];
    assert_eq!(said, expect);
    fs::remove_dir_all(recording).unwrap();
}

/// A system call of a Linux domU, by the symbols of its kernel, and the kernel's own commands for gdb.
const LINUX: &str = r#"
run("file FILE")
__file__ = "COMMANDS"
exec(open(__file__).read())
run("hbreak ksys_write")
run("continue")
def frames():
    frame, names = gdb.newest_frame(), []
    while frame is not None and len(names) < 20:
        names.append(frame.name())
        frame = frame.older()
    return names
names = frames()
for name in ("ksys_write", "do_syscall_64", "entry_SYSCALL_64"):
    say(name, name in names)
threads = run("info threads")
say("thread", "processor 0, domain a, vCPU 0, guest 0x" in threads)
tasks = run("lx-ps").splitlines()
say("tasks", any(" 1 " in line and "init" in line for line in tasks), any("kthreadd" in line for line in tasks))
say("version", "Linux version 6" in run("lx-version"))
time = number("icount")
run("delete")
run("reverse-stepi")
run("reverse-stepi")
say("caller", frames()[0])
run("stepi")
run("stepi")
say("again", number("icount") == time, frames() == names)
monitor("last-write vmcs:EntryInterruptionInfo")
monitor("next-exit")
say("why", "injected by the VM entry" in monitor("why-interrupt"))
"#;

#[test]
#[ignore = "downloads 420 MB of symbols and source"]
fn a_linux_domu_by_its_symbols() {
    if !has_gdb() {
        return;
    }
    let (guest, symbols) = (guests::linux(), symbols::symbols());
    let (guest, symbols) = (guest.needed("the Linux guest"), symbols.needed("its symbols"));
    let (kernel, initrd) = (guest.vmlinux(), guest.initrd());
    let domu = format!(
        "name=a,kernel={},initrd={},memory=256M,append=\"console=ttyS0 work=none\"",
        kernel.display(),
        initrd.display()
    );
    let path = place("linux");
    let words = ["record", "-o", path.to_str().unwrap(), "--", "host", "--dom0", "append=watch"];
    let more = ["--domu", &domu, "--until-domus-end", "--limit-instructions", "40000000000"];
    let ended = strata::run(&[&words[..], &more].concat()).needed("strata");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let script = LINUX.replace("FILE", symbols.vmlinux().to_str().unwrap());
    let script = script.replace("COMMANDS", symbols.commands().to_str().unwrap());
    let said = gdb("linux-script", &on(&path), &script);
    let expect = [
        "ksys_write True",
        "do_syscall_64 True",
        "entry_SYSCALL_64 True",
        "thread True",
        "tasks True True",
        "version True",
        "caller __do_sys_write",
        "again True True",
        "why True",
        "done",
    ];
    assert_eq!(said, expect);
    fs::remove_dir_all(path).unwrap();
}

/// A run that waits for gdb, is stopped, changed, and goes on to its end.
const LIVE: &str = r#"
say("start", number("icount"))
run("stepi")
say("step", number("icount"))
run("break *%d" % number("rip"))
word = "*(unsigned int *)($rsp - 64)"
gdb.parse_and_eval(word + " = 7")
say("memory", gdb.parse_and_eval(word))
rax = number("rax")
run("set $rax = 9")
say("register", number("rax"))
run("set $rax = %d" % rax)
try:
    run("reverse-stepi")
except gdb.error as error:
    say("back", error)
run("delete")
run("continue")
say("end", ends)
"#;

#[test]
fn a_live_run() {
    if !has_gdb() {
        return;
    }
    let socket = place("socket");
    let words = ["host", "--domu", "name=a", "-S", "-gdb"];
    let mut strata = Command::new(strata::command().needed("strata"));
    strata.args(words).arg(format!("unix:{}", socket.display()));
    let strata = strata.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut strata = strata.spawn().needed("strata");
    while !socket.exists() {
        assert!(strata.try_wait().unwrap().is_none(), "strata has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = gdb("live-script", &format!("target remote {}", socket.display()), LIVE);
    let expect = [
        "start 0",
        "step 1",
        "memory 7",
        "register 9",
        "back Target remote does not support this command.",
        "end [0]",
        "done",
    ];
    assert_eq!(said, expect);
    let ended = strata.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!socket.exists());
    let text = String::from_utf8_lossy(&ended.stderr);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.ends_with("; not backwards, for that needs strata record and debug"), "{first}");
}
