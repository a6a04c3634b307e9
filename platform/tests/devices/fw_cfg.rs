//! QEMU's firmware configuration at ports 510h to 51Bh.

use platform::device::{DmaMemory, IoError};
use platform::devices::fw_cfg::File;

use super::*;

const SELECT: u16 = 0x510;
const DATA: u16 = 0x511;
const ADDRESS_HIGH: u16 = 0x514;
const ADDRESS_LOW: u16 = 0x518;

/// The item of the file list, and those of the two files, which are in the order of their names.
const DIRECTORY: u32 = 0x19;
const FIRST: u32 = 0x20;

/// A board of a machine with 3 processors and two files.
fn board() -> Board {
    let file = |name: &str, bytes: &[u8]| File { name: name.into(), bytes: bytes.to_vec() };
    let files = vec![file("opt/b", b"hello"), file("opt/a", &[7])];
    let devices = vec![OptionalDevice::FwCfg];
    let ram = 0x1_2345_0000;
    Board::new(&BoardConfig { devices, files, ram, processors: 3, ..BoardConfig::default() })
}

fn item(key: u32) -> Step {
    Out(SELECT, 2, key)
}

/// The selected item goes on with `bytes`.
fn reads(board: &mut Board, bytes: &[u8]) {
    let steps: Vec<Step> = bytes.iter().map(|&byte| inb(DATA, byte)).collect();
    run(board, &steps);
}

#[test]
fn items() {
    let items: [(u32, &[u8]); 8] = [
        (0, b"QEMU\0"),
        (1, &[3, 0, 0, 0, 0]),
        (3, &[0, 0, 0x45, 0x23, 1, 0, 0, 0, 0]),
        (5, &[3, 0, 0]),
        (15, &[3, 0]),
        (FIRST, &[7, 0]),
        (FIRST + 1, b"hello\0\0"),
        // What is not there is empty.
        (FIRST + 2, &[0, 0]),
    ];
    let mut board = board();
    for (key, bytes) in items {
        run(&mut board, &[item(key)]);
        reads(&mut board, bytes);
    }
    run(&mut board, &[In(ADDRESS_HIGH, 4, 0x554d_4551), In(ADDRESS_LOW, 4, 0x4746_4320)]);
    // Without the device there is nobody.
    check(&[item(0), inb(DATA, 0xff)]);
}

#[test]
fn files_by_name() {
    let mut name = [0; 56];
    name[..5].copy_from_slice(b"opt/a");
    let mut board = board();
    run(&mut board, &[item(DIRECTORY)]);
    reads(&mut board, &[0, 0, 0, 2]);
    reads(&mut board, &[&[0, 0, 0, 1, 0, 0x20, 0, 0][..], &name].concat());
    name[4] = b'b';
    reads(&mut board, &[&[0, 0, 0, 5, 0, 0x21, 0, 0][..], &name].concat());
    reads(&mut board, &[0]);
}

/// A page of memory.
struct Ram(Vec<u8>);

impl DmaMemory for Ram {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), IoError> {
        let at = usize::try_from(address).map_err(|_| IoError::NoResponse)?;
        let range = at..at.checked_add(bytes.len()).ok_or(IoError::NoResponse)?;
        bytes.copy_from_slice(self.0.get(range).ok_or(IoError::NoResponse)?);
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), IoError> {
        let at = usize::try_from(address).map_err(|_| IoError::NoResponse)?;
        let range = at..at.checked_add(bytes.len()).ok_or(IoError::NoResponse)?;
        self.0.get_mut(range).ok_or(IoError::NoResponse)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Has a transfer made by a control structure at 0, after the control word `before`; expects the word that it
/// leaves and the bytes at 100h.
#[track_caller]
fn transfer(before: &[Step], words: [u32; 2], address: u64, result: u32, bytes: &[u8]) {
    let mut board = board();
    let mut ram = Ram(vec![0xee; 4096]);
    let [control, length] = words.map(u32::to_be_bytes);
    ram.0[..16].copy_from_slice(&[&control[..], &length, &address.to_be_bytes()].concat());
    run(&mut board, before);
    run(&mut board, &[Out(ADDRESS_HIGH, 4, 0), Out(ADDRESS_LOW, 4, 0)]);
    assert!(board.wants_memory());
    board.lend_memory(&mut ram);
    assert!(!board.wants_memory());
    assert_eq!(ram.0[..4], result.to_be_bytes());
    assert_eq!(ram.0[0x100..0x100 + bytes.len()], *bytes);
}

#[test]
fn transfers() {
    let hello = FIRST + 1;
    // Select and read; zeros follow the item.
    transfer(&[], [hello << 16 | 0x0a, 7], 0x100, 0, b"hello\0\0\xee");
    // Read what is left of the item that is selected already.
    transfer(&[item(hello), inb(DATA, b'h')], [2, 3], 0x100, 0, b"ell\xee");
    // Skip, and nothing is moved.
    transfer(&[item(hello)], [4, 3], 0x100, 0, b"\xee\xee");
    // Items cannot be written, memory must be there, and zeros have a bound.
    transfer(&[item(hello)], [16, 1], 0x100, 1, b"\xee");
    transfer(&[item(hello)], [2, 5], 4094, 1, b"\xee");
    transfer(&[item(hello)], [2, 5], u64::MAX, 1, b"\xee");
    transfer(&[item(hello)], [2, u32::MAX], 0x100, 1, b"\xee");
}

#[test]
fn a_transfer_without_memory() {
    let mut board = board();
    run(&mut board, &[Out(ADDRESS_HIGH, 4, 0xffff_ffff), Out(ADDRESS_LOW, 4, 0xffff_ffff)]);
    board.lend_memory(&mut Ram(vec![0; 16]));
    assert!(!board.wants_memory());
}
