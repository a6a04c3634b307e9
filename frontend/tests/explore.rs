//! Exploring: a race is found, shrunk to its cause and recorded, whatever the number of jobs.

mod common;

use common::{STRATA, image, path};
use platform::recording::{FILE, Frame, Recording};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Instructions between the second processor's look for work and its word that it sleeps.
const WINDOW: u8 = 2;
/// Items of work, and half of the instructions before each: more than a processor leads by itself.
const ITEMS: u32 = 10;
const DELAY: u32 = 10_500;
/// Half of the instructions before the second processor starts.
const BEFORE: u32 = 15_000;

/// A second processor that takes work and halts when there is none, and a first one that gives it work and wakes it
/// if it says that it is asleep. The second looks for work before it says so: work that is given between the two
/// waits for ever. The first sees that, status 35; else the end is status 33.
fn lost_wakeup() -> Vec<u8> {
    let look = [
        &[0xbc, 0x00, 0x5f][..],                // mov sp, 5f00h
        &[0x80, 0x3e, 0x00, 0x70, 0x00],        // wait: cmp byte [WORK], 0
        &[0x75, 13 + WINDOW],                   // jne take
        &[0x90; WINDOW as usize],               // nop
        &[0xc6, 0x06, 0x01, 0x70, 0x01],        // mov byte [ASLEEP], 1
        &[0xf4],                                // hlt
        &[0xc6, 0x06, 0x01, 0x70, 0x00],        // mov byte [ASLEEP], 0
        &[0xeb, 0u8.wrapping_sub(20 + WINDOW)], // jmp wait
        &[0xc6, 0x06, 0x00, 0x70, 0x00],        // take: mov byte [WORK], 0
        &[0xeb, 0u8.wrapping_sub(27 + WINDOW)], // jmp wait
    ];
    let give = [
        0x49, 0x75, 0xfd, // delay: dec ecx; jnz delay
        0xc6, 0x05, 0x00, 0x70, 0x00, 0x00, 0x01, // mov byte [WORK], 1
        0x80, 0x3d, 0x01, 0x70, 0x00, 0x00, 0x00, // cmp byte [ASLEEP], 0
        0x75, 0x16, // jne wake
        0x80, 0x3d, 0x00, 0x70, 0x00, 0x00, 0x00, // awake: cmp byte [WORK], 0
        0x74, 0x22, // je taken
        0x80, 0x3d, 0x01, 0x70, 0x00, 0x00, 0x00, // cmp byte [ASLEEP], 0
        0x75, 0x20, // jne lost
        0xf3, 0x90, // pause
        0xeb, 0xea, // jmp awake
        0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x44, 0x0c,
        0x00, // wake: mov dword [ICR], NMI to others
        0xf3, 0x90, // woken: pause
        0x80, 0x3d, 0x00, 0x70, 0x00, 0x00, 0x00, // cmp byte [WORK], 0
        0x75, 0xf5, // jne woken
        0x4e, // taken: dec esi
        0x75, 0xba, // jnz to the delay's begin
        0xb0, 0x10, 0xe6, 0xf4, // mov al, 10h; out 0f4h, al
        0xb0, 0x11, 0xe6, 0xf4, // lost: mov al, 11h; out 0f4h, al
    ];
    let consumer = look.concat();
    [
        store(0x6100, 0xcf), // the handler of the NMI: iret
        store(8, 0x6100),
        consumer
            .chunks(4)
            .zip((0x6000..).step_by(4))
            .flat_map(|(b, at)| store_all(at, b))
            .collect(),
        store(0xfee0_00f0, 0x1ff),
        [&[0xb9][..], &BEFORE.to_le_bytes(), &[0x49, 0x75, 0xfd]].concat(), // mov ecx, BEFORE; dec ecx; jnz
        // INIT and start-up IPI to the others.
        store(0xfee0_0300, 0x000c_4500),
        store(0xfee0_0300, 0x000c_4606),
        [&[0xbe][..], &ITEMS.to_le_bytes()].concat(), // mov esi, ITEMS
        [&[0xb9][..], &DELAY.to_le_bytes()].concat(), // mov ecx, DELAY
        give.to_vec(),
    ]
    .concat()
}

/// mov dword [at], v
fn store(at: u32, v: u32) -> Vec<u8> {
    [&[0xc7, 0x05][..], &at.to_le_bytes(), &v.to_le_bytes()].concat()
}

fn store_all(at: u32, bytes: &[u8]) -> Vec<u8> {
    let mut word = [0; 4];
    word[..bytes.len()].copy_from_slice(bytes);
    store(at, u32::from_le_bytes(word))
}

