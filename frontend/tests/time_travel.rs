//! Snapshots and recordings by the command: what is restored or replayed is the same run.

use platform::machine::Input;
use platform::recording::{Frame, Recording, Writer};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const STRATA: &str = env!("CARGO_BIN_EXE_strata");

/// An empty directory of this name.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("time-travel-{name}"));
    _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the command in `directory`; `input` is typed at a count of instructions, for no guest waits for a host that
/// is busy.
fn strata(directory: &Path, words: &str, input: &str) -> Output {
    let mut command = Command::new(STRATA);
    command.current_dir(directory).args(words.split(' ')).stdin(Stdio::null());
    if !input.is_empty() {
        fs::write(directory.join("typed"), format!("2000 com1 {input:?}\n")).unwrap();
        command.args(["--input", "typed"]);
    }
    command.output().unwrap()
}

/// As [`strata`], which must end with `status`: standard output and the state.
#[track_caller]
fn check(directory: &Path, words: &str, input: &str, status: i32) -> (Vec<u8>, String) {
    let out = strata(directory, words, input);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "{words}: {text}");
    let state = text.lines().rfind(|line| line.starts_with("state "));
    (out.stdout, state.unwrap_or_default().to_owned())
}

/// The one line that the command says as it ends with `status`.
#[track_caller]
fn says(directory: &Path, words: &str, status: i32, expect: &str) {
    let out = strata(directory, words, "");
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), text.trim_end()), (Some(status), expect), "{words}");
}

/// A guest that sends back what it receives, counts as it waits, and ends the run after `q`.
fn echo(directory: &Path) {
    let code = [
        0x66, 0xba, 0xfd, 0x03, // wait: mov dx, 3fdh
        0xff, 0x05, 0, 0, 0x20, 0, // inc dword [200000h]
        0xec, 0xa8, 0x01, // in al, dx; test al, 1
        0x74, 0xf1, // jz wait
        0x66, 0xba, 0xf8, 0x03, // mov dx, 3f8h
        0xec, 0xee, // in al, dx; out dx, al
        0x3c, b'q', // cmp al, 'q'
        0x75, 0xe7, // jne wait
        0xb0, 0x10, 0xe6, 0xf4, // mov al, 10h; out 0f4h, al
    ];
    guest(directory, "echo", &code);
}

/// A guest that waits for 40 interrupts of the interval timer, as firmware leaves it, and ends the run: more than two
/// seconds in some hundred instructions.
fn idle(directory: &Path) {
    let code = [
        0xbc, 0, 0, 9, 0, // mov esp, 90000h
        0xc7, 0x05, 0x40, 0x50, 0, 0, 0, 0x60, 0, 0, // mov dword [5040h], 6000h: vector 8
        0x8c, 0xc8, 0x66, 0xa3, 0x42, 0x50, 0, 0, // mov eax, cs; mov [5042h], ax
        0xc7, 0x05, 0x44, 0x50, 0, 0, 0, 0x8e, 0, 0, // mov dword [5044h], 8e00h
        0xc7, 0x05, 0, 0x60, 0, 0, 0xb0, 0x20, 0xe6,
        0x20, // its handler: mov al, 20h; out 20h, al
        0xc7, 0x05, 4, 0x60, 0, 0, 0xcf, 0, 0, 0, // iretd
        0xc7, 0x05, 0xf0, 0x5f, 0, 0, 0xff, 0, 0, 0x50, // mov dword [5ff0h], 500000ffh
        0xc7, 0x05, 0xf4, 0x5f, 0, 0, 0, 0, 0, 0, // mov dword [5ff4h], 0
        0x0f, 0x01, 0x1d, 0xf0, 0x5f, 0, 0, // lidt [5ff0h]
        0xb0, 0xfe, 0xe6, 0x21, // mov al, 0feh; out 21h, al
        0xb9, 40, 0, 0, 0, 0xfb, // mov ecx, 40; sti
        0xf4, 0x49, 0x75, 0xfc, // wait: hlt; dec ecx; jnz wait
        0xb0, 0x10, 0xe6, 0xf4, // mov al, 10h; out 0f4h, al
    ];
    guest(directory, "idle", &code);
}

/// A multiboot image `name` with `code`.
fn guest(directory: &Path, name: &str, code: &[u8]) {
    const BASE: u32 = 0x10_0000;
    let (magic, flags) = (0x1BAD_B002_u32, 1 << 16);
    let checksum = 0u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, BASE, BASE, 0, 0, BASE + 32];
    let mut image: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    image.extend(code);
    fs::write(directory.join(name), image).unwrap();
}

