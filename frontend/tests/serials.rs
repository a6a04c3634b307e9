//! Serial ports on files, pipes, sockets and terminals; and the terminal's keys.

#![expect(clippy::disallowed_types, reason = "pacing is against the host's clock")]

mod common;
#[path = "common/echo.rs"]
mod echo;

use common::{STRATA, image, path};
use echo::ECHO;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The status with which [`ECHO`] ends.
const ENDED: i32 = 33;

/// `mov dx, 3F8h; mov al, 'A'; out dx, al; mov dx, 2F8h; mov al, 'B'; out dx, al; mov al, 10h; out F4h, al`.
const BOTH: &[u8] = &[
    0x66, 0xBA, 0xF8, 0x03, 0xB0, b'A', 0xEE, 0x66, 0xBA, 0xF8, 0x02, 0xB0, b'B', 0xEE, 0xB0, 0x10,
    0xE6, 0xF4,
];

/// `mov ecx, 2500000; l: pause; loop l; mov al, 10h; out F4h, al`: a quarter of a second of the guest's clock.
const QUARTER: &[u8] = &[0xB9, 0xA0, 0x25, 0x26, 0, 0xF3, 0x90, 0xE2, 0xFC, 0xB0, 0x10, 0xE6, 0xF4];

/// `strata run` of a guest, with a device by which it ends the run.
fn run(name: &str, code: &[u8]) -> Command {
    // Under nohup SIGHUP is ignored, and would be here.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", STRATA]);
    command.args(["run", "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
    command.args(["-kernel", &image(name, code)]);
    command
}

/// Sends `typed` and reads the guest's answer.
#[track_caller]
fn answer(stream: &mut (impl Read + Write), typed: &[u8], expect: &[u8]) {
    stream.write_all(typed).unwrap();
    let mut found = vec![0; expect.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expect));
}

#[track_caller]
fn ends(mut child: Child, status: i32) {
    assert_eq!(child.wait().unwrap().code(), Some(status));
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Tries until what another process has yet to make is there.
fn soon<T, E: std::fmt::Debug>(what: impl Fn() -> Result<T, E>) -> T {
    for _ in 0..2000 {
        if let Ok(found) = what() {
            return found;
        }
        thread::sleep(Duration::from_millis(5));
    }
    what().unwrap()
}

#[test]
fn files() {
    let (first, second) = (path("com1"), path("com2"));
    fs::write(&second, "x").unwrap();
    let file = format!("file:{}", first.display());
    let named = format!("file,id=f,path={},append=on", second.display());
    let words = ["-serial", &file, "-chardev", &named, "-serial", "chardev:f"];
    ends(quiet(run("both", BOTH).args(words)).spawn().unwrap(), ENDED);
    assert_eq!([fs::read(first).unwrap(), fs::read(second).unwrap()], [&b"A"[..], b"xB"]);
}

#[test]
fn the_second_port_on_standard_output() {
    let out = run("both2", BOTH).args(["-serial", "null", "-serial", "stdio"]).output().unwrap();
    assert_eq!(out.stdout, b"B");
}

#[test]
fn a_unix_socket_takes_one_after_the_other() {
    let socket = path("socket");
    _ = fs::remove_file(&socket);
    let serial = format!("unix:{},server=on,wait=off", socket.display());
    let child = quiet(run("unix", ECHO).args(["-serial", &serial])).spawn().unwrap();
    for typed in [&b"ab"[..], b"cd"] {
        answer(&mut soon(|| UnixStream::connect(&socket)), typed, typed);
    }
    soon(|| UnixStream::connect(&socket)).write_all(b"q").unwrap();
    ends(child, ENDED);
}

#[test]
fn a_machine_waits_for_a_connection() {
    let socket = path("waits");
    _ = fs::remove_file(&socket);
    // A socket of an earlier run, at which nobody listens, is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&socket));
    let chardev = format!("socket,id=s,path={},server=on", socket.display());
    let mut command = run("waits", BOTH);
    let child = quiet(command.args(["-chardev", &chardev, "-serial", "chardev:s"])).spawn();
    let mut stream = soon(|| UnixStream::connect(&socket));
    let mut found = String::new();
    stream.read_to_string(&mut found).unwrap();
    assert_eq!(found, "A");
    ends(child.unwrap(), ENDED);
}

#[test]
fn tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let serial = format!("tcp:{}", listener.local_addr().unwrap());
    let child = quiet(run("tcp", ECHO).args(["-serial", &serial])).spawn().unwrap();
    let mut stream = listener.accept().unwrap().0;
    answer(&mut stream, b"hello", b"hello");
    stream.write_all(b"q").unwrap();
    ends(child, ENDED);
}

#[test]
fn pipes() {
    let pipe = path("pipe");
    let [from, to] = ["in", "out"].map(|end| format!("{}.{end}", pipe.display()));
    _ = (fs::remove_file(&from), fs::remove_file(&to));
    assert!(Command::new("mkfifo").args([&from, &to]).status().unwrap().success());
    let serial = format!("pipe:{}", pipe.display());
    let child = quiet(run("pipe", ECHO).args(["-serial", &serial])).spawn().unwrap();
    OpenOptions::new().write(true).open(&from).unwrap().write_all(b"up").unwrap();
    let mut found = [0; 2];
    File::open(&to).unwrap().read_exact(&mut found).unwrap();
    assert_eq!(&found, b"up");
    fs::write(&from, "q").unwrap();
    ends(child, ENDED);
}

#[test]
fn a_pseudo_terminal() {
    let mut command = run("pty", ECHO);
    let mut child = quiet(command.args(["-serial", "pty"])).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let name = line.strip_prefix("char device redirected to ").unwrap();
    let name = name.strip_suffix(" (label serial0)\n").unwrap();
    let mut terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    answer(&mut terminal, b"\x03hi", b"\x03hi");
    terminal.write_all(b"q").unwrap();
    ends(child, ENDED);
}

/// A new terminal: the end of who types, and the end of who reads.
fn terminal() -> (File, OwnedFd) {
    let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&pty).unwrap();
    unlockpt(&pty).unwrap();
    let name = ptsname(&pty, Vec::new()).unwrap();
    let end = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    (File::from(pty), end.unwrap())
}

