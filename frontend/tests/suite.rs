//! `strata test`: verdicts, reports, and that neither follows from how many tests run at once.

mod common;
#[path = "common/junit.rs"]
mod junit;

use common::{STRATA, image, path};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output, Stdio};

/// `mov dx, 3F8h`, then `mov al, …; out dx, al` for each letter of `OK`; then the status in `AL` to F4h.
const OK: &[u8] = &[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'O', 0xEE, 0xB0, b'K', 0xEE];
/// `mov al, N; out F4h, al`.
const fn exit(value: u8) -> [u8; 4] {
    [0xB0, value, 0xE6, 0xF4]
}
/// `jmp $`.
const SPIN: &[u8] = &[0xEB, 0xFE];

fn strata(words: &[&str]) -> Output {
    Command::new(STRATA).args(words).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn name(name: &str) -> String {
    path(&format!("suite-{name}")).to_str().unwrap().to_owned()
}

/// A list of tests of which each verdict has some.
fn list(file: &str) -> String {
    let says = image("suite-ok", &[OK, &exit(0)].concat());
    let fails = image("suite-fail", &exit(3));
    let spins = image("suite-spin", SPIN);
    let device = "-device isa-debug-exit,iobase=0xf4,iosize=4";
    let test = |name: &str, kernel: &str, more: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\nkernel = \"{kernel}\"\nwords = \"{device}\"\n{more}\n"
        )
    };
    let all = [
        test("says", &says, "status = 1\ntext = \"OK\""),
        test("says not", &says, "status = 1\ntext = \"NO\"\ngroups = [\"bad\"]"),
        test("fails", &fails, "status = 1\ngroups = [\"bad\"]"),
        test("is to fail", &fails, "status = 7"),
        test("spins", &spins, "status = 124\nlimit = 5000000"),
        test("spins too long", &spins, "limit = 100\ngroups = [\"bad\"]"),
        test("is not there", "/no/such", ""),
        test("is left out", &says, "skip = \"not today\""),
    ];
    let path = name(file);
    fs::write(&path, all.concat()).unwrap();
    path
}

#[test]
fn verdicts() {
    let list = list("verdicts.toml");
    let out = strata(&["test", "--list", &list]);
    assert_eq!(out.status.code(), Some(6), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    let begins = [
        "PASS  says: ",
        "FAIL  says not (the guest has not printed \"NO\"): ",
        "FAIL  fails (exit status 7, not 1: the guest wrote 0x3 to isa-debug-exit): ",
        "PASS  is to fail: ",
        "PASS  spins: 5000000 instructions, state ",
        "FAIL  spins too long (exit status 124, not 0: a limit was reached): 100 instructions, ",
        "ERROR is not there (strata: -kernel /no/such: No such file or directory",
        "SKIP  is left out (not today)",
        "8 tests: 3 passed, 3 failed, 1 errors, 1 skipped",
    ];
    assert_eq!(lines.len(), begins.len(), "{said}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line} does not begin with {begin}");
    }
    assert!(said.contains("      | OK\n"), "{said}");
    // The command below a failure runs that test alone.
    let command = said.lines().find_map(|line| line.strip_prefix("      $ ")).unwrap();
    let alone = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((alone.status.code(), text(&alone.stdout)), (Some(1), "OK".to_owned()), "{command}");
}

/// What is told of all tests, without the host's seconds.
fn told(list: &str, jobs: &str) -> (String, Value) {
    let json = name(&format!("{jobs}.json"));
    let out = strata(&["test", "--list", list, "--jobs", jobs, "--json", &json]);
    let mut all: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    for test in all["tests"].as_array_mut().unwrap() {
        assert!(test["cpu_seconds"].take().is_number());
    }
    (text(&out.stdout), all)
}

#[test]
fn any_number_of_jobs() {
    let list = list("jobs.toml");
    let one = told(&list, "1");
    for jobs in ["2", "5", "100"] {
        assert_eq!(told(&list, jobs), one, "{jobs}");
    }
    let states: BTreeSet<_> =
        one.1["tests"].as_array().unwrap().iter().map(|test| test["state"].as_str()).collect();
    assert_eq!(states.len(), 5, "{states:?}");
}

