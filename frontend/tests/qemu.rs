//! The command as `qemu-system-x86_64`: statuses, messages and lists in the form in which scripts read them.

mod common;

use common::{STRATA, image, path};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// `jmp $`, `hlt`, an undefined instruction without an IDT, and a reset by the keyboard controller.
const SPIN: &[u8] = &[0xEB, 0xFE];
const HALT: &[u8] = &[0xFA, 0xF4];
const FAULT: &[u8] = &[0x0F, 0x0B];
const RESET: &[u8] = &[0xB0, 0xFE, 0xE6, 0x64];

/// Selects an item of the firmware configuration and sends its first byte, with 30h added, to COM1; then ends
/// with status 1, as kvm-unit-tests do.
fn says_item(key: u8) -> Vec<u8> {
    let select = [0x66, 0xB8, key, 0, 0x66, 0xBA, 0x10, 0x05, 0x66, 0xEF, 0x66, 0xFF, 0xC2, 0xEC];
    [&select[..], &[0x04, 0x30, 0x66, 0xBA, 0xF8, 0x03, 0xEE, 0x31, 0xC0, 0xE6, 0xF4]].concat()
}

fn qemu(words: &[&str]) -> Output {
    Command::new(STRATA).arg("qemu").args(words).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The words with which kvm-unit-tests run a kernel.
const KUT: &[&str] = &[
    "--no-reboot",
    "-nodefaults",
    "-global",
    "kvm-pit.lost_tick_policy=discard",
    "-device",
    "pc-testdev",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=0x4",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-machine",
    "accel=tcg",
];

/// A run with those words and `more` ends with `status`, and both streams are as expected.
#[track_caller]
fn check(code: &[u8], more: &[&str], status: i32, stdout: &str, stderr: &str) {
    let name =
        format!("qemu-{:x}", code.iter().fold(0u64, |n, b| n.rotate_left(7) ^ u64::from(*b)));
    let kernel = image(&name, code);
    let out = qemu(&[KUT, &["-kernel", &kernel], more].concat());
    assert_eq!(text(&out.stderr), stderr);
    assert_eq!(text(&out.stdout), stdout);
    assert_eq!(out.status.code(), Some(status));
}

#[test]
fn endings() {
    check(&[0xB0, 0x10, 0xE6, 0xF4], &[], 33, "", "");
    check(RESET, &[], 0, "", "");
    check(FAULT, &[], 0, "", "");
    check(SPIN, &["--limit-instructions", "1000"], 124, "", "");
}

#[test]
fn the_firmware_configuration() {
    check(&says_item(5), &["-smp", "3"], 1, "3", "");
    let words = ["-fw_cfg", "name=opt/x,string=4"];
    check(&says_item(0x20), &words, 1, "d", "");
}

#[test]
fn a_halted_machine_waits_for_a_signal() {
    let kernel =
        image("qemu-halt", &[&[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE][..], HALT].concat());
    let mut command = Command::new(STRATA);
    command.args(["qemu", "-kernel", &kernel, "-nographic"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(text(&out.stderr), "qemu-system-x86_64: terminating on signal 15\n");
}

#[test]
fn lists_and_versions() {
    let says = |words: &[&str]| {
        let out = qemu(words);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""), "{words:?}");
        text(&out.stdout)
    };
    let version = says(&["--version"]);
    assert!(version.starts_with("QEMU emulator version 8.2.0 ("), "{version}");
    for flag in ["-h", "-help", "--help"] {
        assert_eq!(says(&[flag]).lines().next(), version.lines().next());
    }
    let devices = says(&["-device", "?"]);
    assert!(devices.contains("name \"pc-testdev\", bus ISA"), "{devices}");
    assert_eq!(devices, says(&["-device", "help"]));
    assert!(says(&["-machine", "help"]).contains("\nq35 "));
    assert!(says(&["-cpu", "help"]).starts_with("Available CPUs:\n"));
    assert!(says(&["-accel", "help"]).contains("\ntcg\n"));
}

/// Bad input: status 1 and one line.
#[track_caller]
fn check_error(words: &[&str], expect: &str) {
    let out = qemu(words);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stderr), format!("qemu-system-x86_64: {expect}\n"));
    assert!(out.stdout.is_empty());
}

