//! A machine that is saved to a file and restored goes on as if nothing had happened; a file that is not as it was
//! written is refused.

mod common;

use common::guest;
use common::turns::{TYPED, poll, run_to, set_up, start, work};
use platform::machine::{Config, Input, Machine};
use platform::snapshot::{self, Lineage, Snapshot, SnapshotError};
use platform::time::Icount;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// An empty file of this name.
fn file(name: &str) -> (PathBuf, File) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    (path, file.unwrap())
}

/// A machine of so many processors that count, take interrupts and send back what is typed.
fn machine(vcpus: u32) -> Machine {
    let config = Config { vcpus, ..Config::default() };
    let mut machine =
        guest::machine(config, &[set_up(vcpus > 1), start(&poll()), work(false)].concat());
    for (at, port, bytes) in TYPED {
        machine.input(Icount(at), Input::Serial { port, bytes: bytes.into() });
    }
    machine
}

/// Times at which the machine is saved: some with input to come, some in the middle of a turn.
const TIMES: [u64; 7] = [0, 1, 25_000, 61_003, 100_007, 123_456, 300_001];
const END: u64 = 400_000;

#[test]
fn a_restored_machine_goes_on() {
    for vcpus in [1, 2, 3] {
        let mut plain = machine(vcpus);
        run_to(&mut plain, END, END);
        for at in TIMES {
            let mut first = machine(vcpus);
            run_to(&mut first, at, 1000);
            let (_, to) = file(&format!("goes-on-{vcpus}-{at}"));
            let id = snapshot::write(&mut first, &to).unwrap();
            let snapshot = Snapshot::read(to).unwrap();
            assert_eq!((snapshot.id(), snapshot.parent()), (id, None));
            assert_eq!(snapshot.saved().now(), Icount(at));
            snapshot.verify().unwrap();
            let sent = [0, 1].map(|port| first.serial_output(port));
            let mut second = snapshot::restore(&[snapshot], &Config::default()).unwrap();
            assert_eq!(second.retired(), first.retired());
            assert_eq!(second.state_hash(), first.state_hash(), "-smp {vcpus}, at {at}");
            for machine in [&mut first, &mut second] {
                run_to(machine, END, 7777);
                assert_eq!(machine.state_hash(), plain.state_hash(), "-smp {vcpus}, at {at}");
                assert_eq!(machine.retired(), plain.retired());
            }
            for (port, sent) in sent.into_iter().enumerate() {
                let all = [sent, second.serial_output(port)].concat();
                assert_eq!(all, machine_output(vcpus, port), "-smp {vcpus}, at {at}");
            }
        }
    }
}

/// What port `port` sends in a run that is not saved.
fn machine_output(vcpus: u32, port: usize) -> Vec<u8> {
    let mut machine = machine(vcpus);
    run_to(&mut machine, END, END);
    machine.serial_output(port)
}

/// Each increment holds what has changed since the one before, and nothing else, and restores with all before. A snapshot
/// that is made for itself in between is no matter.
#[test]
fn increments() {
    let mut plain = machine(2);
    let mut lineage = Lineage::default();
    let mut names = Vec::new();
    let mut hashes = BTreeMap::new();
    for at in TIMES {
        run_to(&mut plain, at, 1000);
        snapshot::write(&mut plain, &file("alone").1).unwrap();
        let name = format!("increment-{at}");
        let (path, to) = file(&name);
        lineage.write(&mut plain, name, &to).unwrap();
        names.push(path);
        let chain = names.iter().map(|path| Snapshot::read(File::open(path).unwrap()).unwrap());
        let chain: Vec<_> = chain.collect();
        assert!(chain[1..].iter().all(|s| s.pages().count() < 20), "few pages change");
        for (n, hash) in chain[chain.len() - 1].pages() {
            assert_ne!(hashes.insert(n, hash), Some(hash), "page {n:#x} has not changed at {at}");
        }
        let mut restored = snapshot::restore(&chain, &Config::default()).unwrap();
        assert_eq!(restored.state_hash(), plain.state_hash(), "at {at}");
        assert_eq!(restored.held_pages(), plain.held_pages(), "at {at}");
    }
}

/// A snapshot with those that it is an increment to, the full one first.
fn chain(path: &Path) -> Vec<Snapshot> {
    let snapshot = Snapshot::read(File::open(path).unwrap()).unwrap();
    let parent = snapshot.parent().map(|parent| path.with_file_name(&parent.file));
    let mut chain = parent.map(|path| chain(&path)).unwrap_or_default();
    chain.push(snapshot);
    chain
}

