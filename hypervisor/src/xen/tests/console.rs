//! What is typed at the physical console.

use super::super::console::{Focus, Typed};
use super::super::testing::{ARG, World};
use super::super::{Action, DomId, ShutdownReason};
use crate::xen::abi::nr::hypercall as nr;
use crate::xen::guest_memory::write_gpa;

/// COM1's data and interrupt-enable registers, and its line status.
const DATA: u16 = 0x3F8;
const STATUS: u16 = DATA + 5;

fn typed(world: &mut World, bytes: &[u8]) -> Typed {
    bytes.iter().fold(Typed::Taken, |_, byte| world.xen.typed(&mut world.host, *byte))
}

/// What a domU reads from its COM1.
fn received(world: &mut World, dom: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut read = |port| world.xen.port_read(&mut world.host, DomId(dom), port).unwrap();
    while read(STATUS) & 1 != 0 {
        bytes.push(read(DATA));
    }
    bytes
}

const SWITCH: &[u8] = &[1, 1, 1];

fn to(dom: u16) -> Typed {
    Typed::Switched(Focus::Domain(DomId(dom)))
}

#[test]
fn ctrl_a_three_times_switches() {
    let mut world = World::new();
    assert_eq!(typed(&mut world, b"ab"), Typed::Taken);
    assert_eq!(world.xen.console_input, b"ab");
    assert_eq!(typed(&mut world, SWITCH), to(1));
    // Ctrl-A once or twice is the domain's.
    typed(&mut world, b"c\x01d\x01\x01e");
    assert_eq!(received(&mut world, 1), b"c\x01d\x01\x01e");
    assert_eq!(typed(&mut world, SWITCH), to(2));
    typed(&mut world, b"f");
    assert_eq!((received(&mut world, 2), received(&mut world, 1)), (b"f".to_vec(), vec![]));
    assert_eq!(typed(&mut world, SWITCH), Typed::Switched(Focus::Hypervisor));
    assert_eq!(typed(&mut world, b"h"), Typed::Key(b'h'));
    assert_eq!(typed(&mut world, SWITCH), to(0));
    assert_eq!(world.xen.console_input, b"ab");
}

#[test]
fn domains_that_are_gone_are_not_typed_to() {
    let mut world = World::new();
    typed(&mut world, SWITCH);
    world.xen.shutdown(DomId(1), ShutdownReason::Poweroff);
    assert_eq!(typed(&mut world, b"x"), to(0));
    assert_eq!(typed(&mut world, SWITCH), to(2));
}

/// Nobody holds up the console, or has the hypervisor hold more than so much.
#[test]
fn what_is_not_read_is_bounded() {
    let mut world = World::new();
    typed(&mut world, &[b'x'; 10_000]);
    assert_eq!(world.xen.console_input.len(), 4096);
    typed(&mut world, SWITCH);
    typed(&mut world, &[b'y'; 10_000]);
    assert_eq!(received(&mut world, 1).len(), 4096);
}

#[test]
fn unfinished_lines_are_shown_of_whom_a_person_types_to() {
    let mut world = World::new();
    let write = |world: &mut World, dom: u16, text: &[u8]| {
        write_gpa(&mut world.host, DomId(dom), ARG, text).unwrap();
        world.call(dom, nr::CONSOLE_IO, &[0, text.len() as u64, ARG]);
        core::mem::take(&mut world.xen.actions)
    };
    assert_eq!(write(&mut world, 0, b"# "), []);
    typed(&mut world, b"l");
    let part = |dom, text: &str| Action::Part { dom: DomId(dom), text: text.into() };
    let line = |dom, line: &str| Action::Output { dom: DomId(dom), line: line.into() };
    assert_eq!(write(&mut world, 0, b"l"), [part(0, "# l")]);
    assert_eq!(write(&mut world, 0, b"s\r\n"), [line(0, "s")]);
    assert_eq!(write(&mut world, 1, b"login: "), []);
    // A character is not cut.
    assert_eq!(write(&mut world, 0, b"\xC3"), []);
    assert_eq!(write(&mut world, 0, b"\xA9\x1b"), [part(0, "é\\x1b")]);
}
