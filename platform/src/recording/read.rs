//! Reading a recording.

use super::{FRAME_MAX, Frame, HEADER, MAGIC, PREFIX, VERSION, check_value};
use crate::time::Icount;
use std::io::{self, ErrorKind, Read};

/// Why a file cannot be read as a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The host cannot read the file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file begins otherwise than a recording.
    #[error("byte 0: this is no recording")]
    Magic,
    /// Another version of the format.
    #[error(
        "byte 8: version {0} of the format, written by {1}; this program reads version {VERSION}"
    )]
    Version(u32, String),
    /// It ends before the first frame.
    #[error("byte {0}: the recording ends before it begins")]
    Short(u64),
    /// A frame is not what was written.
    #[error("byte {0}: a frame is not what was written")]
    Damaged(u64),
    /// A frame stands where it makes no sense.
    #[error("byte {0}: {1}")]
    Order(u64, &'static str),
}

/// The frames of a recording.
#[derive(Debug, PartialEq, Eq)]
pub struct Recording {
    /// All complete frames.
    pub frames: Vec<Frame>,
    /// Bytes of an incomplete frame at the end: the writer was killed.
    pub cut: u64,
}

impl Recording {
    /// Reads all of `from`.
    pub fn read(mut from: impl Read) -> Result<Recording, RecordingError> {
        let mut header = [0; HEADER as usize];
        let have = fill(&mut from, &mut header)?;
        let known = MAGIC.len().min(have);
        if have == 0 || header[..known] != MAGIC[..known] {
            return Err(RecordingError::Magic);
        }
        if have < header.len() {
            return Err(RecordingError::Short(have as u64));
        }
        let version = u32::from_le_bytes([8, 9, 10, 11].map(|at| header[at]));
        if version != VERSION {
            let program = header[64..].split(|byte| *byte == 0).next().unwrap_or_default();
            let program = String::from_utf8_lossy(program).escape_debug().to_string();
            return Err(RecordingError::Version(version, program));
        }
        Frames { from, at: HEADER, now: Icount(0), frames: Vec::new() }.read()
    }
}

/// Frames as they are read.
struct Frames<R> {
    from: R,
    /// Where the next frame begins.
    at: u64,
    /// The time that the machine has come to.
    now: Icount,
    frames: Vec<Frame>,
}

impl<R: Read> Frames<R> {
    fn read(mut self) -> Result<Recording, RecordingError> {
        loop {
            let mut prefix = [0; PREFIX];
            let have = fill(&mut self.from, &mut prefix)?;
            if have < PREFIX {
                return self.end(have);
            }
            let length = u32::from_le_bytes([0, 1, 2, 3].map(|at| prefix[at])) as usize;
            if length > FRAME_MAX {
                return Err(RecordingError::Damaged(self.at));
            }
            let mut content = Vec::new();
            let got = (&mut self.from).take(length as u64).read_to_end(&mut content)?;
            if got < length {
                return self.end(PREFIX + got);
            }
            if check_value(&content) != prefix[4..] {
                return Err(RecordingError::Damaged(self.at));
            }
            let frame = postcard::from_bytes(&content);
            let frame = frame.map_err(|_| RecordingError::Damaged(self.at))?;
            self.add(frame)?;
            self.at += (PREFIX + length) as u64;
        }
    }

    /// Adds a frame that may stand here.
    fn add(&mut self, frame: Frame) -> Result<(), RecordingError> {
        let wrong = |what| Err(RecordingError::Order(self.at, what));
        let begins = matches!(frame, Frame::Snapshot { begins: true, .. });
        match self.frames.last() {
            None if !begins => return wrong("a recording begins with a snapshot"),
            Some(Frame::End { .. }) => return wrong("a frame after the end"),
            _ if !begins && frame.at() < self.now => {
                return wrong("a frame before the time of the one before");
            }
            _ => {}
        }
        // An input may be given long before the machine takes it.
        if !matches!(frame, Frame::Input { .. }) {
            self.now = frame.at();
        }
        self.frames.push(frame);
        Ok(())
    }

    /// The file ends after `cut` bytes of a frame.
    fn end(self, cut: usize) -> Result<Recording, RecordingError> {
        if self.frames.is_empty() {
            return Err(RecordingError::Short(self.at + cut as u64));
        }
        Ok(Recording { frames: self.frames, cut: cut as u64 })
    }
}

/// Reads until `buffer` is full or nothing is left; how much there was.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match from.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}
