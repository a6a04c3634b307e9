//! The frames of a recording come back as they were written, up to where the writer was killed; what is damaged is
//! refused.

use platform::machine::Input;
use platform::recording::{Frame, Recording, RecordingError, Writer};
use platform::time::Icount;
use proptest::prelude::*;
use std::fs::{self, File};
use std::path::PathBuf;

fn frames() -> Vec<Frame> {
    let input = |at, bytes: &str| {
        let input = Input::Serial { port: 1, bytes: bytes.into() };
        Frame::Input { at: Icount(at), input }
    };
    let snapshot = |at, begins| Frame::Snapshot {
        at: Icount(at),
        file: format!("{at}.snapshot"),
        id: [7; 32],
        begins,
    };
    vec![
        snapshot(0, true),
        input(5, "a"),
        input(5, &"long".repeat(100)),
        Frame::Hash { at: Icount(9), hash: [1; 32] },
        snapshot(10, false),
        Frame::Input { at: Icount(11), input: Input::PowerButton },
        snapshot(0, true),
        Frame::End { at: Icount(3), hash: [2; 32], by_guest: true, status: 33 },
    ]
}

/// The file with [`frames`], and where each frame ends.
fn written(name: &str) -> (Vec<u8>, Vec<usize>) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
    let ends = frames().into_iter().map(|frame| {
        writer.add(&frame).unwrap();
        writer.length() as usize
    });
    let ends: Vec<_> = ends.collect();
    writer.sync().unwrap();
    (fs::read(path).unwrap(), ends)
}

#[test]
fn frames_come_back() {
    let (bytes, _) = written("come-back");
    assert_eq!(Recording::read(&bytes[..]).unwrap(), Recording { frames: frames(), cut: 0 });
}

/// A file of input may have long entries: what is recorded can be read.
#[test]
fn a_long_input_comes_back() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("long");
    let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
    let input = Input::Serial { port: 0, bytes: vec![b'x'; 2 << 20] };
    let all = [frames()[0].clone(), Frame::Input { at: Icount(1), input }];
    all.iter().for_each(|frame| writer.add(frame).unwrap());
    assert_eq!(Recording::read(File::open(path).unwrap()).unwrap().frames, all);
}

/// Wherever the writer was killed, all complete frames are there.
#[test]
fn every_prefix_is_a_recording() {
    let (bytes, ends) = written("prefixes");
    for length in 0..=bytes.len() {
        let complete = ends.iter().filter(|end| **end <= length).count();
        match Recording::read(&bytes[..length]) {
            Ok(recording) => {
                assert_eq!(recording.frames, frames()[..complete], "{length}");
                assert_eq!(recording.cut as usize, length - ends[complete - 1]);
            }
            Err(RecordingError::Magic) => assert_eq!(length, 0),
            Err(RecordingError::Short(at)) => assert!(complete == 0 && at == length as u64),
            Err(error) => panic!("{length}: {error}"),
        }
    }
}

/// One bit that differs is found: the frames before it are still told by where it is.
#[test]
fn a_flipped_bit_is_found() {
    let (mut bytes, ends) = written("flipped");
    for at in (0..12).chain(128..bytes.len()) {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            match Recording::read(&bytes[..]) {
                // A length that became larger looks like the end of a writer that was killed.
                Ok(recording) => {
                    let complete = ends.iter().filter(|end| **end <= at).count();
                    assert_eq!(recording.frames, frames()[..complete], "byte {at}");
                    assert!(recording.cut > 0, "byte {at}");
                }
                Err(RecordingError::Damaged(place)) => assert!(place <= at as u64),
                Err(RecordingError::Magic | RecordingError::Version(..)) => assert!(at < 12),
                // The first frame.
                Err(RecordingError::Short(_)) => assert!(at < ends[0]),
                Err(error) => panic!("byte {at}: {error}"),
            }
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn order() {
    let hash = |at| Frame::Hash { at: Icount(at), hash: [0; 32] };
    let first = frames()[0].clone();
    let end = frames()[7].clone();
    let say = |name: &str, frames: &[Frame]| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
        frames.iter().for_each(|frame| writer.add(frame).unwrap());
        let error = Recording::read(File::open(path).unwrap()).unwrap_err().to_string();
        error.split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(say("order-1", &[hash(1)]), "a recording begins with a snapshot");
    assert_eq!(
        say("order-2", &[first.clone(), hash(5), hash(4)]),
        "a frame before the time of the one before"
    );
    assert_eq!(say("order-3", &[first, end, hash(9)]), "a frame after the end");
}

proptest! {
    /// Bytes of any kind give frames or an error.
    #[test]
    fn random(bytes: Vec<u8>, keep in 0usize..400) {
        let (written, _) = written(&format!("random-{keep}"));
        let bytes = [&written[..keep.min(written.len())], &bytes].concat();
        _ = Recording::read(&bytes[..]);
    }
}