/// Starts `command` on a new terminal, with what it says elsewhere.
fn on_terminal(command: &mut Command) -> (File, OwnedFd, Child) {
    let (person, end) = terminal();
    let on = || Stdio::from(end.try_clone().unwrap());
    let child = command.stdin(on()).stdout(on()).stderr(Stdio::piped()).spawn().unwrap();
    (person, end, child)
}

/// What the terminal does with input.
fn modes(terminal: &OwnedFd) -> String {
    let modes = tcgetattr(terminal).unwrap();
    format!("{:?} {:?} {:?}", modes.input_modes, modes.output_modes, modes.local_modes)
}

#[test]
fn keys_go_to_the_guest() {
    for words in [&[][..], &["-nographic"], &["-serial", "mon:stdio"]] {
        let (mut person, end, child) = on_terminal(run("keys", ECHO).args(words));
        let before = modes(&end);
        // The first answer says that the terminal is raw: there is no echo beside the guest's.
        soon(|| if modes(&end) == before { Err("not raw") } else { Ok(()) });
        answer(&mut person, b"ls\x03\x04\x1a\t", b"ls\x03\x04\x1a\t");
        answer(&mut person, b"\x01\x01", b"\x01");
        person.write_all(b"\x01h\x01x").unwrap();
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(130));
        let text = String::from_utf8(out.stderr).unwrap();
        assert!(text.contains("Ctrl-A x       end the run"), "{text}");
        assert!(text.contains("-- ended by Ctrl-A x (exit status 130)"), "{text}");
        assert_eq!(modes(&end), before);
    }
}

#[test]
fn the_terminal_is_given_back() {
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let (mut person, end, child) = on_terminal(&mut run(signal, ECHO));
        let before = modes(&end);
        soon(|| if modes(&end) == before { Err("not raw") } else { Ok(()) });
        answer(&mut person, b"a", b"a");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        ends(child, 130);
        assert_eq!(modes(&end), before, "{signal}");
    }
}

#[test]
fn without_the_keys_signals_stay() {
    let (mut person, end, child) = on_terminal(run("signals", ECHO).args(["-serial", "stdio"]));
    let before = modes(&end);
    soon(|| if modes(&end) == before { Err("not raw") } else { Ok(()) });
    assert!(modes(&end).contains("ISIG"), "{}", modes(&end));
    answer(&mut person, b"\x01", b"\x01");
    person.write_all(b"q").unwrap();
    ends(child, ENDED);
}

#[test]
fn a_shell_puts_it_into_the_background() {
    let (mut person, end) = terminal();
    let on = || Stdio::from(end.try_clone().unwrap());
    // The job is in the background of a terminal that controls it: neither its look at the terminal nor its
    // output stops it, and it leaves the input to the shell.
    let line = "set -m; \"$0\" run -m 16 -kernel \"$1\" -device isa-debug-exit,iobase=0xf4,iosize=4 \
                2>/dev/null & read -r typed; wait $!; echo \"status $? $typed\"";
    let mut shell = Command::new("setsid");
    shell.args(["-c", "-w", "sh", "-c", line, STRATA, &image("background", QUARTER)]);
    let child = shell.stdin(on()).stdout(on()).stderr(on()).spawn().unwrap();
    // Without these no end of the terminal is open once the shell has ended.
    drop((end, shell));
    person.write_all(b"for-the-shell\n").unwrap();
    ends(child, 0);
    let mut said = String::new();
    _ = person.take(4096).read_to_string(&mut said);
    assert!(said.contains("status 33 for-the-shell"), "{said}");
}

/// The state at the end, and how long it took.
fn state(words: &[&str]) -> (String, Duration) {
    let started = Instant::now();
    let out = run("quarter", QUARTER).args(words).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    (text.lines().last().unwrap().to_owned(), started.elapsed())
}

#[test]
fn pacing_changes_no_state() {
    let (free, _) = state(&["-icount", "shift=0,sleep=off"]);
    let (held, took) = state(&["-icount", "shift=0,sleep=on"]);
    assert_eq!(free, held);
    // Whatever the host does meanwhile, it takes no less than the guest's clock shows.
    assert!(took >= Duration::from_millis(250), "{took:?}");
}

/// `-debugcon`: what is written to E9h, and nothing else.
#[test]
fn the_debug_port() {
    // mov al, 'D'; out E9h, al; then both serial ports.
    let code = [&[0xB0, b'D', 0xE6, 0xE9][..], BOTH].concat();
    let debug = path("debugcon.txt");
    let place = format!("file:{}", debug.display());
    let out = run("debug", &code).args(["-serial", "stdio", "-debugcon", &place]).output().unwrap();
    assert_eq!((out.status.code(), &*out.stdout), (Some(ENDED), &b"A"[..]));
    assert_eq!(fs::read(&debug).unwrap(), b"D");
    for words in [
        &["-debugcon", "stdio"][..],
        &["-chardev", "stdio,id=d", "-debugcon", "chardev:d", "-serial", "null"],
    ] {
        let out = run("debug", &code).args(words).output().unwrap();
        assert_eq!((out.status.code(), &*out.stdout), (Some(ENDED), &b"D"[..]), "{words:?}");
    }
    let out =
        run("debug", &code).args(["-serial", "stdio", "-debugcon", "stdio"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}