/// In a long run each snapshot is restored by few files, whichever of them has the most pages.
#[test]
fn a_long_lineage() {
    let mut plain = machine(2);
    let mut lineage = Lineage::default();
    let mut most = 0;
    for n in 0..40 {
        run_to(&mut plain, n * END / 40, 1000);
        let name = format!("lineage-{n}");
        let (path, to) = file(&name);
        lineage.write(&mut plain, name, &to).unwrap();
        let chain = chain(&path);
        most = most.max(chain.len());
        let mut restored = snapshot::restore(&chain, &Config::default()).unwrap();
        assert_eq!(restored.state_hash(), plain.state_hash(), "snapshot {n}");
        assert_eq!(restored.held_pages(), plain.held_pages(), "snapshot {n}");
        let mut loaded = snapshot::load(&chain, &Config::default()).unwrap();
        assert_eq!(loaded.state_hash(), plain.state_hash(), "snapshot {n}");
        assert_eq!(loaded.held_pages(), plain.held_pages(), "snapshot {n}");
    }
    // Number 31 follows on 30, and so on to 16, and that on 0.
    assert_eq!(most, 17);
}

/// Reads, verifies and restores `bytes`.
fn load(name: &str, bytes: &[u8]) -> Result<Machine, SnapshotError> {
    let (path, _) = file(name);
    fs::write(&path, bytes).unwrap();
    let snapshot = Snapshot::read(File::open(&path).unwrap())?;
    snapshot.verify()?;
    snapshot::restore(&[snapshot], &Config::default())
}

/// A snapshot of 1 MiB, as bytes.
fn small(name: &str) -> Vec<u8> {
    let mut machine = machine(2);
    run_to(&mut machine, 50_000, 1000);
    let (path, to) = file(name);
    snapshot::write(&mut machine, &to).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn what_is_cut_off_is_refused() {
    let bytes = small("cut-off");
    let memory = bytes.len() - (4 << 20);
    load("cut", &bytes).unwrap();
    for length in (0..200).chain([memory - 1, memory, memory + 1, bytes.len() - 1]) {
        let error = load("cut", &bytes[..length]).err().unwrap();
        let short = match error {
            SnapshotError::Short(at, _) => at == length as u64,
            SnapshotError::Magic => length == 0,
            _ => false,
        };
        assert!(short, "{length}: {error}");
    }
}

/// One bit differs, in each byte of the header, at places in the metadata, in every page of memory.
#[test]
fn a_flipped_bit_is_found() {
    let mut bytes = small("flipped");
    let memory = bytes.len() - (4 << 20);
    let places =
        (0..160).chain((160..memory).step_by(97)).chain((memory..bytes.len()).step_by(4001));
    let read = |path| Snapshot::read(File::open(path).unwrap());
    let loaded = |path| snapshot::load(&[read(path)?], &Config::default());
    load("flip", &bytes).unwrap();
    let path = file("flip").0;
    fs::write(&path, &bytes).unwrap();
    let state = loaded(&path).unwrap().state_hash();
    let mut refused = 0;
    for (at, bit) in places.zip((0..8).cycle()) {
        // These bytes mean nothing, or name the program.
        if (12..16).contains(&at) || (56..128).contains(&at) || at >= memory - 4096 && at < memory {
            continue;
        }
        bytes[at] ^= 1 << bit;
        assert!(load("flip", &bytes).is_err(), "byte {at}");
        // What is read at once leaves alone the pages that are not listed.
        match loaded(&path) {
            Ok(mut machine) => assert_eq!(machine.state_hash(), state, "byte {at}"),
            Err(_) => refused += u32::from(at >= memory),
        }
        bytes[at] ^= 1 << bit;
    }
    assert!(refused > 0, "no page that is listed was changed");
}

#[test]
fn messages() {
    let mut bytes = small("messages");
    let say = |bytes: &[u8]| load("message", bytes).err().unwrap().to_string();
    assert_eq!(say(b"hello"), "byte 0: this is no snapshot");
    assert_eq!(say(&bytes[..100]), "byte 100: the file ends, 128 bytes are needed");
    bytes[8] = 9;
    bytes[64..128].fill(0);
    bytes[64..73].copy_from_slice(b"strata 7\n");
    let version =
        "byte 8: version 9 of the format, written by strata 7\\n; this program reads version 3";
    assert_eq!(say(&bytes), version);
}
