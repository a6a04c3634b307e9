//! What a run tells other programs: the report, and VM entries and exits in each form.

#[path = "common/chrome.rs"]
mod chrome;
mod common;
#[path = "common/schema.rs"]
mod schema;

use common::{STRATA, image, path};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

/// `mov dx, 3F8h; mov al, 'A'; out dx, al; mov al, 10h; out F4h, al`.
const EXIT: &[u8] = &[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE, 0xB0, 0x10, 0xE6, 0xF4];

/// What is said of a run that ends with `status`.
#[track_caller]
fn run(words: &[&str], status: i32) -> String {
    let out = Command::new(STRATA).args(words).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(status), "{words:?}: {text}");
    text
}

fn name(name: &str) -> String {
    path(&format!("report-{name}")).to_str().unwrap().to_owned()
}

fn json(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The report in `file`, which is as the schema says.
#[track_caller]
fn report(file: &str) -> Value {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json");
    let (schema, report) = (json(schema), json(file));
    schema::check(&schema, &schema, &report, "");
    report
}

/// The sum of a list of counts.
fn sum(counts: &Value) -> u64 {
    counts.as_array().unwrap().iter().map(|count| count["count"].as_u64().unwrap()).sum()
}

#[test]
fn a_bare_machine() {
    let (kernel, file) = (image("report", EXIT), name("bare.json"));
    let exit = "isa-debug-exit,iobase=0xf4,iosize=4";
    let said = run(&["run", "-kernel", &kernel, "-device", exit, "--report", &file], 33);
    let report = report(&file);
    assert_eq!(said.lines().last(), Some(&*format!("state {}", report["state"].as_str().unwrap())));
    assert_eq!((&report["status"], &report["ended"]), (&33.into(), &"debug-exit".into()));
    assert_eq!((&report["debug_exit"], &report["instructions"]), (&16.into(), &5.into()));
    assert_eq!(
        (&report["levels"][0]["name"], &report["exits"]),
        (&"machine".into(), &Value::Array(vec![]))
    );
    let devices = report["devices"].as_array().unwrap();
    let com1 = devices.iter().find(|device| device["name"] == "com1").unwrap();
    assert_eq!((&com1["reads"], &com1["writes"]), (&0.into(), &1.into()));
    let qemu = ["qemu", "-kernel", &kernel, "-device", exit, "-display", "none", "--report", &file];
    assert_eq!(run(&qemu, 33), "");
    self::report(&file);
}

#[test]
fn ends_without_a_guests_word() {
    let file = name("fault.json");
    run(&["run", "-kernel", &image("report-fault", &[0x0F, 0x0B]), "--report", &file], 120);
    let message = report(&file)["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("triple fault at 0x"), "{message}");
    let kernel = image("report-spin", &[0xEB, 0xFE]);
    run(&["run", "-kernel", &kernel, "--limit-instructions", "1000", "--report", &file], 124);
    let report = report(&file);
    assert_eq!((&report["ended"], &report["instructions"]), (&"limit".into(), &1000.into()));
}

/// The main job, with a report and every form of events: each tells of the same exits.
#[test]
fn the_main_job() {
    let [file, chrome, lines, text, last] =
        ["main.json", "events.json", "events.jsonl", "events.txt", "last.jsonl"].map(name);
    let said = run(&["--report", &file, "--events", &chrome], 0);
    let of = |events: &str| run(&["--events", events], 0);
    let others = [of(&lines), of(&text), of(&format!("{last},last=10,except=30"))];
    let state = |said: &str| said.lines().last().unwrap().to_owned();
    assert!(others.iter().all(|other| state(other) == state(&said)), "watching changes the state");

    let report = report(&file);
    let levels = report["levels"].as_array().unwrap();
    let names: Vec<_> = levels.iter().map(|level| level["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hypervisor", "dom0", "a", "b"]);
    let exits: Vec<u64> = levels.iter().map(|level| sum(&level["exits"])).collect();
    assert_eq!((exits[0], exits.iter().sum::<u64>()), (0, sum(&report["exits"])));

    let written = fs::read_to_string(&lines).unwrap();
    let events: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|e| e["domain"] == name).count() as u64;
    assert_eq!([of("dom0"), of("a"), of("b")], exits[1..]);
    let calls: BTreeSet<_> = events.iter().filter_map(|e| e["hypercall"].as_str()).collect();
    assert!(calls.contains("sched_op") && calls.contains("grant_table_op"), "{calls:?}");
    assert!(events.iter().all(|e| e["entered"].as_u64() <= e["at"].as_u64()));
    assert_eq!(fs::read_to_string(&text).unwrap().lines().count(), events.len());

    let wanted: Vec<_> = written.lines().filter(|line| !line.contains("\"reason\":30")).collect();
    let last = fs::read_to_string(&last).unwrap();
    assert_eq!(last.lines().collect::<Vec<_>>(), wanted[wanted.len() - 10..]);
    check_chrome(&json(&chrome), &exits[1..]);
}

/// `-d vmexit` tells of exits as `--events` does; `--last` keeps the end.
#[test]
fn exits_in_a_trace() {
    let [trace, last, events] = ["trace.txt", "trace-last.txt", "trace-events.txt"].map(name);
    let host = ["host", "-d", "vmexit", "-D"];
    run(&[&host[..], &[&trace, "--events", &events, "--domu", "name=a"]].concat(), 0);
    let traced = fs::read_to_string(&trace).unwrap();
    assert_eq!(traced, fs::read_to_string(&events).unwrap());
    assert!(traced.contains(" dom0/0 VMCALL hypercall=grant_table_op ip=0x"), "{trace}");
    run(&[&host[..], &[&last, "--last", "7", "--domu", "name=a"]].concat(), 0);
    let lines: Vec<_> = traced.lines().collect();
    let kept = fs::read_to_string(&last).unwrap();
    assert_eq!(kept.lines().collect::<Vec<_>>(), lines[lines.len() - 7..]);
    // Between other lines, too.
    run(&[&["host", "-d", "int,vmexit", "-D"][..], &[&last, "--domu", "name=a"]].concat(), 0);
    let both = fs::read_to_string(&last).unwrap();
    assert!(both.lines().any(|line| line.starts_with("int ")));
    assert_eq!(both.lines().filter(|line| line.starts_with("vmexit ")).collect::<Vec<_>>(), lines);
}

/// The guests' slices are their exits; what lies between them is the hypervisor's.
#[track_caller]
fn check_chrome(file: &Value, exits: &[u64]) {
    let slices = chrome::slices(file).unwrap();
    let count = |name: &str| slices[&(name.to_owned(), "processor 0".to_owned())];
    assert_eq!(["dom0", "a", "b"].map(count), exits);
    assert_eq!(count("hypervisor"), exits.iter().sum::<u64>() - 1);
}

/// The rules that files for trace viewers are held to can be broken.
#[test]
fn rules_of_trace_viewers() {
    let ids = |more: &str| format!("{{\"pid\": 1, \"tid\": 2, {more}}}");
    let names = ids(r#""ph": "M", "name": "process_name", "args": {"name": "p"}"#)
        + ","
        + &ids(r#""ph": "M", "name": "thread_name", "args": {"name": "t"}"#);
    let slice = |ts: &str, dur: &str| {
        ids(&format!(
            r#""ph": "X", "cat": "c", "name": "n", "args": {{}}, "ts": {ts}, "dur": {dur}"#
        ))
    };
    let check = |events: &[&str], expect: &str| {
        let file = serde_json::from_str(&format!("[{}]", events.join(","))).unwrap();
        let found = match chrome::slices(&file) {
            Ok(slices) => format!("{slices:?}"),
            Err(why) => why,
        };
        assert!(found.contains(expect), "{found} lacks {expect}");
    };
    check(&[&names, &slice("1", "2"), &slice("3", "0")], r#"{("p", "t"): 2}"#);
    check(&[&names, &slice("1", "2"), &slice("2.5", "0")], "overlap");
    check(&[&names, &slice("-1", "2")], "ts is no time");
    check(&[&names, &slice("1", "\"2\"")], "dur is no time");
    check(&[&slice("1", "2")], "process 1 has no name");
    check(&[&names, &names], "it was t");
    check(&[&ids(r#""ph": "B", "name": "n", "args": {}"#)], "B n is none of the events");
    check(&[&ids(r#""ph": "M", "name": "process_name""#)], "args is no object");
    check(&[r#"{"pid": 1}"#], "tid is no number");
}

/// The schema that reports are held to can be broken.
#[test]
fn a_report_against_its_schema() {
    let file = name("broken.json");
    run(&["run", "-kernel", &image("report-fault", &[0x0F, 0x0B]), "--report", &file], 120);
    let schema = json(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json"));
    let good = report(&file);
    for (place, value) in [
        ("status", Value::from(256)),
        ("state", Value::from("short")),
        ("ended", Value::from("somehow")),
        ("levels", serde_json::json!([{"name": "x", "instructions": -1, "exits": []}])),
        ("exits", serde_json::json!([{"name": "x"}])),
        ("unknown", Value::Null),
    ] {
        let mut broken = good.clone();
        broken[place] = value;
        let checked = std::panic::catch_unwind(|| schema::check(&schema, &schema, &broken, ""));
        assert!(checked.is_err(), "{place} may be anything");
    }
}

#[test]
fn files_that_take_nothing() {
    let kernel = image("report", EXIT);
    let exit = "isa-debug-exit,iobase=0xf4,iosize=4";
    let with = |more: &[&str], status: i32, says: &str| {
        let words = [&["run", "-kernel", &kernel, "-device", exit], more].concat();
        let said = run(&words, status);
        assert!(said.contains(says), "{said}");
    };
    with(&["--report", "/no/such/report"], 2, "--report /no/such/report: No such file");
    with(&["--events", "/no/such/e.json"], 2, "--events /no/such/e.json: No such file");
    with(&["--events", "e.xml"], 2, "accepted is FILE.json, FILE.jsonl or FILE.txt");
    with(&["--report", "/dev/full"], 122, "--report /dev/full: No space left on device");
    let said = run(&["link", "/tmp", "--report", "r"], 2);
    assert!(said.starts_with("strata: --report: accepted with a run"), "{said}");
}
