//! A keyboard at the 8042: keys that are pressed and released become scan codes, and commands are answered.
//!
//! IBM PS/2 Technical Reference, "Keyboards (101- and 102-Key)". DEPARTURE: keys do not repeat, and there is no
//! scan code set 3.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Bytes that wait for the controller at most; keys and answers beyond are lost, as with a keyboard.
const ROOM: usize = 256;
/// Before the code of a key that is released, in set 2.
pub(super) const RELEASED: u8 = 0xf0;
/// Before the code of a key that older keyboards do not have.
const EXTENDED: u8 = 0xe0;
/// The bit of a released key in set 1, and of a key with [`EXTENDED`] in a key's number.
const HIGH: u8 = 0x80;
const ACKNOWLEDGE: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const TEST_PASSED: u8 = 0xaa;
const ECHO: u8 = 0xee;
/// What the keyboard is: 101 or 102 keys.
const IDENTITY: [u8; 2] = [0xab, 0x83];

/// The codes of set 1, by those of set 2 below 80h, as the controller translates them.
#[rustfmt::skip]
const SET_1: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/// The code in set 1 for `code` of set 2, a released key's as a pressed one's.
pub(super) fn translated(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => SET_1.get(usize::from(code)).copied().unwrap_or(code),
    }
}

/// The code in set 2 for `code` of set 1.
fn set_2(code: u8) -> u8 {
    let found = SET_1.iter().position(|&one| one == code);
    // F7 is the key that [`SET_1`] has twice: keyboards send the code beyond it.
    found.map_or(code, |two| if code == 0x41 { 0x83 } else { two as u8 })
}

/// A keyboard with 102 keys, and what it has to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keyboard {
    /// What waits for the controller.
    sent: VecDeque<u8>,
    /// Keys are sent.
    scanning: bool,
    /// The scan code set, 1 or 2.
    set: u8,
    /// The command that waits for its data byte.
    waiting: Option<u8>,
    /// The byte sent last, to be sent again.
    last: u8,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self { sent: VecDeque::new(), scanning: true, set: 2, waiting: None, last: 0 }
    }
}

impl Keyboard {
    /// Whether a byte waits for the controller.
    pub(super) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The next byte for the controller.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.sent.pop_front()?;
        self.last = byte;
        Some(byte)
    }

    /// A key goes down or up; `key` is its code in set 1, with bit 7 for one behind E0h.
    pub(super) fn key(&mut self, key: u8, down: bool) {
        let code = key & !HIGH;
        let mut bytes = Vec::new();
        bytes.extend((key & HIGH != 0).then_some(EXTENDED));
        match (self.set, down) {
            (1, down) => bytes.push(if down { code } else { code | HIGH }),
            (_, true) => bytes.push(set_2(code)),
            (_, false) => bytes.extend([RELEASED, set_2(code)]),
        }
        if self.scanning && self.sent.len() + bytes.len() <= ROOM {
            self.sent.extend(bytes);
        }
    }

    /// A byte from the controller: a command, or a command's data.
    pub(super) fn receive(&mut self, byte: u8) {
        match self.waiting.take() {
            Some(command) if byte < 0xed => self.data(command, byte),
            _ => self.command(byte),
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xed | 0xf0 | 0xf3 => {
                self.waiting = Some(command);
                self.answer(&[ACKNOWLEDGE]);
            }
            ECHO => self.answer(&[ECHO]),
            0xf2 => self.answer(&[ACKNOWLEDGE, IDENTITY[0], IDENTITY[1]]),
            0xf4..=0xf6 => {
                self.reset(command != 0xf5);
                self.answer(&[ACKNOWLEDGE]);
            }
            RESEND => self.answer(&[self.last]),
            0xff => {
                self.reset(true);
                self.answer(&[ACKNOWLEDGE, TEST_PASSED]);
            }
            _ => self.answer(&[RESEND]),
        }
    }

    /// The byte behind a command: the lamps, which nobody sees, the rate, or the set.
    fn data(&mut self, command: u8, value: u8) {
        match (command, value) {
            (0xf0, 0) => self.answer(&[ACKNOWLEDGE, self.set]),
            (0xf0, 1 | 2) => {
                self.set = value;
                self.answer(&[ACKNOWLEDGE]);
            }
            (0xf0, _) => self.answer(&[RESEND]),
            _ => self.answer(&[ACKNOWLEDGE]),
        }
    }

    fn reset(&mut self, scanning: bool) {
        self.sent.clear();
        (self.scanning, self.set) = (scanning, if scanning { self.set } else { 2 });
    }

    fn answer(&mut self, bytes: &[u8]) {
        if self.sent.len() + bytes.len() <= ROOM {
            self.sent.extend(bytes);
        }
    }
}
