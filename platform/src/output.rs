//! What a device has sent and the host has not taken yet.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

/// Bytes on their way to the host. No guest can read them back, so they are no part of the state: two machines do
/// not differ by what their hosts have yet to take, and what is saved or hashed is empty.
#[derive(Clone, Debug, Default)]
pub struct Output(Vec<u8>);

impl Output {
    /// Bytes that wait at most: what comes then is lost. A machine that runs for less than this many instructions
    /// between two calls of [`Output::take`] loses nothing.
    pub const MOST: usize = 16 << 20;

    /// Adds a byte.
    pub fn push(&mut self, byte: u8) {
        if self.0.len() < Output::MOST {
            self.0.push(byte);
        }
    }

    /// Takes what was added since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl PartialEq for Output {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Output {}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(Some(0))?.end()
    }
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|_| Output::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_no_state() {
        let mut output = Output::default();
        let empty = postcard::to_allocvec(&Vec::<u8>::new()).unwrap();
        (0..=Output::MOST).for_each(|n| output.push(n as u8));
        assert_eq!(output, Output::default());
        assert_eq!(postcard::to_allocvec(&output).unwrap(), empty);
        assert_eq!(output.take().len(), Output::MOST);
        output.push(b'x');
        assert_eq!((output.take(), output.take()), (b"x".to_vec(), vec![]));
        assert_eq!(postcard::from_bytes::<Output>(&empty).unwrap().take(), []);
    }
}