/// While a guest is idle nothing is written, however often it would be by the machine's time.
#[test]
fn an_idle_guest_fills_no_disk() {
    let dir = directory("idle");
    idle(&dir);
    let words = "record -o rec --hash-every 1000000 --snapshot-every 1000000 -- run -m 16 -kernel idle \
                 -device isa-debug-exit,iobase=0xf4,iosize=4";
    check(&dir, words, "", 33);
    let log = fs::File::open(dir.join("rec").join(platform::recording::FILE)).unwrap();
    let frames = Recording::read(log).unwrap().frames;
    assert!(matches!(frames[..], [Frame::Snapshot { .. }, Frame::End { .. }]), "{frames:?}");
    assert!(frames[1].at().0 > 2_000_000_000, "{frames:?}");
    check(&dir, "replay rec --verify", "", 0);
}

const RUN: &str =
    "run -m 16 -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel echo --limit-instructions 90000";

#[test]
fn a_snapshot_goes_on() {
    let dir = directory("snapshot");
    echo(&dir);
    for smp in ["1", "2"] {
        let run = format!("{RUN} -smp {smp}");
        let (_, plain) = check(&dir, &run, "", 124);
        for at in [0, 1, 1234, 300_000] {
            let words = format!("{run} --snapshot s --snapshot-at {at}");
            assert_eq!(check(&dir, &words, "", 124).1, plain, "{at}");
            let words = "restore s --limit-instructions 90000";
            assert_eq!(check(&dir, words, "", 124).1, plain, "-smp {smp}, {at}");
        }
    }
}

#[test]
fn a_snapshot_when_a_text_has_come() {
    let dir = directory("text");
    echo(&dir);
    let words = format!("{RUN} --snapshot s --snapshot-at ell");
    let (sent, plain) = check(&dir, &words, "hello", 124);
    assert_eq!(sent, b"hello");
    let (sent, state) = check(&dir, "restore s --limit-instructions 90000", "", 124);
    assert_eq!((&b"hello".ends_with(&sent), &state), (&true, &plain));
    let words = format!("{RUN} --snapshot t --snapshot-at nothing");
    says_last(&dir, &words, "strata: --snapshot t: it was not written, for the run has ended");
    assert!(!dir.join("t").exists());
}

/// The command says a line that begins so.
#[track_caller]
fn says_last(directory: &Path, words: &str, expect: &str) {
    let text = String::from_utf8(strata(directory, words, "").stderr).unwrap();
    assert!(text.lines().any(|line| line.starts_with(expect)), "{words}: {text}");
}

#[test]
fn snapshots_are_compared() {
    let dir = directory("diff");
    echo(&dir);
    for (name, at) in [("a", 1000), ("b", 2000)] {
        check(&dir, &format!("{RUN} --snapshot {name} --snapshot-at {at}"), "", 124);
    }
    assert_eq!(check(&dir, "snapshot diff a a", "", 0).0, b"no difference\n");
    let text = String::from_utf8(check(&dir, "snapshot diff a b", "", 4).0).unwrap();
    assert!(text.contains("processors[0].at: 0x3e8 -> 0x7d0"), "{text}");
    assert!(text.contains("page 0x200: differs"), "{text}");
    let text = String::from_utf8(check(&dir, "snapshot info b", "", 0).0).unwrap();
    assert!(text.contains("machine time        2000\n"), "{text}");
    assert!(text.contains("machine             -m 16 -smp 1 -cpu default\n"), "{text}");
    assert_eq!(check(&dir, "snapshot verify b", "", 0).0, b"all of it is as it was written\n");
}

/// A snapshot that is made while a run is recorded is none of the recording's, which is as it would be without.
#[test]
fn a_snapshot_beside_a_recording() {
    let dir = directory("beside");
    echo(&dir);
    let every = "--hash-every 1000000 --snapshot-every 4000000";
    for (to, keep) in [("plain", ""), ("beside", " --snapshot s --snapshot-at 7999999")] {
        check(&dir, &format!("record -o {to} {every} -- {RUN}{keep}"), "text", 124);
        check(&dir, &format!("replay {to} --verify"), "", 0);
    }
    for file in ["recording", "000000.snapshot", "000001.snapshot", "000002.snapshot"] {
        let [plain, beside] = ["plain", "beside"].map(|to| fs::read(dir.join(to).join(file)));
        assert!(plain.unwrap() == beside.unwrap(), "{file} differs");
    }
}

/// What `from` sends up to and with `text`.
fn sent_up_to(from: &mut impl Read, text: &str) -> String {
    let mut sent = Vec::new();
    while !sent.ends_with(text.as_bytes()) {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap();
        sent.extend(byte);
    }
    String::from_utf8(sent).unwrap()
}

