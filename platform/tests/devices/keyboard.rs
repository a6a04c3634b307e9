//! The keyboard, by way of its controller.

use super::*;

/// What a byte takes on the wire.
const BYTE: u64 = 1_000_000;

/// Does the steps, after which the bytes arrive: one each millisecond, and then none.
#[track_caller]
fn arrive(steps: &[Step], bytes: &[u8]) {
    let mut all = [steps, &[inb(0x64, 0x10), Deadline(Some(BYTE))]].concat();
    for (n, byte) in (1..).zip(bytes) {
        let early = [At(n * BYTE - 1), inb(0x64, 0x10)];
        all.extend([&early[..], &[At(n * BYTE), inb(0x64, 0x11), inb(0x60, *byte)]].concat());
    }
    let end = (bytes.len() as u64 + 1) * BYTE;
    all.extend([At(end), inb(0x64, 0x10), inb(0x60, *bytes.last().unwrap()), Deadline(None)]);
    check(&all);
}

/// The command byte: scan codes of set 1.
const TRANSLATE: [Step; 2] = [out(0x64, 0x60), out(0x60, 0x40)];

#[test]
fn keys() {
    const TYPED: [Step; 6] = [
        // A, the right Control key, F7.
        Key(0x1e, true),
        Key(0x1e, false),
        Key(0x9d, true),
        Key(0x9d, false),
        Key(0x41, true),
        Key(0x41, false),
    ];
    arrive(&TYPED, &[0x1c, 0xf0, 0x1c, 0xe0, 0x14, 0xe0, 0xf0, 0x14, 0x83, 0xf0, 0x83]);
    let translated = [&TRANSLATE[..], &TYPED].concat();
    arrive(&translated, &[0x1e, 0x9e, 0xe0, 0x1d, 0xe0, 0x9d, 0x41, 0xc1]);
}

#[test]
fn commands() {
    let row = |sent: &[u8], bytes: &[u8]| {
        let mut steps = Vec::new();
        for &byte in sent {
            steps.push(out(0x60, byte));
        }
        for &byte in bytes {
            steps.extend([Wait(BYTE), inb(0x60, byte)]);
        }
        check(&[steps, vec![Wait(BYTE), inb(0x64, 0x10), Deadline(None)]].concat());
    };
    row(&[0xff], &[0xfa, 0xaa]);
    row(&[0xf2], &[0xfa, 0xab, 0x83]);
    row(&[0xee], &[0xee]);
    row(&[0xed, 7], &[0xfa, 0xfa]);
    row(&[0xf3, 0], &[0xfa, 0xfa]);
    row(&[0xf0, 1, 0xf0, 0], &[0xfa, 0xfa, 0xfa, 0xfa, 1]);
    row(&[0xf0, 3], &[0xfa, 0xfe]);
    // A command in place of a command's data.
    row(&[0xed, 0xee], &[0xfa, 0xee]);
    row(&[0x12], &[0xfe]);
    // Of what has not been sent a reset leaves nothing.
    row(&[0xee, 0xee, 0xf6], &[0xfa]);
}

#[test]
fn a_set_and_silence() {
    // Set 1 by the keyboard itself.
    let set =
        [out(0x60, 0xf0), Wait(BYTE), inb(0x60, 0xfa), out(0x60, 1), Wait(BYTE), inb(0x60, 0xfa)];
    let key = [Key(0xc8, true), Wait(BYTE), inb(0x60, 0xe0), Wait(BYTE), inb(0x60, 0x48)];
    let up = [Key(0xc8, false), Wait(BYTE), inb(0x60, 0xe0), Wait(BYTE), inb(0x60, 0xc8)];
    check(&[&set[..], &key, &up].concat());
    // Keys are lost after F5h, and kept while the controller holds the clock.
    let off = [out(0x60, 0xf5), Wait(BYTE), inb(0x60, 0xfa), Key(0x1e, true), Deadline(None)];
    let on = [
        out(0x60, 0xf4),
        Wait(BYTE),
        inb(0x60, 0xfa),
        Key(0x1e, true),
        Wait(BYTE),
        inb(0x60, 0x1c),
    ];
    check(&[&off[..], &on].concat());
    let held = [out(0x64, 0xad), Key(0x1e, true), Deadline(None), Wait(BYTE), inb(0x64, 0x18)];
    check(&[&held[..], &[out(0x64, 0xae), inb(0x64, 0x19), inb(0x60, 0x1c)]].concat());
}

/// Each byte interrupts, as a kernel finds the machine.
#[test]
fn interrupts() {
    let mut board = Board::new(&BoardConfig::default());
    board.hand_over();
    let steps = [
        Key(0x1e, true),
        Key(0x1e, false),
        Wait(BYTE),
        Intr(true),
        Ack(9),
        inb(0x60, 0x1e),
        out(0x20, 0x20),
        Intr(false),
        Wait(BYTE),
        Intr(true),
        Ack(9),
        inb(0x60, 0x9e),
        out(0x20, 0x20),
        Intr(false),
    ];
    run(&mut board, &steps);
}

/// Keys that do not fit are lost as wholes.
#[test]
fn a_full_keyboard() {
    let mut steps = vec![Key(0xc8, true); 200];
    for _ in 0..128 {
        steps.extend([Wait(BYTE), inb(0x60, 0xe0), Wait(BYTE), inb(0x60, 0x75)]);
    }
    check(&[steps, vec![Deadline(None)]].concat());
}