#[test]
fn bad_input() {
    check_error(
        &["-kernel", "x", "-frobnicate"],
        "-frobnicate: invalid option; strata run --help lists the options",
    );
    check_error(&["-hda", "x"], "-hda: there are no disks; -initrd loads an initial RAM disk");
    let failure = "accepted is a readable file that is not empty";
    check_error(
        &["-kernel", "_NO_FILE_4Uhere_", "-smp", "2"],
        &format!(
            "could not open kernel: -kernel _NO_FILE_4Uhere_: No such file or directory (os error 2); {failure}"
        ),
    );
}

#[test]
fn firmware_that_nobody_needs() {
    let warning = "qemu-system-x86_64: -bios qboot.rom: warning: there is no firmware to run, the kernel is loaded \
                   without it\n";
    check(&says_item(5), &["-bios", "qboot.rom"], 1, "1", warning);
}

/// Tries until it succeeds, for ten seconds.
#[track_caller]
fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(done) = attempt() {
            return done;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it has not happened");
}

/// A run in the background is there when its command has ended: its number, monitor and serial port; and what the
/// guest has sent before anybody has come to the port is not lost.
#[test]
fn in_the_background() {
    let [monitor, serial, pid] = ["daemon-monitor", "daemon-serial", "daemon-pid"].map(path);
    for file in [&monitor, &serial, &pid] {
        _ = fs::remove_file(file);
    }
    // `mov dx, 3F8h; mov al, 'A'; out dx, al`, then a reset.
    let code = [&[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE][..], RESET].concat();
    let socket = |file: &Path| format!("unix:{},server,nowait", file.display());
    let (kernel, to_monitor, to_serial) =
        (image("daemon", &code), socket(&monitor), socket(&serial));
    let words = [
        &["-kernel", &kernel, "-no-reboot", "-nographic", "-S", "-daemonize"][..],
        &["-pidfile", pid.to_str().unwrap(), "-monitor", &to_monitor, "-serial", &to_serial],
    ];
    let out = qemu(&words.concat());
    assert_eq!((text(&out.stderr).as_str(), out.status.code()), ("", Some(0)));
    let number: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let process = PathBuf::from(format!("/proc/{number}"));
    assert!(process.exists());
    UnixStream::connect(&monitor).unwrap().write_all(b"cont\n").unwrap();
    // The guest has come to its end, or soon does, whoever is there.
    thread::sleep(Duration::from_millis(100));
    let mut said = String::new();
    UnixStream::connect(&serial).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "A");
    soon(|| (!process.exists() && !pid.exists()).then_some(()));
}

#[test]
fn wrong_in_the_background() {
    let kernel = image("daemon-halt", HALT);
    check_error(
        &["-kernel", &kernel, "-daemonize", "-nographic"],
        "-daemonize: accepted with serial ports and monitors elsewhere than on stdio, such as -serial file:NAME",
    );
    let words = ["-kernel", &kernel, "-daemonize", "-display", "none"];
    check_error(
        &[&words[..], &["-pidfile", "/no/such/file"]].concat(),
        "-pidfile /no/such/file: No such file or directory (os error 2); accepted is a file that can be written",
    );
}

#[test]
fn a_processor_that_lacks_something() {
    let warning = "qemu-system-x86_64: -cpu: warning: the processor has no feature pku\n";
    check(&says_item(5), &["-cpu", "max,+pku"], 1, "1", warning);
}

#[test]
fn a_link() {
    let folder = path("links");
    _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    for _ in 0..2 {
        let made = Command::new(STRATA).arg("link").arg(&folder).status().unwrap();
        assert!(made.success());
    }
    let link = folder.join("qemu-system-x86_64");
    let out = Command::new(&link).arg("-version").output().unwrap();
    assert!(text(&out.stdout).starts_with("QEMU emulator version"));
    fs::remove_file(&link).unwrap();
    fs::write(&link, "").unwrap();
    let out = Command::new(STRATA).arg("link").arg(&folder).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("qemu-system-x86_64: File exists"), "{}", text(&out.stderr));
}