/// An empty directory for what is found.
fn directory(name: &str) -> PathBuf {
    let path = path(&format!("explore-{name}"));
    _ = fs::remove_dir_all(&path);
    path
}

fn strata(words: &[&str]) -> Output {
    Command::new(STRATA).args(words).output().unwrap()
}

/// Runs the command, which ends with `status`; what it prints.
#[track_caller]
fn check(words: &[&str], status: i32) -> String {
    let out = strata(words);
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "{words:?}: {error}");
    String::from_utf8(out.stdout).unwrap()
}

/// Explores the race with `more` words; what it prints, with the directory left out.
#[track_caller]
fn explore(name: &str, more: &[&str], status: i32) -> (PathBuf, String) {
    let to = directory(name);
    let guest = image(&format!("race-{name}"), &lost_wakeup());
    let run = ["--", "run", "-m", "4", "-smp", "2", "-kernel", &guest];
    let device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];
    let words = ["explore", "-o", to.to_str().unwrap(), "--until", "status:35"];
    let text = check(&[&words[..], more, &run, &device].concat(), status);
    (to.clone(), text.replace(to.to_str().unwrap(), "DIR"))
}

#[test]
fn a_lost_wakeup_is_found_and_shrunk() {
    let words = ["--seeds", "100000", "--budget", "300000", "--jobs"];
    let [(to, one), (_, two)] =
        ["1", "2"].map(|jobs| explore(&format!("race-{jobs}"), &[&words[..], &[jobs]].concat(), 8));
    assert_eq!(one, two, "the number of jobs changes nothing");
    // Few perturbations are left, among them that the second processor stands still while the first gives it work.
    let (first, rest) = one.split_once('\n').unwrap();
    assert!(first.contains(": status:35 at "), "{one}");
    assert!(rest.contains(" stall 1 ") && rest.lines().count() <= 3, "{one}");
    let future = fs::read_dir(&to).unwrap().map(|f| f.unwrap().path());
    let future = future.into_iter().find(|path| path.is_dir()).unwrap();
    check(&["replay", future.to_str().unwrap(), "--verify"], 0);
    let frames = Recording::read(File::open(future.join(FILE)).unwrap()).unwrap().frames;
    let inputs = frames.iter().filter(|frame| matches!(frame, Frame::Input { .. }));
    assert_eq!(inputs.count(), rest.lines().count());
    assert!(matches!(frames.last(), Some(Frame::End { by_guest: true, status: 35, .. })));
}

/// Without a perturbation the race does not show, nor in some futures.
#[test]
fn nothing_is_found_where_nothing_is() {
    assert_eq!(explore("nothing", &["--seeds", "65", "--budget", "100000"], 0).1, "");
    let (_, text) = explore("end", &["--seeds", "1", "--until", "status:33"], 8);
    assert!(text.starts_with("future 0: status:33 at ") && text.contains("by 0 of 0"), "{text}");
}

/// The second processor says that it sleeps.
#[test]
fn an_expression() {
    let asleep = "expr:{unsigned char} 0x7001 == 1 && $cr3 == 0 && $rip < 0x6100";
    let (_, text) = explore("expression", &["--seeds", "1", "--until", asleep], 8);
    assert!(text.starts_with(&format!("future 0: {asleep} at ")), "{text}");
}

/// A search that would go on for ever ends at the limit.
#[test]
fn a_limit_of_seconds() {
    let words = ["--seeds", "1000000000000", "--budget", "1000", "--limit-seconds", "1"];
    assert_eq!(explore("limit", &words, 124).1, "");
}

#[test]
fn bad_words() {
    let to = directory("bad");
    let says = |words: &[&str], expect: &str| {
        let out = strata(&[&["explore", "-o", to.to_str().unwrap()], words].concat());
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{text}");
        assert!(text.contains(expect) && text.lines().count() == 1, "{text}");
    };
    says(&["/no/such"], "/no/such: No such file");
    says(&["--until", "lost", "x"], "accepted are text:TEXT");
    says(&["--until", "expr:$nothing", "x"], "unknown register '$nothing'");
    says(&["--limit-instructions", "5", "x"], "--limit-instructions: accepted with a run");
    says(&["--", "replay", "x"], "explore: accepted after -- are run, host and no verb");
    says(&["--dictionary", "/no/such", "x"], "--dictionary /no/such: No such file");
    fs::write(to.join("file"), "").unwrap();
    says(&["x"], "it is not empty; accepted is an empty directory");
}
