//! Bad input: one line on standard error that names the flag or file, says what was found and
//! what is accepted; exit status 2; nothing started.

mod common;

use common::{STRATA, image};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// `mov al, 10h; out F4h, al`.
const EXIT: &[u8] = &[0xB0, 0x10, 0xE6, 0xF4];

fn strata(words: &[&str]) -> Output {
    Command::new(STRATA).args(words).output().unwrap()
}

/// A file of this test's own.
fn file(name: &str, content: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// `strata words` says one line that holds each of `says`.
#[track_caller]
fn check(words: &[&str], says: &[&str]) {
    let out = strata(words);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(out.stdout.is_empty());
    assert!(text.starts_with("strata: ") && text.lines().count() == 1, "{text}");
    for part in says {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn flags() {
    check(&["run", "-kernel", "K", "-m", "x"], &["'x' for '-m <SIZE>'", "accepted is a number"]);
    check(&["run"], &["-kernel <FILE>"]);
    check(&["replay", "x", "--limit-seconds", "1"], &["--limit-seconds: accepted with a run"]);
    check(&["hash", "x", "--report", "r"], &["--report: accepted with a run"]);
    check(&["--limit-instructions", "many"], &["'many'", "--limit-instructions"]);
    check(&["host", "--domu", "size=3"], &["--domu: size=3", "accepted are name=, kernel="]);
    check(&["host", "--domu", "name=a", "--domu", "name=a"], &["name=a", "taken"]);
    check(&["image", "/no/such/out.iso"], &["/no/such", "accepted is a file in a folder"]);
}

#[test]
fn kernels() {
    check(&["run", "-kernel", "/no/such"], &["-kernel /no/such: No such file", "accepted"]);
    check(&["run", "-kernel", "/"], &["-kernel /: not a regular file"]);
    let empty = file("empty", b"");
    check(&["run", "-kernel", &empty], &["empty: an empty file; accepted is"]);
    let text = file("text", b"hello, I am no kernel\n");
    let found = "begins with 68 65 6c 6c 6f";
    check(&["run", "-kernel", &text], &[&text, found, "accepted are Linux bzImage"]);
    let mut image = vec![0; 0x300];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    let old = file("old", &image);
    check(&["run", "-kernel", &old], &[&old, "version at offset 0x206 is 0x0; accepted: boot"]);
    image[0x206..0x208].copy_from_slice(&[6, 2]);
    image[0x211] = 1;
    image[0x1F4] = 0xFF;
    let short = file("short", &image);
    check(&["run", "-kernel", &short], &[&short, "truncated: protected-mode kernel"]);
    check(
        &["host", "--domu", &format!("kernel={text}")],
        &[&text, "begins with", "accepted is ELF"],
    );
}

#[test]
fn tables() {
    let toml = file("bad.toml", b"[dom0]\nmemory = 512\n[[domu]]\nnames = 'a'\n");
    check(&["host", "--config", &toml], &["bad.toml:4: unknown field `names`", "accepted are"]);
    let toml = file("worse.toml", b"dom0 = ");
    check(&["host", "--config", &toml], &["worse.toml:1: ", "accepted are [dom0]"]);
    let toml = file("binary.toml", &[0xFF, 0xFE, 0]);
    check(&["host", "--config", &toml], &["binary.toml: "]);
}

/// Flags that another emulator has, or that nobody has: the whole word is named, nothing is taken for help.
#[test]
fn whole_words() {
    for flag in ["-hda", "-hdb"] {
        check(&["run", flag, "x"], &[flag, "there are no disks"]);
        check(&[flag, "x"], &[flag, "there are no disks"]);
    }
    check(&["run", "-netdev", "user"], &["-netdev: there is no network"]);
    check(
        &["run", "-monitor", "telnet::4"],
        &["'telnet::4' for '-monitor <WHERE>'", "accepted are stdio"],
    );
    check(&["run", "-machine", "virt"], &["-machine virt", "accepted are q35 and pc"]);
    check(&["run", "-kernal", "x"], &["-kernal: invalid option", "did you mean -kernel?"]);
    check(&["run", "-m64"], &["-m64: invalid option", "-m 64"]);
    check(&["-kernel=/no/such"], &["-kernel /no/such: No such file"]);
    check(&["host", "-m", "x"], &["'x' for '--memory <SIZE>'"]);
    check(&["host", "-smp", "2"], &["-smp: the hypervisor runs on one processor", "vcpus="]);
    check(&["host", "-cpu", "nosuch"], &["CPU model \"nosuch\" is not known"]);
    check(&["host", "-netdev", "user"], &["-netdev: no option of strata host"]);
}

#[test]
fn sizes_and_counts() {
    for size in ["1", "2", "3M", "2T"] {
        check(&["run", "-kernel", "K", "-m", size], &[size, "'-m <SIZE>'", "from 4M to 1T"]);
    }
    let kernel = image("errors", EXIT);
    check(&["run", "-kernel", &kernel, "-m", "1T"], &["-m: 1048576M: ", "does not grant"]);
    check(&["run", "-kernel", "K", "-m", "1"], &["'1' for '-m <SIZE>'", "from 4M to 1T"]);
    check(&["host", "--domu", "memory=1"], &["--domu: memory=1", "from 4M to 1T"]);
    check(&["--limit-seconds", "abc"], &["--limit-seconds", "accepted is a whole number above 0"]);
    check(
        &["host", "-serial", "stdio", "-serial", "stdio"],
        &["-serial: one device for two ports"],
    );
    check(&["host", "--memory", "1T", "--domu", "memory=900G"], &["--memory", "does not grant"]);
}

/// Ports at which two devices would answer, and two devices of a kind.
#[test]
fn devices() {
    let kernel = image("errors", EXIT);
    let with = |devices: &[&str], says: &[&str]| {
        let devices = devices.iter().flat_map(|device| ["-device", device]);
        let words: Vec<&str> = ["run", "-kernel", &kernel].into_iter().chain(devices).collect();
        check(&words, says);
    };
    let com1 = "ports 0x3f8 to 0x3ff of com1; accepted are";
    with(&["isa-debug-exit,iobase=0x3f8"], &["-device: ports 0x3f8 to 0x3f9 of debug_exit", com1]);
    with(&["isa-debug-exit,iobase=0x3f7,iosize=4"], &[com1]);
    with(&["isa-debug-exit,iobase=0x64,iosize=1"], &["ports 0x64 to 0x64 of i8042"]);
    with(&["pvpanic", "isa-debug-exit,iobase=0x504,iosize=4"], &["0x505 of pvpanic"]);
    let two = "-device: two of a kind";
    with(&["isa-debug-exit", "isa-debug-exit,iobase=0xf4"], &[two]);
    with(&["edu", "edu,msix=on"], &[two]);
}

/// What would take the place of a device of the host.
#[test]
fn files_that_are_none() {
    for place in ["/dev/full", "/", ".."] {
        let accepted = "accepted is a new file, or a regular one";
        check(&["run", "-kernel", "K", "--snapshot", place], &[place, "--snapshot", accepted]);
        check(&["image", place], &[place, "OUT.iso", accepted]);
    }
}

/// An initial RAM disk that unpacks to a GiB is looked through without being held.
#[test]
fn a_ram_disk_that_unpacks_to_much() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = "0".repeat(8);
    let (six, four) = (zeros.repeat(6), zeros.repeat(4));
    let header = format!("070701{six}{:08x}{four}00000004{zeros}big\0\0\0", 1 << 30);
    packed.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..1 << 10).for_each(|_| packed.write_all(&zeros).unwrap());
    let initrd = file("big.gz", &packed.finish().unwrap());
    let kernel = file("linux", &pvh(b"Linux version 0"));
    let line = "ulimit -v 900000; exec \"$0\" run -kernel \"$1\" -initrd \"$2\" -m 16";
    let mut shell = Command::new("sh");
    let out = shell.args(["-c", line, STRATA, &kernel, &initrd]).output();
    let text = String::from_utf8(out.unwrap().stderr).unwrap();
    assert!(text.contains("big.gz: not an initramfs: cpio: truncated at offset 0x"), "{text}");
}

/// An ELF file with a PVH note and `content`.
fn pvh(content: &[u8]) -> Vec<u8> {
    let mut elf = vec![0; 0x200];
    elf[..7].copy_from_slice(b"\x7FELF\x02\x01\x01");
    let rows = [
        // Type, machine and version; the program headers: where, their size and number.
        (16, 62 << 16 | 2),
        (20, 1),
        (24, 0x10_0000),
        (32, 64),
        (52, 56 << 16 | 64),
        (56, 2),
        // PT_LOAD of all to 1 MiB.
        (64, 1),
        (80, 0x10_0000),
        (88, 0x10_0000),
        (96, 0x200),
        (104, 0x200),
        // PT_NOTE: XEN_ELFNOTE_PHYS32_ENTRY.
        (120, 4),
        (128, 0x100),
        (152, 20),
        (160, 20),
        (0x100, 4),
        (0x104, 4),
        (0x108, 18),
        (0x110, 0x10_0000_u32),
    ];
    for (at, value) in rows {
        elf[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    elf[0x10C..0x110].copy_from_slice(b"Xen\0");
    elf.extend(content);
    elf
}

#[test]
fn domains() {
    check(
        &["host", "--domu", "name=b,kernel=/no/such"],
        &["--domu (name=b): kernel /no/such: No such"],
    );
    check(&["host", "--config", "/dev/zero"], &["/dev/zero: accepted is a regular file"]);
    let toml = |text: &str, says: &[&str]| {
        check(&["host", "--config", &file("domains.toml", text.as_bytes())], says);
    };
    toml("[dom0]\nmemory = -1", &["memory = -1: accepted is a number"]);
    toml("[dom0]\nmemory = 1.5", &[":2: ", "expected a whole number, or a text"]);
    toml("[dom0]\nmemory = true", &[":2: ", "expected a whole number, or a text"]);
    toml("dom0 = 'x'", &["expected a table such as [dom0]"]);
    toml("[domu]", &["expected tables [[domu]], with two brackets"]);
}

/// An ELF file whose headers tell of more than there is.
#[test]
fn a_truncated_kernel() {
    let mut elf = vec![0; 120];
    elf[..7].copy_from_slice(b"\x7FELF\x02\x01\x01");
    for (at, value) in [(18, 62), (32, 64), (54, 56), (56, 1), (64, 1), (96, 200)] {
        elf[at] = value;
    }
    let elf = file("truncated", &elf);
    check(&["run", "-kernel", &elf], &["truncated: ELF segment needs 200 bytes at offset 0x0"]);
}

/// Whatever the program is called.
#[test]
fn another_name() {
    let copy = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("strata-dev");
    _ = fs::remove_file(&copy);
    std::os::unix::fs::symlink(STRATA, &copy).unwrap();
    let out = Command::new(copy).args(["host", "--nosuch"]).output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.contains("accepted are --dom0, --domu, --config"), "{text}");
}

/// A trace file without anything to trace is worth a word, and the run goes on.
#[test]
fn a_trace_of_nothing() {
    let out = strata(&["run", "-D", &file("nothing", b""), "-kernel", "/no/such"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(text.starts_with("strata: -D: warning: without -d nothing is traced\n"), "{text}");
}
