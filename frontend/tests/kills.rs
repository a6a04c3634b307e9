//! A recording whose writer is killed at any moment replays to its last complete frame.
//!
//! The moments are sizes of the file, from a fixed seed: `STRATA_KILLS` says how many, 100 for all.

use platform::recording::{FILE, Frame, Recording};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const STRATA: &str = env!("CARGO_BIN_EXE_strata");
/// How many where nobody says.
const KILLS: u64 = 6;
/// The main job, with more frames than anybody needs.
const EVERY: [&str; 4] = ["--hash-every", "100000", "--snapshot-every", "5000000"];

fn record(to: &Path) -> Command {
    _ = fs::remove_dir_all(to);
    let mut command = Command::new(STRATA);
    command.args(["record", "-o"]).arg(to).args(EVERY).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn size(of: &Path) -> u64 {
    fs::metadata(of).map_or(0, |meta| meta.len())
}

/// Number `n` of a sequence below `end`.
fn chance(n: u64, end: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) % end
}

/// Kills a recording when its file has `bytes`; whether it was at work still.
fn kill(to: &Path, bytes: u64) -> bool {
    let mut child = record(to).spawn().unwrap();
    while size(&to.join(FILE)) < bytes {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// How many the environment asks for.
#[expect(clippy::disallowed_methods, reason = "a test of any length")]
fn kills() -> u64 {
    std::env::var("STRATA_KILLS").map_or(KILLS, |n| n.parse().unwrap())
}

#[test]
fn killed_recordings_replay() {
    let to = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kills");
    assert!(record(&to).status().unwrap().success());
    let whole = size(&to.join(FILE));
    let all = Command::new(STRATA).arg("replay").arg(&to).output().unwrap().stdout;
    let first = fs::read(to.join(FILE)).unwrap();
    let begin = 140 + u64::from(u32::from_le_bytes([128, 129, 130, 131].map(|at| first[at])));
    let (kills, mut killed) = (kills(), 0);
    for n in 0..kills {
        let bytes = begin + chance(n, whole - begin);
        killed += u64::from(kill(&to, bytes));
        let Recording { frames, .. } = Recording::read(File::open(to.join(FILE)).unwrap()).unwrap();
        let out = Command::new(STRATA).arg("replay").arg(&to).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(0), "at {bytes} bytes: {text}");
        assert!(all.starts_with(&out.stdout), "at {bytes} bytes: another console");
        let last = frames.iter().map(Frame::at).max().unwrap().0;
        let reached = format!("up to {last} instructions of machine time");
        let ended = matches!(frames.last(), Some(Frame::End { .. }));
        assert!(ended || text.contains(&reached), "at {bytes} bytes: {reached}: {text}");
    }
    // The last bytes are soon written: a few may be done before they are killed.
    assert!(killed >= kills / 2, "{killed} of {kills} were killed");
    fs::remove_dir_all(to).unwrap();
}