/// Ctrl-A s writes the snapshot at once, again and again; the end of the run writes none then.
#[test]
fn a_snapshot_by_a_key() {
    let dir = directory("key");
    echo(&dir);
    let words = "run -m 16 -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel echo --snapshot s";
    let mut command = Command::new(STRATA);
    command.current_dir(&dir).args(words.split(' '));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = command.spawn().unwrap();
    let (mut keys, mut out) = (run.stdin.take().unwrap(), run.stdout.take().unwrap());
    let (mut said, mut at) = (run.stderr.take().unwrap(), String::new());
    for text in ["first", "second"] {
        keys.write_all(text.as_bytes()).unwrap();
        sent_up_to(&mut out, text);
        keys.write_all(b"\x01s").unwrap();
        sent_up_to(&mut said, "strata: snapshot s, at ");
        at = sent_up_to(&mut said, "\n").trim().to_owned();
    }
    keys.write_all(b"q").unwrap();
    sent_up_to(&mut out, "q");
    assert_eq!(run.wait().unwrap().code(), Some(33));
    let info = String::from_utf8(check(&dir, "snapshot info s", "", 0).0).unwrap();
    assert!(info.contains(&format!("machine time        {at}\n")), "{at}: {info}");
    let later = at.parse::<u64>().unwrap() + 5000;
    fs::write(dir.join("later"), format!("{later} com1 \"q\"\n")).unwrap();
    assert_eq!(check(&dir, "restore s --input later", "", 33).0, b"q");
}

#[test]
fn a_recording_is_replayed() {
    let dir = directory("record");
    echo(&dir);
    for smp in ["1", "2"] {
        let run = format!("{RUN} -smp {smp}");
        let input = "what is typed\nand ended by q";
        let every = "--hash-every 5000 --snapshot-every 20000";
        let words = format!("record -o rec{smp} {every} -- {run}");
        let (sent, state) = check(&dir, &words, input, 33);
        assert_eq!(sent, input.as_bytes());
        for accel in ["", " --accel interpreter,block=1,fuse=off,cache=200"] {
            let replayed = check(&dir, &format!("replay rec{smp}{accel}"), "", 0);
            assert_eq!(replayed, (sent.clone(), state.clone()), "-smp {smp}{accel}");
        }
        for jobs in [1, 2] {
            let words = format!("replay rec{smp} --verify --jobs {jobs}");
            let out = String::from_utf8(check(&dir, &words, "", 0).0).unwrap();
            let parts = out.strip_suffix(" parts are as recorded\n").unwrap();
            assert!(parts.parse::<u32>().unwrap() > 3, "{out}");
        }
        check(&dir, &format!("replay rec{smp} --to 30001"), "", 0);
        slices(&dir, &format!("replay rec{smp}"));
    }
}

/// A recording is checked by slices, which have all of its parts, and its manifest names them.
#[track_caller]
fn slices(dir: &Path, replay: &str) {
    let text = String::from_utf8(check(dir, &format!("{replay} --manifest"), "", 0).0).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let parts = manifest["parts"].as_array().unwrap();
    let mut sum = 0;
    for part in 1..=3 {
        let words = format!("{replay} --verify --slice {part}/3");
        let out = String::from_utf8(check(dir, &words, "", 0).0).unwrap();
        sum += out.strip_suffix(" parts are as recorded\n").unwrap().parse::<usize>().unwrap();
    }
    assert_eq!(sum, parts.len());
    for (n, part) in parts.iter().enumerate() {
        assert_eq!((&part["part"], &part["run"]), (&(n + 1).into(), &1.into()));
        assert!(
            dir.join(replay.split_once(' ').unwrap().1)
                .join(part["snapshot"].as_str().unwrap())
                .exists()
        );
        assert!(n == 0 || parts[n - 1]["last"] == part["first"], "{text}");
        assert_eq!(part["state"].as_str().map(str::len), Some(64));
    }
    assert_eq!(parts[0]["first"], 0);
    let words = format!("{replay} --verify --slice 4/3");
    says_last(
        dir,
        &words,
        "strata: invalid value '4/3' for '--slice <K/N>': accepted is K/N with K from 1 to N",
    );
}

