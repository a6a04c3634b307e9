//! Signals, full and closed streams, and memory that cannot be had: the command ends in order.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Read, pipe};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

const STRATA: &str = env!("CARGO_BIN_EXE_strata");

/// `jmp $`.
const SPIN: &[u8] = &[0xEB, 0xFE];
/// `mov dx, 3F8h; mov al, 'A'; l: out dx, al; jmp l`.
const SEND: &[u8] = &[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE, 0xEB, 0xFD];
/// `mov al, 10; out F4h, al`.
const EXIT: &[u8] = &[0xB0, 0x10, 0xE6, 0xF4];

/// The words that run a multiboot image with `code`.
fn run(name: &str, code: &[u8]) -> Vec<String> {
    const BASE: u32 = 0x10_0000;
    let (magic, flags) = (0x1BAD_B002_u32, 1 << 16);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, BASE, BASE, 0, 0, BASE + 32];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("streams-{name}"));
    fs::write(&path, image).unwrap();
    let words = ["run", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"];
    words.into_iter().chain([path.to_str().unwrap()]).map(str::to_owned).collect()
}

/// Runs a line of the shell, in which `"$0" "$@"` is the command.
fn shell(line: &str, words: &[String]) -> Output {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(line).arg(STRATA).args(words).stdin(Stdio::null()).output().unwrap()
}

/// What it says on standard error has `says`, in order, and ends with the state.
#[track_caller]
fn check_summary(stderr: &str, says: &[&str]) {
    let mut rest = stderr;
    for part in says {
        let at = rest.find(part).unwrap_or_else(|| panic!("{stderr} lacks {part}"));
        rest = &rest[at..];
    }
    assert!(stderr.lines().last().unwrap().starts_with("state "), "{stderr}");
}

/// Sends signals to a run of `words`; how it ends. The tests themselves may run under nohup(1).
fn signalled(words: &[String], signals: &[&str]) -> (Option<i32>, String) {
    send(Command::new("env").args(["--default-signal=HUP", STRATA]).args(words), signals)
}

/// Sends signals to `command` once its guest has sent a byte; how it ends.
fn send(command: &mut Command, signals: &[&str]) -> (Option<i32>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child: Child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.fill_buf().unwrap();
    kill(&child, signals);
    end(&mut child)
}

