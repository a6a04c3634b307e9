//! Several consoles on one serial line, both ways: domains with consoles of their own share COM2.
//!
//! A frame is the domain's number, how many bytes follow, and those. What is on the other side of the line tells the
//! consoles apart by it.

use crate::xen::DomId;

/// Bytes in a frame at most.
const MOST: usize = 255;

/// What stands on the line for `bytes` of the domain numbered `dom`, one of the first 256.
pub fn frames(dom: u8, bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes
        .chunks(MOST)
        .flat_map(move |chunk| [dom, chunk.len() as u8].into_iter().chain(chunk.iter().copied()))
}

/// Takes frames apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Frames {
    /// A frame begins.
    #[default]
    Domain,
    /// Its length comes next.
    Length(u8),
    /// So many bytes are left of this domain's.
    Bytes(u8, u8),
}

impl Frames {
    /// Takes a byte from the line; what it is for whom, unless it is part of a frame's head.
    pub fn take(&mut self, byte: u8) -> Option<(DomId, u8)> {
        let dom = match *self {
            Self::Domain => {
                *self = Self::Length(byte);
                return None;
            }
            Self::Length(dom) => {
                *self = Self::left(dom, byte);
                return None;
            }
            Self::Bytes(dom, left) => {
                *self = Self::left(dom, left - 1);
                dom
            }
        };
        Some((DomId(dom.into()), byte))
    }

    fn left(dom: u8, left: u8) -> Self {
        if left == 0 { Self::Domain } else { Self::Bytes(dom, left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What comes out of `line`.
    fn taken(line: impl IntoIterator<Item = u8>) -> Vec<(u16, u8)> {
        let mut frames = Frames::default();
        line.into_iter().filter_map(|b| frames.take(b)).map(|(dom, b)| (dom.0, b)).collect()
    }

    #[test]
    fn there_and_back() {
        assert_eq!(frames(7, b"ab").collect::<Vec<_>>(), [7, 2, b'a', b'b']);
        assert_eq!(frames(7, b"").count(), 0);
        let bytes: Vec<u8> = (0..600).map(|n| n as u8).collect();
        let line: Vec<u8> = frames(1, &bytes).chain(frames(255, b"z")).collect();
        assert_eq!(line.len(), 600 + 3 * 2 + 3);
        let mut expect: Vec<_> = bytes.iter().map(|b| (1, *b)).collect();
        expect.push((255, b'z'));
        assert_eq!(taken(line), expect);
    }

    #[test]
    fn a_frame_may_be_empty() {
        assert_eq!(taken([3, 0, 4, 1, b'x', 5]), [(4, b'x')]);
    }
}
