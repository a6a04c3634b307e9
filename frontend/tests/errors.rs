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
    check(&["run", "-kernel", "K", "-vga", "std"], &["'-v'", "accepted are -kernel, -initrd"]);
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
