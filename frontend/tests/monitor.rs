//! Monitors: a person's and a program's commands, events, and clients that mean no good.

mod common;
#[path = "common/echo.rs"]
mod echo;

use common::{STRATA, image, path};
use echo::ECHO;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// `jmp $`.
const SPIN: &[u8] = &[0xEB, 0xFE];
/// `cli; hlt`.
const HALT: &[u8] = &[0xFA, 0xF4];
/// `l: inc dword [200000h]; jmp l`.
const COUNT: &[u8] = &[0xFF, 0x05, 0, 0, 0x20, 0, 0xEB, 0xF8];
/// `mov dx, 505h; mov al, 1; out dx, al`.
const PANIC: &[u8] = &[0x66, 0xBA, 0x05, 0x05, 0xB0, 1, 0xEE];
/// `mov dx, 3F8h; mov al, '>'; out dx, al`.
const PROMPT: &[u8] = &[0x66, 0xBA, 0xF8, 0x03, 0xB0, b'>', 0xEE];

/// `strata run` of a guest.
fn run(name: &str, code: &[u8], words: &[&str]) -> Command {
    let mut command = Command::new(STRATA);
    command.args(["run", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    command.args(["-kernel", &image(&format!("monitor-{name}"), code)]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a guest with `typed` on standard input.
fn typed(name: &str, code: &[u8], words: &[&str], typed: &str) -> Output {
    let mut child = run(name, code, words).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace('\r', "")
}

/// The commands of a person, and what is shown for each; the machine stands still at the first instruction.
#[track_caller]
fn check(commands: &[(&str, &str)]) {
    let lines: String = commands.iter().map(|(line, _)| format!("{line}\n")).collect();
    let out = typed("spin", SPIN, &["-S", "-monitor", "stdio"], &format!("{lines}quit\n"));
    let (shown, said) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(130), "{said}");
    assert!(said.contains("-- ended at a monitor (exit status 130)"), "{said}");
    assert!(shown.starts_with("Strata ") && shown.contains(" monitor - type 'help'"), "{shown}");
    let mut answers = shown.split("(qemu) ").skip(1);
    for (line, expect) in commands {
        let answer = answers.next().unwrap();
        let answer = answer.strip_prefix(line).unwrap_or_else(|| panic!("{answer} for {line}"));
        match expect.strip_prefix('~') {
            Some(part) => assert!(answer.contains(part), "{line}: {answer} lacks {part}"),
            None => assert_eq!(answer.trim(), *expect, "{line}"),
        }
    }
}

#[test]
fn a_persons_commands() {
    check(&[
        ("info status", "VM status: paused"),
        (
            "info registers",
            "~\nRIP=0000000000100020 RFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n",
        ),
        ("info registers -a", "~CPU#0 (machine)"),
        ("x/2xb $rip", "0000000000100020: 0xeb 0xfe"),
        ("xp/1xh 0x100020", "0000000000100020: 0xfeeb"),
        ("x /i $eip", "0000000000100020: jmp 100020h"),
        ("xp 0xffff0000000", "00000ffff0000000: Cannot access memory"),
        ("print 2*(3+4)", "0xe"),
        ("p/d -1", "-1"),
        ("print $nosuch", "Error: unknown register '$nosuch'"),
        ("info mem", "PG disabled"),
        ("info tlb", "PG disabled"),
        ("gva2gpa 0x1234", "gpa: 0x1234"),
        ("info mtree", "~  00000000000003f8-00000000000003ff com1\n"),
        ("info qtree", "~dev: com1\n"),
        ("info lapic", "~\nid  "),
        ("info cpus", "~* CPU #0: thread_id="),
        ("info version", "~8.2.0 (Strata "),
        ("info snapshots", "There is no snapshot available."),
        ("info", "~info mtree -- addresses of the devices"),
        ("help", "~quit|q  -- end the run"),
        ("cpu 1", "Error: accepted is 0 to 0"),
        ("sendkey ctrl-nosuch", "Error: unknown key: 'nosuch'"),
        ("sendkey a", ""),
        ("nosuch", "Error: unknown command: 'nosuch'"),
        ("info nosuch", "Error: unknown command: 'info nosuch'"),
        ("x/99999x 0", "Error: accepted are at most 4096 items"),
        ("", ""),
    ]);
}

/// Prints what comes from the keyboard to COM1, and ends with Escape.
#[rustfmt::skip]
const KEYBOARD: &[u8] = &[
    0xE4, 0x64, // l: in al, 64h
    0xA8, 0x01, // test al, 1
    0x74, 0xFA, // jz l
    0xE4, 0x60, // in al, 60h
    0x66, 0xBA, 0xF8, 0x03, // mov dx, 3F8h
    0xEE, // out dx, al
    0x3C, 0x81, // cmp al, 81h
    0x75, 0xEF, // jne l
    0xB0, 0x10, // mov al, 10h
    0xE6, 0xF4, // out F4h, al
];

/// What is typed at a monitor is written down, and given back leads to the same state.
#[test]
fn sendkey() {
    let (shown, log) = (path("monitor-keys.out"), path("monitor-keys.log"));
    let (shown, log) = (shown.to_str().unwrap(), log.to_str().unwrap());
    let serial = format!("file:{shown}");
    let words = ["-monitor", "stdio", "-serial", &serial, "--input-log", log];
    let out = typed("keys-sent", KEYBOARD, &words, "sendkey ctrl-alt-delete\nsendkey esc\n");
    assert_eq!(out.status.code(), Some(33), "{}", text(&out.stderr));
    let codes = [0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d, 0x01, 0x81];
    assert_eq!(fs::read(shown).unwrap(), codes);
    assert!(fs::read_to_string(log).unwrap().contains(" key delete down\n"));
    let again = typed("keys-sent", KEYBOARD, &["-serial", &serial, "--input", log], "");
    let state = |said: &[u8]| text(said).lines().last().unwrap().to_owned();
    assert_eq!(state(&again.stderr), state(&out.stderr));
    assert_eq!(fs::read(shown).unwrap(), codes);
}

#[test]
fn keys_at_a_line() {
    // Backspace, Ctrl-U, an arrow key.
    let lines = "infox\u{8} status\nnosuch\u{15}\u{1b}[Ainfo\u{1b}[1;5D status\nquit\n";
    let out = typed("keys", SPIN, &["-S", "-monitor", "stdio"], lines);
    assert_eq!(text(&out.stdout).matches("VM status: paused").count(), 2, "{}", text(&out.stdout));
}

/// Ctrl-A c leads to the monitor and back, whatever words ask for that.
#[test]
fn behind_ctrl_a_c() {
    let named = ["-chardev", "stdio,mux=on,id=c", "-serial", "chardev:c", "-mon", "chardev=c"];
    for words in [&[][..], &["-serial", "mon:stdio"], &named] {
        let out = typed("echo", &[PROMPT, ECHO].concat(), words, "X\u{1}cinfo status\n\u{1}cYq");
        let shown = text(&out.stdout);
        assert_eq!(out.status.code(), Some(33), "{shown}");
        assert!(shown.contains("info status\nVM status: running\n(qemu) "), "{shown}");
        let guest: String = shown.chars().filter(|c| "XY".contains(*c)).collect();
        assert_eq!(guest, "XY", "{shown}");
    }
}

/// A guest with a program at its monitor.
struct Program {
    child: Child,
    from: BufReader<UnixStream>,
    to: UnixStream,
}

impl Program {
    fn start(name: &str, code: &[u8], words: &[&str]) -> Self {
        let socket = path(&format!("monitor-{name}.sock"));
        _ = fs::remove_file(&socket);
        let place = format!("unix:{},server,nowait", socket.display());
        let words = [&["-qmp", &place, "-serial", "null"], words].concat();
        let child = run(name, code, &words).spawn().unwrap();
        let stream = (0..2000).find_map(|_| {
            thread::sleep(Duration::from_millis(5));
            UnixStream::connect(&socket).ok()
        });
        let to = stream.unwrap();
        Self { child, from: BufReader::new(to.try_clone().unwrap()), to }
    }

    fn send(&mut self, text: &str) {
        self.to.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    /// An event, whose stamp is the host's.
    #[track_caller]
    fn event(&mut self, name: &str, data: &Value) {
        let event = self.line();
        assert_eq!((&event["event"], &event["data"]), (&name.into(), data));
        assert!(event["timestamp"]["seconds"].is_u64(), "{event}");
    }

    /// What a command returns.
    #[track_caller]
    fn command(&mut self, text: &str) -> Value {
        self.send(text);
        let mut answer = self.line();
        answer.get_mut("return").unwrap_or_else(|| panic!("{text}")).take()
    }

    #[track_caller]
    fn ready(&mut self) {
        assert_eq!(self.line()["QMP"]["version"]["qemu"]["major"], 8);
        assert_eq!(self.command("{\"execute\": \"qmp_capabilities\"}"), json!({}));
    }

    #[track_caller]
    fn human(&mut self, line: &str) -> String {
        let command =
            json!({"execute": "human-monitor-command", "arguments": {"command-line": line}});
        self.command(&command.to_string()).as_str().unwrap().replace('\r', "")
    }

    #[track_caller]
    fn ends(self, status: i32) -> String {
        let out = self.child.wait_with_output().unwrap();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(status), "{said}");
        said
    }
}

#[test]
fn a_programs_commands() {
    let mut program = Program::start("qmp", SPIN, &[]);
    assert!(program.line()["QMP"]["capabilities"].is_array());
    program.send("{\"execute\": \"query-status\", \"id\": 7}");
    let answer = program.line();
    assert_eq!((&answer["error"]["class"], &answer["id"]), (&"CommandNotFound".into(), &7.into()));
    // Two at once, and one in two pieces.
    program.send("{\"execute\": \"qmp_capabilities\"}{\"execute\": \"query-status\", \"id\": [1]}");
    assert_eq!(program.line(), json!({"return": {}}));
    let running = json!({"status": "running", "running": true});
    assert_eq!(program.line(), json!({"return": running, "id": [1]}));
    program.send("{\"execute\":");
    assert_eq!(program.command(" \"stop\"}\n"), json!({}));
    program.event("STOP", &Value::Null);
    let paused = program.command("{\"execute\": \"query-status\"}");
    assert_eq!(paused, json!({"status": "paused", "running": false}));
    assert_eq!(program.human("info status"), "VM status: paused\n");
    assert_eq!(program.human("x/2xb $rip"), "0000000000100020: 0xeb 0xfe\n");
    program.command("{\"execute\": \"cont\"}");
    program.event("RESUME", &Value::Null);
    let cpus = program.command("{\"execute\": \"query-cpus-fast\"}");
    assert_eq!((cpus.as_array().unwrap().len(), &cpus[0]["cpu-index"]), (1, &0.into()));
    let commands = program.command("{\"execute\": \"query-commands\"}");
    assert!(commands.as_array().unwrap().contains(&json!({"name": "query-kvm"})));
    for (wrong, class, why) in [
        ("{\"execute\": \"nosuch\"}", "CommandNotFound", "The command nosuch has not been found"),
        ("{\"execute\": \"screendump\"}", "GenericError", "there is no display"),
        ("{\"execute\": \"human-monitor-command\"}", "GenericError", "'command-line' is missing"),
        ("{\"execute\": \"send-key\"}", "GenericError", "Parameter 'keys' expects"),
        ("[1]", "GenericError", "lacks member 'execute'"),
        ("{]", "GenericError", "JSON parse error"),
    ] {
        program.send(wrong);
        let error = program.line()["error"].take();
        assert_eq!(error["class"], class);
        assert!(error["desc"].as_str().unwrap().contains(why), "{error}");
    }
    program.command("{\"execute\": \"quit\"}");
    program.event("SHUTDOWN", &json!({"guest": false, "reason": "host-qmp-quit"}));
    program.ends(130);
}

#[test]
fn one_program_after_the_other() {
    let mut program = Program::start("again", SPIN, &[]);
    program.ready();
    program.command("{\"execute\": \"stop\"}");
    program.event("STOP", &Value::Null);
    let path = path("monitor-again.sock");
    let next = UnixStream::connect(path).unwrap();
    program.to.shutdown(std::net::Shutdown::Both).unwrap();
    (program.from, program.to) = (BufReader::new(next.try_clone().unwrap()), next);
    program.ready();
    assert_eq!(program.command("{\"execute\": \"query-status\"}")["running"], false);
    program.command("{\"execute\": \"quit\"}");
    program.ends(130);
}

#[test]
fn keys_by_a_program() {
    let mut program = Program::start("qmp-keys", KEYBOARD, &[]);
    program.ready();
    let keys = json!([{"type": "qcode", "data": "shift"}, {"type": "number", "data": 1}]);
    program.command(&json!({"execute": "send-key", "arguments": {"keys": keys}}).to_string());
    program.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-shutdown"}));
    program.ends(33);
}

/// `-S`: nothing has run when a command comes.
#[test]
fn it_waits_for_cont() {
    let mut program = Program::start("wait", PANIC, &["-S", "-device", "pvpanic"]);
    program.ready();
    assert_eq!(program.human("info registers").matches("RIP=0000000000100020").count(), 1);
    program.command("{\"execute\": \"cont\"}");
    program.event("RESUME", &Value::Null);
    program.event("GUEST_PANICKED", &json!({"action": "shutdown"}));
    program.event("SHUTDOWN", &json!({"guest": true, "reason": "guest-panic"}));
    program.ends(116);
}

/// `-no-shutdown`: at its end the machine stays, to be looked at, until a reset or the end of the run.
#[test]
fn it_stays() {
    let resets: &[u8] = &[0xB0, 0xFE, 0xE6, 0x64]; // mov al, FEh; out 64h, al
    for (name, code, words, status, reason) in [
        ("stays-panic", PANIC, &["-device", "pvpanic"][..], "guest-panicked", "guest-panic"),
        ("stays-reset", resets, &["-no-reboot"], "shutdown", "guest-shutdown"),
    ] {
        let words = [&["-S", "-no-shutdown"], words].concat();
        let mut program = Program::start(name, code, &words);
        program.ready();
        program.command("{\"execute\": \"cont\"}");
        program.event("RESUME", &Value::Null);
        let panicked = status == "guest-panicked";
        if panicked {
            program.event("GUEST_PANICKED", &json!({"action": "shutdown"}));
        }
        program.event("SHUTDOWN", &json!({"guest": true, "reason": reason}));
        program.event("STOP", &Value::Null);
        let told = program.command("{\"execute\": \"query-status\"}");
        assert_eq!((&told["status"], &told["running"]), (&status.into(), &false.into()));
        program.send("{\"execute\": \"cont\"}");
        let why = program.line()["error"]["desc"].take();
        assert_eq!(why, "Resetting the Virtual Machine is required");
        program.command("{\"execute\": \"system_reset\"}");
        program.event("RESET", &json!({"guest": false, "reason": "host-qmp-system-reset"}));
        assert_eq!(program.human("info status"), "VM status: paused\n");
        program.command("{\"execute\": \"quit\"}");
        program.ends(130);
    }
}

#[test]
fn resets_and_inputs() {
    let log = path("monitor-log.txt");
    let mut program = Program::start("reset", SPIN, &[]);
    program.ready();
    program.command("{\"execute\": \"system_reset\"}");
    program.event("RESET", &json!({"guest": false, "reason": "host-qmp-system-reset"}));
    program.command("{\"execute\": \"system_powerdown\"}");
    program.event("POWERDOWN", &Value::Null);
    program.command("{\"execute\": \"quit\"}");
    program.ends(130);

    // Without an interrupt table an NMI ends in a triple fault; the log brings it back.
    let words = ["--input-log", log.to_str().unwrap()];
    let mut program = Program::start("nmi", HALT, &words);
    program.ready();
    program.send("{\"execute\": \"system_reset\"}");
    let why = program.line()["error"]["desc"].as_str().unwrap().to_owned();
    assert!(why.starts_with("no reset: what is kept of the run"), "{why}");
    program.command("{\"execute\": \"inject-nmi\"}");
    let said = program.ends(120);
    assert!(said.contains("vector 2"), "{said}");
    assert!(fs::read_to_string(&log).unwrap().contains(" nmi\n"));
    let words = ["-serial", "null", "--input", log.to_str().unwrap()];
    let again = text(&typed("nmi", HALT, &words, "").stderr);
    assert_eq!(again.lines().last(), said.lines().last());
}

#[test]
fn snapshots() {
    let file = path("monitor.snapshot");
    let file = file.to_str().unwrap();
    let mut program = Program::start("count", COUNT, &["-S"]);
    program.ready();
    let value = |program: &mut Program| program.human("xp 0x200000");
    let until_changed = |program: &mut Program, from: &str| {
        program.command("{\"execute\": \"cont\"}");
        program.event("RESUME", &Value::Null);
        while value(program) == from {}
        program.command("{\"execute\": \"stop\"}");
        program.event("STOP", &Value::Null);
        value(program)
    };
    let zero = value(&mut program);
    let first = until_changed(&mut program, &zero);
    assert_eq!(program.human(&format!("savevm {file}")), "");
    let second = until_changed(&mut program, &first);
    assert_ne!(first, second);
    assert_eq!(program.human(&format!("loadvm {file}")), "");
    assert_eq!(value(&mut program), first);
    assert_ne!(until_changed(&mut program, &first), first);
    assert_eq!(program.human("info snapshots"), format!("{file}\n"));
    assert!(program.human("loadvm /no/such").starts_with("Error: /no/such: No such file"));
    assert!(program.human("savevm /no/such/file").starts_with("Error: snapshot /no/such/file: "));
    program.command("{\"execute\": \"quit\"}");
    program.ends(130);
}

/// Maps the first 4 MiB to themselves and the next to 8 MiB, for user mode too, in pages of 4 MiB; stores a word at
/// 401000h, and then spins.
const PAGING: &[u8] = &[
    0xC7, 0x05, 0, 0, 0x30, 0, 0x83, 0, 0, 0, // mov dword [300000h], 83h
    0xC7, 0x05, 4, 0, 0x30, 0, 0x87, 0, 0x80, 0, // mov dword [300004h], 800087h
    0x0F, 0x20, 0xE0, 0x83, 0xC8, 0x10, 0x0F, 0x22,
    0xE0, // mov eax, cr4; or eax, 10h; mov cr4, eax
    0xB8, 0, 0, 0x30, 0, 0x0F, 0x22, 0xD8, // mov eax, 300000h; mov cr3, eax
    0x0F, 0x20, 0xC0, 0x0D, 0, 0, 0, 0x80, 0x0F, 0x22,
    0xC0, // mov eax, cr0; or eax, 80000000h; mov cr0, eax
    0xC7, 0x05, 0, 0x10, 0x40, 0, 0x78, 0x56, 0x34, 0x12, // mov dword [401000h], 12345678h
    0xEB, 0xFE, // jmp $
];

#[test]
fn translations() {
    let mut program = Program::start("paging", PAGING, &[]);
    program.ready();
    while program.human("xp 0x801000") != "0000000000801000: 0x12345678\n" {}
    let shows = |program: &mut Program, line: &str, expect: &str| {
        assert_eq!(program.human(line), expect, "{line}");
    };
    shows(&mut program, "x 0x401000", "0000000000401000: 0x12345678\n");
    shows(&mut program, "gva2gpa 0x401004", "gpa: 0x801004\n");
    shows(&mut program, "gva2gpa 0x800000", "Unmapped\n");
    shows(&mut program, "x 0x7ffffe", "00000000007ffffe: Cannot access memory\n");
    let mem = "0000000000000000-0000000000400000 0000000000400000 -rw\n\
               0000000000400000-0000000000800000 0000000000400000 urw\n";
    shows(&mut program, "info mem", mem);
    let tlb = "0000000000000000: 0000000000000000 --P-A---W\n\
               0000000000400000: 0000000000800000 --PDA--UW\n";
    shows(&mut program, "info tlb", tlb);
    program.command("{\"execute\": \"quit\"}");
    program.ends(130);
}

/// What comes is hostile: much, deep, binary, and never read. The run ends at its limit all the same.
#[test]
fn clients_that_mean_no_good() {
    let pieces: [Vec<u8>; 5] = [
        b"[".repeat(300 << 10),
        [b"{\"execute\": \"".to_vec(), b"x".repeat(300 << 10)].concat(),
        (0..=255).cycle().take(200 << 10).collect(),
        b"{\"execute\": \"query-commands\"}".repeat(3000),
        b"{\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"help\"}}"
            .repeat(2000),
    ];
    for (n, piece) in pieces.iter().enumerate() {
        let limit = ["--limit-instructions", "1000000000"];
        let mut program = Program::start(&format!("hostile{n}"), SPIN, &limit);
        program.send("{\"execute\": \"qmp_capabilities\"}");
        // Once the machine has ended, nobody takes the rest.
        _ = program.to.write_all(piece);
        let said = program.ends(124);
        assert!(!said.contains("panicked"), "{said}");
    }
    let lines: Vec<u8> =
        [b"help\n".repeat(2000), b"\xff".repeat(100 << 10), b"x".repeat(100 << 10)].concat();
    let typed = path("monitor-hostile.txt");
    fs::write(&typed, lines).unwrap();
    let limit = ["-monitor", "stdio", "--limit-instructions", "1000000000"];
    let mut command = run("hostile", SPIN, &limit);
    let out = command.stdin(fs::File::open(typed).unwrap()).output().unwrap();
    assert_eq!(out.status.code(), Some(124), "{}", text(&out.stderr));
}

#[test]
fn places() {
    let says = |words: &[&str], expect: &str| {
        let out = typed("places", SPIN, words, "");
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(expect), "{said}");
    };
    says(&["-serial", "stdio", "-monitor", "stdio"], "one device for two ports");
    says(
        &["-qmp", "stdio", "-monitor", "stdio"],
        "-serial, -monitor, -qmp or -debugcon: one device",
    );
    says(&["-qmp", "unix:/no/such/s,server"], "unix:/no/such/s: ");
    says(&["-mon", "chardev=x"], "chardev:x: no such device");
    says(&["-mon", "mode=control"], "accepted is chardev=ID with mode=readline or mode=control");
}
