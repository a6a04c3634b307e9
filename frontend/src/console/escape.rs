//! The keys behind Ctrl-A, as QEMU has them: what is typed is told apart into bytes for the guest and
//! requests to the command.

/// A part of what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// Bytes for the guest.
    Bytes(Vec<u8>),
    /// A break on the line.
    Break,
    /// The end of the run.
    Quit,
    /// The list of keys.
    Help,
    /// From the guest's console to the monitor, or back.
    Monitor,
    /// Somebody has come to a monitor.
    Hello,
    /// The machine to be written to a file.
    Snapshot,
}

/// The list of keys.
pub(crate) const HELP: &str = "\
Ctrl-A h       this list
Ctrl-A x       end the run
Ctrl-A s       write the snapshot of --snapshot now
Ctrl-A b       send a break
Ctrl-A c       switch between console and monitor
Ctrl-A Ctrl-A  send Ctrl-A
";

/// What is said where another key follows three times Ctrl-A.
pub(crate) const SWITCH_HELP: &str = "\
Ctrl-A three times  type to the next domain, or to the hypervisor
";

/// Ctrl-A.
const ESCAPE: u8 = 1;

/// The state between two bytes.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Ctrl-A three times goes to the guest as it is: a hypervisor there switches its console by that.
    switch: bool,
    /// How many Ctrl-A wait for what follows.
    waiting: u8,
}

impl Keys {
    /// The state before the first byte.
    pub(crate) fn new(switch: bool) -> Self {
        Self { switch, waiting: 0 }
    }

    /// What `bytes` are, in order.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for &byte in bytes {
            self.key(byte, &mut keys);
        }
        keys
    }

    fn key(&mut self, byte: u8, keys: &mut Vec<Key>) {
        match (std::mem::take(&mut self.waiting), byte) {
            (0, ESCAPE) => self.waiting = 1,
            (0, _) => send(&[byte], keys),
            (1, ESCAPE) if self.switch => self.waiting = 2,
            (1, ESCAPE) => send(&[ESCAPE], keys),
            (1, b'x') => keys.push(Key::Quit),
            (1, b'h' | b'?') => keys.push(Key::Help),
            (1, b'b') => keys.push(Key::Break),
            (1, b'c') => keys.push(Key::Monitor),
            (1, b's') => keys.push(Key::Snapshot),
            (1, _) => {}
            (_, ESCAPE) => send(&[ESCAPE; 3], keys),
            (_, _) => send(&[ESCAPE, byte], keys),
        }
    }
}

/// Adds bytes for the guest.
fn send(bytes: &[u8], keys: &mut Vec<Key>) {
    match keys.last_mut() {
        Some(Key::Bytes(all)) => all.extend(bytes),
        _ => keys.push(Key::Bytes(bytes.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(switch: bool, typed: &[&str], expect: &[Key]) {
        let mut keys = Keys::new(switch);
        let found: Vec<Key> = typed.iter().flat_map(|t| keys.read(t.as_bytes())).collect();
        assert_eq!(found, expect);
    }

    fn bytes(text: &str) -> Key {
        Key::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn keys() {
        check(false, &["ls\r\u{3}\u{4}"], &[bytes("ls\r\u{3}\u{4}")]);
        check(false, &["a\u{1}", "xb"], &[bytes("a"), Key::Quit, bytes("b")]);
        check(false, &["\u{1}h\u{1}?"], &[Key::Help, Key::Help]);
        check(false, &["\u{1}b\u{1}c\u{1}s\u{1}q"], &[Key::Break, Key::Monitor, Key::Snapshot]);
        check(false, &["\u{1}\u{1}x"], &[bytes("\u{1}x")]);
    }

    #[test]
    fn a_hypervisor_gets_its_switch() {
        check(true, &["\u{1}\u{1}", "\u{1}x"], &[bytes("\u{1}\u{1}\u{1}x")]);
        check(true, &["\u{1}\u{1}b"], &[bytes("\u{1}b")]);
        check(true, &["\u{1}x"], &[Key::Quit]);
    }
}
