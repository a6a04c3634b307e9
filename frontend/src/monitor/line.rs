//! A line that a person types at a monitor: echoed, mended, obeyed.

use super::{Control, Target, hmp};

/// Bytes of a line.
const MOST: usize = 4096;
/// What stands before each line, where scripts wait for the prompt.
const PROMPT: &str = "(qemu) ";

/// The line so far.
#[derive(Default)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// The last byte was CR: a LF behind it is no line of its own.
    after_cr: bool,
    /// Within an escape sequence, such as that of an arrow key.
    escape: Option<u8>,
    /// The processor that commands are about.
    processor: usize,
}

impl Line {
    /// What a person sees first.
    pub(super) fn greet(&mut self) -> String {
        self.bytes.clear();
        let version = env!("CARGO_PKG_VERSION");
        format!("Strata {version} monitor - type 'help' for more information\r\n{PROMPT}")
    }

    /// What is shown when these bytes are typed.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        control: &mut Control,
        target: &mut dyn Target,
    ) -> String {
        let mut shown = String::new();
        for &byte in bytes {
            self.key(byte, &mut shown, control, target);
        }
        shown
    }

    fn key(
        &mut self,
        byte: u8,
        shown: &mut String,
        control: &mut Control,
        target: &mut dyn Target,
    ) {
        let after_cr = std::mem::take(&mut self.after_cr);
        match (self.escape.take(), byte) {
            (Some(0x1B), b'[' | b'O') => self.escape = Some(b'['),
            (Some(b'['), b'0'..=b'9' | b';') => self.escape = Some(b'['),
            (Some(_), _) => {}
            (None, 0x1B) => self.escape = Some(0x1B),
            (None, b'\n') if after_cr => {}
            (None, b'\r' | b'\n') => {
                self.after_cr = byte == b'\r';
                let line = std::mem::take(&mut self.bytes);
                let answer = hmp::obey(
                    &String::from_utf8_lossy(&line),
                    &mut self.processor,
                    control,
                    target,
                );
                *shown += &format!("\r\n{}{PROMPT}", answer.replace('\n', "\r\n"));
            }
            (None, 8 | 0x7F) if self.bytes.pop().is_some() => shown.push_str("\u{8} \u{8}"),
            // Ctrl-U, and Ctrl-C, which a person means likewise.
            (None, 3 | 0x15) => {
                self.bytes.clear();
                *shown += &format!("\r\n{PROMPT}");
            }
            (None, b' '..=b'~') if self.bytes.len() < MOST => {
                self.bytes.push(byte);
                shown.push(byte.into());
            }
            (None, _) => {}
        }
    }
}
