//! Input as text: what was typed comes back to the same state.

mod common;
#[path = "common/echo.rs"]
mod echo;

use common::{STRATA, image, path};
use echo::ECHO;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// `mov dx, 3F8h; mov al, '>'; out dx, al`.
const PROMPT: &[u8] = &[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'>', 0xEE];

/// `strata run` of the guest with `words`, and `typed` on standard input.
fn run(words: &[&str], typed: &[u8]) -> Output {
    let mut command = Command::new(STRATA);
    command.args(["run", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    command.args(["-kernel", &image("prompt", &[PROMPT, ECHO].concat())]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed).unwrap();
    child.wait_with_output().unwrap()
}

/// The status, what was printed, and the state.
fn end(out: Output) -> (Option<i32>, String, String) {
    let text = String::from_utf8(out.stderr).unwrap();
    let state = text.lines().last().unwrap_or_default().to_owned();
    assert!(state.starts_with("state "), "{text}");
    (out.status.code(), String::from_utf8(out.stdout).unwrap(), state)
}

fn file(name: &str, text: &str) -> String {
    let path = path(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_log_is_input() {
    let log = file("log.txt", "");
    let first = end(run(&["--input-log", &log], b"abq"));
    assert_eq!((first.0, first.1.as_str()), (Some(33), ">ab"));
    for _ in 0..3 {
        assert_eq!(end(run(&["--input", &log], b"")), first);
    }
    let again = file("again.txt", "");
    assert_eq!(end(run(&["--input", &log, "--input-log", &again], b"")), first);
    assert_eq!(fs::read_to_string(again).unwrap(), fs::read_to_string(log).unwrap());
}

#[test]
fn the_end_comes_back_too() {
    let log = file("ended.txt", "");
    let first = end(run(&["--input-log", &log], b"ab\x01x"));
    assert_eq!(first.0, Some(130));
    assert!(fs::read_to_string(&log).unwrap().ends_with(" end\n"));
    let again = end(run(&["--input", &log], b""));
    assert_eq!(again, first);
}

#[test]
fn typed_at_a_count() {
    let script = file("counts.txt", "# two keys\n5000000 com1 \"x\"\n9000000 com1 \"q\"\n");
    let first = end(run(&["--input", &script], b""));
    assert_eq!((first.0, first.1.as_str()), (Some(33), ">x"));
    let script = file("later.txt", "5000000 com1 \"x\"\n9100000 com1 \"q\"\n");
    assert_ne!(end(run(&["--input", &script], b"")).2, first.2);
}

#[test]
fn typed_where_the_guest_has_printed_something() {
    let script = file("texts.txt", "after \">\" com1 \"x\"\nafter \"x\" com1 \"yq\"\n");
    let first = end(run(&["--input", &script], b""));
    assert_eq!((first.0, first.1.as_str()), (Some(33), ">xy"));
    // A trace has the run pause often: when it is looked leaves no trace in when it is typed.
    let traced = run(&["--input", &script, "-d", "exec", "-D", "/dev/null"], b"");
    assert_eq!(end(traced), first);
}

#[test]
fn an_end_at_a_count() {
    let script = file("end.txt", "7654321 end\n");
    let first = end(run(&["--input", &script], b""));
    assert_eq!((first.0, first.1.as_str()), (Some(130), ">"));
    let limited = end(run(&["--limit-instructions", "1"], b""));
    assert_ne!(limited.2, first.2);
}

/// Bad input: one line, status 2.
#[track_caller]
fn check_error(words: &[&str], says: &str) {
    let out = run(words, b"");
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(text.lines().count() == 1 && text.contains(says), "{text}");
}

#[test]
fn bad_input() {
    let wrong = file("wrong.txt", "# fine\n5 com9 \"x\"\n");
    check_error(&["--input", &wrong], "wrong.txt: line 2: accepted are COUNT or after \"TEXT\"");
    check_error(&["--input", "/no/such"], "--input /no/such: No such file");
    check_error(&["--input", "/dev/zero"], "--input /dev/zero: accepted is a regular file");
    check_error(&["--input-log", "/no/such/log"], "--input-log /no/such/log: No such file");
    let full = run(&["--input-log", "/dev/full"], b"q");
    assert_eq!(full.status.code(), Some(122));
}
