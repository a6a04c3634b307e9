//! A domain's console output by lines, fit to be printed beside the lines of others.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// A console's current line, handed out at its end or when it is full.
#[derive(Debug, Clone, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
}

impl LineBuffer {
    /// The bytes of the longest line that is kept in one piece, but for the end of a character.
    pub const LIMIT: usize = 1024;

    /// Takes one byte; yields the line when it is complete. CR and NUL are dropped.
    pub fn push(&mut self, byte: u8) -> Option<String> {
        match byte {
            b'\n' => return Some(self.take()),
            b'\r' | 0 => return None,
            _ => {}
        }
        // A line is not cut within a character of UTF-8, which takes four bytes at most.
        let continues = byte & 0xC0 == 0x80 && self.bytes.len() < Self::LIMIT + 3;
        let full = self.bytes.len() >= Self::LIMIT && !continues;
        let line = full.then(|| self.take());
        self.bytes.push(byte);
        line
    }

    /// The unfinished line, if any.
    pub fn flush(&mut self) -> Option<String> {
        (!self.bytes.is_empty()).then(|| self.take())
    }

    /// The unfinished line as it was written.
    pub fn raw(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }

    fn take(&mut self) -> String {
        visible(&core::mem::take(&mut self.bytes))
    }
}

/// A line as text that moves no cursor and sets no title: control characters become `\x1b` and the
/// like, those of C1 included. TAB and all other UTF-8 stay; what is not UTF-8 becomes U+FFFD.
/// Xen drops what does not print, of domUs only: its dom0's console is interactive, this one, which
/// goes by lines, is not.
fn visible(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).chars() {
        if c.is_control() && c != '\t' {
            // A string takes everything.
            let _ = write!(text, "\\x{:02x}", c as u32);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of `bytes` and a final flush, line by line.
    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut lines: Vec<_> = bytes.iter().filter_map(|&byte| buffer.push(byte)).collect();
        lines.extend(buffer.flush());
        lines
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(lines(bytes), expected);
    }

    #[test]
    fn text_passes() {
        check(b"one\r\ntwo\n\nfour", &["one", "two", "", "four"]);
        check("\ta – b\u{a0}\u{1f980}\n".as_bytes(), &["\ta – b\u{a0}\u{1f980}"]);
        check(b"C strings end\0\n", &["C strings end"]);
    }

    #[test]
    fn control_characters_are_seen() {
        check(b"\x1b[2K\x1b[1G(hv) forged\n", &["\\x1b[2K\\x1b[1G(hv) forged"]);
        check(b"x\r(hv) forged\n", &["x(hv) forged"]);
        check(b"\x1b]0;title\x07\x08\x7f\x0b\x0c\n", &["\\x1b]0;title\\x07\\x08\\x7f\\x0b\\x0c"]);
        // C1's CSI, NEL and OSC as UTF-8; as single bytes they are no text.
        check("\u{9b}2K\u{85}\u{9d}\n".as_bytes(), &["\\x9b2K\\x85\\x9d"]);
        check(b"\x9b2K\xff\n", &["\u{fffd}2K\u{fffd}"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let limit = LineBuffer::LIMIT;
        check(&b"x".repeat(limit), &[&"x".repeat(limit)]);
        let found = lines(&[&b"x".repeat(limit)[..], b"\n"].concat());
        assert_eq!(found.len(), 1, "the end of a full line is no line of its own");
        let text = "x".repeat(limit - 1) + "\u{1f980}y";
        check(text.as_bytes(), &[&text[..limit + 3], "y"]);
        assert!(lines(&[0x80; 5000]).iter().all(|line| line.chars().count() <= limit + 3));
    }
}
