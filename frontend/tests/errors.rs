//! Bad input: one line on standard error that names the flag or file, says what was found and
//! what is accepted; exit status 2; nothing started.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn strata(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strata")).args(words).output().unwrap()
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
    check(&["run", "-monitor", "stdio"], &["-monitor stdio: there is no monitor"]);
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
    check(&["run", "-kernel", "K", "-m", "1"], &["'1' for '-m <SIZE>'", "from 4M to 1T"]);
    check(&["host", "--domu", "memory=1"], &["--domu: memory=1", "from 4M to 1T"]);
    check(&["--limit-seconds", "abc"], &["--limit-seconds", "accepted is a whole number above 0"]);
    check(
        &["host", "-serial", "stdio", "-serial", "stdio"],
        &["-serial: one device for two ports"],
    );
    check(&["host", "--memory", "1T", "--domu", "memory=900G"], &["--memory", "does not grant"]);
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
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strata"), &copy).unwrap();
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
