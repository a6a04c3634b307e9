//! Consoles that domains have for themselves. Their bytes share the machine's COM2 in frames, as the hypervisor has
//! them: the domain's number, how many bytes follow, and those.

use super::chardev::Serial;

/// The port of the machine whose line they share.
pub(super) const PORT: usize = 1;
/// Bytes in a frame at most.
const MOST: usize = 255;

/// Where one domain's console is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    /// The domain's number.
    pub(crate) domain: u8,
    /// Where it is described, for messages.
    pub(crate) place: String,
    pub(crate) name: String,
    pub(crate) serial: Serial,
}

/// `bytes` for a domain, in frames.
pub(super) fn frames(domain: u8, bytes: &[u8]) -> Vec<u8> {
    let frame = |chunk: &[u8]| [&[domain, chunk.len() as u8], chunk].concat();
    bytes.chunks(MOST).flat_map(frame).collect()
}

/// What has come of a frame so far.
#[derive(Debug, Default)]
pub(super) struct Frames {
    domain: Option<u8>,
    /// Bytes that are left of it, once its length is known.
    left: Option<u8>,
}

impl Frames {
    /// Takes what the machine has sent apart: which bytes are whose.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut parts: Vec<(u8, Vec<u8>)> = Vec::new();
        for &byte in bytes {
            match (self.domain, self.left) {
                (None, _) => self.domain = Some(byte),
                (Some(_), None) => self.left(byte),
                (Some(domain), Some(left)) => {
                    match parts.last_mut().filter(|(last, _)| *last == domain) {
                        Some((_, part)) => part.push(byte),
                        None => parts.push((domain, vec![byte])),
                    }
                    self.left(left - 1);
                }
            }
        }
        parts
    }

    fn left(&mut self, left: u8) {
        self.left = (left > 0).then_some(left);
        self.domain = self.domain.filter(|_| left > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(frames(1, b"ab"), [1, 2, b'a', b'b']);
        assert!(frames(1, b"").is_empty());
        let long = vec![b'x'; 300];
        let line = [frames(1, &long), frames(2, b"y")].concat();
        assert_eq!(line.len(), 300 + 4 + 3);
        assert_eq!(Frames::default().take(&line), [(1, long), (2, b"y".to_vec())]);
    }

    #[test]
    fn frames_come_in_pieces() {
        let mut frames = Frames::default();
        assert_eq!(frames.take(&[3]), []);
        assert_eq!(frames.take(&[2]), []);
        assert_eq!(frames.take(b"a"), [(3, b"a".to_vec())]);
        assert_eq!(frames.take(b"b"), [(3, b"b".to_vec())]);
        assert_eq!(frames.take(&[3, 0, 4, 1, b'c']), [(4, b"c".to_vec())]);
    }
}