fn kill(child: &Child, signals: &[&str]) {
    for signal in signals {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

/// The status with which `child` ends, and what it says on standard error.
fn end(child: &mut Child) -> (Option<i32>, String) {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

/// Waits until the pipe that `writer` leads to takes no more.
fn wait_until_full(writer: &PipeWriter) {
    let mut ready = [PollFd::new(writer, PollFlags::OUT)];
    let now = Timespec::default();
    while poll(&mut ready, Some(&now)).unwrap() > 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn signals_end_with_the_summary() {
    for signal in ["INT", "TERM", "HUP", "QUIT", "XCPU"] {
        // The guest sends one byte, and then spins.
        let (status, text) = signalled(&run(signal, &[&SEND[..7], SPIN].concat()), &[signal]);
        assert_eq!(status, Some(130), "{signal}: {text}");
        check_summary(&text, &["-- interrupted (exit status 130)"]);
    }
}

#[test]
fn nohup_is_heeded() {
    let mut words = run("nohup", &[&SEND[..7], SPIN].concat());
    words.extend(["--limit-instructions".into(), "100000000".into()]);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", STRATA]).args(&words);
    let (status, text) = send(&mut nohup, &["HUP"]);
    assert_eq!(status, Some(124), "{text}");
}

#[test]
fn a_reader_that_stops_holds_up_no_end() {
    let (status, text) = signalled(&run("stopped", SEND), &["INT"]);
    assert_eq!(status, Some(130), "{text}");
    // Whether the pipe is full by then is a matter of luck, so that nothing is asked of what is said of it.
    check_summary(&text, &["-- interrupted (exit status 130)"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    // While output is blocked the end waits a second for its reader. Two signals of one kind could arrive
    // as one.
    let (_reader, writer) = pipe().unwrap();
    let mut command = Command::new(STRATA);
    command.args(run("twice", SEND)).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    wait_until_full(&writer);
    kill(&child, &["INT", "TERM"]);
    let (status, text) = end(&mut child);
    assert_eq!(status, Some(130), "{text}");
    assert!(!text.contains("state "), "{text}");
}

#[test]
fn a_limit_ends_a_run_whose_output_is_blocked() {
    let mut words = run("limit", SEND);
    words.extend(["--limit-seconds".into(), "1".into()]);
    let (status, text) = signalled(&words, &[]);
    assert_eq!(status, Some(124), "{text}");
    check_summary(&text, &["its reader has stopped", "-- a limit was reached (exit status 124)"]);
}

#[test]
fn a_reader_that_is_gone_ends_the_run() {
    let out = shell(
        "{ \"$0\" \"$@\"; echo \"status $?\" >&2; } | head -c 1 >/dev/null",
        &run("gone", SEND),
    );
    let text = String::from_utf8(out.stderr).unwrap();
    let (summary, status) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(status, "status 130", "{text}");
    check_summary(summary, &["its reader is gone", "-- interrupted (exit status 130)"]);
}

/// Without a reader or room, `line` ends with this status, and without a panic.
#[track_caller]
fn check(line: &str, words: &[String], status: i32) {
    let out = shell(line, words);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "{line}: {text}");
    assert!(!text.contains("panicked"), "{line}: {text}");
}

#[test]
fn standard_error_may_be_full_or_closed() {
    let exit = run("stderr", EXIT);
    for line in ["exec \"$0\" \"$@\" 2>/dev/full", "exec \"$0\" \"$@\" 2>&-"] {
        check(line, &exit, 33);
        check(line, &["run".into()], 2);
        check(line, &["--help".into()], 0);
    }
}

#[test]
fn help_needs_a_stream() {
    check("exec \"$0\" --help >/dev/full", &[], 122);
    check("exec \"$0\" run -cpu help >/dev/full", &[], 122);
    let pipe = "{ \"$0\" --help; echo \"status $?\" >&2; } | true; exit 0";
    let text = String::from_utf8(shell(pipe, &[]).stderr).unwrap();
    assert!(["status 130\n", "status 0\n"].contains(&text.as_str()), "{text}");
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error() {
    let mut words = run("trace", EXIT);
    words.extend(["-d", "exec", "-D", "/dev/full"].map(str::to_owned));
    let out = shell("exec \"$0\" \"$@\"", &words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(122), "{text}");
    check_summary(&text, &["-D: the trace cannot be written", "-- the emulator failed"]);
    let mut words = run("serial", EXIT);
    words.extend(["-serial", "file:/dev/full"].map(str::to_owned));
    check("exec \"$0\" \"$@\"", &words, 33);
    let mut words = run("serial-full", &[&SEND[..7], EXIT].concat());
    words.extend(["-serial", "file:/dev/full"].map(str::to_owned));
    let out = shell("exec \"$0\" \"$@\"", &words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(122), "{text}");
    check_summary(&text, &["-serial output: No space", "-- the emulator failed"]);
}

/// A run whose files may have no more than some KiB ends as where the disk is full.
#[test]
fn files_that_may_not_grow() {
    let file = |name: &str| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("limited-{name}"));
        _ = fs::remove_file(&path);
        path.to_str().unwrap().to_owned()
    };
    let rows = [
        ("serial", SEND, vec!["-serial".into(), format!("file:{}", file("serial"))]),
        ("trace", SPIN, vec!["-d".into(), "exec".into(), "-D".into(), file("trace")]),
        ("snapshot", EXIT, vec!["--snapshot".into(), file("snapshot")]),
    ];
    for (name, code, more) in rows {
        let words = [run(&format!("limited-{name}"), code), more].concat();
        let out = shell("ulimit -f 8; exec \"$0\" \"$@\"", &words);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(122), "{name}: {text}");
        check_summary(&text, &["-- the emulator failed (exit status 122)"]);
    }
}

/// What is typed, where that can be written down nowhere: the run ends, and says why.
#[test]
fn a_log_that_cannot_be_written_is_an_error() {
    let mut words = run("log", &[&SEND[..7], SPIN].concat());
    words.extend(["--input-log", "/dev/full"].map(str::to_owned));
    let out = shell("printf x | \"$0\" \"$@\"", &words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(122), "{text}");
    check_summary(&text, &["--input-log: No space left on device", "-- the emulator failed"]);
}

/// A trace is whole up to the signal that ended the run.
#[test]
fn a_trace_has_its_tail() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tail.txt");
    let words = ["-d", "exec", "-D", file.to_str().unwrap()].map(str::to_owned);
    let guest = run("tail", &[&SEND[..7], SPIN].concat());
    let (status, text) = signalled(&[&guest[..], &words].concat(), &["TERM"]);
    assert_eq!(status, Some(130), "{text}");
    let retired = text.lines().find_map(|line| line.strip_prefix("machine ")).unwrap();
    let retired: usize = retired.split_whitespace().next().unwrap().parse().unwrap();
    let trace = fs::read_to_string(file).unwrap();
    assert!(retired > 3 && trace.ends_with('\n'));
    assert_eq!(trace.lines().filter(|line| line.starts_with("exec ")).count(), retired);
}

#[test]
fn memory_that_cannot_be_had() {
    for kib in [60_000, 120_000, 200_000, 300_000] {
        let line = format!("ulimit -v {kib}; exec \"$0\" \"$@\" -m 128");
        let mut words = run("memory", EXIT);
        words.drain(1..3);
        let out = shell(&line, &words);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{kib}: {text}");
        assert!(
            text.starts_with("strata: -m: 128M: ") && text.lines().count() == 1,
            "{kib}: {text}"
        );
    }
}

/// The main job and a traced run, all that they say before a reader that goes away: no panic.
#[test]
fn readers_that_go_away() {
    let mut traced = run("traced", SPIN);
    traced.extend(["-d", "exec"].map(str::to_owned));
    let limited = ["--limit-instructions".to_owned(), "9000000".to_owned()];
    let line = "{ \"$0\" \"$@\" 2>&1; echo \"status $?\" >&3; } 3>&2 | head -n 1 >/dev/null";
    for (words, accepted) in [(&limited[..], [124, 130]), (&traced, [130, 122])] {
        let text = String::from_utf8(shell(line, words).stderr).unwrap();
        let status = text.strip_prefix("status ").and_then(|s| s.trim().parse::<i32>().ok());
        assert!(status.is_some_and(|status| accepted.contains(&status)), "{words:?}: {text}");
    }
    check("exec \"$0\" \"$@\" 2>/dev/full", &limited, 124);
    check("exec \"$0\" \"$@\" >/dev/full 2>/dev/null", &limited, 122);
    check("exec \"$0\" \"$@\" >/dev/full 2>/dev/full", &limited, 122);
    check("exec \"$0\" run -kernel /no/such 2>/dev/full", &[], 2);
}

/// The main job reads nothing: a script's loop over its own input comes to its end.
#[test]
fn the_main_job_leaves_standard_input_alone() {
    let line = "printf 'a\\nb\\nc\\n' | while read -r l; do \"$0\" --limit-instructions 1000 2>/dev/null; echo $l; done";
    assert_eq!(shell(line, &[]).stdout, b"a\nb\nc\n");
}