/// Two recordings part where one is given another input; those of one input go the same way.
#[test]
fn two_recordings_part() {
    let dir = directory("parted");
    echo(&dir);
    for smp in ["1", "2"] {
        let every = "--hash-every 1000 --snapshot-every 20000";
        for (name, typed) in [("a", "abc"), ("b", "abc"), ("c", "abq")] {
            let status = if name == "c" { 33 } else { 124 };
            check(
                &dir,
                &format!("record -o {name}{smp} {every} -- {RUN} -smp {smp}"),
                typed,
                status,
            );
        }
        let out = check(&dir, &format!("diff a{smp} b{smp}"), "", 0).0;
        assert!(String::from_utf8(out).unwrap().starts_with("the states are the same up to "));
        let texts = ["", " --every 1", " --every 777"].map(|every| {
            let out = check(&dir, &format!("diff a{smp} c{smp}{every}"), "", 4).0;
            String::from_utf8(out).unwrap()
        });
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
        // The jump behind the comparison with `q`, with the registers that differ.
        let text = &texts[0];
        for part in [
            "the first input that differs:\n  A: 2000 com1 \"abc\"\n  B: 2000 com1 \"abq\"",
            "jne",
            "  rax: 0x2badb063 -> 0x2badb071",
            "  flags: ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let a = text.lines().find(|line| line.starts_with("A: ")).unwrap();
        let b = text.lines().find(|line| line.starts_with("B: ")).unwrap();
        assert_eq!(a.split_once(" at ").unwrap().1, b.split_once(" at ").unwrap().1);
    }
}

/// After a reset another run begins in the recording.
#[test]
fn a_reset_is_recorded() {
    let dir = directory("reset");
    echo(&dir);
    // mov al, 6; mov dx, 0cf9h; out dx, al: a reset at every start
    let mut image = fs::read(dir.join("echo")).unwrap();
    image.truncate(32);
    image.extend([0xb0, 0x06, 0x66, 0xba, 0xf9, 0x0c, 0xee, 0xeb, 0xfe]);
    fs::write(dir.join("echo"), image).unwrap();
    let words = "record -o rec -- run -m 16 -kernel echo --limit-instructions 10";
    let (_, state) = check(&dir, words, "", 124);
    assert!(fs::read_dir(dir.join("rec")).unwrap().count() > 3);
    assert_eq!(check(&dir, "replay rec", "", 0).1, state);
    check(&dir, "replay rec --verify", "", 0);
}

/// The recorded input is changed: the replay says where and in what it differs.
#[test]
fn a_replay_that_differs_says_in_what() {
    let dir = directory("differs");
    echo(&dir);
    let every = "--hash-every 1000000 --snapshot-every 2000000";
    check(&dir, &format!("record -o rec {every} -- {RUN}"), "some text", 124);
    let path = dir.join("rec/recording");
    let mut frames = Recording::read(fs::File::open(&path).unwrap()).unwrap().frames;
    for frame in &mut frames {
        if let Frame::Input { input: Input::Serial { bytes, .. }, .. } = frame {
            bytes.push(b'!');
        }
    }
    let mut writer = Writer::new(fs::File::create(&path).unwrap()).unwrap();
    frames.iter().for_each(|frame| writer.add(frame).unwrap());
    let says = "strata: the runs part between 0 and 1000000: ";
    says_last(&dir, "replay rec", says);
    let text = String::from_utf8(strata(&dir, "replay rec", "").stderr).unwrap();
    assert!(
        text.contains("was ") && text.contains(", is ") && text.contains("fields differ"),
        "{text}"
    );
    assert_eq!(strata(&dir, "replay rec --verify", "").status.code(), Some(122));
}

#[test]
fn bad_files() {
    let dir = directory("bad");
    echo(&dir);
    fs::write(dir.join("text"), "hello").unwrap();
    says(&dir, "restore text", 2, "strata: text: byte 0: this is no snapshot");
    says(&dir, "restore none", 2, "strata: none: No such file or directory (os error 2)");
    says(&dir, "restore .", 2, "strata: .: not a regular file");
    says(&dir, "replay none", 2, "strata: none/recording: No such file or directory (os error 2)");
    fs::create_dir(dir.join("bad")).unwrap();
    fs::write(dir.join("bad/recording"), "hello").unwrap();
    says(&dir, "replay bad", 2, "strata: bad/recording: byte 0: this is no recording");
    let taken = "strata: -o bad: there is a recording already; accepted is a directory without one";
    says(&dir, &format!("record -o bad -- {RUN}"), 2, taken);
    let words = "record -o new -- replay bad";
    says(&dir, words, 2, "strata: record: accepted after -- are run, host and no verb");
}

/// A recording that is cut anywhere replays up to its last complete frame.
#[test]
fn a_cut_recording_is_replayed() {
    let dir = directory("cut");
    echo(&dir);
    let every = "--hash-every 2000000 --snapshot-every 5000000";
    check(&dir, &format!("record -o rec {every} -- {RUN}"), "typed before the end", 124);
    let path = dir.join("rec/recording");
    let bytes = fs::read(&path).unwrap();
    let first = 128 + 12 + u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[128 + n])) as usize;
    for length in (first..bytes.len()).step_by(61) {
        fs::write(&path, &bytes[..length]).unwrap();
        check(&dir, "replay rec", "", 0);
    }
}
