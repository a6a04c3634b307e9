//! A person at the terminal, whom tmux plays: a shell in Debian's Linux, with completion, arrows, vi and
//! Ctrl-C; the guest's clock, an idle guest, and the terminal afterwards; domains at one terminal and at a socket. And
//! what was typed, given back.

#![expect(clippy::disallowed_types, reason = "a person lives by the host's clock")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};
use testsuites::outcome::{self, Needed};
use testsuites::{guests, strata};

/// How long to wait for something to show, on a busy host.
const PATIENCE: Duration = Duration::from_secs(300);

/// A tmux server of the test's own.
struct Tmux(PathBuf);

impl Tmux {
    fn command(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let out = tmux.arg("-S").arg(&self.0).args(words).output().needed("tmux");
        String::from_utf8(out.stdout).needed("tmux's text")
    }

    /// Starts `line` on a terminal of 80 by 24.
    fn start(folder: &Path, line: &str) -> Self {
        let tmux = Self(folder.join("tmux"));
        tmux.command(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", line]);
        tmux
    }

    fn screen(&self) -> String {
        self.command(&["capture-pane", "-p"])
    }

    /// Types keys, which have tmux's names.
    fn keys(&self, keys: &[&str]) {
        self.command(&[&["send-keys"], keys].concat());
    }

    /// Types a line.
    fn line(&self, text: &str) {
        self.command(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let started = Instant::now();
        while !wanted(&self.screen()) {
            let screen = self.screen();
            assert!(started.elapsed() < PATIENCE, "no {what} on the screen:\n{screen}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a line that reads `text`.
    #[track_caller]
    fn until_line(&self, text: &str) {
        self.until(text, |screen| screen.lines().any(|line| line.trim_end() == text));
    }

    /// Clears the screen, and waits for the prompt.
    #[track_caller]
    fn clear(&self) {
        self.keys(&["C-l"]);
        self.until("prompt alone", |screen| screen.trim() == "/ #");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.command(&["kill-server"]);
    }
}

/// Clock ticks of processor time that the process has used. proc(5): `utime` and `stime`.
fn ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).needed("the process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    [12, 13].map(|n| fields[n].parse::<u64>().needed("a number")).iter().sum()
}

/// A shell's line with which the guest runs, and the folder for what it leaves.
fn session(folder: &Path) -> String {
    let guest = guests::linux().needed("the Linux guest");
    let run = format!(
        "{} run -m 256 -kernel {} -initrd {} -append 'console=ttyS0 quiet loglevel=1 shell'",
        strata::command().needed("strata").display(),
        guest.vmlinuz().display(),
        guest.initrd().display()
    );
    fs::write(folder.join("run"), &run).needed("a file");
    format!(
        "cd {}; stty -a >before; {run} --input-log typed 2>said & echo $! >pid; fg; stty -a >after; echo over; sleep 9",
        folder.display()
    )
}

/// Completion and the line before, an editor of the whole screen, and Ctrl-C, at a shell whose prompt is there.
#[track_caller]
fn shell(tmux: &Tmux, console: &str) {
    let shown = format!("console={console}");
    // Completion, and the line before.
    tmux.clear();
    tmux.keys(&["-l", "cat /proc/cmdl"]);
    tmux.keys(&["Tab"]);
    tmux.until("completion", |screen| screen.contains("cat /proc/cmdline"));
    tmux.keys(&["Enter"]);
    tmux.until("output", |screen| screen.matches(&shown).count() == 1);
    tmux.keys(&["Up", "Enter"]);
    tmux.until("output again", |screen| screen.matches(&shown).count() == 2);

    // An editor of the whole screen.
    tmux.clear();
    // A serial line has no size; vi would ask the terminal, and wait for 50 ms.
    tmux.line("stty rows 24 cols 80; vi /tmp/f");
    let status = |screen: &str, mode: &str| {
        screen.lines().any(|line| line.starts_with(&format!("{mode} /tmp/f")))
    };
    tmux.until("editor", |screen| status(screen, "-"));
    tmux.keys(&["i", "h", "x", "BSpace", "i"]);
    tmux.until("text", |screen| status(screen, "I") && screen.starts_with("hi\n"));
    // What comes with Escape would be a part of its sequence.
    tmux.keys(&["Escape"]);
    tmux.until("command mode", |screen| status(screen, "-"));
    tmux.line(":wq");
    tmux.until("prompt after vi", |screen| screen.lines().any(|line| line.trim() == "/ #"));
    tmux.clear();
    tmux.line("cat /tmp/f; echo =$((6 * 7))");
    tmux.until_line("hi");
    tmux.until_line("=42");

    // Ctrl-C is the guest's. Until the shell has left its line editor it would be a character to that.
    tmux.clear();
    tmux.line("echo begun; sleep 5000");
    tmux.until_line("begun");
    tmux.keys(&["C-c"]);
    tmux.until("prompt after Ctrl-C", |screen| screen.trim_end().ends_with("/ #"));
    tmux.line("echo back=$((1 + 1))");
    tmux.until_line("back=2");
}

#[test]
fn a_person_at_a_shell() {
    if Command::new("tmux").arg("-V").output().is_err() {
        return outcome::skip("tmux", "it is not installed");
    }
    let folder = strata::target().needed("the target folder").join("terminal");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).needed("a folder");
    let line = session(&folder).replace('\'', "'\\''");
    let tmux = Tmux::start(&folder, &format!("bash -c 'set -m; {line}'"));
    tmux.until("prompt", |screen| screen.contains("/ #"));

    shell(&tmux, "ttyS0");

    // The guest's clock goes as the host's: what takes five seconds there takes no less here.
    tmux.clear();
    let started = Instant::now();
    tmux.line("a=$(date +%s); sleep 5; echo took=$(($(date +%s) - a))");
    tmux.until("time", |screen| screen.contains("took=5") || screen.contains("took=6"));
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());

    // Idle, it uses less than a twentieth of a processor: of 100 ticks a second.
    let pid = fs::read_to_string(folder.join("pid")).needed("the process's number");
    let pid = pid.trim();
    let (before, since) = (ticks(pid), Instant::now());
    sleep(Duration::from_secs(4));
    let (used, time) = (ticks(pid) - before, since.elapsed());
    assert!((used as f64) < 5.0 * time.as_secs_f64(), "{used} ticks in {time:?}");

    tmux.keys(&["C-a", "x"]);
    tmux.until("end", |screen| screen.contains("over"));
    let read = |name: &str| fs::read_to_string(folder.join(name)).needed(name);
    assert_eq!(read("before"), read("after"), "the terminal is not as it was");
    given_back(&folder, read("said").lines().last().unwrap_or_default());
}

/// What was typed leads to the same state, three times.
fn given_back(folder: &Path, state: &str) {
    assert!(state.starts_with("state "), "{state}");
    let run = fs::read_to_string(folder.join("run")).needed("the run's words");
    for _ in 0..3 {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{run} --input typed </dev/null >/dev/null")]);
        let out = shell.current_dir(folder).output().needed("a shell");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(said.lines().last(), Some(state), "{said}");
    }
}

/// The words of a domain with a shell.
fn domain(kernel: &Path, initrd: &Path, console: &str) -> String {
    let (kernel, initrd) = (kernel.display(), initrd.display());
    format!(
        "kernel={kernel},initrd={initrd},memory=256M,append=\"console={console} quiet loglevel=1 shell\""
    )
}

/// `strata host` with a shell in dom0 and in the domU `a`, of which `more` is said.
fn host(folder: &Path, more: &str) -> String {
    let guest = guests::linux().needed("the Linux guest");
    let run = format!(
        "{} host --dom0 '{}' --domu 'name=a,{more}{}'",
        strata::command().needed("strata").display(),
        domain(&guest.dom0_vmlinux(), &guest.dom0_initrd(), "hvc0"),
        domain(&guest.vmlinux(), &guest.initrd(), "ttyS0"),
    );
    fs::write(folder.join("run"), &run).needed("a file");
    run
}

/// `strata host`: a person types to dom0, to a domU and to the hypervisor, and what was typed is given back.
#[test]
fn a_person_at_domains() {
    if Command::new("tmux").arg("-V").output().is_err() {
        return outcome::skip("tmux", "it is not installed");
    }
    let folder = strata::target().needed("the target folder").join("terminal-host");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).needed("a folder");
    let run = host(&folder, "");
    let line =
        format!("cd {}; {run} --input-log typed 2>said; echo over $?; sleep 9", folder.display());
    let tmux = Tmux::start(&folder, &line);
    for name in ["dom0", "a"] {
        tmux.until(name, |screen| screen.contains(&format!("({name}) MARK userspace")));
    }
    // What dom0 has said before, its prompt too, is shown when somebody types.
    tmux.line("echo first=$((6 * 7))");
    tmux.until_line("first=42");
    shell(&tmux, "hvc0");
    tmux.keys(&["C-a", "C-a", "C-a"]);
    tmux.until_line("(hv) *** input to a; Ctrl-A three times switches");
    tmux.until("prompt of a", |screen| screen.trim_end().ends_with("/ #"));
    tmux.line("echo second=$((6 * 7))");
    tmux.until_line("second=42");
    shell(&tmux, "ttyS0");
    tmux.keys(&["C-a", "C-a", "C-a"]);
    tmux.until("switch", |screen| screen.contains("(hv) *** input to the hypervisor"));
    tmux.keys(&["d"]);
    tmux.until_line("(hv) domain 1 (a): 1 vCPUs, alive");
    // Dom0, and what a domain that nobody types to prints then.
    tmux.keys(&["C-a", "C-a", "C-a"]);
    tmux.line("");
    tmux.until("prompt", |screen| screen.trim_end().ends_with("/ #"));
    tmux.keys(&["C-a", "C-a", "C-a"]);
    tmux.line("sleep 2; printf '\\033[1mbold\\n'");
    tmux.keys(&["C-a", "C-a", "C-a"]);
    tmux.until_line("(a) \\x1b[1mbold");
    tmux.keys(&["C-a", "x"]);
    tmux.until_line("over 130");
    let said = fs::read_to_string(folder.join("said")).needed("what was said");
    given_back(&folder, said.lines().last().unwrap_or_default());
}

/// A domU's console on a socket: what is typed there, and what the domU prints, is nobody else's.
#[test]
fn a_console_of_its_own() {
    let folder = strata::target().needed("the target folder").join("terminal-own");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).needed("a folder");
    let run = host(&folder, "console=\"unix:a,server=on\",");
    let mut shell = Command::new("sh");
    let line = format!("exec {run} --input-log typed 2>said >shared </dev/null");
    let child = shell.args(["-c", &line]).current_dir(&folder).spawn().needed("a shell");
    let mut child = Running(child);
    let started = Instant::now();
    let mut console = loop {
        match UnixStream::connect(folder.join("a")) {
            Ok(console) => break console,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(50));
    };
    let mut said = Vec::new();
    for (until, typed) in [
        ("/ # ", "printf 'one\\033[1mtwo\\n'; echo $((6 * 7))\r"),
        ("one\x1b[1mtwo\r\n42\r\n/ # ", "poweroff -f\r"),
    ] {
        console.set_read_timeout(Some(PATIENCE)).needed("a timeout");
        while !String::from_utf8_lossy(&said).contains(until) {
            let mut bytes = [0; 256];
            let count = console.read(&mut bytes).needed("what the domU says");
            assert!(count > 0, "{}", String::from_utf8_lossy(&said));
            said.extend(&bytes[..count]);
        }
        console.write_all(typed.as_bytes()).needed("to type");
    }
    let shared = || fs::read_to_string(folder.join("shared")).unwrap_or_default();
    for line in ["(hv) domain 1 (a) ended: Poweroff", "(dom0) MARK userspace"] {
        while !shared().contains(line) {
            assert!(started.elapsed() < PATIENCE, "{}", shared());
            sleep(Duration::from_millis(50));
        }
    }
    assert!(!shared().lines().any(|line| line.starts_with("(a) ")), "{}", shared());
    interrupt(&child.0);
    assert_eq!(child.0.wait().needed("its end").code(), Some(130));
    let said = fs::read_to_string(folder.join("said")).needed("what was said");
    // Given back, the run needs nobody at the socket.
    let run = host(&folder, "console=null,");
    fs::write(folder.join("run"), run).needed("a file");
    given_back(&folder, said.lines().last().unwrap_or_default());
}

/// A run that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
    }
}

/// Ctrl-C.
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().needed("kill");
    assert!(sent.success());
}
