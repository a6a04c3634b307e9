//! How a run ends, by multiboot kernels of a few bytes: exit statuses, the summary, a serial file.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// `mov al, value; out port, al`.
macro_rules! out {
    ($port:literal, $value:literal) => {
        [0xB0, $value, 0xE6, $port]
    };
}

/// `cli; hlt`.
const HALT: [u8; 2] = [0xFA, 0xF4];
/// `jmp $`.
const SPIN: [u8; 2] = [0xEB, 0xFE];
/// `ud2`: there is no interrupt table.
const FAULT: [u8; 2] = [0x0F, 0x0B];
/// `mov dx, 3F8h; mov al, 'A'; out dx, al`.
const SEND: [u8; 7] = [0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A multiboot 1 image (with the address fields of its header) whose code is `code`.
fn kernel(name: &str, code: &[u8]) -> String {
    const BASE: u32 = 0x10_0000;
    let (magic, flags) = (0x1BAD_B002_u32, 1 << 16);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, BASE, BASE, 0, 0, BASE + 32];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    fs::write(path(name), image).unwrap();
    path(name).to_str().unwrap().to_owned()
}

fn strata(kernel: &str, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    command.args(["run", "-kernel", kernel]).args(words).stdin(Stdio::null());
    command.output().unwrap()
}

/// Running `code` ends with `status`, and standard error has each of `says`.
#[track_caller]
fn check(name: &str, code: &[u8], words: &[&str], status: i32, says: &[&str]) {
    let out = strata(&kernel(name, code), words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(status), "{text}");
    for part in says {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let last = text.lines().last().unwrap();
    assert!(last.len() == 70 && last.starts_with("state "), "{last}");
}

#[test]
fn statuses() {
    let device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];
    check("exit", &out!(0xF4, 0x10), &device, 0x21, &["the guest wrote 0x10 to isa-debug-exit"]);
    let panic = [0x66, 0xBA, 0x05, 0x05, 0xB0, 1, 0xEE];
    check("panic", &panic, &["-device", "pvpanic"], 116, &["the guest panicked"]);
    let says = ["strata: what halts: processor 0 at 0x100022\n", "all processors halt"];
    check("halt", &HALT, &[], 118, &says);
    check("reset", &out!(0x64, 0xFE), &["-no-reboot"], 0, &["the guest ended the run"]);
    check("spin", &SPIN, &["--limit-instructions", "1000"], 124, &["machine", " 1000 "]);
    check("seconds", &SPIN, &["--limit-seconds", "1"], 124, &["a limit was reached"]);
}

#[test]
fn a_reset_starts_again() {
    let words = ["--limit-instructions", "100", "-serial", "null"];
    check("again", &out!(0x64, 0xFE), &words, 124, &["a limit was reached"]);
}

#[test]
fn a_triple_fault_is_reported() {
    let says = ["triple fault at 0x", ":0x100020", "vector 6", "vector 8", "ud2"];
    check("fault", &FAULT, &[], 120, &says);
}

#[test]
fn serial_goes_to_a_file() {
    let file = path("serial.txt");
    let serial = format!("file:{}", file.display());
    check("send", &[&SEND[..], &HALT].concat(), &["-serial", &serial], 118, &[]);
    assert_eq!(fs::read(file).unwrap(), b"A");
    let out = strata(&kernel("send2", &[&SEND[..], &HALT].concat()), &[]);
    assert_eq!(out.stdout, b"A");
}

#[test]
fn traces() {
    let file = path("trace.txt");
    let words = ["-d", "int,exec,in_asm", "-D", file.to_str().unwrap()];
    check("traced", &[&[0x90][..], &FAULT].concat(), &words, 120, &[]);
    let text = fs::read_to_string(file).unwrap();
    for line in ["in_asm 0000000000100020: nop", "exec 0: 0000000000100020: nop", "v=06", "v=08"] {
        assert!(text.contains(line), "{text} lacks {line}");
    }
    let plain = strata(&kernel("plain", &[&[0x90][..], &FAULT].concat()), &[]);
    let traced = strata(&kernel("plain", &[&[0x90][..], &FAULT].concat()), &["-d", "exec"]);
    let state = |out: Output| {
        String::from_utf8(out.stderr).unwrap().lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(state(plain), state(traced), "being watched changes the machine");
}