#[test]
fn parts_and_groups() {
    let list = list("parts.toml");
    let names = |words: &[&str]| {
        let all = [&["test", "--list", &list, "--names"], words].concat();
        text(&strata(&all).stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = names(&[]);
    assert_eq!(all.len(), 8);
    let mut parts: Vec<_> =
        ["1/3", "2/3", "3/3"].iter().flat_map(|p| names(&["--partition", p])).collect();
    parts.sort();
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(parts, sorted);
    // By an earlier run, in which one test took as long as all others.
    let times = name("times.json");
    let took =
        |name: &str, seconds: f64| format!("{{\"name\":\"{name}\",\"cpu_seconds\":{seconds}}}");
    let tests: Vec<_> = all.iter().map(|n| took(n, if n == "fails" { 7.0 } else { 1.0 })).collect();
    fs::write(&times, format!("{{\"tests\":[{}]}}", tests.join(","))).unwrap();
    let by_time = |part| names(&["--partition", part, "--shard-by", "time", "--times", &times]);
    assert_eq!(by_time("1/2"), ["fails"]);
    assert_eq!(by_time("2/2").len(), 7);
    let out = strata(&[
        "test",
        "--list",
        &list,
        "--partition",
        "1/2",
        "--shard-by",
        "time",
        "--times",
        &list,
    ]);
    assert!(
        text(&out.stderr).ends_with("parts.toml: accepted is what --json has written\n"),
        "{out:?}"
    );
    assert_eq!(names(&["--group", "bad"]), ["says not", "fails", "spins too long"]);
    assert_eq!(names(&["spins", "says"]), ["says", "spins"]);
    let out = strata(&["test", "--list", &list, "nosuch"]);
    assert_eq!(text(&out.stderr), "strata: nosuch: no such test; --names lists them\n");
    let good = strata(&["test", "--list", &list, "says", "is left out"]);
    assert_eq!(good.status.code(), Some(0));
}

#[test]
fn files() {
    let list = list("files.toml");
    let [junit, tap] = ["out.xml", "out.tap"].map(name);
    let out = strata(&["test", "--list", &list, "--junit", &junit, "--tap", &tap, "-j", "3"]);
    assert_eq!(out.status.code(), Some(6));
    let xml = fs::read_to_string(&junit).unwrap();
    assert_eq!(junit::against(&xml), [""; 0], "{xml}");
    let suite = &junit::read(&xml).unwrap().children[0];
    let count = |name: &str| suite.get(name).unwrap();
    assert_eq!(["tests", "skipped", "failures", "errors"].map(count), ["8", "1", "3", "1"]);
    let case = suite.children.iter().find(|case| case.get("name") == Some("says not")).unwrap();
    let why = (case.children[0].name.as_str(), case.children[0].get("message").unwrap());
    assert_eq!(why, ("failure", "the guest has not printed \"NO\""));
    assert_eq!(case.children[1].text, "OK");
    let tap = fs::read_to_string(&tap).unwrap();
    assert!(tap.starts_with("TAP version 13\n1..8\nok 1 - says\n"), "{tap}");
    assert!(tap.contains("\nok 8 - is left out # SKIP not today\n"), "{tap}");
    let out = strata(&["test", "--list", &list, "--junit", "/no/such/x"]);
    assert_eq!(out.status.code(), Some(2));
    let out = strata(&["test", "--list", &list, "says", "--json", "/dev/full"]);
    assert_eq!(out.status.code(), Some(122), "{}", text(&out.stderr));
}

/// The rules that the report is held to can be broken.
#[test]
fn rules_of_junit() {
    let check = |body: &str, expect: &[&str]| {
        let xml = format!("<?xml version=\"1.0\"?>\n<testsuites name=\"n\">{body}</testsuites>\n");
        assert_eq!(junit::against(&xml), expect, "{body}");
    };
    let suite = |counts: &str, body: &str| {
        format!("<testsuite name=\"s\" tests=\"1\" {counts}>{body}</testsuite>")
    };
    let none = "failures=\"0\" errors=\"0\"";
    let case = |body: &str| format!("<testcase name=\"a&lt;\">{body}</testcase>");
    check(&suite(none, &case("")), &[]);
    check(&suite(none, ""), &["testsuite: tests are 0"]);
    check(&suite(none, &case("<failure/>")), &["testsuite: failures are 1"]);
    check(&suite("failures=\"0\"", &case("")), &["testsuite lacks errors"]);
    check(&suite(none, &case("<properties/>")), &["testcase has no properties"]);
    check(&suite(none, "<testcase/>"), &["testcase lacks name"]);
    check(&suite(&format!("{none} time=\"1e3\""), &case("")), &["testsuite: time=1e3"]);
    check("<testcase name=\"a\"/>", &["testsuites has no testcase"]);
    check("<x/>", &["testsuites has no x", "no element x"]);
    check("x", &["testsuites has text"]);
    check("&x;", &["no entity x"]);
    check("<testsuite>", &["testsuite ends as /testsuites"]);
    check("\u{1b}", &["'\\u{1b}' is no character of XML"]);
}

/// A folder as kvm-unit-tests have it, with kernels of our own.
#[test]
fn kvm_unit_tests() {
    let folder = path("suite-kut");
    fs::create_dir_all(folder.join("x86")).unwrap();
    let kernel = |name: &str, code: &[u8]| {
        fs::copy(image(&format!("kut-{name}"), code), folder.join(format!("x86/{name}.flat")))
            .unwrap();
    };
    kernel("pass", &[OK, &exit(0)].concat());
    kernel("fail", &exit(1));
    kernel("skip", &exit(38));
    kernel("spin", SPIN);
    let config = "[good]\nfile = pass.flat\nsmp = 2\nqemu_params = -cpu max,+pku\n\
                  [bad]\nfile = fail.flat\ntest_args = 'a b'\ngroups = g\n\
                  [left-out]\nfile = skip.flat\n\
                  [other]\nfile = pass.flat\narch = i386\n\
                  [slow]\nfile = spin.flat\ntimeout = 1\n\
                  [refused]\nfile = pass.flat\nqemu_params = -device nosuch\n\
                  [by-hand]\nfile = pass.flat\ngroups = nodefault\n";
    fs::write(folder.join("x86/unittests.cfg"), config).unwrap();
    let out = strata(&[
        "test",
        "--kut",
        folder.to_str().unwrap(),
        "-j",
        "2",
        "--limit-instructions",
        "1000000",
    ]);
    let said = text(&out.stdout);
    // Two runs in one second would be the same with the host's date, too.
    assert!(said.contains(" -rtc base=2026-01-01 "), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    let begins = [
        "PASS  good: ",
        "FAIL  bad (exit status 3): ",
        "SKIP  left-out: ",
        "SKIP  other (i386 only)",
        "FAIL  slow (timeout): 1000000 instructions, ",
        "SKIP  refused (qemu-system-x86_64: invalid value 'nosuch' for '-device <DEVICE>'",
        "SKIP  by-hand (test marked as manual run only)",
        "7 tests: 1 passed, 2 failed, 0 errors, 4 skipped",
    ];
    assert_eq!(lines.len(), begins.len(), "{said}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line} does not begin with {begin}");
    }
    for words in [&["--all"][..], &["--group", "nodefault"], &["by-hand"]] {
        let out = strata(
            &[
                &["test", "--kut", folder.to_str().unwrap()],
                words,
                &["--limit-instructions", "1000000"],
            ]
            .concat(),
        );
        assert!(text(&out.stdout).contains("PASS  by-hand: "), "{out:?}");
    }
    let out = strata(&["test", "--kut", "/no/such"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).starts_with("strata: --kut /no/such: x86/unittests.cfg: No such file")
    );
}
