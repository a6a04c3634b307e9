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

fn write(world: &mut World, dom: u16, text: &[u8]) -> Vec<Action> {
    write_gpa(&mut world.host, DomId(dom), ARG, text).unwrap();
    world.call(dom, nr::CONSOLE_IO, &[0, text.len() as u64, ARG]);
    core::mem::take(&mut world.xen.actions)
}

fn raw(dom: u16, bytes: &[u8]) -> Action {
    Action::Raw { dom: DomId(dom), bytes: bytes.into() }
}

fn line(dom: u16, line: &str) -> Action {
    Action::Output { dom: DomId(dom), line: line.into() }
}

#[test]
fn whom_a_person_types_to_prints_as_it_is() {
    let mut world = World::new();
    assert_eq!(write(&mut world, 0, b"# "), []);
    assert_eq!(write(&mut world, 1, b"login: "), []);
    // What stands there unfinished is shown.
    typed(&mut world, b"l");
    assert_eq!(core::mem::take(&mut world.xen.actions), [raw(0, b"# ")]);
    assert_eq!(write(&mut world, 0, b"l\x1b[H\r\n"), [raw(0, b"l\x1b[H\r\n")]);
    assert_eq!(write(&mut world, 2, b"\x1b[2J(hv) x\n"), [line(2, "\\x1b[2J(hv) x")]);
    assert_eq!(typed(&mut world, SWITCH), to(1));
    assert_eq!(core::mem::take(&mut world.xen.actions), [raw(1, b"login: ")]);
    assert_eq!(write(&mut world, 0, b"\x1b\n"), [line(0, "\\x1b")]);
    assert_eq!(write(&mut world, 1, b"\x1b\xff"), [raw(1, b"\x1b\xff")]);
}

#[test]
fn a_console_of_its_own() {
    let mut world = World::new();
    world.xen.domain_mut(DomId(1)).unwrap().own_console = true;
    assert_eq!(write(&mut world, 1, b"\x1b[H\n"), [raw(1, b"\x1b[H\n")]);
    assert_eq!(typed(&mut world, SWITCH), to(2));
    for (dom, byte) in [(1, b'a'), (2, b'b'), (7, b'c')] {
        world.xen.typed_to(&mut world.host, DomId(dom), byte);
    }
    assert_eq!((received(&mut world, 1), received(&mut world, 2)), (b"a".to_vec(), vec![]));
    assert_eq!(write(&mut world, 0, b"\x1b\n"), [line(0, "\\x1b")]);
    world.xen.domain_mut(DomId(0)).unwrap().own_console = true;
    assert_eq!(typed(&mut world, SWITCH), Typed::Switched(Focus::Hypervisor));
    assert_eq!(typed(&mut world, SWITCH), to(2));
    world.xen.typed_to(&mut world.host, DomId(0), b'x');
    assert_eq!(world.xen.console_input, b"x");
}

/// Before anybody has chosen, it is not dom0 that is typed to if that has a console of its own.
#[test]
fn the_first_to_be_typed_to() {
    let mut world = World::new();
    world.xen.domain_mut(DomId(0)).unwrap().own_console = true;
    assert_eq!(typed(&mut world, b"x"), to(1));
    assert_eq!(world.xen.console_input, b"");
}
